"""What scheduling costs when a search has ten thousand trials, 64 at a time: the real searcher, study, ASHA, watcher
and report; what a trial leaves in its folder is written, but nothing is trained, and Ray isn't there."""

from __future__ import annotations

import json
import random
import resource
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from curves import space_of
from harness import parsed, parser, record
from ray.tune.schedulers import TrialScheduler

from capetune.reports.html import write_report
from capetune.runs.history import add_to_history
from capetune.runs.record import CONFIG, SPACE, Run
from capetune.runs.results import trial_folder, write_results
from capetune.tuning.ending import Limit
from capetune.tuning.schedulers import make_scheduler
from capetune.tuning.search import Search
from capetune.tuning.searcher import StudySearcher
from capetune.tuning.space import Budget
from capetune.tuning.storage import open_storage
from capetune.tuning.study import _study
from capetune.tuning.watcher import Watcher

HEADER = "sampler: {sampler}\n"


class Handle:
    """Stands for an actor's handle: the watcher names what is asked of it."""


def main() -> None:
    made = parser(__doc__)
    made.add_argument("--trials", type=int, default=10_000)
    made.add_argument("--places", type=int, default=64)
    made.add_argument("--sampler", default="random")
    arguments = parsed(made)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        space, config = space_of(root, HEADER.format(sampler=arguments.sampler))
        run = Run(root / "run", "search", "completed")
        run.folder.mkdir()
        (run.folder / SPACE).write_text(space.text)
        (run.folder / CONFIG).write_text(config.to_yaml())
        search = Search(config, space, None, run.folder, Budget(trials=arguments.trials))  # type: ignore[arg-type]
        study = _study(search, open_storage(run.folder, None))
        facts = {"goal": ["mpck4"], "mode": ["max"], "protocol": "simulated", "shots": 1, "split": 1, "data": "none"}
        keep = partial(write_results, run.folder, config, facts)
        watcher = Watcher(search, study, [], Limit(search.budget), lambda event: None, keep)
        watched = (watcher.twins, watcher.over, watcher.say)
        searcher = StudySearcher(study, space, run.folder, [], arguments.trials, *watched)
        scheduler: Any = make_scheduler(space, config, run.folder)
        draw, running, ended = random.Random(0), [], 0
        begun = time.process_time()
        while ended < arguments.trials:
            while len(running) < arguments.places and isinstance(proposed := searcher.suggest(str(ended)), dict):
                running.append(_started(proposed, watcher, scheduler))
            trial = running.pop(0)
            if not _epoch(trial, draw, watcher, scheduler, config.train.epochs):
                running.append(trial)
                continue
            ended += 1
            if ended in (100, 1000, 3000, arguments.trials):
                seconds, since = time.process_time() - begun, ended
                memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
                line = {"trials": since, "ms_a_trial": round(1000 * seconds / since, 2), "peak_mb": round(memory)}
                record("many", line | {"sampler": arguments.sampler, "places": arguments.places}, arguments.save)
        keep(watcher.results())
        run.save("completed", trials=arguments.trials, config_hash=config.hash(), study="run", **facts)
        begun = time.process_time()
        report = write_report(run)
        size, rows = report.page.stat().st_size, sum(1 for _ in (run.folder / "results.csv").open()) - 1
        facts = {"report_s": round(time.process_time() - begun, 1), "page_mb": round(size / 1e6, 1), "csv_rows": rows}
        record("many", facts | {"trials": arguments.trials, "not_drawn": report.missing}, arguments.save)


def _started(proposed: dict[str, Any], watcher: Watcher, scheduler: Any) -> Any:
    trial = SimpleNamespace(trial_id=f"id{proposed['number']}", config=proposed, status="RUNNING", epoch=0)
    trial.temporary_state = SimpleNamespace(ray_actor=Handle())
    (trial_folder(watcher.search.folder, proposed["number"])).mkdir(parents=True)
    scheduler.on_trial_add(SimpleNamespace(get_live_trials=list), trial)
    watcher.on_trial_start(0, [], trial)
    return trial


def _epoch(trial: Any, draw: random.Random, watcher: Watcher, scheduler: Any, longest: int) -> bool:
    """Returns whether the trial ended with it."""
    trial.epoch += 1
    folder = trial_folder(watcher.search.folder, trial.config["number"])
    metrics = {"epoch": trial.epoch, "mpck4": draw.random() * (1 - 0.6**trial.epoch), "seconds": 1.0}
    metrics |= {"template_mpck4": 0.3, "pck_0.2": 0.5}
    add_to_history(folder, metrics)
    decision = scheduler.on_trial_result(None, trial, metrics)
    watcher.on_trial_result(0, [], trial, metrics | {"pid": 1, "row": json.dumps(metrics)})
    if trial.epoch < longest and decision != TrialScheduler.STOP:
        return False
    trial.status = "TERMINATED"
    watcher.on_trial_complete(0, [], trial)
    watcher.on_step_end(0, [])
    return True


if __name__ == "__main__":
    main()

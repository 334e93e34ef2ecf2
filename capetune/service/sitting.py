"""One sitting of a search, from the checks to its end."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from capetune.cluster.machines import Cluster
from capetune.errors import UserError
from capetune.events import CheckPassed, Doubted, Listener, RunComplete, StepBegan
from capetune.models.check import check_net
from capetune.runs.commands import again
from capetune.runs.facts import describe_protocol, environment
from capetune.runs.home import at_work
from capetune.runs.record import CONFIG, SPACE, Run, read_run, recorded
from capetune.runs.results import SCHEMA, SCHEMA_LINE, UNSCORED, TrialResult, saved_results, write_results
from capetune.runs.trackers import Tracker, tracked
from capetune.service.features import Keeping
from capetune.service.schema import config_schema
from capetune.service.search import Begun, SearchFailed, SearchRequest, SearchResult
from capetune.service.steps import described, machines_checked, ray_joined
from capetune.storage.scratch import address_of
from capetune.storage.whole import write_aside
from capetune.trial_events import SearchBegan
from capetune.tuning.footprint import share_gpus
from capetune.tuning.goal import Goal
from capetune.tuning.preflight import Plan, check_shareable, plan, preflight
from capetune.tuning.room import Room
from capetune.tuning.samplers import make_sampler
from capetune.tuning.search import Search
from capetune.tuning.space import LISTED, Budget, Space
from capetune.tuning.storage import check_new, study_name, without_password
from capetune.tuning.study import run_search
from capetune.tuning.warm import read_warm, save_warm, summary

TRIALS = 20  # where neither the request nor the space says
KEEP = 3


def sit(begun: Begun, request: SearchRequest, listener: Listener) -> SearchResult:
    """Raises as `service.search.run` does."""
    config, space, pack, folder = begun.config, begun.space, begun.pack, begun.folder
    where = address_of(folder) or folder
    if request.storage is not None and not begun.before:
        check_new(request.storage, folder.name)
    make_sampler(space.header.sampler, 0)  # says what it needs installed
    facts = described(pack, config.data.split, listener)
    with at_work(folder, listener, patient=request.resume_or_start) as desk:
        listener = desk.hear
        run = read_run(folder) or Run(folder, "search", "running")
        more = request.hours is not None or request.retry_failed or request.space is not None
        if run.state == "completed" and not more and (request.trials or 0) <= run.told("trials"):
            goal = Goal.of(space.header)
            results = sorted(saved_results(folder), key=goal.place)
            listener(RunComplete(run.name, len(results)))
            return SearchResult(where, results, goal, run.facts, already=True)
        _same_data(run, facts)
        how = _How.of(begun, request, run)
        shared = None if how.features is None else Path(how.features)
        keeping = Keeping(how.cache_features, shared, request.cpus)
        bytes_kept = keeping.check(config, pack, tuple(space.parameters))
        check_net(config.model.backbone)  # missing weights are said here, not by every trial
        go_on = again("search --resume", folder)
        facts |= {"goal": list(space.header.metric), "mode": list(space.header.mode), **describe_protocol(config)}
        title = f"capetune search {run.name}"
        with (
            tracked(how.tracker, folder, listener, {}) as listener,
            ray_joined(request.address, request.verbose, listener, title, go_on, request.cpus) as cluster,
        ):
            together = _together(cluster, begun, how, request.at_once, listener)
            _check_workers(space, together)
            room = Room(together, cluster.token is not None, request.at_once)
            keeping.check_shared(folder, cluster)
            for check in preflight(config, space, pack, folder, cluster, together, how.keep, bytes_kept):
                listener(check)
            if (seeds := space.header.repeats) > 1:
                epochs = config.train.epochs
                most = f"{how.trials} trials, {seeds} seeds each: {how.trials * seeds} trainings at most"
                listener(CheckPassed("trainings", f"{most}, {epochs} epoch{'s' * (epochs > 1)} each"))
            for found in begun.warmth.found:
                listener(CheckPassed("warm start", found))
            for doubt in begun.warmth.doubts:
                listener(Doubted(doubt))
            machines_checked(cluster, folder, pack, listener)
            _write_down(begun)
            if warm := summary(read_warm(folder), Goal.of(space.header)):
                facts["warm_start"] = warm
            record = {"config_hash": config.hash(), "space": run.facts.get("space", str(space.source)), **vars(how)}
            study = study_name(folder, run.facts) if begun.before else folder.name
            url = None if begun.storage is None else without_password(begun.storage)
            reserved = {name: each * together.workers for name, each in together.reserved.items()}
            record |= {"study": study, "storage": url, "reserved": reserved, "environment": environment(), **facts}
            with recorded(run, record, go_on, listener):
                features = keeping.make(folder, config, pack, listener)
                kept = (how.keep, begun.storage, features, study)
                search = Search(config, space, pack, folder, how.budget(begun), *kept, desk.number, desk.fetch)
                search = replace(search, retry=request.retry_failed, **_steered(run, request))
                listener(_began(search, how.trials))
                # Kept at every trial's end, so that an interrupted search has a best configuration too.
                written = partial(write_results, folder, config, facts)
                searched = run_search(search, room, listener, written)
                results, left = searched.trials, searched.left
                written(results)
                _raise_if_all_failed(results, folder)
                if left:
                    run.state = "interrupted"
                else:
                    keeping.end(folder)
    trained = sum(result.epochs * max(1, len(result.seeds)) for result in results)
    return SearchResult(where, results, search.goal, facts, left, trained >= (search.budget.epochs or math.inf))


@dataclass(frozen=True)
class _How:
    """What a search's record keeps of how it is run: what is asked for now, else what was before, else the default."""

    trials: int
    hours: float | None
    keep: int
    workers_per_trial: int
    trials_per_gpu: int | Literal["auto"]
    cache_features: int
    features: str | None
    tracker: Tracker | None

    @classmethod
    def of(cls, begun: Begun, request: SearchRequest, run: Run) -> _How:
        """Raises UserError where the goal can't be had with kept features."""
        header, before = begun.space.header, run.facts
        listed = header.sampler in LISTED and header.budget.trials is None and "steered" not in before
        points = len(begun.space.points(begun.config)) if listed else 0
        how = cls(
            trials=request.trials or points or before.get("trials") or header.budget.trials or TRIALS,
            hours=header.budget.hours if request.hours is None else request.hours,
            keep=request.keep or before.get("keep", KEEP),
            workers_per_trial=request.workers_per_trial or before.get("workers_per_trial", 1),
            trials_per_gpu=request.trials_per_gpu or before.get("trials_per_gpu", 1),
            cache_features=before.get("cache_features", request.cache_features),
            features=str(request.features.resolve()) if request.features else before.get("features"),
            tracker=request.track or before.get("tracker"),
        )
        if how.cache_features and "generate_ms" in (*header.metric, *header.constraints):
            raise UserError(
                f"{begun.space.source}: generate_ms counts the backbone's time, which kept features leave out"
            )
        return how

    def budget(self, begun: Begun) -> Budget:
        return begun.space.header.budget.model_copy(update={"trials": self.trials, "hours": self.hours})


def _check_workers(space: Space, together: Plan) -> None:
    """Raises UserError where trials of several workers, or without a GPU, can't do what a space asks for."""
    header, several = space.header, together.workers > 1
    if "gpu_memory_gb" in header.constraints and (together.device == "cpu" or several):
        what = "trials of several workers" if several else "without a GPU"
        raise UserError(f"{space.source}: gpu_memory_gb isn't measured {what}; leave that constraint out")
    if header.repeats > 1 and several:
        raise UserError(f"{space.source}: repeats are trained by one worker each: leave --workers-per-trial out")


def _together(cluster: Cluster, begun: Begun, how: _How, at_once: int | None, listener: Listener) -> Plan:
    """How trials share the cluster; where that depends on their memory it is measured, if there is a GPU."""
    workers, trials, asked = how.workers_per_trial, how.trials, how.trials_per_gpu
    if asked != "auto":
        return plan(cluster, workers, trials, asked, at_once)
    check_shareable(workers)
    if not cluster.gpus:
        listener(Doubted("there is no GPU to be shared: --trials-per-gpu auto changes nothing"))
        return plan(cluster, workers, trials, 1, at_once)
    listener(StepBegan("memory", "the largest model of the space"))
    most, kept = min(trials, at_once or trials), bool(how.cache_features)
    share = share_gpus(begun.config, begun.space, begun.pack, cluster, most, kept)
    listener(CheckPassed("memory", share.words))
    return plan(cluster, workers, trials, share.per_gpu, at_once, share.aside)


def _steered(run: Run, request: SearchRequest) -> dict[str, Any]:
    """Of a `Search`: what it was asked for from outside before, and how its record keeps what comes."""

    def noted(trials: int, steered: int) -> None:
        run.save("running", trials=trials, steered=steered)

    return {"steered": run.facts.get("steered", 0), "fixed": request.trials is not None, "noted": noted}


def _began(search: Search, trials: int) -> SearchBegan:
    keys, goal = tuple(search.space.parameters), search.goal
    return SearchBegan(search.folder.name, trials, search.config.train.epochs, keys, goal.metrics, goal.modes)


def _same_data(run: Run, facts: dict) -> None:
    if run.facts.get("data_hash", facts["data_hash"]) != facts["data_hash"]:
        raise UserError(f"{facts['pack']} isn't what {run.name} was begun with; begin a new search")


def _write_down(begun: Begun) -> None:
    """What --resume goes on with."""
    write_aside(begun.folder / SCHEMA, json.dumps(config_schema()) + "\n")
    write_aside(begun.folder / CONFIG, SCHEMA_LINE + begun.config.to_yaml())
    write_aside(begun.folder / SPACE, begun.space.text)
    save_warm(begun.folder, begun.warmth.taken)


def _raise_if_all_failed(results: list[TrialResult], folder: Path) -> None:
    failed = [result for result in results if result.status in UNSCORED]
    if not results or len(failed) < len(results):
        return
    first = min(failed, key=lambda result: result.number)
    where = f"its traceback is in {folder / str(first.traceback)}"
    message = f"all {len(failed)} trials failed, the first with: {first.error}; {where}"
    raise UserError(message) if all(result.bad_input for result in failed) else SearchFailed(message)

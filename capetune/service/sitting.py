"""One sitting of a search, from the checks to its end."""

from __future__ import annotations

import math
import shutil
from functools import partial
from pathlib import Path

from capetune.errors import UserError
from capetune.events import Listener, Progress, RunComplete, SearchBegan, StepBegan
from capetune.models.backbone import Backbone
from capetune.runs.commands import again
from capetune.runs.facts import describe_protocol, environment
from capetune.runs.record import CONFIG, Run, read_run, recorded
from capetune.runs.results import TrialResult, saved_results, write_results
from capetune.service.search import Begun, SearchFailed, SearchRequest, SearchResult
from capetune.service.steps import described, ray_joined
from capetune.storage.hold import held
from capetune.storage.whole import write_aside
from capetune.training.features import check_keepable, feature_bytes, keep_features
from capetune.tuning.preflight import plan, preflight
from capetune.tuning.samplers import make_sampler
from capetune.tuning.search import Search, check_scorable
from capetune.tuning.space import Budget
from capetune.tuning.study import check_new, run_search
from capetune.tuning.trackers import make_tracker

FEATURES = "features"
TRIALS = 20  # where neither the request nor the space says
KEEP = 3


def sit(begun: Begun, request: SearchRequest, listener: Listener) -> SearchResult:
    """Raises as `service.search.run` does."""
    config, space, pack, folder = begun.config, begun.space, begun.pack, begun.folder
    if request.storage is not None:
        check_new(request.storage, folder.name)
    check_scorable(pack, config.data.split)
    make_sampler(space.header.sampler, 0)  # says what it needs installed
    facts = described(pack, config.data.split, listener)
    with held(folder):
        run = read_run(folder) or Run(folder, "search", "running")
        search = Search(config, space, pack, folder, _budget(begun, request, run), storage=begun.storage)
        if run.state == "completed" and request.hours is None and (request.trials or 0) <= run.facts["trials"]:
            listener(RunComplete(run.name, run.facts["trials"]))
            trials = sorted(saved_results(folder), key=search.goal.place)
            return SearchResult(folder, trials, search.goal, run.facts, already=True)
        _same_data(run, facts)
        cache = run.facts.get("cache_features", request.cache_features)
        tracker = request.track or run.facts.get("tracker")
        keep = request.keep or run.facts.get("keep", KEEP)
        workers = request.workers_per_trial or run.facts.get("workers_per_trial", 1)
        room = _check_cache(begun, cache, workers) if cache else 0
        trackers = [make_tracker(tracker, folder)] if tracker else []
        Backbone(config.model)  # missing weights are said here, not by every trial
        facts |= {"goal": list(space.header.metric), "mode": list(space.header.mode), **describe_protocol(config)}
        with ray_joined(request.address, request.verbose, listener) as cluster:
            count = search.budget.trials
            assert count is not None
            shared = plan(cluster, workers, count)
            for check in preflight(config, space, pack, folder, cluster, shared, keep, room):
                listener(check)
            _write_down(begun)
            record = {"config_hash": config.hash(), "space": run.facts.get("space", str(space.source))}
            record |= {"trials": count, "keep": keep, "workers_per_trial": workers, "cache_features": cache}
            record |= {"storage": begun.storage, "tracker": tracker, "environment": environment()}
            # Kept at every trial's end, so that an interrupted search has a best configuration too.
            written = partial(write_results, folder, config, facts)
            with recorded(run, record | facts, again("search --resume", folder), listener):
                features = _keep_features(begun, cache, listener) if cache else None
                search = Search(config, space, pack, folder, search.budget, keep, begun.storage, features)
                goal = search.goal
                keys = tuple(space.parameters)
                listener(SearchBegan(run.name, count, config.train.epochs, keys, goal.metrics, goal.modes))
                results = run_search(search, shared, listener, written, trackers)
                written(results)
                _raise_if_all_failed(results, folder)
        left = max(0, count - sum(result.status != "stopped" for result in results))
        if left:
            run.save("interrupted")
        elif features is not None:
            shutil.rmtree(features)
    trained = sum(result.epochs for result in results)
    return SearchResult(folder, results, goal, facts, left, trained >= (search.budget.epochs or math.inf))


def _budget(begun: Begun, request: SearchRequest, run: Run) -> Budget:
    budget = begun.space.header.budget
    trials = request.trials or run.facts.get("trials") or budget.trials or TRIALS
    return budget.model_copy(
        update={"trials": trials, "hours": budget.hours if request.hours is None else request.hours}
    )


def _same_data(run: Run, facts: dict) -> None:
    if run.facts.get("data_hash", facts["data_hash"]) != facts["data_hash"]:
        raise UserError(f"{facts['pack']} isn't what {run.name} was begun with; begin a new search")


def _check_cache(begun: Begun, copies: int, workers: int) -> int:
    """The bytes that kept features will take. Raises UserError where the search can't train on them."""
    space = begun.space
    check_keepable(begun.config, space.parameters)
    if workers > 1:
        raise UserError("--cache-features is for trials of one worker each; leave out --workers-per-trial")
    if "generate_ms" in space.header.metric:
        raise UserError(f"{space.source}: generate_ms counts the backbone's time, which kept features leave out")
    return feature_bytes(begun.pack, begun.config, copies)


def _keep_features(begun: Begun, copies: int, listener: Listener) -> Path:
    """Compute them, unless an earlier sitting of the search has."""
    folder = begun.folder / FEATURES
    if not folder.is_dir():
        listener(StepBegan("features", f"{copies} copies of each train instance"))
        keep_features(folder, begun.pack, begun.config, copies, lambda *far: listener(Progress("features", *far)))
    return folder


def _write_down(begun: Begun) -> None:
    """What --resume goes on with."""
    write_aside(begun.folder / CONFIG, begun.config.to_yaml())
    write_aside(begun.folder / "space.yaml", begun.space.text)


def _raise_if_all_failed(results: list[TrialResult], folder: Path) -> None:
    failed = [result for result in results if result.status == "failed"]
    if not results or len(failed) < len(results):
        return
    first = min(failed, key=lambda result: result.number)
    where = f"its traceback is in {folder / str(first.traceback)}"
    message = f"all {len(failed)} trials failed, the first with: {first.error}; {where}"
    raise UserError(message) if all(result.bad_input for result in failed) else SearchFailed(message)

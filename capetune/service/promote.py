"""Promote: a search's best configuration trained on every split with every seed, each scored on its test part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from capetune.cluster.environment import prepare_environment
from capetune.errors import UserError
from capetune.events import CheckPassed, Listener, PromotionBegan, StepBegan, ignore
from capetune.runs.best import ranked_config, ranked_trial
from capetune.runs.diary import noted
from capetune.runs.facts import describe_data, environment
from capetune.runs.home import Desk, at_work
from capetune.runs.promotion import Promotion, read_tables, tabulated, with_table
from capetune.runs.record import TABLES, Run, recorded
from capetune.runs.registry import begun, find_search
from capetune.runs.trackers import Tracker, tracked, values_of
from capetune.service.on_end import notified
from capetune.service.request import Count, Numbers, Request, Settings
from capetune.service.steps import housed, machines_checked, open_data, ray_joined
from capetune.service.train import AGAIN
from capetune.storage.scratch import address_of
from capetune.storage.whole import write_aside
from capetune.training.scorable import check_scorable
from capetune.trial_events import TrialChosen


class PromoteRequest(Request):
    verb: Literal["promote"] = "promote"
    name: str
    splits: Numbers = (1, 2, 3, 4, 5)
    shots: Numbers = (1, 5)
    seeds: Count = 3
    rank: Count = 1
    set: Settings = ()
    data: str | None = None
    workers: Count = 1
    at_once: Count | None = None
    cpus: Count | None = None
    episodes: Count | None = None
    queries: Count = 15
    track: Tracker | None = None
    on_end: str | None = None
    address: str | None = None
    verbose: bool = False


@dataclass(frozen=True)
class PromoteResult:
    """table: the one of promotion.json that was asked for. missing: split → categories of its test part without an
    image. errors: failed job → the line that names why. left: jobs that didn't end, of so many. mp100: how much of it
    the data has, in words."""

    folder: Path | str
    data: str
    table: dict[str, Any]
    missing: dict[int, list[str]]
    errors: dict[str, str]
    left: int
    jobs: int
    mp100: str | None = None

    @property
    def file(self) -> str:
        return f"{self.folder}/{TABLES}"

    def to_json(self) -> dict[str, Any]:
        told = {"data": self.data, "mp100": self.mp100, "errors": self.errors, "left": self.left}
        return {**self.table, "folder": str(self.folder), **told}


def run(request: PromoteRequest, listener: Listener = ignore) -> PromoteResult:
    """Run the jobs that aren't whole; the same request again goes on where it was. promotion.json keeps the table.

    Raises UserError for what the caller can cure. Failed jobs are in the result.
    """
    return notified(request.on_end, request.verb, request.runs, listener, partial(_housed, request))


def _housed(request: PromoteRequest, listener: Listener) -> PromoteResult:
    with housed(request, listener) as (request, listener):
        return _run(request, listener)


def _run(request: PromoteRequest, listener: Listener) -> PromoteResult:
    search = find_search(request.runs_folder, request.name)
    config = ranked_config(search, request.rank, request.set)
    pack = open_data(request.data or str(search.told("pack")), listener)
    for option, chosen, most in (("--splits", request.splits, 5), ("--shots", request.shots, 100)):
        if not chosen or min(chosen) < 1 or max(chosen) > most:
            raise UserError(f"{option} wants numbers from 1 to {most}, not {','.join(map(str, chosen))}")
    for split in request.splits:
        if not len(pack.part(split, "test")):
            raise UserError(
                f"{pack.address} holds no instance of split {split} test to score by; leave it out of --splits"
            )
        check_scorable(pack, config.with_overrides({"data.split": split}))
    folder = request.runs_folder / f"{request.name}-promoted"
    asked = (request.splits, request.shots, request.seeds, request.episodes, request.queries)
    promotion = Promotion(config, pack, folder, *asked)
    told = {split: describe_data(pack, split) for split in request.splits}
    run = begun(folder) or Run(folder, "promote", "running")
    with at_work(folder, listener) as desk:
        facts = _facts(promotion, run)
        facts |= {"search": search.name, "pack": pack.place.resolved, "data": told[request.splits[0]]["data"]}
        covered = pack.manifest.coverage
        facts |= {"mp100": covered.to_json()} if covered else {}
        number = ranked_trial(search, request.rank)["number"]
        listener(TrialChosen(search.name, number, search.state, str(search.folder / "best.yaml")))
        jobs, left = len(promotion.jobs()), len(promotion.left())
        began = (run.name, str(folder), facts["data"], promotion.protocol, jobs, jobs - left, config.train.epochs)
        listener(PromotionBegan(*began))
        missing = {split: each["missing_categories"]["test"] for split, each in told.items()}
        if left:
            _work(request, promotion, run, facts | {"asked": promotion.asked(missing)}, desk)
        table = {**tabulated(promotion), "missing_categories": missing}
        tables = with_table(read_tables(folder), table)
        write_aside(folder / TABLES, json.dumps({**facts, "tables": tables}, indent=2) + "\n")
    left, where, words = len(promotion.left()), address_of(folder) or folder, covered.line if covered else None
    return PromoteResult(where, facts["data"], table, missing, promotion.errors(), left, jobs, words)


def _facts(promotion: Promotion, run: Run) -> dict[str, Any]:
    """Raises UserError where the folder holds another promotion."""
    facts = {"config_hash": promotion.config.hash(), "data_hash": promotion.pack.fingerprint}
    if run.facts and any(run.facts.get(key) != value for key, value in facts.items()):
        folder = run.folder
        raise UserError(
            f"{folder} holds the promotion of another configuration or other data; move it away: mv {folder} {folder}-1"
        )
    return facts


def _work(request: PromoteRequest, promotion: Promotion, run: Run, facts: dict[str, Any], desk: Desk) -> None:
    # torch and Ray take seconds to import: not before what can be refused without them.
    prepare_environment(request.address, request.verbose)
    desk.hear(StepBegan("imports", "PyTorch and Ray"))
    from capetune.tuning.preflight import plan
    from capetune.tuning.promote import run_promotion
    from capetune.tuning.room import Room

    title = f"capetune promote {request.name}"
    tracker = request.track or run.facts.get("tracker")
    with (
        tracked(tracker, promotion.folder, desk.hear, values_of(promotion.config)) as listener,
        ray_joined(request.address, request.verbose, listener, title, AGAIN, request.cpus) as cluster,
        recorded(run, facts | {"tracker": tracker, "environment": environment()}, AGAIN, listener),
    ):
        shared = plan(cluster, request.workers, len(promotion.left()), at_once=request.at_once)
        listener(CheckPassed("cluster", shared.words))
        machines_checked(cluster, promotion.folder, promotion.pack, listener)
        room = Room(shared, cluster.token is not None, request.at_once)
        run_promotion(promotion, room, noted(promotion.folder, listener), desk.number, desk.fetch)
        if promotion.left():
            run.state = "interrupted"

"""A run's record made anew, where it was damaged, of what lies beside it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from capetune.config import load_config
from capetune.errors import UserError
from capetune.runs.checkpoints import META, CheckpointMeta, best_checkpoint, latest_checkpoint, read_meta
from capetune.runs.document import Odd, read_tree
from capetune.runs.facts import describe_protocol
from capetune.runs.home import at_work
from capetune.runs.record import CONFIG, JOURNAL, RECORD, SPACE, TABLES, Damaged, Run
from capetune.runs.registry import find_run
from capetune.runs.results import RESULTS, look_at_results, read_results, trial_folders, write_results
from capetune.service.features import FOLDER
from capetune.tuning.goal import Goal
from capetune.tuning.space_file import load_space

KEPT = f"{FOLDER}/of.json"  # as `training.features` writes it; that imports torch
DATA = ("pack", "data", "data_hash", "split", "train_instances", "missing_categories", "mp100")
TOLD = (*DATA, "goal", "mode", "protocol", "shots")  # of results.json, beside the trials
ASIDE = ".damaged"  # ends the name of what stood there before


@dataclass
class Mended:
    """run: as it is now. made: files that were made anew. lost: what nothing tells any more, each a line."""

    run: Run
    made: list[Path] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)


def mend(runs: Path, name: str) -> Mended:
    """Make a run's record anew, and a search's results.json, where they are damaged. What stood there stays beside it,
    its name ending in .damaged. Raises UserError where too little is left to tell what the run is."""
    try:
        found = find_run(runs, name)
    except Damaged:
        found = None
    with at_work(runs / name):
        mended = Mended(found) if found is not None else _record(runs / name)
        if mended.run.kind == "search":
            _results(mended)
    return mended


def _record(folder: Path) -> Mended:
    if (folder / SPACE).is_file():
        run, lost = _search(folder)
    elif (folder / TABLES).is_file():
        run, lost = _promotion(folder)
    elif any(folder.glob("split*-seed*")):
        away = f"mv {folder / RECORD} {folder / RECORD}{ASIDE}"
        raise UserError(
            f"{folder / RECORD} can't be made anew: there is no {TABLES}; move it away ({away}), and the same "
            "`capetune promote` as before goes on with the jobs there"
        )
    else:
        run, lost = _training(folder)
    first = min(file.stat().st_mtime for file in folder.rglob("*") if file.is_file())
    run.facts["started"] = datetime.fromtimestamp(first, UTC).isoformat(timespec="seconds")
    _lay_aside(folder / RECORD)
    run.save(run.state)
    lost.append("when it was started and on what machine; the date is that of its oldest file")
    return Mended(run, [folder / RECORD], lost)


def _search(folder: Path) -> tuple[Run, list[str]]:
    config = load_config("tiny", folder / CONFIG)
    space = load_space(folder / SPACE, config, begun=True)
    meta = next((found for _, found in _whole(folder)), None)
    try:
        told = read_results(folder)
    except UserError:
        told = {}
    data = told if "pack" in told else {} if meta is None else meta.data
    if "pack" not in data:
        raise _hopeless(folder, f"neither {RESULTS} nor a checkpoint says what data it ran on")
    facts: dict[str, Any] = {key: data[key] for key in DATA if key in data}
    facts |= {"config_hash": config.hash(), "space": str(folder / SPACE), **describe_protocol(config)}
    facts |= {"goal": list(space.header.metric), "mode": list(space.header.mode)}
    begun = max((number + 1 for number, _ in trial_folders(folder)), default=0)
    lost = ["--keep, --hours, --workers-per-trial and --track: give them again where they weren't the defaults"]
    if begun:
        facts["trials"] = begun
        lost.append(f"how many trials were asked for: {begun} were begun; --trials asks for more")
    if not (folder / JOURNAL).is_file():
        lost.append(f"its study: there is no {JOURNAL}; one is made anew, unless --storage names a database")
    if (folder / KEPT).is_file():
        try:
            facts["cache_features"] = int(read_tree(folder / KEPT)["copies"])
        except (Odd, KeyError, TypeError, ValueError):
            lost.append(f"how many copies its kept features are of: {folder / KEPT} is damaged")
    else:
        lost.append("whether it read kept features of a folder of yours (--features)")
    return Run(folder, "search", "interrupted", facts), lost


def _training(folder: Path) -> tuple[Run, list[str]]:
    best, last = best_checkpoint(folder), latest_checkpoint(folder)
    if best is None or last is None:
        raise _hopeless(folder, "no checkpoint says what was trained")
    meta = last[1]
    facts = {key: meta.data[key] for key in DATA if key in meta.data}
    facts |= {"config_hash": meta.config.hash(), "config": meta.config.model_dump(mode="json")}
    done = meta.epoch >= meta.config.train.epochs
    return Run(folder, "train", "completed" if done else "interrupted", facts), []


def _promotion(folder: Path) -> tuple[Run, list[str]]:
    try:
        tree = read_tree(folder / TABLES)
    except Odd as odd:
        raise _hopeless(folder, f"{TABLES} {odd}") from None
    if not isinstance(tree, dict) or not {"config_hash", "data_hash", "search"} <= tree.keys():
        raise _hopeless(folder, f"{TABLES} doesn't say what was promoted")
    facts = {key: value for key, value in tree.items() if key not in ("tables", "capetune", "kind", "state")}
    return Run(folder, "promote", "interrupted", facts), []


def _results(mended: Mended) -> None:
    """results.json of the trials' own files, where it is damaged or not there."""
    run, file = mended.run, mended.run.folder / RESULTS
    results, damaged = look_at_results(run.folder)
    mended.lost += damaged
    try:
        if read_results(run.folder) or not results:
            return
    except UserError:
        _lay_aside(file)
    config = load_config("tiny", run.folder / CONFIG)
    goal = Goal.of(load_space(run.folder / SPACE, config, begun=True).header)
    facts = {key: run.facts[key] for key in TOLD if key in run.facts} | {"goal": list(goal.metrics)}
    write_results(run.folder, config, facts, sorted(results, key=goal.place))
    mended.made.append(file)
    ended = {result.number for result in results}
    left = [str(number) for number, _ in trial_folders(run.folder) if number not in ended]
    if left:
        mended.lost.append(f"the scores of trials that haven't ended, until the search goes on: {', '.join(left)}")


def _whole(folder: Path) -> list[tuple[Path, CheckpointMeta]]:
    """Its checkpoints, without those that are damaged."""
    found = []
    for file in sorted(folder.glob(f"**/{META}")):
        try:
            found.append((file.parent, read_meta(file.parent)))
        except UserError:
            continue
    return found


def _lay_aside(file: Path) -> None:
    if file.is_file():
        os.replace(file, file.with_name(file.name + ASIDE))


def _hopeless(folder: Path, why: str) -> UserError:
    return UserError(f"{folder / RECORD} can't be made anew: {why}; move the folder away: mv {folder} {folder}-damaged")

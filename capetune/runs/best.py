"""What a search found, for what comes after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capetune.config import Config, load_config, parse_setting
from capetune.errors import UserError
from capetune.runs.document import inside
from capetune.runs.record import CONFIG, Run
from capetune.runs.results import RESULTS, may_be_best, read_results


def ranked_trial(search: Run, rank: int) -> dict:
    """The trial in that place among those with a score and over no limit, as in results.json; 1 is the best.

    Raises UserError where there are fewer, or that is damaged.
    """
    scored = [
        trial
        for trial in read_results(search.folder).get("trials", [])
        if may_be_best(trial.get("score"), trial.get("excess", {}))
    ]
    if rank > len(scored):
        raise UserError(f"{search.name} has {len(scored)} trials with a score; give --rank 1 to {len(scored)}")
    return scored[rank - 1]


def ranked_config(search: Run, rank: int, settings: Sequence[str] = ()) -> Config:
    """That trial's whole configuration, with `--set` settings over it."""
    base = load_config("tiny", search.folder / CONFIG)
    best = base.with_overrides(ranked_trial(search, rank).get("overrides", {}))
    return best.with_overrides(dict(parse_setting(text) for text in settings))


def ranked_checkpoint(search: Run, rank: int) -> Path:
    """Raises UserError where that trial's was not kept."""
    trial = ranked_trial(search, rank)
    if trial.get("checkpoint") is None:
        raise UserError(f"trial {trial.get('number')} of {search.name} kept no checkpoint: search with a larger --keep")
    return inside(search.folder, trial["checkpoint"], search.folder / RESULTS)

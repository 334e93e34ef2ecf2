"""Two results on the same pairs: is one better, or do the categories only happen to lean that way?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from capetune.errors import UserError
from capetune.evaluation.intervals import Interval, over_categories

AGAIN = "score it again with this capetune"


@dataclass(frozen=True)
class Comparison:
    """difference: mPCK4 of this result less the other's. interval: of it, `over_categories` of the categories' own
    differences, a paired bootstrap; None where they are too few. other: the file."""

    other: str
    predictor: str
    difference: float
    interval: Interval | None
    categories: int

    @property
    def sentence(self) -> str:
        way = "above" if self.difference >= 0 else "below"
        said = f"mPCK4 is {abs(self.difference):.3f} {way} that of {self.other} ({self.predictor}) on the same pairs"
        if self.interval is None:
            return f"{said}; {self.categories} categories are too few to tell whether others would agree"
        low, high = self.interval.low, self.interval.high
        found = "it is better" if low > 0 else "it is worse" if high < 0 else "no difference is shown"
        return f"{said}, 95 % interval over categories from {low:+.3f} to {high:+.3f}: {found}"

    def to_json(self) -> dict[str, Any]:
        names = {"other": self.other, "predictor": self.predictor, "difference": self.difference}
        interval = self.interval and self.interval.to_json()
        return {**names, "interval": interval, "categories": self.categories, "sentence": self.sentence}


def check_same_pairs(other: Any, source: str, pairs_hash: str, measure: str = "official") -> None:
    """other: a result's JSON, out of the file `source`. Raises UserError where it is none, is of other pairs, or has
    another measure; older results have the official one."""
    if not isinstance(other, dict) or "per_category" not in other:
        raise UserError(f"{source} is no result of an evaluation; give a file that `capetune eval --json FILE` wrote")
    theirs = other.get("pairs_hash")
    if theirs is None:
        raise UserError(f"{source} doesn't say which pairs it is of, older results don't; {AGAIN}")
    if theirs != pairs_hash:
        what = [str(other.get(name)) for name in ("split", "part", "shots", "episodes", "queries")]
        asked = "split {} {}, {} shots, {} episodes of {} queries".format(*what)
        raise UserError(
            f"{source} is of other pairs ({theirs}, {asked}) than these ({pairs_hash}): only results of the same pairs "
            f"can be compared; give the same split, part, shots, episodes, queries and data"
        )
    theirs = other.get("measure", "official")
    if theirs != measure:
        raise UserError(f"{source} is measured by --protocol {theirs}: figures of two measures can't be compared")


def compare(ours: Mapping[str, float], other: Any, source: str) -> Comparison:
    """ours: mPCK4 by category id, as text. other: JSON that `check_same_pairs` has let pass. Raises UserError where its
    categories' scores are damaged."""
    try:
        theirs = {id: float(row["mpck4"]) for id, row in other["per_category"].items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        theirs = {}
    if theirs.keys() != ours.keys() or not all(0 <= value <= 1 for value in theirs.values()):
        raise UserError(f"{source} has no mpck4 in [0, 1] of each of the {len(ours)} categories: {AGAIN}")
    differences = [ours[id] - theirs[id] for id in ours]
    mean = sum(differences) / len(differences)
    return Comparison(source, str(other.get("predictor")), mean, over_categories(differences), len(differences))

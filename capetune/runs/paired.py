"""By how much trials of several seeds differ from the default on the same seeds."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, stdev
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from capetune.runs.results import TrialResult

CONFIDENCE = 0.95


def interval(values: list[float]) -> float | None:
    """Half the width of Student's 95 % confidence interval of the mean; None of fewer than two values."""
    if len(values) < 2:
        return None
    from scipy import stats  # takes a second to import, which what is refused before needn't wait for

    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return float(quantile * stdev(values) / len(values) ** 0.5)


def differences(results: Sequence[TrialResult]) -> dict[int, tuple[float, float]]:
    """Number → the mean over seeds of a trial's score less trial 0's with the same seed, in the metric's unit, and
    half the width of its 95 % interval (Student's, of the paired differences). Only of trials that were trained to
    their end with all the seeds, two or more, that trial 0 has."""
    default = next((result.seeds for result in results if result.number == 0), [])
    found = {}
    for result in results:
        if result.number and len(result.seeds) == len(default):
            paired = [mine - base for mine, base in zip(result.seeds, default, strict=True)]
            half = interval(paired)
            if half is not None:
                found[result.number] = (fmean(paired), half)
    return found

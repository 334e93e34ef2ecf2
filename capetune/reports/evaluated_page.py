"""The report of an evaluation: one HTML page that needs no network."""

from __future__ import annotations

import json
import shlex
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from capetune.datasets.packs.reader import Pack
from capetune.errors import UserError
from capetune.evaluation.failures import COPIED, FAR, HEAP, KINDS, MISSED
from capetune.prediction.model import Model, load_best
from capetune.reports import evaluated_plots
from capetune.reports.evaluated import SIDE, Result, Shown, show
from capetune.reports.page import checked_file, filled, plotted
from capetune.reports.words import in_words
from capetune.runs.home import at_home
from capetune.runs.registry import chosen_checkpoint
from capetune.storage.scratch import named
from capetune.storage.whole import write_aside
from capetune.training.checkpoint import weights_hash

LARGEST = 24  # pixels of a picture: the radius of a place that has all the weight

TITLES = {
    "collapsed": "Collapsed to the mean",
    "copied": "Template copied",
    "exchanged": "Left and right exchanged",
    "far": "Far off",
    "near": "Not far off",
}
MEANINGS = {
    "collapsed": "The pair's predicted keypoints are a heap: their root mean square distance from their own mean is "
    f"less than {HEAP:.2f} of the true keypoints'.",
    "copied": f"The keypoint lies closer than {COPIED:g} of the box's longer side to where the template has it.",
    "exchanged": f"The keypoint lies closer than {MISSED:g} of the longer side to the truth of its counterpart on the "
    "other side. Only of categories whose keypoints' names tell left from right.",
    "far": f"The keypoint lies {FAR:g} of the longer side or more from the truth.",
    "near": f"Anything else: between {MISSED:g} and {FAR:g} of the longer side from the truth.",
}
GROUPS = {
    "best": ("Best", "The pairs with the highest mPCK4."),
    "typical": (
        "Typical",
        "Of each category the pairs at its median mPCK4; of these the ones nearest to that of all pairs.",
    ),
    "worst": ("Worst", "The pairs with the lowest mPCK4."),
    **{
        kind: (TITLES[kind], f"Pairs with the largest share of such keypoints. {MEANINGS[kind]}") for kind in KINDS[:-1]
    },
}


def write_report(
    result: Result, source: Path, pack: Pack, out: Path | None = None, model: Model | None = None
) -> list[str]:
    """Write the page beside the result or to `out`, aside and renamed. Returns what there is to say of it.

    source: the result's file. pack: what was scored. model: as in `show`. Raises UserError where these don't go
    together, or where it can't be written.
    """
    page = checked_file(out or source.with_suffix(".html"))
    content = render(result, source, show(result, source, pack, model))
    try:
        write_aside(page, named(content).encode(errors="replace"))  # a path may be no text
    except OSError as error:
        raise UserError(f"can't write the report: {error}; --out FILE puts the page elsewhere") from None
    scores = f"{result['predictor']} mPCK4 {result['mpck4']:.3f}, template {result['template']['mpck4']:.3f}"
    return [
        f"{_of(result)}: {scores} on the same {result['pairs']} pairs",
        named(f"written: {page} ({in_words(page.stat().st_size)})"),
    ]


def render(result: Result, source: Path, shown: dict[str, list[Shown]]) -> str:
    """The page. shown: by group."""
    figures = {
        "curve": evaluated_plots.curve(result),
        "categories": evaluated_plots.categories(result),
        "missed": evaluated_plots.missed(result, TITLES),
    }
    return filled(
        "evaluated.html",
        title=source.name,
        command=f"capetune report {shlex.quote(str(source))}",
        config_hash=result["config_hash"],
        result=result,
        of=_of(result),
        ahead=result["mpck4"] - result["template"]["mpck4"],
        plots={name: plotted(name, figure) for name, figure in figures.items()},
        kinds={kind: (TITLES[kind], MEANINGS[kind]) for kind in KINDS},
        groups=[(name, *GROUPS[name], shown[name]) for name in GROUPS if name in shown],
        rows=sorted(result["per_category"].items(), key=lambda row: -row[1]["mpck4"]),
        off=MISSED,
        side=SIDE,
        looks=any(each.looked is not None for group in shown.values() for each in group),
        looked=_looked,
    )


def scored_model(result: Result, ends: ExitStack) -> tuple[Model | None, list[str]]:
    """The model that was scored, to look through; where it isn't there any more, None and what there is to say. ends:
    takes what must be there to the end."""
    if result["checkpoint"] is None:
        return None, []
    try:
        checkpoint = chosen_checkpoint(ends.enter_context(at_home(result["checkpoint"])))
        if weights_hash(checkpoint) == result["weights_hash"]:
            return load_best(checkpoint), []
        why = f"{result['checkpoint']} has other weights now"
    except (UserError, OSError) as error:
        why = str(error)
    return None, [f"the page doesn't show where the model looked: {why}"]


def _looked(shown: Shown) -> str:
    """Of each keypoint that counts its name and a circle a place that it looked at: x, y, radius, x, … The area is the
    weight."""
    assert shown.looked is not None
    told = []
    for k in np.flatnonzero(shown.counts):
        x, y, weight = shown.looked[k].T
        circles = np.stack([x, y, LARGEST * np.sqrt(weight)], axis=1)
        told.append([shown.category.graph.names[k], circles.ravel().round(1).tolist()])
    return json.dumps(told, separators=(",", ":"))


def _of(result: Result) -> str:
    """What the scores are of."""
    return (
        f"split {result['split']} {result['part']}, {result['shots']}-shot, {result['protocol']}, {result['data']} data"
    )

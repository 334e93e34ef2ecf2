"""The report of a training: one HTML page that needs no network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import plotly.graph_objects as go

from capetune.errors import UserError
from capetune.reports import course_plots
from capetune.reports.course import Course, read_course
from capetune.reports.page import page_file, plotted, rendered, write_page
from capetune.reports.words import in_words
from capetune.runs.history import finished
from capetune.runs.record import TRACE, Run
from capetune.runs.times import WORDS, means
from capetune.storage.scratch import named


@dataclass(frozen=True)
class Figure:
    """name: of its element. draw: makes it; key: a metric without which there is nothing to draw."""

    name: str
    title: str
    note: str
    key: str
    draw: Callable[[Course], go.Figure]


FIGURES = (
    Figure(
        "losses",
        "Losses",
        "Means over an epoch's steps, and over the val part's pairs.",
        "train_loss",
        course_plots.losses,
    ),
    Figure(
        "components",
        "Losses by component",
        "Tokens: which token comes next, the paper's class loss. Coordinates: how far from the truth, in the crop's "
        "sides. Both of the last layer, before their weights.",
        "train_tokens",
        course_plots.components,
    ),
    Figure(
        "pck",
        "PCK",
        "Of the val part's pairs, generated after each epoch. Teacher-forced, where every keypoint before the one "
        "being written is the true one, is no performance.",
        "mpck4",
        course_plots.pck,
    ),
    Figure(
        "rate",
        "Learning rate",
        "Of each epoch's last step; the backbone learns at its own share of it.",
        "learning_rate",
        course_plots.rates,
    ),
    Figure(
        "seconds",
        "Where the time went",
        "Of the first worker. One that is slower makes the others wait in their backward pass, where gradients are "
        "exchanged. An upload goes on beside the next epoch: what counts is the wait for it.",
        "seconds_steps",
        course_plots.seconds_an_epoch,
    ),
)


def write_report(run: Run, out: Path | None = None) -> list[str]:
    """Write the page into the run's folder or to `out`, aside and renamed. Returns what there is to say of it.

    Raises UserError where no epoch has ended, or where it can't be written.
    """
    page, course = page_file(run, out), read_course(run)
    kept = {figure.key for figure in FIGURES if any(figure.key in row for row in course.history)}
    try:
        write_page(page, run, render(course, kept))
    except OSError as error:
        raise UserError(f"can't write the report: {error}; --out FILE puts the page elsewhere") from None
    done, best = finished(course.history), course.best
    lines = [f"{run.name}: {course.state}, {done} of {course.epochs or '?'} epochs have ended"]
    if best is not None:
        beside = "" if course.template is None else f", template {course.template:.3f} on the same pairs"
        lines.append(f"best: epoch {best['epoch']:.0f}, val mPCK4 {best['mpck4']:.3f}{beside}")
    lines += [f"not drawn: {figure.title}: the history doesn't tell" for figure in FIGURES if figure.key not in kept]
    return [*lines, named(f"written: {page} ({in_words(page.stat().st_size)})")]


def render(course: Course, kept: set[str]) -> str:
    """The page. kept: keys that the history has."""
    best, template, where = course.best, course.template, means(course.history)
    return rendered(
        "training.html",
        course.run,
        course=course,
        best=best,
        ahead=None if best is None or template is None else best["mpck4"] - template,
        done=finished(course.history),
        figures=[
            (figure, plotted(figure.name, figure.draw(course)) if figure.key in kept else "") for figure in FIGURES
        ],
        parts=[(WORDS[part], taken, taken / max(sum(where.values()), 1e-9)) for part, taken in where.items()],
        trace=TRACE,
    )

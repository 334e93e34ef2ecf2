"""The report of a search: one HTML page that needs no network, and its figures as PNG."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path

from capetune.errors import UserError
from capetune.reports.ablation import ablation_rows, beside_default
from capetune.reports.agreement import agreements
from capetune.reports.earlier import earlier_lines
from capetune.reports.marks import STATES
from capetune.reports.page import FIGURES, page_file, plotted, rendered, write_page
from capetune.reports.panels import Panel, panels
from capetune.reports.pictures import paint
from capetune.reports.plots import draw
from capetune.reports.quiet import quiet
from capetune.reports.regret import cost
from capetune.reports.story import Row, Story, read_story
from capetune.runs.record import Run
from capetune.runs.results import UNSCORED, trial_rows
from capetune.storage.whole import write_aside

ROWS, TOLD = 1000, 50  # trials in the page's table; failures, twins and starts with a word of their own
CAUSES = {
    "lost": "its process was lost",
    "went on": "the search was cut off and went on",
    "either": "its process was lost, or the search was cut off and went on",
}


@dataclass(frozen=True)
class Report:
    """What was written. figures: drawn ones. missing: title → why, of those that couldn't be drawn."""

    page: Path
    figures: list[Path]
    missing: dict[str, str]
    story: Story


def write_report(run: Run, out: Path | None = None) -> Report:
    """Write the page into the run's folder or to `out`, and the PNGs into the run's folder, each aside and renamed.

    Raises UserError where no trial has ended, or where these can't be written.
    """
    page = page_file(run, out)
    drawn: list[tuple[Panel, str]] = []
    files: list[Path] = []
    try:
        with quiet():
            story = read_story(run)
            (run.folder / FIGURES).mkdir(exist_ok=True)
            for panel in panels(story):
                file = run.folder / FIGURES / f"{panel.name}.png"
                panel, plot, picture = _drawn(panel, story)
                drawn.append((panel, plot))
                if picture is None:
                    file.unlink(missing_ok=True)  # of an earlier report
                else:
                    write_aside(file, picture)
                    files.append(file)
            write_page(page, run, render(story, drawn))
    except OSError as error:
        raise UserError(f"can't write the report: {error}; --out FILE puts the page elsewhere") from None
    return Report(page, files, {panel.title: panel.why for panel, _ in drawn if panel.why}, story)


def _drawn(panel: Panel, story: Story) -> tuple[Panel, str, bytes | None]:
    """The panel, its plot as HTML and its PNG; where it can't be drawn, the panel says why."""
    if panel.why:
        return panel, "", None
    try:
        plot = plotted(panel.name, draw(panel, story))
        return panel, plot, paint(panel, story)
    except Exception as error:  # a figure that Optuna can't make of odd data shall not cost the whole report
        return replace(panel, why=f"it can't be drawn: {type(error).__name__}: {error}"), "", None


def render(story: Story, drawn: list[tuple[Panel, str]]) -> str:
    """The page. drawn: each panel with its plot as HTML."""
    best, facts = story.best, story.run.facts
    trials = trial_rows(sorted(story.results, key=story.goal.place))
    counts = Counter(row.state for row in story.rows)
    metrics = list(dict.fromkeys([*story.goal.metrics, "mpck4"]))
    best_mpck4 = None if best is None else best.metrics.get("mpck4")
    return rendered(
        "search.html",
        story.run,
        story=story,
        agreements=agreements(story),
        cost=cost(story),
        causes=CAUSES,
        best=best,
        goes_on=story.open or len(story.rows) < facts.get("trials", 0),
        ahead=None if best_mpck4 is None or story.template is None else best_mpck4 - story.template,
        front=_front(story),
        counts={state: counts[state] for state in STATES if counts[state]},
        default=next((row for row in story.rows if row.number == 0 and row is not best), None),
        panels=drawn,
        metrics=metrics,
        columns=list(dict.fromkeys([*metrics, "template_mpck4", "pck_0.2"])),
        rows=story.rows[:ROWS],
        told=TOLD,
        shown=ROWS,
        failures=[row for row in story.rows if row.state in UNSCORED],
        earlier=earlier_lines(
            story.run.folder, facts, story.goal, None if best is None else best.metrics[story.goal.metric]
        ),
        twins=[row for row in story.rows if row.twin is not None],
        ablation=ablation_rows(trials, story.goal.metric, story.goal.modes[0]),
        beside=beside_default(trials, story.goal.metric) if len(story.goal.metrics) == 1 else None,
        kept=sum(row.size for row in story.rows),
        seconds=sum(row.seconds for row in story.rows),
    )


def _front(story: Story) -> list[Row]:
    """Of two metrics, the trials that no other beats in both; none of one metric."""
    if len(story.goal.metrics) < 2:
        return []
    numbers = story.goal.front(
        {row.number: row.metrics for row in story.rows if row.state == "completed" and not row.over}
    )
    return [row for row in story.rows if row.number in numbers]

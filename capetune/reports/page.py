"""What pages of every kind have in common: one HTML file that needs no network."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
import plotly.io
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from plotly.offline import get_plotlyjs

from capetune.datasets.mp100.catalogue import Coverage
from capetune.errors import UserError
from capetune.reports.words import clock, in_words, share, short
from capetune.runs.commands import again
from capetune.runs.copy import carry
from capetune.runs.facts import environment
from capetune.runs.metrics import title as metric_title
from capetune.runs.record import Run
from capetune.storage.scratch import named
from capetune.storage.whole import write_aside

PAGE, FIGURES = "report.html", "figures"
# A page that asks the network for anything breaks its own rules, and the browser's console says so.
RULES = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
CONFIG = {
    "displaylogo": False,
    "responsive": True,
    "showSendToCloud": False,  # else each figure has a button that uploads it
    "modeBarButtonsToRemove": ["select2d", "lasso2d"],
}


def page_file(run: Run, out: Path | None) -> Path:
    """Where a run's page goes: into its folder, or to `out`. Raises UserError where it can't."""
    return checked_file(out or run.folder / PAGE)


def checked_file(page: Path) -> Path:
    """Raises UserError where a page can't go there."""
    if page.is_dir():
        raise UserError(f"{page} is a folder; give --out a file, such as {page / PAGE}")
    if not page.parent.is_dir():
        raise UserError(f"can't write {page}: give --out a file in a folder that exists")
    return page


def plotted(name: str, figure: go.Figure) -> str:
    """A figure as HTML, whose element's id is plot-NAME."""
    return plotly.io.to_html(figure, config=CONFIG, include_plotlyjs=False, full_html=False, div_id=f"plot-{name}")


def rendered(template: str, run: Run, **told: Any) -> str:
    """A run's page. told: what the template wants to know beside the run, its facts and its environment."""
    return filled(
        template,
        title=run.name,
        command=again("report", run=run.folder),
        config_hash=run.facts.get("config_hash"),
        run=run,
        facts=run.facts,
        again=partial(again, run=run.folder),
        missing={part: names for part, names in run.facts.get("missing_categories", {}).items() if names},
        mp100=Coverage.of_json(run.facts["mp100"]).line if "mp100" in run.facts else None,
        environment=run.facts.get("environment") or environment(),
        recorded="environment" in run.facts,
        **told,
    )


def filled(template: str, *, title: str, command: str, config_hash: str | None, drawn: bool = True, **told: Any) -> str:
    """A page. template: of this folder. command: what makes it, as it is typed. drawn: whether it has figures. told:
    what the template wants to know beside these."""
    loader = FileSystemLoader(Path(__file__).parent)
    pages = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    pages.filters |= {"clock": clock, "share": share, "short": short, "metric": metric_title, "bytes": in_words}
    return pages.get_template(template).render(
        rules=RULES,
        plotly=get_plotlyjs() if drawn else "",
        title=title,
        command=command,
        config_hash=config_hash or "",
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        **told,
    )


def write_page(page: Path, run: Run, content: str) -> None:
    """Write it aside and rename it; where the run's folder is a copy, page and figures go to its address. Raises
    OSError."""
    write_aside(page, named(content).encode(errors="replace"))  # a path may be no text
    carry(run.folder, lambda name: name.startswith(f"{FIGURES}/") or name == PAGE)

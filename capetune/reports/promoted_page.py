"""The report of a promotion: one HTML page that needs no network."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from capetune.errors import UserError
from capetune.reports import promoted_plots
from capetune.reports.page import page_file, plotted, rendered, write_page
from capetune.reports.promoted import Promoted, read_promoted
from capetune.reports.words import in_words
from capetune.runs.record import Run
from capetune.storage.scratch import named

STATES = ("ended", "running", "scoring", "waiting", "unfinished", "failed")


def write_report(run: Run, out: Path | None = None) -> list[str]:
    """Write the page into the run's folder or to `out`, aside and renamed. Returns what there is to say of it.

    Raises UserError where no job has begun, or where it can't be written.
    """
    page, promoted = page_file(run, out), read_promoted(run)
    try:
        write_page(page, run, render(promoted))
    except OSError as error:
        raise UserError(f"can't write the report: {error}; --out FILE puts the page elsewhere") from None
    ended = sum(job.state == "ended" for job in promoted.jobs)
    lines = [f"{run.name}: {promoted.state}, {ended} of {len(promoted.jobs)} jobs have ended"]
    for protocol in promoted.protocols:
        for shots in promoted.shots(protocol):
            mean = promoted.of_all(protocol, shots)
            assert mean is not None
            spread = "" if mean.deviation is None else f" ± {mean.deviation:.3f}"
            score = f"mPCK4 {mean.mpck4:.3f}{spread}, template {mean.template:.3f} on the same pairs"
            lines.append(f"{shots} shot{'s' * (shots > 1)}, {promoted.words(protocol)}: {score}")
    return [*lines, named(f"written: {page} ({in_words(page.stat().st_size)})")]


def render(promoted: Promoted) -> str:
    """The page."""
    counts = Counter(job.state for job in promoted.jobs)
    draws = {"courses": promoted_plots.courses, "seconds": promoted_plots.seconds_a_job}
    trained = any(job.history for job in promoted.jobs)
    return rendered(
        "promotion.html",
        promoted.run,
        promoted=promoted,
        counts={state: counts[state] for state in STATES if counts[state]},
        tables=[
            (protocol, plotted(f"scores-{number}", promoted_plots.scores(promoted, protocol)))
            for number, protocol in enumerate(promoted.protocols, 1)
        ],
        plots={name: plotted(name, draw(promoted)) if trained else "" for name, draw in draws.items()},
        data=sorted({score.data for job in promoted.jobs for score in job.scores.values()}),
        failures=[job for job in promoted.jobs if job.state == "failed"],
    )

"""The figures of a promotion's report: scores beside the template's, learning curves, and where the time went."""

from __future__ import annotations

import plotly.graph_objects as go

from capetune.reports.course_plots import FEW, seconds
from capetune.reports.look import INK, dressed
from capetune.reports.promoted import Promoted, Protocol
from capetune.runs.times import means

COLOURS = ("#2563c9", "#c2570c", "#15803d", "#8d6cc7", "#b0276a")


def scores(promoted: Promoted, protocol: Protocol) -> go.Figure:
    """A point a job on its split, and the template's on the same pairs, of each number of shots."""
    figure = go.Figure()
    for shots, colour in zip(promoted.shots(protocol), COLOURS * 20, strict=False):
        jobs = [job for job in promoted.jobs if (protocol, shots) in job.scores]
        x = [f"split {job.split}, {shots}-shot" for job in jobs]
        found = [job.scores[protocol, shots] for job in jobs]
        figure.add_scatter(
            x=x,
            y=[score.template for score in found],
            name="template",
            legendgroup="template",
            showlegend=not figure.data,
            mode="markers",
            marker={"symbol": "line-ew", "size": 26, "color": INK, "line": {"width": 2, "color": INK}},
            hovertemplate="%{x}, template: %{y:.4f}<extra></extra>",
        )
        figure.add_scatter(
            x=x,
            y=[score.mpck4 for score in found],
            customdata=[job.seed for job in jobs],
            name=f"{shots} shot{'s' * (shots > 1)}",
            mode="markers",
            marker={"size": 10, "color": colour, "opacity": 0.75},
            hovertemplate="%{x}, seed %{customdata}: %{y:.4f}<extra></extra>",
        )
    order = [f"split {split}, {shots}-shot" for split in promoted.splits() for shots in promoted.shots(protocol)]
    figure.update_xaxes(type="category", categoryorder="array", categoryarray=order)
    figure.update_layout(yaxis_title="mPCK4 on test")
    return dressed(figure, legend=True)


def courses(promoted: Promoted) -> go.Figure:
    """Every job's validation mPCK4 after each epoch, a colour a split."""
    figure, shown = go.Figure(), set()
    for job in promoted.jobs:
        rows = [row for row in job.history if "mpck4" in row]
        if rows:
            figure.add_scatter(
                x=[int(row["epoch"]) for row in rows],
                y=[row["mpck4"] for row in rows],
                name=f"split {job.split}",
                legendgroup=str(job.split),
                showlegend=job.split not in shown,
                mode="lines",
                line={"color": COLOURS[(job.split - 1) % len(COLOURS)], "width": 2},
                opacity=0.75,
                hovertemplate=f"{job.name}, epoch %{{x}}: %{{y:.4f}}<extra></extra>",
            )
            shown.add(job.split)
    figure.update_layout(xaxis_title="epoch", yaxis_title="validation mPCK4")
    figure.update_xaxes(dtick=1 if max((job.epochs for job in promoted.jobs), default=0) <= FEW else None)
    return dressed(figure, legend=True)


def seconds_a_job(promoted: Promoted) -> go.Figure:
    """Where an epoch's time went, of each job."""
    return seconds({job.name: found for job in promoted.jobs if (found := means(job.history))}, "job")

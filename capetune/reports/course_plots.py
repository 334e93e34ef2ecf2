"""The figures of a training's report: losses and PCK an epoch, the rate, and where the time went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from capetune.reports.course import Course, Epoch
from capetune.reports.look import ACCENT, GREEN, GREY, INK, dressed
from capetune.runs.metrics import title
from capetune.runs.times import WORDS, parts

VAL = "#c2570c"  # beside ACCENT for training
# Learning in blues, waiting in warm colours.
COLOURS = {
    "data": "#c02a2a",
    "copy": "#e08a3c",
    "forward": "#9dbdf0",
    "backward": "#5f8fe0",
    "optimiser": "#2a4f96",
    "step": "#5f8fe0",
    "other": "#b4b9c4",
    "validation": "#4fa36a",
    "checkpoint": "#8d6cc7",
    "upload": "#d06aa8",
}
FEW = 20  # epochs that each get a tick, and a marker


def losses(course: Course) -> go.Figure:
    """The paper's figure 1."""
    figure = go.Figure()
    for part, colour in (("train", ACCENT), ("val", VAL)):
        _line(figure, course.history, f"{part}_loss", {"train": "training", "val": "validation"}[part], colour)
    figure.update_layout(yaxis_title="loss")
    return _by_epoch(figure, course)


def components(course: Course) -> go.Figure:
    """The paper's figure 2: of tokens (its class loss) and of coordinates."""
    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08)
    for row, name in enumerate(("tokens", "coordinates"), 1):
        for part, colour in (("train", ACCENT), ("val", VAL)):
            words = {"train": "training", "val": "validation"}[part]
            trace = _trace(course.history, f"{part}_{name}", words, colour)
            figure.add_trace(trace.update(showlegend=row == 1, legendgroup=part), row=row, col=1)
        figure.update_yaxes(title_text=name, row=row, col=1)
    dressed(figure, legend=True).update_layout(height=520)
    figure.update_xaxes(title_text="epoch", row=2, col=1)
    return figure.update_xaxes(dtick=1 if len(course.history) <= FEW else None)


def pck(course: Course) -> go.Figure:
    """mPCK4 and what it is a mean of, with the template's."""
    figure = go.Figure()
    _line(figure, course.history, "pck_0.2", title("pck_0.2"), GREY)
    _line(figure, course.history, "pck_0.05", title("pck_0.05"), GREY, dash="dash")
    _line(figure, course.history, "forced_mpck4", "mPCK4, teacher-forced", ACCENT, dash="dash")
    _line(figure, course.history, "mpck4", "mPCK4", GREEN, width=3)
    _line(figure, course.history, "template_mpck4", "the template's mPCK4", INK, dash="dot")
    if course.best is not None:
        figure.add_scatter(
            x=[course.best["epoch"]],
            y=[course.best["mpck4"]],
            name="best epoch",
            mode="markers",
            marker={"symbol": "star", "size": 14, "color": GREEN},
            hovertemplate="best: epoch %{x}, mPCK4 %{y:.4f}<extra></extra>",
        )
    figure.update_layout(yaxis_title="share of the val part's keypoints")
    return _by_epoch(figure, course)


def rates(course: Course) -> go.Figure:
    """The learning rate of each epoch's last step."""
    figure = go.Figure()
    _line(figure, course.history, "learning_rate", "learning rate", ACCENT)
    figure.update_layout(yaxis_title="learning rate", yaxis_exponentformat="power")
    return _by_epoch(figure, course, legend=False)


def seconds(rows: Mapping[str, Mapping[str, float]], what: str) -> go.Figure:
    """Stacked bars of seconds by part. rows: each bar's label, and what `times.parts` says of it. what: labels are."""
    figure = go.Figure()
    for part, words in WORDS.items():
        if any(row.get(part, 0.0) > 0 for row in rows.values()):
            figure.add_bar(
                x=list(rows),
                y=[row.get(part, 0.0) for row in rows.values()],
                name=words,
                marker_color=COLOURS[part],
                hovertemplate=f"{what} %{{x}}, {words}: %{{y:.3g}} s<extra></extra>",
            )
    figure.update_layout(barmode="stack", bargap=0.25 if len(rows) <= FEW else 0.05)
    figure.update_layout(xaxis_title=what, yaxis_title="seconds an epoch")
    figure.update_xaxes(type="category", nticks=FEW)
    return dressed(figure, legend=True).update_layout(legend_traceorder="normal")


def seconds_an_epoch(course: Course) -> go.Figure:
    """Where the time of each epoch went."""
    return seconds({f"{row['epoch']:.0f}": parts(row) for row in course.history}, "epoch")


def _line(figure: go.Figure, history: Sequence[Epoch], key: str, name: str, colour: str, **line: object) -> None:
    if any(key in row for row in history):
        figure.add_trace(_trace(history, key, name, colour, **line))


def _trace(history: Sequence[Epoch], key: str, name: str, colour: str, **line: object) -> go.Scatter:
    rows = [row for row in history if key in row]
    return go.Scatter(
        x=[int(row["epoch"]) for row in rows],
        y=[row[key] for row in rows],
        name=name,
        mode="lines+markers" if len(rows) <= FEW else "lines",
        line={"color": colour, "width": 2, **line},
        hovertemplate=f"epoch %{{x}}, {name}: %{{y:.4g}}<extra></extra>",
    )


def _by_epoch(figure: go.Figure, course: Course, legend: bool = True) -> go.Figure:
    figure.update_layout(xaxis_title="epoch")
    figure.update_xaxes(dtick=1 if len(course.history) <= FEW else None)
    return dressed(figure, legend=legend)

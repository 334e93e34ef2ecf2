"""The report's figures for a browser: Optuna's own, dressed alike, and the learning curves."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go
from optuna import visualization as optuna_plots
from plotly.colors import label_rgb, sequential, unlabel_rgb

from capetune.reports.look import ACCENT, GREEN, GREY, INK, dressed
from capetune.reports.marks import BROKEN, STATES, curves, pruned
from capetune.reports.panels import Panel
from capetune.reports.regret import regret
from capetune.reports.story import Story
from capetune.runs.metrics import title

TICKS = [digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5)]
WORDS = [f"{tick:g}" for tick in TICKS]
FAINT = (
    0.68,
    0.78,
    0.9,
)  # of the palest blue, which Optuna takes for its poorest trials, is left to stand out on white


def draw(panel: Panel, story: Story) -> go.Figure:
    """panel: one that can be drawn. Raises what Optuna does where it finds that it can't."""
    study: Any = panel.study
    match panel.kind:
        case "curves":
            figure = _curves(panel, story)
        case "history":
            figure = _history(panel, story)
        case "regret":
            figure = _regret(panel, story)
        case "importances":
            figure = optuna_plots.plot_param_importances(study, target_name=panel.score)
            figure.update_traces(marker_color=ACCENT)
            figure.update_layout(xaxis_title=f"importance for {panel.score}", yaxis_title=None)
        case "parallel":
            figure = optuna_plots.plot_parallel_coordinate(study, target_name=panel.score)
            figure.for_each_trace(lambda line: line.update(line_color=_deeper(line.line.color)), {"mode": "lines"})
            figure.update_traces(line_width=2, opacity=0.85, selector={"mode": "lines"})
            figure.update_traces(marker_colorscale=_blues(), selector={"mode": "markers"})
            figure.update_traces(marker_colorbar_title=title(panel.metric), selector={"mode": "markers"})
            figure.update_annotations(font={"size": 11, "color": INK})
        case "slices":
            params = list(panel.parameters)
            figure = optuna_plots.plot_slice(study, params=params, target_name=panel.score)
            figure.update_traces(marker={"size": 9, "colorscale": _blues()})
            figure.for_each_xaxis(lambda axis: axis.update(tickvals=TICKS, ticktext=WORDS), {"type": "log"})
        case "front":
            names = [title(metric) for metric in story.goal.metrics]
            figure = optuna_plots.plot_pareto_front(study, target_names=names)
            figure.update_traces(marker={"size": 9, "color": GREY, "showscale": False}, showlegend=True, name="trial")
            figure.update_traces(marker_color=GREEN, name="on the front", selector=-1)
    return dressed(figure, legend=panel.kind in ("curves", "history", "front"))


def _curves(panel: Panel, story: Story) -> go.Figure:
    figure = go.Figure()
    shown: set[str] = set()
    for row, epochs, scores in curves(story, panel.metric):
        best = story.best is row
        name = f"best: trial {row.number}" if best else row.state
        figure.add_scatter(
            x=epochs,
            y=scores,
            name=name,
            legendgroup=name,
            legendrank=1 if best else 1000,
            showlegend=name not in shown,
            mode="lines+markers",
            line={"color": GREEN if best else STATES[row.state], "width": 3 if best else 1.5}
            | ({"dash": "dot"} if row.state in BROKEN else {}),
            marker={"size": 7 if best else 5},
            opacity=1 if best else 0.65,
            zorder=1 if best else 0,
            hovertemplate=f"trial {row.number}, epoch %{{x}}: %{{y:.4f}}<extra>{row.state}</extra>",
        )
        shown.add(name)
    small = {"color": GREY, "size": 11}
    for epoch in story.rungs:
        figure.add_vline(epoch, line={"color": GREY, "dash": "dash", "width": 1})
        figure.add_annotation(
            x=epoch, y=0, yref="paper", xanchor="left", yanchor="bottom", text="rung", showarrow=False, font=small
        )
    _template(figure, panel, story)
    figure.update_layout(xaxis_title="epoch", yaxis_title=f"validation {title(panel.metric)}")
    figure.update_xaxes(dtick=1 if max(row.epochs for row in story.rows) <= 20 else None)
    return figure


def _history(panel: Panel, story: Story) -> go.Figure:
    study: Any = panel.study
    figure = optuna_plots.plot_optimization_history(study, target_name=title(panel.metric))
    figure.update_traces(marker={"size": 9, "color": ACCENT}, selector={"mode": "markers"})
    figure.update_traces(name="best so far", line={"color": GREEN, "shape": "hv"}, selector={"mode": "lines"})
    figure.data[0].name = "trained to the end"
    rows = pruned(story, panel.metric)
    if rows:
        figure.add_scatter(
            x=[row.number for row in rows],
            y=[row.metrics[panel.metric] for row in rows],
            customdata=[row.epochs for row in rows],
            mode="markers",
            name="pruned",
            marker={"symbol": "circle-open", "size": 9, "color": GREY, "line": {"width": 1.5}},
            hovertemplate="trial %{x}, pruned after epoch %{customdata}: %{y:.4f}<extra></extra>",
        )
    _template(figure, panel, story)
    figure.update_layout(xaxis_title="trial", yaxis_title=title(panel.metric))
    figure.update_xaxes(dtick=1 if len(story.rows) <= 20 else None)
    return figure


def _regret(panel: Panel, story: Story) -> go.Figure:
    found = regret(story, story.goal.metrics.index(panel.metric))
    assert found is not None
    figure = go.Figure()
    figure.add_scatter(
        x=[*found.at, found.spent],
        y=[*found.short, 0.0],
        mode="lines",
        line={"color": GREEN, "width": 2, "shape": "hv"},
        hovertemplate="epoch %{x}: %{y:.4f} short<extra></extra>",
    )
    for at, words in found.marks:
        figure.add_vline(at, line={"color": GREY, "dash": "dash", "width": 1}, annotation={"text": words})
        figure.update_annotations(font={"size": 11, "color": GREY})
    figure.update_layout(xaxis_title="epochs of all trials", yaxis_title=f"{title(panel.metric)} short of the best")
    figure.update_xaxes(range=[0, found.spent * 1.02])
    return figure


def _template(figure: go.Figure, panel: Panel, story: Story) -> None:
    """The template's mPCK4 beside the trials'."""
    if panel.metric == "mpck4" and story.template is not None:
        figure.add_hline(
            story.template,
            line={"color": INK, "dash": "dot", "width": 1},
            annotation={"text": f"template {story.template:.3f}", "font": {"size": 11, "color": INK}},
            annotation_position="bottom right",
        )


def _deeper(colour: str) -> str:
    return label_rgb([round(part * left) for part, left in zip(unlabel_rgb(colour), FAINT, strict=True)])


def _blues() -> list[str]:
    return [_deeper(colour) for colour in sequential.Blues]

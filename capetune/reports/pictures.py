"""The report's figures as PNG, for slides and papers; no browser is needed."""

from __future__ import annotations

import io
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.category import StrCategoryFormatter
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator
from optuna.visualization import matplotlib as optuna_plots

from capetune.reports.look import ACCENT, GREEN, GREY, INK
from capetune.reports.marks import BROKEN, STATES, curves, pruned
from capetune.reports.panels import Panel
from capetune.reports.quiet import quiet
from capetune.reports.regret import regret
from capetune.reports.story import Story
from capetune.runs.metrics import title

SIZE, DPI = (9.0, 4.5), 150  # inches, dots an inch


def paint(panel: Panel, story: Story) -> bytes:
    """A PNG. panel: one that can be drawn. Raises what Optuna does where it finds that it can't."""
    plt.switch_backend("agg")  # no window, whatever the machine has
    with quiet(), plt.rc_context({"text.parse_math": False}):  # a $ in a value is no formula
        try:
            figure = _figure(panel, story)
            figure.set_size_inches(*SIZE)
            # Of parallel axes, Optuna's colour bar divides its room in a way that `constrained` can't work with.
            figure.set_layout_engine("tight" if panel.kind == "parallel" else "constrained")
            content = io.BytesIO()
            figure.savefig(content, format="png", dpi=DPI, facecolor="white")
        finally:
            plt.close("all")
    return content.getvalue()


def _figure(panel: Panel, story: Story) -> Figure:
    study: Any = panel.study
    axes: Any
    match panel.kind:
        case "curves":
            axes = _curves(panel, story)
        case "history":
            axes = _history(panel, story)
        case "regret":
            axes = _regret(panel, story)
        case "importances":
            axes = optuna_plots.plot_param_importances(study, target_name=panel.score)
            axes.set(xlabel=f"importance for {panel.score}", ylabel="")
            axes.get_legend().remove()
        case "parallel":
            axes = optuna_plots.plot_parallel_coordinate(study, target_name=panel.score)
            _deepen(axes)
            for axis in axes.figure.axes:
                axis.tick_params("y", labelsize=8)  # values in words shall not reach the next axis
        case "slices":
            axes = optuna_plots.plot_slice(study, params=list(panel.parameters), target_name=panel.score)
            _deepen(*np.atleast_1d(axes))
            for each in np.atleast_1d(axes):
                if isinstance(each.xaxis.get_major_formatter(), StrCategoryFormatter):
                    each.tick_params("x", rotation=20)
                    plt.setp(each.get_xticklabels(), ha="right", rotation_mode="anchor")
        case "front":
            names = [title(metric) for metric in story.goal.metrics]
            axes = optuna_plots.plot_pareto_front(study, target_names=names)
            axes.collections[0].set(color=GREY, label="trial")
            axes.collections[-1].set(color=GREEN, label="on the front")
            _legend(axes)
    return _named(axes, panel.title)


def _named(axes: Any, name: str) -> Figure:
    """axes: one or several of a figure. They give up Optuna's title for the report's."""
    figure = np.atleast_1d(axes).flat[0].figure
    for each in figure.axes:
        each.set_title("", loc="left")
        each.set_title("")
        for axis in (each.xaxis, each.yaxis):
            if axis.get_scale() == "log":
                axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axis.set_major_formatter("{x:g}")
                axis.set_minor_formatter("")
    figure.suptitle(name, fontsize=12)
    return figure


def _curves(panel: Panel, story: Story) -> Any:
    plt.style.use("ggplot")  # as Optuna does
    _, axes = plt.subplots()
    shown: set[str] = set()
    for row, epochs, scores in curves(story, panel.metric):
        best = story.best is row
        name = f"best: trial {row.number}" if best else row.state
        axes.plot(
            epochs,
            scores,
            marker="o",
            markersize=5 if best else 3,
            color=GREEN if best else STATES[row.state],
            linewidth=2.5 if best else 1.2,
            linestyle=":" if row.state in BROKEN else "-",
            alpha=1 if best else 0.65,
            label="_" if name in shown else name,
        )
        shown.add(name)
    for place, epoch in enumerate(story.rungs):
        axes.axvline(epoch, color=GREY, linestyle="--", linewidth=1, label="_" if place else "rung")
    _template(axes, panel, story)
    axes.set(xlabel="epoch", ylabel=f"validation {title(panel.metric)}")
    return _legend(axes)


def _history(panel: Panel, story: Story) -> Any:
    study: Any = panel.study
    axes: Any = optuna_plots.plot_optimization_history(study, target_name=title(panel.metric))
    axes.get_legend().remove()
    axes.collections[0].set(label="trained to the end", color=ACCENT)
    axes.lines[0].set(label="best so far", color=GREEN, drawstyle="steps-post", alpha=1)
    rows = pruned(story, panel.metric)
    if rows:
        scores = [row.metrics[panel.metric] for row in rows]
        axes.scatter([row.number for row in rows], scores, facecolors="none", edgecolors=GREY, label="pruned")
    _template(axes, panel, story)
    axes.set_xlabel("trial")
    return _legend(axes)


def _regret(panel: Panel, story: Story) -> Any:
    found = regret(story, story.goal.metrics.index(panel.metric))
    assert found is not None
    plt.style.use("ggplot")
    _, axes = plt.subplots()
    axes.step([*found.at, found.spent], [*found.short, 0.0], where="post", color=GREEN)
    for at, words in found.marks:
        axes.axvline(at, color=GREY, linestyle="--", linewidth=1)
        axes.annotate(words, (at, 1), xycoords=("data", "axes fraction"), ha="right", va="top", fontsize=8, color=GREY)
    axes.set(xlabel="epochs of all trials", ylabel=f"{title(panel.metric)} short of the best", xlim=(0, None))
    return axes


def _template(axes: Any, panel: Panel, story: Story) -> None:
    if panel.metric == "mpck4" and story.template is not None:
        axes.axhline(story.template, color=INK, linestyle=":", linewidth=1, label=f"template {story.template:.3f}")


def _legend(axes: Any) -> Any:
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False)
    return axes


def _deepen(*several: Any) -> None:
    """Optuna's blues begin at white, which its poorest trials would have."""
    for axes in several:
        for marks in axes.collections:
            if (scale := marks.get_cmap()).name.startswith("Blues"):
                low, high = (0.0, 0.7) if scale.name.endswith("_r") else (0.3, 1.0)
                marks.set_cmap(LinearSegmentedColormap.from_list("deeper", scale(np.linspace(low, high, 64))))

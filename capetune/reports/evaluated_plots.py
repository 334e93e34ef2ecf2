"""The figures of an evaluation's report: the PCK curve, bars by category, and what was missed by kind."""

from __future__ import annotations

from collections.abc import Mapping

import plotly.graph_objects as go

from capetune.reports.evaluated import Result
from capetune.reports.look import ACCENT, GREY, INK, RED, dressed

ROW, EDGES = 22, 110  # pixels of a category's bar, and of what is around them


def curve(result: Result) -> go.Figure:
    """PCK at every threshold, the template's beside it."""
    curves = result["curves"]
    lines = [(result["predictor"], curves["predictor"], {"color": ACCENT, "width": 3})]
    if result["predictor"] != "template":
        lines.append(("template", curves["template"], {"color": INK, "width": 2, "dash": "dot"}))
    figure = go.Figure()
    for name, values, line in lines:
        figure.add_scatter(
            x=curves["threshold"],
            y=values,
            name=name,
            mode="lines",
            line=line,
            hovertemplate=f"{name}: PCK@%{{x:.2f}} %{{y:.3f}}<extra></extra>",
        )
    figure.update_layout(xaxis_title="threshold, of the box's longer side", yaxis_title="PCK")
    return dressed(figure, legend=True).update_yaxes(range=[0, 1])


def categories(result: Result) -> go.Figure:
    """mPCK4 of every category, the best on top, with a mark where the template's is."""
    rows = sorted(result["per_category"].items(), key=lambda row: row[1]["mpck4"])
    names = [row["name"] if len(row["name"]) <= 24 else f"{row['name'][:23]}…" for _, row in rows]
    places = list(range(len(rows)))  # two categories may share a name
    ahead = [row["mpck4"] >= row["template"]["mpck4"] for _, row in rows]
    figure = go.Figure()
    figure.add_bar(
        x=[row["mpck4"] for _, row in rows],
        y=places,
        orientation="h",
        name=result["predictor"],
        marker_color=[ACCENT if better else RED for better in ahead],
        customdata=[[row["name"].replace("<", "&lt;"), id] for id, row in rows],
        hovertemplate="%{customdata[0]} (%{customdata[1]}): mPCK4 %{x:.3f}<extra></extra>",
    )
    figure.add_scatter(
        x=[row["template"]["mpck4"] for _, row in rows],
        y=places,
        name="template",
        mode="markers",
        marker={"symbol": "line-ns", "size": 14, "line": {"width": 3, "color": INK}},
        hovertemplate="template: mPCK4 %{x:.3f}<extra></extra>",
    )
    height = EDGES + ROW * max(len(rows), 4)
    dressed(figure).update_layout(height=height, bargap=0.25, margin={"t": 60, "b": 20}, showlegend=False)
    figure.update_xaxes(side="top")  # in sight where there are so many that they scroll
    shown = [name.replace("<", "&lt;") for name in names]
    return figure.update_yaxes(tickvals=places, ticktext=shown, range=[-0.6, len(rows) - 0.4], showgrid=False)


def missed(result: Result, words: Mapping[str, str]) -> go.Figure:
    """Of the missed keypoints, how many are of each kind. words: what a kind is called."""
    counts, total = result["failures"]["kinds"], max(result["failures"]["missed"], 1)
    kinds = [kind for kind in words if kind in counts][::-1]
    figure = go.Figure()
    figure.add_bar(
        x=[counts[kind] / total for kind in kinds],
        y=[words[kind] for kind in kinds],
        orientation="h",
        marker_color=[GREY if kind == "near" else RED for kind in kinds],
        text=[f"{100 * counts[kind] / total:.1f} %" for kind in kinds],
        textposition="outside",
        cliponaxis=False,
        customdata=[counts[kind] for kind in kinds],
        hovertemplate="%{y}: %{customdata} keypoints<extra></extra>",
    )
    figure.update_layout(xaxis_title="share of misses", xaxis_tickformat=".0%")
    return dressed(figure).update_layout(height=EDGES + 60 * len(kinds), margin_r=60).update_xaxes(rangemode="tozero")

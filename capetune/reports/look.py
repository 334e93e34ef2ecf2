"""What every figure of a page looks like, on whatever ground."""

from __future__ import annotations

import plotly.graph_objects as go

INK, ACCENT, GREEN, GREY, RED = "#2b2f38", "#2563c9", "#15803d", "#8a909c", "#c02a2a"
HEIGHT = 400  # pixels
GRID = "#e3e6ec"


def dressed(figure: go.Figure, legend: bool = False) -> go.Figure:
    """The figure, of one size and one look. legend: it has one, which lies above it."""
    figure.update_layout(
        template="plotly_white",
        title=None,
        width=None,
        height=HEIGHT,
        margin={"l": 70, "r": 30, "t": 50 if legend else 30, "b": 60},
        font={"family": "system-ui, sans-serif", "size": 13, "color": INK},
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        hoverlabel={"font": {"family": "system-ui, sans-serif"}},
        modebar={"bgcolor": "rgba(0,0,0,0)", "color": "#b4b9c4", "activecolor": INK},
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=True)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=True)
    if legend:
        figure.update_layout(legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0})
    return figure

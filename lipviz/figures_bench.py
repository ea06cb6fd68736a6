"""The figure of the benchmark: arrays in, plotly Figure out, as in `figures`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lipviz.drawing import INK, layout, looks

COLUMNS = {"train": "training step", "forward": "explicit forward"}
LINE, HEAD = 24, 70  # pixels: a row of the figure, and what a panel takes besides


def bench(rows: Sequence[Mapping[str, Any]], dark: bool = False) -> go.Figure:
    """Times as multiples of the plain layer: a dot at the median, a bar between the quartiles, a line at 1.

    Each of `rows` holds panel, name (unique in its panel), row, and (median, low, high) under train and forward.
    The panels stand below each other, the training step on the left and the explicit forward on the right.
    """
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault(row["panel"], []).append(row)
    heights = [LINE * len(shown) + HEAD for shown in panels.values()]
    fig = make_subplots(
        rows=len(panels),
        cols=len(COLUMNS),
        row_heights=heights,
        horizontal_spacing=0.03,
        vertical_spacing=HEAD / sum(heights) if len(panels) > 1 else 0,
        subplot_titles=[f"{panel}<br>{what}" for panel in panels for what in COLUMNS.values()],
        shared_yaxes=True,
    )
    for i, shown in enumerate(panels.values(), 1):
        for j, key in enumerate(COLUMNS, 1):
            _dots(fig, i, j, shown, key, dark)
    ends = np.array([row[key] for row in rows for key in COLUMNS] or [(1.0, 1.0, 1.0)])
    low, high = 0.9 * min(ends.min(), 1.0), 1.15 * max(ends.max(), 1.0)
    ticks = [float(f"{digit}e{power}") for power in range(-3, 5) for digit in (1, 2, 5)]
    fig.update_xaxes(
        type="log",
        range=[np.log10(low), np.log10(high)],
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
        title="time / time of the plain layer",
    )
    ink = INK[dark]
    fig.add_vline(1.0, line={"dash": "dash", "width": 2, "color": ink.text}, row="all", col="all")
    fig.update_layout(**layout(dark, sum(heights) + HEAD), showlegend=False)
    return fig.update_annotations(font={"size": 14})


def _dots(fig: go.Figure, i: int, j: int, rows: Sequence[Mapping[str, Any]], key: str, dark: bool) -> None:
    median, low, high = np.array([row[key] for row in rows], dtype=float).T
    markers = [look["marker"] for look in looks(rows, dark)]
    fig.add_scatter(
        x=median,
        y=np.arange(len(rows)),
        error_x={"array": high - median, "arrayminus": median - low, "color": INK[dark].strong, "width": 4},
        customdata=np.stack([low, high], axis=-1),
        text=[row["name"] for row in rows],
        mode="markers",
        marker={"color": [m["color"] for m in markers], "symbol": [m["symbol"] for m in markers], "size": 10},
        hovertemplate="%{text}: %{x:.2f}<br>quartiles %{customdata[0]:.2f} and %{customdata[1]:.2f}<extra></extra>",
        row=i,
        col=j,
    )
    names = {
        "tickvals": np.arange(len(rows)),
        "ticktext": [row["name"] for row in rows],
        "range": [len(rows) - 0.5, -0.5],
    }
    fig.update_yaxes(**names, row=i, col=j)

"""The figure of the benchmark: arrays in, plotly Figure out, as in `figures`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from lipviz.drawing import INK, layout, looks

COLUMNS = {"train": "training step", "forward": "explicit forward"}
LINE, GAP, ENDS = 24, 110, 100  # pixels: one layer, between two panels, above and below them all


def bench(rows: Sequence[Mapping[str, Any]], dark: bool = False) -> go.Figure:
    """Times as multiples of the plain layer: a marker at the median, a bar between the quartiles, a line at 1.

    Each of `rows` holds panel, name, row, and (median, low, high) under train and forward. The panels stand below
    each other, the training step on the left and the explicit forward on the right.
    """
    panels: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        panels.setdefault(row["panel"], []).append(row)
    heights = [LINE * len(shown) for shown in panels.values()]
    height = sum(heights) + GAP * (len(panels) - 1)
    fig = make_subplots(
        rows=len(panels),
        cols=len(COLUMNS),
        row_heights=heights,
        horizontal_spacing=0.03,
        vertical_spacing=GAP / height if len(panels) > 1 else 0,
        subplot_titles=[title for panel in panels for title in (panel, "")],
        shared_yaxes=True,
    )
    ends = np.array([row[key] for row in rows for key in COLUMNS])
    ticks = [float(f"{digit}e{power}") for power in range(-3, 5) for digit in (1, 2, 5)]
    fig.update_xaxes(
        type="log",
        range=np.log10([0.9 * min(ends.min(), 1.0), 1.15 * max(ends.max(), 1.0)]),
        tickvals=ticks,
        ticktext=[f"{tick:g}" for tick in ticks],
    )
    for i, shown in enumerate(panels.values(), 1):
        for j, (key, what) in enumerate(COLUMNS.items(), 1):
            _dots(fig, i, j, shown, key, dark)
            fig.update_xaxes(title={"text": f"{what}, time / plain layer", "standoff": 8}, row=i, col=j)
    return fig.update_layout(**layout(dark, height + ENDS), showlegend=False)


def _dots(fig: go.Figure, i: int, j: int, rows: Sequence[Mapping[str, Any]], key: str, dark: bool) -> None:
    median, low, high = np.array([row[key] for row in rows], dtype=float).T
    markers = [look["marker"] for look in looks(rows, dark)]
    fig.add_scatter(  # a line over the grid and under the markers, which a shape cannot be
        x=[1.0, 1.0],
        y=[-0.5, len(rows) - 0.5],
        mode="lines",
        line={"dash": "dash", "width": 2, "color": INK[dark].text},
        hoverinfo="skip",
        row=i,
        col=j,
    )
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

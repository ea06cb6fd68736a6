"""Arrays in, plotly Figure out: no torch, no streamlit, no file.

The look (one colour per layer family, one dash per row) comes from `drawing`; every figure takes `dark`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike
from plotly.subplots import make_subplots

from lipviz.digits import rounded_down
from lipviz.drawing import (
    DARK,
    INK,
    LIGHT,
    STYLE,
    config,
    figure,
    layout,
    looks,
    rgba,
    rules,
)

__all__ = ["DARK", "LIGHT", "STYLE", "config", "margin_line", "training"]


def training(
    metrics_list: Sequence[Mapping[str, Any]],
    keys: Sequence[str] = ("train_loss", "accuracy", "certified_36"),
    dark: bool = False,
) -> go.Figure:
    """Progress of runs: each holds name, row, epoch and arrays under `keys`.

    A key that contains "loss" goes to the lower panel; the others are fractions, shown in percent on the
    upper one: the first solid, the second dashed, the third dotted.
    """
    fig = make_subplots(rows=2, cols=1, shared_xaxes=True, vertical_spacing=0.08, row_heights=[0.6, 0.4])
    panels = {1: [k for k in keys if "loss" not in k], 2: [k for k in keys if "loss" in k]}
    for run, look in zip(metrics_list, looks(metrics_list, dark), strict=True):
        for panel, shown in panels.items():
            for key, dash in zip(shown, ("solid", "dash", "dot", "dashdot"), strict=False):
                if key not in run:
                    continue
                label = re.sub(r"certified_(\d+)", r"certified at \1/255", key).replace("_", " ")
                fig.add_scatter(
                    x=np.asarray(run["epoch"]),
                    y=np.asarray(run[key], dtype=float) * (100 if panel == 1 else 1),
                    row=panel,
                    col=1,
                    name=f"{run['name']}: {label}",
                    legendgroup=run["name"],
                    mode="lines+markers",
                    line=look["line"] | {"dash": dash},
                    marker=look["marker"],
                    hovertemplate=f"epoch %{{x}}: {label} %{{y:.4g}}" + (" %" if panel == 1 else ""),
                )
    titles = {"yaxis_title": "accuracy (%)", "yaxis2_title": "loss", "xaxis2_title": "epoch"}
    return fig.update_layout(**layout(dark, 480), **titles)


def margin_line(
    radii: ArrayLike,
    margins: ArrayLike,
    radius: float,
    dark: bool = False,
    found: str = "smallest margin an attack found",
    size: float | None = None,
    proof: tuple[ArrayLike, ArrayLike] | None = None,
    tried: tuple[ArrayLike, ArrayLike] | None = None,
    broken: tuple[float, float] | None = None,
    others: Sequence[tuple[str, ArrayLike, ArrayLike]] = (),
) -> go.Figure:
    """The proof and the attack: margins found at perturbation sizes `radii`, above the line down to `radius`.

    Args:
        radii: sizes of the change, the first is 0.
        margins: there; the first is that of the unchanged image.
        radius: certified.
        dark: whether the page is.
        found: what the margins are called.
        size: marked on the axis.
        proof: (sizes, smallest margins that the proof allows); the straight line to `radius` where it is missing.
        tried: (sizes, margins) of the best points of attempts.
        broken: (size, margin) of the smallest break.
        others: (name, sizes, margins) of other networks, drawn as if their margins began where this one does, so that
            each crosses 0 where its answer falls.
    """
    x, y = np.asarray(radii, dtype=float), np.asarray(margins, dtype=float)
    palette, end = DARK if dark else LIGHT, max(float(x.max()), 1.3 * radius)
    fig = figure(dark, 380, "size of the change (l2, pixels in [0, 1])", "margin of the answer")
    fig.add_scatter(
        x=[0.0, radius] if proof is None else np.asarray(proof[0]),
        y=[y[0], 0.0] if proof is None else np.asarray(proof[1]),
        name="certified: never below",
        mode="lines",
        fill="tozeroy",
        fillcolor=rgba(palette[0], 0.12),
        line={"color": palette[0], "width": 3},
        hovertemplate="certified margin %{y:.3g}<extra></extra>",
    )
    fig.add_scatter(
        x=x,
        y=y,
        name=found,
        mode="lines+markers",
        line={"color": palette[4], "width": 2, "dash": "dash"},
        marker={"symbol": "triangle-down", "size": 8},
        hovertemplate="size %{x:.3f}: margin %{y:.3g}<extra></extra>",
    )
    _others(fig, others, float(y[0]), palette)
    star = broken and ([broken[0]], [broken[1]])
    for points, name, symbol, colour, width in (
        (tried, "best point of each attempt", "circle-open", INK[dark].text, 7),
        (star, "smallest break found", "star", palette[4], 14),
    ):
        if points is not None and len(np.asarray(points[0])):
            _points(fig, points, name, {"symbol": symbol, "color": colour, "size": width})
            end = max(end, float(np.max(points[0])))
    rules(fig, [(radius, f"certified radius {rounded_down(radius)}", "dash", palette[0])])
    if radius < end / 2:  # there is room on the right, and a small radius has none on the left
        fig.update_annotations(xanchor="left")
    if size is not None:  # named at the foot, where the radius is not named
        line = {"dash": "dot", "width": 2, "color": INK[dark].text}
        fig.add_vline(size, line=line, annotation_text=f"size {size:.3g}", annotation_position="bottom right")
    fig.update_xaxes(range=[0, 1.03 * end])
    if others:  # they may leave the picture
        own = np.concatenate([y, *(np.asarray(each[1], dtype=float) for each in (proof, tried) if each is not None)])
        fig.update_yaxes(range=[min(1.1 * float(own.min()), -0.3 * y[0]), max(1.08 * float(own.max()), y[0] + 1e-9)])
    return fig.update_yaxes(zeroline=True)


def _others(
    fig: go.Figure, others: Sequence[tuple[str, ArrayLike, ArrayLike]], height: float, palette: Sequence[str]
) -> None:
    """The margins of other networks, each times what makes it begin at `height`."""
    for i, (name, sizes, theirs) in enumerate(others):
        y = np.asarray(theirs, dtype=float)
        fig.add_scatter(
            x=np.asarray(sizes),
            y=y * (height / y[0] if y[0] > 0 else 1.0),
            customdata=y,
            name=f"{name}, from the same height",
            mode="lines+markers",
            line={"color": palette[(5, 2, 8)[i % 3]], "width": 1.5, "dash": "dot"},
            marker={"symbol": ("square-open", "diamond-open", "cross-open")[i % 3], "size": 6},
            hovertemplate="size %{x:.3f}: margin %{customdata:.3g}",
        )


def _points(fig: go.Figure, points: tuple[ArrayLike, ArrayLike], name: str, marker: dict[str, object]) -> None:
    fig.add_scatter(
        x=np.asarray(points[0]),
        y=np.asarray(points[1]),
        name=name,
        mode="markers",
        marker=marker,
        hovertemplate="size %{x:.3f}: margin %{y:.3g}<extra></extra>",
    )

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

from lipviz.drawing import (
    DARK,
    INK,
    LIGHT,
    MARKS,
    STYLE,
    certified_steps,
    circles,
    config,
    figure,
    layout,
    looks,
    outline,
    rgba,
    right_end,
    rules,
)

__all__ = ["DARK", "LIGHT", "STYLE", "certified_curve", "config", "gershgorin", "margin_line", "matrix"]
__all__ += ["radius_histogram", "training"]


def gershgorin(
    centers: ArrayLike,
    radii: ArrayLike,
    eigenvalues: ArrayLike,
    edge: float | None = None,
    title_x: str = "real part",
    dark: bool = False,
    side: str = "right",
    numbers: Sequence[int] | None = None,
) -> go.Figure:
    """Discs |z - centers_i| <= radii_i, eigenvalues as crosses, and a line at the bound `edge`.

    The disc that reaches furthest to `side` ("right" or "left") is drawn thicker and named. `numbers` are what
    the discs are called, 1, 2, ... if not given.
    """
    c, r = np.real(np.asarray(centers)), np.asarray(radii, dtype=float)
    names = [str(i) for i in (range(1, len(c) + 1) if numbers is None else numbers)]
    end = int(np.argmax(c + r) if side == "right" else np.argmin(c - r))
    palette, ink = DARK if dark else LIGHT, INK[dark]
    fig = figure(dark, 460, title_x, "imaginary part")
    line = {"color": palette[0], "width": 1.2}
    fig.add_scatter(**circles(c, r), name="discs", fill="toself", fillcolor=rgba(palette[0], 0.1), line=line)
    bold = line | {"color": palette[4], "width": 3.5}
    fig.add_scatter(**circles(c[[end]], r[[end]]), name=f"disc {names[end]} reaches furthest {side}", line=bold)
    fig.add_scatter(
        x=c,
        y=r,
        mode="markers+text" if len(c) <= 12 else "markers",  # more numbers would hide the discs
        text=names,
        textposition="top center",
        customdata=np.stack([c - r, c + r, r], axis=-1),
        hovertemplate="disc %{text}: center %{x:.4g}, radius %{customdata[2]:.4g}<br>"
        "from %{customdata[0]:.4g} to %{customdata[1]:.4g}<extra></extra>",
        marker={"color": palette[0], "size": 4},
        showlegend=False,
    )
    values = np.real(np.asarray(eigenvalues))
    fig.add_scatter(
        x=values,
        y=np.zeros(len(values)),
        name="eigenvalues",
        mode="markers",
        marker={"symbol": "x-thin", "size": 11, "line": {"width": 2.5, "color": ink.text}},
        hovertemplate="eigenvalue %{x:.5g}<extra></extra>",
    )
    bound = [] if edge is None else [(float(edge), f"bound {edge:.4g}", "dash", palette[4])]
    lines = [(0.0, "zero", "dot", ink.strong), *bound]
    rules(fig, lines)
    ends = [*(c - r), *(c + r), *(value for value, *_ in lines)]
    pad = 0.04 * (max(ends) - min(ends)) or 1.0
    fig.update_xaxes(range=[min(ends) - pad, max(ends) + pad])
    fig.update_yaxes(scaleanchor="x", scaleratio=1, zeroline=True)  # a disc drawn as an ellipse would be false
    return fig


def matrix(values: ArrayLike, labels: Sequence[str] | None = None, dark: bool = False) -> go.Figure:
    """Heat map of a small matrix, its numbers in the cells, colours symmetric about 0."""
    z = np.asarray(values, dtype=float)
    names = [list(labels) if labels else [str(i + 1) for i in range(n)] for n in z.shape]
    palette, ink = DARK if dark else LIGHT, INK[dark]
    top = float(np.abs(z).max(initial=0.0)) or 1.0
    fig = figure(dark, 380, "column", "row")
    fig.add_heatmap(
        z=z,
        x=names[1],
        y=names[0],
        zmin=-top,
        zmax=top,
        colorscale=[[0, palette[4]], [0.5, ink.paper], [1, palette[0]]],
        texttemplate="%{z:.3g}" if max(z.shape) <= 12 else None,
        hovertemplate="row %{y}, column %{x}: %{z:.5g}<extra></extra>",
        colorbar={"thickness": 12, "outlinewidth": 0},
        xgap=1,
        ygap=1,
    )
    fig.update_xaxes(type="category", constrain="domain", showgrid=False)
    fig.update_yaxes(type="category", autorange="reversed", scaleanchor="x", constrain="domain", showgrid=False)
    return fig


def certified_curve(
    runs: Sequence[Mapping[str, Any]],
    marks: Sequence[int] = MARKS,
    eps: float | None = None,
    dark: bool = False,
) -> go.Figure:
    """Share of images that are correct and have a radius above eps, clean accuracy as a point.

    Each of `runs` holds name, row, radius (one per image) and correct (bool, one per image).
    """
    fig = figure(dark, 420, "radius eps (l2, pixels in [0, 1])", "certified accuracy (%)")
    right = right_end(runs, marks)
    for run, look in zip(runs, looks(runs, dark), strict=True):
        radius, correct = np.asarray(run["radius"], dtype=float), np.asarray(run["correct"], dtype=bool)
        x, y, exact = certified_steps(radius, correct, marks, right)
        fig.add_scatter(
            x=x,
            y=y,
            name=run["name"],
            legendgroup=run["name"],
            line=look["line"] | {"shape": "hv" if exact else "vh"},  # thinned: below the truth, never above
            customdata=255 * x,
            hovertemplate="radius %{x:.4f} (%{customdata:.0f}/255)<br>certified %{y:.1f} %",
        )
        fig.add_scatter(
            x=[0.0],
            y=[100 * correct.sum() / max(len(correct), 1)],
            name=run["name"],
            legendgroup=run["name"],
            showlegend=False,
            mode="markers",
            marker=look["marker"] | {"size": 10},
            hovertemplate="clean accuracy %{y:.1f} %",
            cliponaxis=False,
        )
    rules(fig, [(k / 255, f"{k}/255", "dot", INK[dark].strong) for k in marks if k / 255 <= right])
    if eps is not None:  # named at the foot, where no mark is named
        line = {"dash": "dash", "width": 2, "color": INK[dark].text}
        fig.add_vline(eps, line=line, annotation_text=f"eps {eps:.3g}", annotation_position="bottom right")
    return fig.update_layout(xaxis_range=[-0.02 * right, right], yaxis_range=[0, 101])


def radius_histogram(runs: Sequence[Mapping[str, Any]], marks: Sequence[int] = MARKS, dark: bool = False) -> go.Figure:
    """Certified radii of the correct images in percent of all images; `runs` as in certified_curve."""
    fig = figure(dark, 320, "certified radius (l2, pixels in [0, 1])", "share of the images (%)")
    right = right_end(runs, marks)
    for run, look in zip(runs, looks(runs, dark), strict=True):
        radius, correct = np.asarray(run["radius"], dtype=float), np.asarray(run["correct"], dtype=bool)
        shown = np.clip(radius[correct], 0.0, right)
        outline(fig, shown, np.linspace(0.0, right, 61), len(radius), run["name"], look, "radius %{x:.3f}")
    rules(fig, [(k / 255, f"{k}/255", "dot", INK[dark].strong) for k in marks if k / 255 <= right])
    return fig


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
) -> go.Figure:
    """The proof and the attack: margins found at perturbation sizes `radii`, above the line down to `radius`.

    The first entry of `margins` is the margin of the unchanged image, at size 0. `found` names the margins, and
    `size` is marked on the axis.
    """
    x, y = np.asarray(radii, dtype=float), np.asarray(margins, dtype=float)
    palette, end = DARK if dark else LIGHT, max(float(x.max()), 1.3 * radius)
    fig = figure(dark, 380, "size of the perturbation (l2, pixels in [0, 1])", "margin of the prediction")
    fig.add_scatter(
        x=[0.0, radius],
        y=[y[0], 0.0],
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
    rules(fig, [(radius, f"certified radius {radius:.3g}", "dash", palette[0])])
    if radius < end / 2:  # there is room on the right, and a small radius has none on the left
        fig.update_annotations(xanchor="left")
    if size is not None:  # named at the foot, where the radius is not named
        line = {"dash": "dot", "width": 2, "color": INK[dark].text}
        fig.add_vline(size, line=line, annotation_text=f"size {size:.3g}", annotation_position="bottom right")
    fig.update_xaxes(range=[0, 1.03 * end])
    return fig.update_yaxes(zeroline=True)

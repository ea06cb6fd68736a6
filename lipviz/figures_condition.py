"""Figures of the page on the condition: the edge for three neurons, bars of T for up to eight, a direction."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike, NDArray

from lipviz.drawing import DARK, INK, LIGHT, STYLE, config, figure, layout, rgba

FILL = {"aol": "", "sll": ".", "cpl": "/", "sr": "x"}
BEST = "smallest trace"
# where a name stands beside its point: anchor, shift to the right, shift up; "" is the smallest trace
PLACES = {
    "aol": ("left", 9, 9),
    "sll": ("right", -9, 10),
    "cpl": ("left", 9, -12),
    "": ("right", -9, -14),
    "sr": ("left", 9, 0),
}


def row(name: str) -> str:
    """The row of the table that a rule's name begins with.

    >>> row("CPL, spectral"), row("SR(1)"), row("own T")
    ('cpl', 'sr', '')
    """
    first = name.lower().replace(",", " ").replace("(", " ").split()[0]
    return first if first in FILL else ""


def together(rules: Mapping[str, NDArray]) -> dict[str, str]:
    """What to write at each point: points in one place share one name, the others there get none."""
    names = dict.fromkeys(rules, "")
    for t in rules.values():
        size = 1e-3 * float(np.abs(t).max())
        same = [other for other, s in rules.items() if np.abs(s - t).max() <= size]
        names[same[0]] = " = ".join(same)
    return names


def config_3d(filename: str) -> dict[str, Any]:
    """Plotly's options for a view that turns."""
    buttons = [["orbitRotation", "pan3d", "zoom3d", "resetCameraDefault3d", "toImage"]]
    return {**config(filename), "modeBarButtons": buttons, "scrollZoom": False}


def region(
    surface: tuple[NDArray, NDArray, NDArray], rules: Mapping[str, NDArray], slack: float, dark: bool = False
) -> go.Figure:
    """The edge of {t : G <= diag(t)} for three neurons, the rules as markers, AOL's way to the edge.

    Args:
        surface: t_1, t_2, t_3 over a grid; NaN where nothing is drawn.
        rules: t of each rule.
        slack: of AOL, the smallest eigenvalue of T - G: the edge is that far along (1, 1, 1).
        dark: whether the page is.
    """
    palette, ink = DARK if dark else LIGHT, INK[dark]
    fig = go.Figure(layout={**layout(dark, 440), "margin": {"l": 0, "r": 0, "t": 30, "b": 0}})
    trace = sum(surface)
    fig.add_surface(
        **dict(zip("xyz", surface, strict=True)),
        surfacecolor=trace,
        colorscale=[[0, palette[2]], [0.5, palette[6]], [1, palette[0]]],
        opacity=0.8,
        colorbar={"title": "trace", "thickness": 12, "len": 0.6, "outlinewidth": 0},
        contours={axis: {"highlight": False} for axis in "xyz"},
        lighting={"ambient": 0.75, "diffuse": 0.5, "specular": 0.05},
        hovertemplate="edge: t = (%{x:.4g}, %{y:.4g}, %{z:.4g})<br>trace %{surfacecolor:.5g}<extra></extra>",
        name="edge",
    )
    if "AOL" in rules and slack > 1e-9 * float(rules["AOL"].max()):
        path = np.stack([rules["AOL"], rules["AOL"] - slack])
        x, y, z = path.T
        line = {"color": palette[STYLE["aol"].colour], "width": 6, "dash": "dash"}
        fig.add_scatter3d(
            x=x, y=y, z=z, mode="lines", line=line, name=f"AOL to the edge: {slack:.3g}", hoverinfo="skip"
        )
    names, named = together(rules), list[dict[str, Any]]()
    above = 0.008 * float(np.nanmax(surface[2]) - np.nanmin(surface[2]))  # else the surface cuts markers in half
    for name, t in rules.items():
        style = STYLE.get(row(name))
        colour = ink.text if style is None else palette[style.colour]
        marker = {"color": colour, "symbol": style.marker if style else "diamond", "size": 7}
        x, y, z = (float(value) for value in t + above)
        fig.add_scatter3d(
            x=[x],
            y=[y],
            z=[z],
            mode="markers",
            marker={**marker, "line": {"color": ink.paper, "width": 1}},
            name=name,
            hovertemplate=f"{name}: ({t[0]:.4g}, {t[1]:.4g}, {t[2]:.4g})<br>trace {t.sum():.5g}<extra></extra>",
        )
        if names[name]:  # an annotation lies over the picture: the surface does not hide it
            side, shift, up = PLACES[row(name)]
            place = {"x": x, "y": y, "z": z, "xanchor": side, "xshift": shift, "yshift": up}
            named.append({**place, "text": names[name], "showarrow": False})
    axis: dict[str, Any] = {"gridcolor": ink.grid, "backgroundcolor": ink.paper, "color": ink.text, "showspikes": False}
    scene: dict[str, Any] = {f"{x}axis": {**axis, "title": {"text": f"t{i + 1}"}} for i, x in enumerate("xyz")}
    scene["annotations"] = [{"bgcolor": rgba(ink.paper, 0.6), "font": {"size": 13}, **note} for note in named]
    scene |= {"dragmode": "turntable", "aspectmode": "cube"}
    scene["camera"] = {"eye": {"x": 1.8, "y": 0.95, "z": 0.6}, "center": {"x": 0, "y": 0, "z": -0.12}}
    fig.update_layout(scene=scene, showlegend=False)
    return fig


def bars(rules: Mapping[str, NDArray], dark: bool = False) -> go.Figure:
    """t of each neuron under each rule; the T of smallest trace as a line across its neuron's bars."""
    palette, ink = DARK if dark else LIGHT, INK[dark]
    fig = figure(dark, 360, "neuron", "t")
    place = np.arange(1, len(next(iter(rules.values()))) + 1)
    drawn = [name for name in rules if name != BEST]
    for name in drawn:
        style = STYLE.get(row(name))
        colour = ink.strong if style is None else palette[style.colour]
        pattern = {"shape": FILL.get(row(name), ""), "fillmode": "overlay", "size": 6}
        marker = {"color": colour, "pattern": {**pattern, "fgcolor": ink.paper, "fgopacity": 0.7}}
        fig.add_bar(x=place, y=rules[name], name=name, marker=marker)
    if BEST in rules:
        x = np.stack([place - 0.42, place + 0.42, np.full(len(place), np.nan)], axis=1).ravel()
        fig.add_scatter(x=x, y=np.repeat(rules[BEST], 3), name=BEST, mode="lines", line={"color": ink.text, "width": 3})
    fig.update_layout(barmode="group", bargap=0.16)
    fig.update_xaxes(range=[0.5, len(place) + 0.5], dtick=1, showgrid=False)
    return fig


def summary(rules: Mapping[str, NDArray], slack: Mapping[str, float], dark: bool = False) -> go.Figure:
    """Trace of each rule, and how far inside the edge it stands."""
    palette, ink = DARK if dark else LIGHT, INK[dark]
    fig = figure(dark, 360, "", "")
    names = list(rules)[::-1]
    colours = [palette[STYLE[row(name)].colour] if row(name) else ink.text for name in names]
    patterns = [FILL.get(row(name), "") for name in names]
    marker = {"color": colours, "pattern": {"shape": patterns, "fillmode": "overlay", "size": 6, "fgcolor": ink.paper}}
    traces = [float(rules[name].sum()) for name in names]
    low = [0.0 if abs(slack[name]) < 1e-6 * max(*traces, 1e-300) else slack[name] for name in names]
    for values, axis, digits in ((traces, "x", 4), (low, "x2", 3)):
        fig.add_bar(
            x=values,
            y=names,
            orientation="h",
            marker=marker,
            xaxis=axis,
            text=[f"{value:.{digits}g}" for value in values],
            textposition="outside",
            hovertemplate="%{y}: %{x:.6g}<extra></extra>",
        )
    fig.update_yaxes(ticksuffix=" ", showgrid=False)
    fig.update_layout(
        showlegend=False,
        xaxis={"domain": [0, 0.46], "title": {"text": "trace"}, "range": [0, 1.35 * max(*traces, 1e-300)]},
        xaxis2={
            "domain": [0.56, 1],
            "title": {"text": "slack"},
            "anchor": "y",
            "range": [min(1.3 * min(low), 0.0), 1.4 * max(*low, 1e-300)] if any(low) else [0, 1],
        },
    )
    return fig


def signed(values: ArrayLike, names: list[str], title: str, tolerance: float = 0.0, dark: bool = False) -> go.Figure:
    """Bars with a sign: eigenvalues of T - G (framed below zero, in another colour), or entries of a direction."""
    y = np.asarray(values, dtype=float)
    palette, ink = DARK if dark else LIGHT, INK[dark]
    fig = figure(dark, 300, "", title)
    bad = y < -tolerance if tolerance else np.zeros(len(y), dtype=bool)
    colours = [palette[4] if b else palette[2] if tolerance else palette[7] for b in bad]
    text = ["0" if abs(v) <= tolerance else f"{v:.3g}" for v in y]
    fig.add_bar(
        x=names,
        y=y,
        text=text,
        textposition="outside",
        cliponaxis=False,
        marker={"color": colours, "line": {"color": [ink.text if b else rgba(ink.text, 0.0) for b in bad], "width": 2}},
        hovertemplate="%{x}: %{y:.6g}<extra></extra>",
    )
    top, low = max(float(y.max()), 0.0), min(float(y.min()), 0.0)
    fig.update_layout(margin={"t": 10})
    room = 0.18 * ((top - low) or 1.0)
    fig.update_yaxes(zeroline=True, zerolinewidth=2, range=[low - (room if low < 0 else 0), top + room])
    return fig

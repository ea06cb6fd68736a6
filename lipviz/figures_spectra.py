"""Pictures of singular values: rank, histogram, cumulative, all with frames over the training; frequencies; distances.

Arrays in, plotly Figure out: no torch, no streamlit, no file. Frames are scrubbed in the browser.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from lipviz.drawing import DARK, INK, LIGHT, POINTS, Ink, figure, layout, looks, rgba, rules

KINDS = ("rank", "histogram", "cumulative")
TITLES = {
    "rank": ("relative rank of the singular value", "singular value"),
    "histogram": ("singular value", "share of the singular values (%)"),
    "cumulative": ("singular value", "share at or below it (%)"),
}
BINS = 48
HEIGHT = 400
WAIT = 450  # milliseconds a frame while playing

Curve = Mapping[str, Any]


def spectrum(
    curves: Sequence[Curve],
    kind: str = "rank",
    log: bool = False,
    dark: bool = False,
    frames: Sequence[Sequence[Curve]] = (),
    labels: Sequence[str] = (),
    start: int = -1,
) -> go.Figure:
    """Singular values of layers: each of `curves` holds name, row, layer, values (descending) and maybe note.

    `kind` is "rank" or "cumulative" (a line per layer) or "histogram" (the layers of one name together, each layer
    counts the same). On a log axis the lowest tick, named 0, holds everything below it.

    Args:
        curves: what is drawn; with frames the thin reference.
        kind: one of KINDS.
        log: logarithmic axis of the singular values.
        dark: for the dark theme.
        frames: states of the same curves in the same order, moved through by a slider below the picture.
        labels: what each frame is called, its unit first ("epoch 3"); the unit is said once.
        start: index of the frame that is shown first.
    """
    everything = [*curves, *(curve for frame in frames for curve in frame)]
    values = np.concatenate([np.ones(1), *(np.asarray(c["values"], dtype=float).ravel() for c in everything)])
    top, floor = 1.02 * values.max(), _floor(values) if log else 0.0
    edges = np.geomspace(floor, top, BINS + 1) if log else np.linspace(0.0, top, BINS + 1)
    drawn = [_traces(some, kind, floor, edges, looks(curves, dark)) for some in (curves, *frames)]
    fig = figure(dark, HEIGHT, *TITLES[kind])
    one = [(1.0, "1", "dot", INK[dark].strong)]
    fig.add_traces([_thin(trace) if frames else trace for trace in drawn[0]])
    rules(fig, one, axis="y" if kind == "rank" else "x", log=log)
    fig.update_xaxes(title_standoff=6)  # the slider comes right below
    axis = "yaxis" if kind == "rank" else "xaxis"
    low = np.log10(floor) if log else -0.02 * top
    # fixed, so that a frame that lies lower does not move the axis
    fig.update_layout({axis: {"range": [low, np.log10(top * 1.05) if log else top * 1.02]}})
    if kind == "cumulative":
        fig.update_yaxes(range=[-2, 102])
    if log:
        fig.update_layout({axis: {"type": "log", **_powers(floor, top)}})
    if frames:
        _scrub(fig, drawn, labels, start % len(frames), INK[dark])
    return fig


def limits(maps: Sequence[Mapping[str, Any]], log: bool = False) -> tuple[float, float]:
    """Ends of a scale that fits all of `maps`: from 0 (on a log scale the floor) to the largest value, at least 1."""
    values = np.concatenate([np.ones(1), *(np.ravel(m[part]) for m in maps for part in ("largest", "smallest"))])
    return (_floor(values) if log else 0.0), float(values.max())


def frequency_map(
    shown: Mapping[str, Any], log: bool = False, dark: bool = False, ends: tuple[float, float] | None = None
) -> go.Figure:
    """Largest and smallest singular value at each frequency, as two heat maps with equal axes and one scale.

    Args:
        shown: name, largest and smallest; these (height, width) with the zero frequency first.
        log: logarithmic colours; the lowest one, named 0, holds everything below it.
        dark: for the dark theme.
        ends: of the scale, from `limits`, so that several pictures share it.
    """
    floor, top = ends or limits([shown], log)
    palette, ink = DARK if dark else LIGHT, INK[dark]
    fig = make_subplots(1, 2, subplot_titles=["largest", "smallest"], horizontal_spacing=0.12, shared_yaxes=True)
    for j, part in enumerate(("largest", "smallest"), 1):
        z = np.fft.fftshift(np.asarray(shown[part], dtype=float))
        y, x = (2 * np.fft.fftshift(np.fft.fftfreq(n)) for n in z.shape)
        fig.add_heatmap(
            **{"row": 1, "col": j, "x": x, "y": y, "coloraxis": "coloraxis"},
            z=np.log10(np.maximum(z, floor)) if log else z,
            customdata=z,
            name=part,
            hovertemplate=f"{part} at frequency (%{{y:.2f}} π, %{{x:.2f}} π): %{{customdata:.4g}}<extra></extra>",
        )
        fig.update_xaxes(row=1, col=j, showgrid=False, zeroline=False, constrain="domain", title="across (π)")
        equal = {"scaleanchor": f"x{j if j > 1 else ''}", "scaleratio": 1, "constrain": "domain"}
        fig.update_yaxes(row=1, col=j, showgrid=False, zeroline=False, **equal)
    fig.update_yaxes(row=1, col=1, title="frequency down (π)")
    low, high = (np.log10(floor), np.log10(top)) if log else (floor, top)
    one = ((0.0 if log else 1.0) - low) / (high - low) if high > low else 1.0
    above = [[1.0, palette[4]]] if top > 1.001 else []  # what exceeds 1 turns into another colour
    bar: dict[str, Any] = {"thickness": 10, "outlinewidth": 0, "orientation": "h", "y": -0.28, "yanchor": "top"}
    bar |= {"title": {"text": "singular value", "side": "bottom"}}
    if log:
        ticks = _powers(floor, top)
        bar |= {"tickvals": np.log10(ticks["tickvals"]), "ticktext": ticks["ticktext"]}
    colours = [[0.0, ink.paper], [one if above else 1.0, palette[0]], *above]
    axis = {"cmin": low, "cmax": high, "colorscale": colours, "colorbar": bar}
    name = {"text": shown["name"], "font": {"size": 14}, "x": 0, "xanchor": "left"}
    return fig.update_layout(**layout(dark, 400), coloraxis=axis, title=name, margin_t=70)


def dumbbells(
    rows: Sequence[Mapping[str, Any]],
    dark: bool = False,
    ends: tuple[str, str] = ("before training", "after training"),
    title: str = "distance to orthogonal",
) -> go.Figure:
    """A line from a hollow circle to a filled mark for each of `rows`: name, row, label, before (or None), after."""
    fig = figure(dark, 100 + 22 * max(len(rows), 3), title, "")
    places, styles = np.arange(len(rows), dtype=float), looks(rows, dark)
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [i for i, row in enumerate(rows) if row["name"] == name]
        look = styles[mine[0]]
        first = np.array([np.nan if rows[i]["before"] is None else rows[i]["before"] for i in mine], dtype=float)
        last = np.array([rows[i]["after"] for i in mine], dtype=float)
        between = {
            "x": np.stack([first, last, np.full(len(mine), np.nan)], 1).ravel(),
            "y": np.repeat(places[mine], 3),
        }
        fig.add_scatter(
            **between,
            name=name,
            mode="lines",
            line=look["line"] | {"width": 2},
            hoverinfo="skip",
            showlegend=False,
        )
        hollow = {"symbol": "circle-open", "size": 11, "line": {"width": 2}}
        for x, word, change in ((first, ends[0], hollow), (last, ends[1], {"size": 10})):
            fig.add_scatter(
                x=x,
                y=places[mine],
                name=name,
                mode="markers",
                marker=look["marker"] | change,
                text=[rows[i]["label"] for i in mine],
                hovertemplate=f"%{{text}}: %{{x:.4g}} {word}<extra></extra>",
                cliponaxis=False,
                showlegend=False,
            )
    grey = INK[dark].strong
    for word, symbol in zip(ends, ("circle-open", "circle"), strict=True):  # the key: what hollow and filled mean
        mark = {"symbol": symbol, "size": 10, "color": grey}
        fig.add_scatter(x=[None], y=[None], mode="markers", marker=mark, name=word, showlegend=True)
    right = 1.08 * max([0.1, *(v for row in rows for v in (row["before"], row["after"]) if v is not None)])
    fig.update_xaxes(range=[-0.03 * right, right], zeroline=True)
    ticks = {"tickvals": places, "ticktext": [row["label"] for row in rows], "range": [len(rows) - 0.4, -0.6]}
    fig.update_yaxes(**ticks, showgrid=False, zeroline=False)
    return fig


def _traces(
    curves: Sequence[Curve],
    kind: str,
    floor: float,
    edges: NDArray,
    styles: Sequence[Mapping[str, Any]],
) -> list[go.Scatter]:
    """One state of the curves."""
    if kind == "histogram":
        names = {c["name"]: look for c, look in zip(curves, styles, strict=True)}
        return [_outline([c for c in curves if c["name"] == name], edges, look) for name, look in names.items()]
    named, traces = set[str](), []
    for curve, look in zip(curves, styles, strict=True):
        values = np.asarray(curve["values"], dtype=float)
        # a layer may have a hundred thousand values: evenly spaced ranks draw the same line
        shown = np.unique(np.linspace(0, len(values) - 1, min(len(values), POINTS)).round().astype(int))
        sigma = np.maximum(values[shown], floor)
        rank = kind == "rank"
        if rank:
            x, y, hover = shown / max(len(values) - 1, 1), sigma, "%{customdata:.4g}"
        else:
            x, y, hover = sigma[::-1], 100 * (len(values) - shown[::-1]) / len(values), "%{y:.1f} % ≤ %{customdata:.4g}"
        line = look["line"] if rank else look["line"] | {"shape": "hv"}
        note = f"<br>{curve['note']}" if curve.get("note") else ""
        traces.append(
            go.Scatter(
                x=x,
                y=y,
                customdata=values[shown] if rank else values[shown][::-1],
                name=curve["name"],
                legendgroup=curve["name"],
                showlegend=curve["name"] not in named,
                mode="lines" if len(values) > 12 else "lines+markers",
                line=line,
                marker=look["marker"],
                hovertemplate=f"{curve['layer']}, {len(values)} values<br>{hover}{note}",
            )
        )
        named.add(curve["name"])
    return traces


def _outline(curves: Sequence[Curve], edges: NDArray, look: Mapping[str, Any]) -> go.Scatter:
    """Histogram of the layers of one name as a step line, in percent; each layer counts the same."""
    parts = [np.clip(np.asarray(c["values"], dtype=float), edges[0], edges[-1]) for c in curves]
    weights = [np.full(len(part), 100 / len(part) / len(parts)) for part in parts]
    share = np.histogram(np.concatenate(parts), edges, weights=np.concatenate(weights))[0]
    return go.Scatter(
        x=np.append(edges[0], edges),
        y=np.concatenate([[0.0], share, [0.0]]),
        name=curves[0]["name"],
        line=look["line"] | {"shape": "hv"},
        fill="tozeroy",
        fillcolor=rgba(look["line"]["color"], 0.15),
        hovertemplate="from singular value %{x:.3g}: %{y:.2f} %",
        mode="lines",
    )


def _thin(trace: go.Scatter) -> go.Scatter:
    """The reference behind what moves: thin, pale, not in the legend."""
    thin = go.Scatter(trace)
    thin.update(line_width=0.9, opacity=0.55, showlegend=False, hoverinfo="skip", hovertemplate=None, mode="lines")
    return thin.update(fill="none") if trace.fill else thin


def _scrub(fig: go.Figure, drawn: Sequence[Sequence[go.Scatter]], labels: Sequence[str], start: int, ink: Ink) -> None:
    """The moving traces in front, their frames, a slider and two buttons."""
    count, frames = len(drawn[0]), drawn[1:]
    fig.add_traces(frames[start])
    moving = list(range(count, 2 * count))
    fig.frames = [
        go.Frame(name=str(i), traces=moving, data=[{k: trace[k] for k in ("x", "y", "customdata")} for trace in frame])
        for i, frame in enumerate(frames)
    ]
    still = {"mode": "immediate", "frame": {"duration": 0, "redraw": False}, "transition": {"duration": 0}}
    play = still | {"fromcurrent": True, "frame": {"duration": WAIT, "redraw": False}}
    short = [label.partition(" ") for label in labels]
    steps = [{"label": parts[2], "method": "animate", "args": [[str(i)], still]} for i, parts in enumerate(short)]
    button = {"method": "animate"}
    fig.update_layout(
        height=HEIGHT,
        sliders=[
            {
                "active": start,
                "steps": steps,
                "pad": {"t": 46, "b": 0, "l": 96},
                "currentvalue": {
                    "xanchor": "left",
                    "prefix": f"{short[0][0]} ",
                    "font": {"color": ink.text, "size": 13},
                },
                "bgcolor": ink.grid,
                "activebgcolor": ink.strong,
                "bordercolor": ink.strong,
                "tickcolor": ink.strong,
                "font": {"color": ink.text, "size": 11},
                "minorticklen": 0,
            }
        ],
        updatemenus=[
            {
                "type": "buttons",
                "direction": "left",
                "showactive": False,
                "x": 0.0,
                "xanchor": "left",
                "y": 0.0,
                "yanchor": "top",
                "pad": {"t": 60},
                "bgcolor": ink.paper,
                "bordercolor": ink.strong,
                "font": {"color": ink.text, "size": 13},
                "buttons": [
                    button | {"label": "▶", "args": [None, play]},
                    button | {"label": "❚❚", "args": [[None], still]},
                ],
            }
        ],
    )


def _powers(floor: float, top: float) -> dict[str, Any]:
    """Ticks of a log axis; the lowest is named 0."""
    powers = np.arange(round(np.log10(floor)), np.ceil(np.log10(top)) + 1)
    return {"tickvals": 10.0**powers, "ticktext": ["0", *(f"10<sup>{p:.0f}</sup>" for p in powers[1:])]}


def _floor(values: NDArray) -> float:
    """A power of ten below every positive value worth showing."""
    smallest = values[values > 1e-8 * values.max()].min()
    return float(10.0 ** (np.ceil(np.log10(smallest)) - 1))

"""Colours, dashes, markers: one colour per layer family, one dash and marker per row within it, everywhere.

Both palettes extend Okabe and Ito (2008) to ten colours, each at least 3:1 against its background and told
apart under the three colour-vision deficiencies. The two templates fill every placeholder of plotly, so
that an exported figure never comes out black.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd  # noqa: F401  plotly breaks on a pandas that the warm-up has imported half
import plotly.graph_objects as go
import plotly.io as pio

# blue, ochre, green, pink, brick, grey, sky, olive, violet, brown
LIGHT = (
    *("#2f5ca2", "#b58c11", "#348563", "#da6ba8", "#9b2f00"),
    *("#545759", "#1c97db", "#837605", "#4e1b84", "#562e1f"),
)
DARK = (
    *("#2978d4", "#e09409", "#72d898", "#f7c2f8", "#c85e1b"),
    *("#7b8080", "#64b4fb", "#d0cc30", "#a188c2", "#ba9a7e"),
)


class Style(NamedTuple):
    """How a row of the table is drawn; `colour` is an index into LIGHT and DARK."""

    colour: int
    dash: str
    marker: str


STYLE: dict[str, Style] = {
    "spectral": Style(0, "solid", "circle"),
    "cpl": Style(0, "dash", "square"),
    "aol": Style(1, "solid", "circle"),
    "sr": Style(1, "dash", "square"),
    "cayley": Style(2, "solid", "circle"),
    "exponential": Style(2, "dash", "square"),
    "bjorck": Style(2, "dot", "diamond"),
    "householder": Style(2, "dashdot", "cross"),
    "bro": Style(2, "longdash", "triangle-up"),
    "soc": Style(2, "longdashdot", "triangle-down"),
    "aoc": Style(2, "9px,3px", "pentagon"),
    "lot": Style(2, "2px,5px", "star"),
    "sll": Style(3, "solid", "circle"),
    "sandwich": Style(4, "solid", "circle"),
    "plain": Style(5, "solid", "circle"),
}
UNKNOWN = Style(5, "5px,10px", "x")  # a row this table does not hold: grey, but never an error


class Ink(NamedTuple):
    """The colours of a mode that carry no data."""

    paper: str
    text: str
    grid: str
    strong: str


POINTS = 450  # a curve needs no more

INK = {
    False: Ink("#ffffff", "#1f2328", "#e3e6ea", "#6b737c"),
    True: Ink("#14171c", "#e6e8eb", "#2c323b", "#98a1ab"),
}


def _template(dark: bool) -> go.layout.Template:
    ink = INK[dark]
    axis = {"gridcolor": ink.grid, "zerolinecolor": ink.strong, "linecolor": ink.strong, "automargin": True}
    return go.layout.Template(
        layout={
            "colorway": DARK if dark else LIGHT,
            "paper_bgcolor": ink.paper,  # opaque: a dark figure stays readable on a white page
            "plot_bgcolor": ink.paper,
            "font": {"color": ink.text, "family": "Source Sans, system-ui, sans-serif", "size": 14},
            "xaxis": axis | {"zeroline": False},
            "yaxis": axis | {"zeroline": False},
            "shapedefaults": {"line": {"color": ink.strong, "width": 1}},
            "annotationdefaults": {"font": {"color": ink.text, "size": 12}, "arrowcolor": ink.strong},
            "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
            "hoverlabel": {"bgcolor": ink.paper, "bordercolor": ink.strong, "font": {"color": ink.text}},
            "modebar": {"bgcolor": ink.paper, "color": ink.strong, "activecolor": ink.text},
            "margin": {"l": 8, "r": 12, "t": 40, "b": 8},
        }
    )


pio.templates["lipviz_light"] = _template(dark=False)
pio.templates["lipviz_dark"] = _template(dark=True)


def config(filename: str) -> dict[str, Any]:
    """Plotly's options: SVG export as `filename`, no logo, no upload, few buttons."""
    return {
        "toImageButtonOptions": {"format": "svg", "filename": filename},
        "modeBarButtons": [["zoom2d", "pan2d", "resetScale2d", "toImage"]],
        "showSendToCloud": False,
        "displaylogo": False,
        "responsive": True,
    }


def layout(dark: bool, height: int) -> dict[str, Any]:
    """Common to all figures; no drag, so that a finger scrolls the page and not the axes."""
    template = "lipviz_dark" if dark else "lipviz_light"
    return {"template": template, "height": height, "uirevision": "lipviz", "dragmode": False}


def figure(dark: bool, height: int, x: str, y: str) -> go.Figure:
    """Empty figure with the titles of its two axes."""
    return go.Figure(layout={**layout(dark, height), "xaxis": {"title": x}, "yaxis": {"title": y}})


def looks(items: Sequence[Mapping[str, Any]], dark: bool) -> list[dict[str, Any]]:
    """Line and marker of each item (name, row): its row's; further names of the same row differ in width."""
    palette, seen, known = DARK if dark else LIGHT, Counter[str](), dict[str, dict[str, Any]]()
    for name, row in dict.fromkeys((item["name"], item["row"]) for item in items):
        style = STYLE.get(row, UNKNOWN)
        colour, width = palette[style.colour], (2.2, 1.1, 3.6)[seen[row] % 3]
        seen[row] += 1
        line = {"color": colour, "dash": style.dash, "width": width}
        known[name] = {"line": line, "marker": {"color": colour, "symbol": style.marker, "size": 6}}
    return [known[item["name"]] for item in items]


def rgba(colour: str, alpha: float) -> str:
    """The colour "#rrggbb", see-through."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def rules(fig: go.Figure, lines: Sequence[tuple[float, str, str, str]], axis: str = "x", log: bool = False) -> None:
    """Lines across the figure at the places (value, label, dash, colour) of an axis, all set at once."""
    other = "y" if axis == "x" else "x"
    across = {"type": "line", f"{other}ref": f"{other} domain", f"{other}0": 0, f"{other}1": 1}
    end = {other: 1, f"{other}ref": f"{other} domain", "showarrow": False}
    end |= {"textangle": -90, "yanchor": "top"} if axis == "x" else {"yanchor": "bottom", "xanchor": "right"}
    last = max((value for value, *_ in lines), default=0.0)
    shapes, names = [], []
    for value, label, dash, colour in lines:
        shapes.append(across | {f"{axis}0": value, f"{axis}1": value, "line": {"dash": dash, "color": colour}})
        # on a log axis plotly wants the exponent for a name, but the number for a line
        names.append(end | {axis: np.log10(value) if log else value, "text": label})
        if axis == "x":  # the right-most name stands inside: the margin is narrow
            names[-1]["xanchor"] = "right" if value == last > 0 else "left"
    fig.update_layout(shapes=shapes, annotations=names)

"""A plotly chart that is drawn on while one looks at it: a zoom, a hidden curve, a pressed button outlive each update.

`st.plotly_chart` builds its chart anew whenever the figure changes, and the visitor's zoom is gone; and it shows
nothing until the browser has read four megabytes of JavaScript. Here the figure is data of a component, which first
draws a plain sketch of it (web/sketch.js), then gives it to Plotly.react. The browser needs plotly's JavaScript for
that: the file inside the installed python package, which the app serves (served.py), so that nothing comes from
another host.
"""

import json
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ahead, served, ui, ui_canvas

if TYPE_CHECKING:
    import plotly.graph_objects as go


def chart(
    figure: "go.Figure | dict[str, Any]",
    name: str,
    alt: str,
    now: str = "",
    options: Mapping[str, Any] | None = None,
) -> None:
    """One chart: a sketch at once, then plotly's, which is updated in place.

    What the visitor did to the picture lasts as long as `figure.layout.uirevision` stays the same.

    Args:
        figure: drawn with our own template; or what `data` made of it.
        name: of the SVG file, and of the chart on its page.
        alt: a sentence for screen readers.
        now: where the numbers stand, such as "epoch 12"; the chart then has a switch that holds the picture still
            while more numbers come. "" for a chart that is complete.
        options: of plotly (default: `drawing.config`).
    """
    from lipviz.drawing import config

    sent = {
        "figure": figure if isinstance(figure, dict) else data(figure),
        "config": options or config(name),
        "script": served.address(),
        "alt": alt,
        "now": now,
        "dark": ui.dark(),
        "look": ui_canvas.look(),
    }
    with ahead.now():
        _component()(data=sent, key=f"chart_{name}")


def data(figure: "go.Figure") -> dict[str, Any]:
    """The figure as plain lists, numbers and strings."""
    return dict(json.loads(figure.to_json()))


@cache
def _component() -> Any:  # noqa: ANN401
    # in the page itself, not in a shadow root: plotly puts its style sheet into the document
    return st.components.v2.component(
        "lipviz_live",
        html='<div class="lv lv-live"></div>',
        css=ui_canvas.read("live.css"),
        js="".join(ui_canvas.read(f"{part}.js") for part in ("common", "sketch", "live")),
        isolate_styles=False,
    )

"""A plotly chart that is drawn on while one looks at it: a zoom, a hidden curve, a pressed button outlive each update.

`st.plotly_chart` builds its chart anew whenever the figure changes, and the visitor's zoom is gone. Here the figure is
data of a component, which gives it to Plotly.react. The browser needs plotly's JavaScript for that: the file inside the
installed python package, which the app serves (served.py), so that nothing comes from another host.
"""

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import served, ui, ui_canvas

if TYPE_CHECKING:
    import plotly.graph_objects as go


def live_chart(figure: "go.Figure", name: str, alt: str, now: str = "") -> None:
    """One chart that is updated in place.

    What the visitor did to the picture lasts as long as `figure.layout.uirevision` stays the same.

    Args:
        figure: drawn with our own template.
        name: of the SVG file, and of the chart on its page.
        alt: a sentence for screen readers.
        now: where the numbers stand, such as "epoch 12"; the chart then has a switch that holds the picture still
            while more numbers come. "" for a chart that is complete.
    """
    from lipviz.drawing import config

    data = {
        "figure": json.loads(figure.to_json()),
        "config": config(name),
        "script": served.address(),
        "alt": alt,
        "now": now,
        "dark": ui.dark(),
    }
    _component()(data=data, key=f"chart_{name}")


@cache
def _component() -> Any:  # noqa: ANN401
    # in the page itself, not in a shadow root: plotly puts its style sheet into the document
    return st.components.v2.component(
        "lipviz_live",
        html='<div class="lv lv-live"></div>',
        css=ui_canvas.read("live.css"),
        js=ui_canvas.read("common.js") + ui_canvas.read("live.js"),
        isolate_styles=False,
    )

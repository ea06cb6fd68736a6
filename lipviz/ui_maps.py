"""The plane as the selected runs see it: maps in a grid with one probe. Runs of images have no such map.

Nothing here is imported before there is a map to draw: the rest of the page does without the playground.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st

from lipviz import gallery, playground, ui, ui_canvas, ui_page, ui_playground
from lipviz.data import evenly
from lipviz.ops import frozen_ops

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lipviz.runs import Run

KEY = "co_maps"
DRAWN = 200  # test points, at most: the maps are small


def show(runs: Sequence["Run"], k: int) -> None:
    """Maps of these runs of the plane, their probe, and the same in numbers."""
    slot = st.container()
    with ui_page.part("numbers", "probe"), st.popover("Exact probe"):
        place, view = ui_playground.where("co")
    nets, rows = [], []
    for run in runs:
        with ui.in_words():
            known = ui.certifier(run)
            found = playground.proved(known, np.array(place))
            drawn = {"name": run.name, "ops": frozen_ops(known.frozen), "lipschitz": known.body}
            nets.append({**drawn, "bound": known.bound.value, **ui_playground.known(run.spec.layer, place, found)})
            numbers = {"certified radius": found["radius"], "margin": found["margin"], "bound": known.bound.value}
            answer = {"run": run.name, "answer": run.classes[found["label"]]}
            rows.append({**answer, **{key: float(f"{value:.4g}") for key, value in numbers.items()}})
    if not nets:
        return
    x, y = _points(runs[0])
    with slot:
        data: dict[str, Any] = {
            "nets": nets,
            "points": {"x": ui_playground.encode(x), "y": ui_playground.encode(y.astype(np.float64))},
            "probe": list(place),
            "known": place != ui_playground.PROBE,
            "eps": k / 255,
            "view": view,
        }
        ui_canvas.mount("maps", data, KEY, on_probe_change=_take, on_view_change=_take)
    with ui_page.part("numbers", "maps"):
        st.caption(f"At ({place[0]:g}, {place[1]:g}), certified in float64; l2, in the unit of the plane.")
        ui.table(rows, "maps")


def _take() -> None:
    ui_playground.take_place(KEY, "co")


def _points(run: "Run") -> tuple["NDArray", "NDArray"]:
    """Some of the test points of the run, evenly spaced; none, and a sentence, where they are not at hand."""
    try:
        found = run.certificates
        if found is None:
            raise ValueError(f"{run.name} has no certificates.csv, so its points are not drawn.")
        x, y = gallery.points(run, found)
    except ValueError as error:
        st.caption(ui.sentence(str(error)))
        return np.empty((0, 2)), np.empty(0, dtype=int)
    some = evenly(len(y), DRAWN)
    st.caption(
        ui.literal(
            f"Points: {len(some)} of the {len(y):,} test points of {run.name}; full where their answer"
            " is right and certified at eps."
        )
    )
    return x[some], y[some]

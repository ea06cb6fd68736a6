"""The page on Gershgorin discs: its controls, its picture, and what the picture sends back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_canvas

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from streamlit.delta_generator import DeltaGenerator

    from lipviz.grams import Frames, Gram
    from lipviz.lessons import Discs
    from lipviz.runs import Run

KEY = "gd_picture"
HIDDEN = '[class*="st-key-gd_aside"]'
REACH = 3.0  # of the exponents of q
BOUND: dict[str, Any] = {"bind": "query-params"}
NO_FRAMES = (
    "This run kept no discs over its training: they are stored since lipviz draws them. Train a run on the page Train, "
    "and its discs can be played from the first epoch to the last."
)


@dataclass(frozen=True)
class Shown:
    """What the page shows.

    Attributes:
        G: the matrix.
        q: the factors.
        t: the diagonal of T in the view T - G, else None.
        code: Python that draws it again.
        data: for the picture, beside what follows from the above.
        frames: discs over the training, where the run has them.
        frame: index of the frame that is looked at, None for now.
        about: a sentence on what is drawn.
    """

    G: "NDArray"
    q: "NDArray"
    t: "NDArray | None"
    code: str
    data: Mapping[str, Any] = field(default_factory=dict)
    frames: "Frames | None" = None
    frame: int | None = None
    about: str = ""


def example(controls: "DeltaGenerator", aside: "DeltaGenerator", view: str) -> Shown:
    """A small matrix of the visitor's, its factors q and its T; raises ValueError on text that is no matrix.

    What has no meaning now is drawn all the same, `aside`, which is out of sight: a suggestion that sets a widget which
    was not on the page would not reach the address.
    """
    from lipviz import lessons, lessons_words

    place = controls if view == "T - G" else aside
    name = place.segmented_control("T", lessons.RULES, default="AOL", required=True, key="gd_rule", **BOUND) or "AOL"
    with controls.popover("Exact numbers"):
        left, right = st.columns(2)
        # another size or seed is another matrix: what was dragged or typed before would hide it
        fresh: dict[str, Any] = {"on_change": st.session_state.update, "args": ({"gd_w": "", "gd_t": ""},)}
        n = left.select_slider("Neurons", lessons.SIZES, 5, key="gd_n", **fresh, **BOUND)
        seed = right.number_input("Seed", 0, 9999, 410, key="gd_seed", **fresh, **BOUND)
        text = st.text_input("Your own W", key="gd_w", placeholder="1 -0.5; 0 2", max_chars=1200, **BOUND)
        W = lessons.from_text(text) if text.strip() else lessons.example(n, 410 if seed is None else seed)
        ui.edit_matrix(W, "gd_w", lessons.to_text)
        st.caption("Factors: $q_i = 2^{e_i}$, with the exponents $e_i$ from -3 to 3.")
        columns = st.columns(4)
        exponents = [
            columns[i % 4].number_input(f"log2 q{i + 1}", -REACH, REACH, 0.0, 0.05, "%.3f", f"gd_q{i + 1}", **BOUND)
            for i in range(W.shape[1])
        ]
        # drawn for every rule: a number of T that is dragged writes here
        typed = st.text_input("Your own T", key="gd_t", placeholder="the numbers of AOL", max_chars=300, **BOUND)
        own = typed if name == "own" and view == "T - G" else ""
    G, q = W.T @ W, lessons.powers(exponents)
    rule = "AOL" if name == "own" else name
    t = lessons.diagonal_from_text(own, len(G)) if own.strip() else lessons.rule(rule, G, q)
    data = {"W": W.tolist(), "e": exponents, "rule": name, "t": t.tolist()}
    if view == "G":
        return Shown(G, q, None, lessons_words.code(W, exponents), data)
    return Shown(G, q, t, lessons_words.code(W, exponents, t if name == "own" else name), data)


def out_of_sight() -> "DeltaGenerator":
    """A container for widgets that only carry the state of the page."""
    hidden = st.container(key="gd_aside")
    hidden.html(f"<style>{HIDDEN}, div:has(> {HIDDEN}) {{ display: none }}</style>")
    return hidden


def layer(controls: "DeltaGenerator", run: "Run", view: str) -> Shown:
    """A layer of a run; raises ValueError where it cannot be read, or has no T to show T - G with."""
    from lipviz import lessons, lessons_words

    names = ui.layer_names(run)
    index = names.index(controls.selectbox("Layer", names, key="gd_layer", width=250, **BOUND))
    gram, wave = ui.layer_gram(run, index, 0), 0
    if gram.convolution:
        from lipviz.grams import FREQUENCIES

        wave = controls.select_slider("Frequency (k π/8)", range(FREQUENCIES), key="gd_wave", width=150, **BOUND)
        gram = ui.layer_gram(run, index, wave)
    scalings = lessons.scalings(gram)
    scaling = controls.selectbox("Factors q", list(scalings), key="gd_scale", width=180, **BOUND)
    q = scalings[scaling]
    t = lessons.diagonal(gram) if view == "T - G" else None
    frames = None
    with ui.in_words():  # discs over the training that cannot be read leave those of now
        frames = _frames(str(run.folder), ui.stamp(run, "spectra.npz"), index)
    if frames is not None and t is not None and frames.left is None:
        frames = None
    point = 100
    if frames is not None:
        with controls.popover("Exact numbers"):
            point = st.number_input("Point of the training (%), 100: now", 0, 100, 100, 1, key="gd_point", **BOUND)
    frame = frames.at(point) if frames is not None else None
    code = lessons_words.layer_code(ui.shown_path(run), index, wave, scaling, t is not None)
    data = _layer_data(gram, q, t, frames)
    return Shown(gram.G, q, t, code, data, frames, frame, lessons.about(gram))


def picture(shown: Shown, found: "Discs", view: str) -> None:
    """The discs and the matrix, to drag; what is let go arrives as the state of the widgets of the page."""
    from lipviz import lessons

    n, rows = len(shown.G), len(shown.data.get("W", ()))
    callback = partial(_moved, n, rows)
    message = ui_canvas.sent(KEY, "moved")
    heard = ui_canvas.number(message.get("at"), 0.0, 1e15) if isinstance(message, dict) else None
    c, r, values, names = found.drawn("left" if view == "T - G" else "right")
    data = {
        **shown.data,
        "view": view,
        "numbers": names,
        "centers": c.tolist(),
        "radii": r.tolist(),
        "eigenvalues": values.tolist(),
        "best": lessons.best_edge(shown.G),
        "point": -1 if shown.frame is None else shown.frame,
        "heard": heard,
    }
    ui_canvas.mount("discs", data, key=KEY, on_moved_change=callback)


def _moved(n: int, rows: int) -> None:
    """Write what was dragged into the widgets; what no picture of ours would send is left out."""
    from lipviz import lessons

    message = ui_canvas.sent(KEY, "moved")
    if not isinstance(message, dict):
        return
    state = st.session_state
    exponents = ui_canvas.numbers(message.get("q"), n, -REACH, REACH) if rows else None
    for i, e in enumerate(exponents or (), 1):
        state[f"gd_q{i}"] = round(e, 3)
    given = message.get("w")
    if rows and isinstance(given, list) and len(given) == rows:
        W = [row for line in given if (row := ui_canvas.numbers(line, n, -lessons.LARGEST, lessons.LARGEST))]
        if len(W) == rows:
            state["gd_w"] = lessons.to_text(W)
    t = ui_canvas.numbers(message.get("t"), n, 0.0, 16 * lessons.LARGEST**2) if rows else None
    if t:
        state["gd_t"], state["gd_rule"] = " ".join(f"{x:.6g}" for x in t), "own"
    point = ui_canvas.number(message.get("point"), 0.0, 100.0)
    if point is not None and not rows:
        state["gd_point"] = round(point)


def _layer_data(gram: "Gram", q: "NDArray", t: "NDArray | None", frames: "Frames | None") -> dict[str, Any]:
    from lipviz import lessons

    cells = lessons.balanced(gram.G, q, t)
    data: dict[str, Any] = {"cells": [[float(f"{x:.4g}") for x in row] for row in cells], "complex": gram.convolution}
    if frames is None:
        return data
    stored = []
    for i in range(len(frames.epoch)):
        c, r = frames.centers[i].astype(float), (frames.right[i] - frames.centers[i]).clip(0).astype(float)
        values = frames.eigenvalues[i].astype(float)
        if t is not None and frames.left is not None and frames.slack is not None:
            c, values = frames.left[i].astype(float) + r, frames.slack[i : i + 1].astype(float)
        numbers = [int(k) + 1 for k in frames.number[i]]
        parts = {"centers": c, "radii": r, "eigenvalues": values}
        stored.append(
            {"numbers": numbers, **{kind: [float(f"{x:.5g}") for x in array] for kind, array in parts.items()}}
        )
    points = frames.points
    kept = [i for i, point in enumerate(points) if point < 100]
    return data | {
        "frames": [stored[i] | {"epoch": int(frames.epoch[i]), "point": points[i]} for i in kept],
        "epochs": int(frames.epoch[-1]),
    }


@st.cache_data(max_entries=64, show_spinner=False)
def _frames(folder: str, stamp: float, index: int) -> "Frames | None":
    from lipviz.grams import frames

    return frames(folder, index)

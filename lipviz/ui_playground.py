"""The playground page: its controls, its picture, and the numbers beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import streamlit as st

from lipviz import playground_live as trainings
from lipviz import ui, ui_canvas, ui_page
from lipviz.drawing import STYLE
from lipviz.layers import LAYERS
from lipviz.networks import fitting
from lipviz.ops import encode
from lipviz.playground import Setup
from lipviz.playground_live import KEY, LEVELS, SPEEDS, Live, Net
from lipviz.playground_words import code, notice
from lipviz.points import to_csv

VIEWS = ("decision", "radius", "gradient", "tightness")
NOTHING = "nothing"
PROBE, EPS = (0.16, 0.42), 0.2
BOUND: Any = {"bind": "query-params"}
MARGIN = "The radius that the training asks for: more of it gives larger circles, and costs accuracy."


def take_place(key: str, prefix: str) -> None:
    """Probe or view came from the picture `key`: into the widgets that carry them to the address."""
    place = ui_canvas.numbers(ui_canvas.sent(key, "probe"), 2, -12.0, 12.0)
    if place is not None:
        st.session_state[f"{prefix}_x"], st.session_state[f"{prefix}_y"] = (round(v, 4) for v in place)
    view = ui_canvas.sent(key, "view")
    if isinstance(view, str) and view in VIEWS:
        st.session_state[f"{prefix}_view"] = view


def take_numbers() -> None:
    """Probe, eps or view came from the picture of the page."""
    take_place(KEY, "pg")
    eps = ui_canvas.number(ui_canvas.sent(KEY, "eps"), 0.0, LEVELS[-1])
    if eps is not None:
        st.session_state["pg_eps"] = round(eps, 3)


def picture(now: Live, place: tuple[float, float], eps: float, view: str) -> None:
    """The component with everything it draws."""
    setup = now.nets[0].setup
    ui_canvas.mount(
        "playground",
        {
            "mode": setup.mode,
            "points": {"x": encode(now.points.x), "y": encode(now.points.y.astype(np.float64))},
            "classes": now.points.classes,
            "stamp": now.stamp,
            "edit": now.edit,
            "levels": LEVELS,
            "nets": [_told(net, place) for net in now.nets],
            "probe": list(place),
            "known": place != PROBE,
            "eps": eps,
            "view": view,
            "running": now.running,
            "counter": counter(now),
        },
        KEY,
        on_probe_change=take_numbers,
        on_eps_change=take_numbers,
        on_view_change=take_numbers,
        on_points_change=trainings.take_points,
        on_act_change=trainings.act,
    )


def _told(net: Net, place: tuple[float, float]) -> dict[str, Any]:
    frame, row = net.frame, net.setup.layer
    drawn = {"name": LAYERS[row].title, "ops": frame.ops, "lipschitz": frame.lipschitz, "bound": frame.bound}
    found = net.proved(place) if net.setup.mode == "plane" else None
    return {**drawn, **known(row, place, found), "step": frame.step, "history": net.history}


def known(row: str, place: tuple[float, float], found: Mapping[str, Any] | None) -> dict[str, Any]:
    """What every map needs to know of its network: how its layer is drawn, and what is proved at the probe."""
    proof = found and {"x": list(place), "radius": found["radius"], "label": found["label"]}
    return {"colour": STYLE[row].colour, "free": row == "plain", "proof": proof}


def counter(now: Live) -> str:
    """Where the training stands, in words."""
    frame = now.nets[0].frame
    where = f"step {frame.step}, epoch {frame.epoch:.0f}"
    if now.stored:
        return f"{where} (stored)"
    return f"{where}, {frame.steps_per_second:.0f} a second" if now.running else where


def controls(data: str) -> tuple[list[Setup], tuple[Any, ...]]:
    """The settings of the page: (one setup or two, the source of the points)."""
    titles = choices()
    names, wave = list(titles), data == "square wave"
    with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
        row = titles[st.selectbox("Layer", names, names.index("SLL"), key="pg_layer", width=170, **BOUND)]
        twin = st.selectbox("Compare with", [NOTHING, *names], key="pg_with", width=170, **BOUND)
        if wave:
            gamma = st.segmented_control("Bound", [1, 5, 10], default=5, required=True, key="pg_gamma", **BOUND)
        else:
            margin = st.slider("Margin", 0.0, 1.5, 0.3, 0.05, key="pg_margin", width=170, help=MARGIN, **BOUND)
        depth = st.number_input("Depth", 1, 8, 2, key="pg_depth", width=110, **BOUND)
        width = st.select_slider("Width", [4, 8, 16, 32, 64, 128], 64, key="pg_width", width=150, **BOUND)
        with st.popover("More"):
            more = _more(data)
    setup = Setup(row, int(depth or 2), int(width), seed=more["seed"], rate=more["rate"], batch=more["batch"])
    if wave:
        setup = replace(setup, mode="wave", gamma=float(gamma or 5))
    else:
        setup = replace(setup, margin=margin, temperature=more["temperature"])
    setups = [setup] if twin not in titles else [setup, replace(setup, layer=titles[twin])]
    source = ("own", 0) if data == "own" else (data, *(more[name] for name in ("classes", "n", "noise", "draw")))
    return setups, ("wave",) if wave else source


def _more(data: str) -> dict[str, Any]:
    """Settings that the first screen can do without."""
    found: dict[str, Any] = {}
    st.caption("Training")
    left, right = st.columns(2)
    found["rate"] = left.select_slider("Rate", [0.001, 0.003, 0.01, 0.03, 0.1, 0.5], 0.01, key="pg_rate", **BOUND)
    found["temperature"] = right.select_slider("Temperature", [0.02, 0.05, 0.1, 0.3, 1.0], 0.1, key="pg_t", **BOUND)
    found["batch"] = left.select_slider("Points a step", [8, 16, 32, 64, 128, 300], 64, key="pg_batch", **BOUND)
    found["seed"] = right.number_input("Seed of the weights", 0, 9999, 0, key="pg_seed", **BOUND) or 0
    left.number_input("Steps a Play", 50, 5000, 800, 50, key="pg_until", **BOUND)
    right.segmented_control("Speed", list(SPEEDS), default="normal", required=True, key="pg_speed", **BOUND)
    st.caption("Points")
    left, right = st.columns(2)
    found["classes"] = (
        left.segmented_control("Classes", [2, 3], default=2, required=True, key="pg_classes", **BOUND) or 2
    )
    found["n"] = right.select_slider("Points", [50, 100, 300, 1000, 3000, 10000], 300, key="pg_n", **BOUND)
    found["noise"] = left.slider("Noise", 0.0, 0.5, 0.1, 0.05, key="pg_noise", **BOUND)
    found["draw"] = right.number_input("Seed of the points", 0, 9999, 0, key="pg_draw", **BOUND) or 0
    st.file_uploader(
        "Points of your own (CSV with x, y, label)", "csv", key="pg_file", on_change=trainings.upload, max_upload_size=2
    )
    return found


def exact() -> tuple[tuple[float, float], float, str]:
    """Probe, eps and view as widgets: the twin of the picture for keyboard and screen reader, kept in the address."""
    with st.popover("Exact numbers"):
        place, view = where("pg")
        eps = st.number_input("eps", 0.0, LEVELS[-1], EPS, 0.01, "%.3f", key="pg_eps", **BOUND)
    return place, float(eps or 0.0), view


def where(prefix: str) -> tuple[tuple[float, float], str]:
    """Probe and view as widgets."""
    left, right = st.columns(2)
    x = left.number_input("Probe, x", -12.0, 12.0, PROBE[0], 0.05, "%.4f", key=f"{prefix}_x", **BOUND)
    y = right.number_input("Probe, y", -12.0, 12.0, PROBE[1], 0.05, "%.4f", key=f"{prefix}_y", **BOUND)
    view = st.selectbox("View", VIEWS, key=f"{prefix}_view", **BOUND)
    return (float(x or 0.0), float(y or 0.0)), str(view or VIEWS[0])


def choices() -> dict[str, str]:
    """Title -> row of the layers that a network of points can have."""
    return {LAYERS[row].title: row for row in fitting("mlp")}


def table(now: Live, place: tuple[float, float], eps: float) -> list[dict[str, Any]]:
    """The numbers of the picture, computed here in float64."""
    rows: list[dict[str, Any]] = []
    for net in now.nets:
        frame = net.frame
        line: dict[str, Any] = {"network": LAYERS[net.setup.layer].title, "step": frame.step, "loss": frame.loss}
        if net.setup.mode == "wave":
            line |= {"certified bound": frame.bound, "steepest / bound": frame.tightness}
        else:
            right, radius = net.measured(now.points)
            found = net.proved(place)
            line |= {
                "clean": float(right.mean()),
                f"certified at {eps:g}": net.share(now.points, eps),
                "certified bound": frame.bound,
                "median radius": float(np.median(radius)),
                "probe: class": found["label"] + 1,
                "probe: certified radius": found["radius"],
            }
        rows.append({k: float(f"{v:.4g}") if isinstance(v, float) else v for k, v in line.items()})
    return rows


def show(setups: list[Setup], source: tuple[Any, ...]) -> None:
    """The picture and what changes with it, alone on the page while a training runs."""
    now = trainings.prepare(setups, source)
    st.fragment(_show, run_every=1.0 if now.running else None)()


def _show() -> None:
    now = trainings.live()
    if now is None:
        return
    if now.again:
        now.again = False
        st.rerun()
    if now.running:
        try:
            trainings.look(now)
        except ValueError as error:
            trainings.lost(now, str(error))
        if now.again:  # it stopped: without another run of the page the ticks would go on
            now.again = False
            st.rerun()
    ui.recall("pg_said")
    for words in dict.fromkeys([now.said, *(net.frame.sentence for net in now.nets if net.frame.state == "diverged")]):
        if words:
            st.warning(ui.literal(words))
    slot = st.container()
    with ui_page.part("numbers", "exact"):
        place, eps, view = exact()
    with slot:
        picture(now, place, eps, view)
    shares: list[float | None] = [None if net.setup.mode == "wave" else net.share(now.points, eps) for net in now.nets]
    with ui_page.part("notice"):
        ui.notice(notice(now.nets[0].setup, [net.frame for net in now.nets], shares, eps, now.stored))
    with ui_page.part("numbers", "table"), st.expander("The picture in numbers"):
        st.caption("Computed by the server in float64.")
        ui.table(table(now, place, eps), "playground")


def finish(setups: Sequence[Setup], source: tuple[Any, ...]) -> None:
    """The end of the page: links, code, the points as a table."""
    now, names = trainings.live(), ("name", "classes", "n", "noise", "seed")
    if now is None:
        return
    kept = st.session_state
    place = (float(kept.get("pg_x") or 0.0), float(kept.get("pg_y") or 0.0))
    drawn = None if source[0] == "own" else dict(zip(names, source, strict=False))
    text = code(setups[0], drawn, now.nets[0].frame.step, place, float(kept.get("pg_eps") or 0.0))
    ui_page.finish(text, "points.csv", to_csv(now.points))

"""The four views of the page on the condition; each returns (W, t of the code, table, file)."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import streamlit as st

from lipviz import condition, condition_words, ui, ui_canvas, ui_live, ui_page

if TYPE_CHECKING:
    from numpy.typing import NDArray

BOUND: dict[str, Any] = {"bind": "query-params"}
VIEWS = ["2 neurons", "3 neurons", "up to 8", "your own T"]
ENTRIES = {"cd_w11": 1.2, "cd_w12": 0.8, "cd_w21": -0.3, "cd_w22": 0.6}
LARGEST, HIGHEST, WIDE = 100.0, 1e7, 4.0  # entries of W, of T, log2(q2/q1)
START = {"cd_t1": 2.9, "cd_t2": 2.2}
SEED, SIZE = 410, 5
STYLES = {"aol": (1, "circle"), "sll": (3, "circle"), "cpl": (0, "square")}  # drawing.STYLE, which needs plotly
OWN = [f"cd_p{i + 1}" for i in range(8)]

_PLAIN = {**ENTRIES, "cd_edge": False, "cd_q": 1.0, "cd_form": "affine"}
CHIPS: dict[str, dict[str, Any]] = {
    "Pull T inside until the image touches the circle": {**_PLAIN, "cd_view": VIEWS[0], "cd_t1": 1.75, "cd_t2": 1.3},
    "Three neurons: flip a sign and watch AOL leave the edge": {"cd_view": VIEWS[1], "cd_w3": "", "cd_flip": ["G12"]},
    "A T of your own that fails: find the direction": {
        **{"cd_view": VIEWS[3], "cd_w": "", "cd_n": 3, "cd_seed": SEED, "cd_own": ""},
        **dict.fromkeys(OWN, 100),
        "cd_p2": 45,
    },
}


class Shown(NamedTuple):
    """What a view shows, for the table, the code and the file."""

    W: "NDArray"
    t: "NDArray"
    rules: Mapping[str, "NDArray"]


def read(message: object) -> dict[str, Any] | None:
    """The state of the page that a message of the picture stands for; None where it is no such message.

    >>> read({"w": [1, 0, 0, 1], "t": [2, 2.00001], "q": 0, "edge": False})["cd_t2"]
    2.0
    >>> read({"w": [1, 0, 0], "t": "x"}) is None
    True
    """
    if not isinstance(message, Mapping) or not isinstance(message.get("edge"), bool):
        return None
    w = ui_canvas.numbers(message.get("w"), 4, -LARGEST, LARGEST)
    t = ui_canvas.numbers(message.get("t"), 2, 0.0, HIGHEST)
    q = ui_canvas.number(message.get("q"), -WIDE, WIDE)
    if w is None or t is None or q is None:
        return None
    values = dict(zip([*ENTRIES, *START], [*w, *t], strict=True))
    rounded = {key: float(f"{value:.4g}") for key, value in values.items()}
    return {**rounded, "cd_q": round(q, 2), "cd_edge": message["edge"]}


def moved() -> None:
    """The visitor let go: write what the picture says into the widgets, and so into the address."""
    state = read(ui_canvas.sent("cd_canvas", "moved"))
    if state is not None:
        st.session_state.update(state)


def given(value: float | int | None, default: float | int) -> float | int:
    """The number of a field; the default where the field is empty."""
    return default if value is None else value


def two(controls: "st.delta_generator.DeltaGenerator") -> Shown:
    """Two neurons: the plane of T, the circle, the eigenvalues, all of them to be dragged."""
    forms = ["affine", "residual"]
    with controls:
        form = st.segmented_control("Layer", forms, default="affine", required=True, key="cd_form", **BOUND) or "affine"
        held = st.toggle("Hold T on the edge", key="cd_edge", help="T moves along (1, 1) until it is there", **BOUND)
        with st.popover("Exact numbers"):
            entry = {"min_value": -LARGEST, "max_value": LARGEST, "step": 0.05, "format": "%.4g", **BOUND}
            w = [
                given(column.number_input(f"W, row {key[-2]}, column {key[-1]}", value=value, key=key, **entry), value)
                for column, (key, value) in zip(2 * st.columns(2), ENTRIES.items(), strict=True)
            ]
            large = {"min_value": 0.0, "max_value": HIGHEST, "step": 0.05, "format": "%.4g", **BOUND}
            t = [given(st.number_input(key[3:], value=x, key=key, **large), x) for key, x in START.items()]
            q = given(st.number_input("log2(q2/q1) of SLL", -WIDE, WIDE, 1.0, 0.1, "%.2f", "cd_q", **BOUND), 1.0)
    W, T = np.array(w).reshape(2, 2), np.array(t)
    G = W.T @ W
    T = condition.to_edge(G, T).clip(0) if held else np.where((T == 0) & (np.diag(G) > 0), 1e-6, T)
    data = {"w": W.ravel().tolist(), "t": T.tolist(), "q": q, "edge": held, "form": form, "styles": STYLES}
    ui_canvas.mount("condition", data, "cd_canvas", on_moved_change=moved)
    with ui_page.part("numbers"):
        st.caption("Computed in float64, once you let go:")
        ui.numbers(condition.facts(W, T, form))
    with ui_page.part("notice"):
        ui.notice(condition_words.two(W, T, form))
    return Shown(W, T, {**condition.rules(G, np.array([1.0, 2.0**q])), "own T": T})


def three(controls: "st.delta_generator.DeltaGenerator") -> Shown:
    """Three neurons: the edge as a surface, and signs to flip."""
    from lipviz import figures_condition, lessons

    with controls:
        flips = st.pills("Flip the sign of", list(condition.PAIRS), selection_mode="multi", key="cd_flip", **BOUND)
        with st.popover("Change W"):
            hint = lessons.to_text(condition.THREE)
            text = st.text_input("Your own W, three columns", key="cd_w3", placeholder=hint, max_chars=300, **BOUND)
            e = [
                st.slider(f"log2(q{i}/q1) of SLL", -WIDE, WIDE, start, 0.1, "%.1f", f"cd_q{i}", **BOUND)
                for i, start in ((2, 1.0), (3, 0.5))
            ]
    W = lessons.from_text(text) if text.strip() else condition.THREE
    if W.shape[1] != 3:
        raise ValueError(f"this view needs a W with three columns, one for each neuron, got {W.shape[1]}")
    W = condition.flipped(W, [condition.PAIRS[name] for name in flips])
    G = W.T @ W
    rules = with_smallest(G, condition.rules(G, 2.0 ** np.array([0.0, *e])))
    reach = 1.3 * max(float((t - np.diag(G)).max()) for t in rules.values()) or float(np.diag(G).max()) or 1.0
    inside = condition.slack(G, rules["AOL"])
    fig = figures_condition.region(condition.surface(G, reach), rules, inside, ui.dark())
    alt = f"The edge of the region for three neurons; AOL is {condition.state(G, rules['AOL'])}"
    left, right = st.columns([3, 2], vertical_alignment="center")
    with left:
        options = figures_condition.config_3d("condition")
        ui_live.chart(fig, "condition_3d", alt, options=options)
    with right:
        with ui_page.part("notice"):
            ui.notice(condition_words.three(G, rules))
        with ui_page.part("numbers"):
            ui.table(condition.table(G, rules), "condition")
        st.caption(
            "Slack is the smallest eigenvalue of T - G. Drag the picture to turn it: above the surface the condition "
            "holds. W now: " + lessons.to_text(W)
        )
    return Shown(W, rules["AOL"], rules)


def weight(controls: "st.delta_generator.DeltaGenerator") -> "NDArray":
    """A weight of two to eight neurons: random, or as text."""
    from lipviz import lessons

    with controls.popover("Change W"):
        n = st.select_slider("Neurons", lessons.SIZES, SIZE, key="cd_n", **BOUND)
        seed = int(given(st.number_input("Seed", 0, 9999, SEED, key="cd_seed", **BOUND), SEED))
        text = st.text_input("Your own W", key="cd_w", placeholder="1 -0.5; 0 2", max_chars=800, **BOUND)
        W = lessons.from_text(text) if text.strip() else lessons.example(n, seed)
        ui.edit_matrix(W, "cd_w", lessons.to_text)
    return W


def many(controls: "st.delta_generator.DeltaGenerator") -> Shown:
    """Up to eight neurons: bars of every rule beside the smallest trace."""
    from lipviz import figures_condition

    W = weight(controls)
    G = W.T @ W
    rules = with_smallest(G, condition.rules(G) | {"SR(1)": condition.sr(G)})
    with ui_page.part("notice"):
        ui.notice(condition_words.many(G, rules))
    left, right = st.columns([3, 2])
    slack = {name: condition.slack(G, t) for name, t in rules.items()}
    with left:
        ui_live.chart(figures_condition.bars(rules, ui.dark()), "condition_t", "t of each neuron under each rule")
    with right:
        ui_live.chart(
            figures_condition.summary(rules, slack, ui.dark()), "condition_trace", "Trace and slack of each rule"
        )
    with ui_page.part("numbers"):
        ui.table(condition.table(G, rules), "condition")
    return Shown(W, rules["AOL"], rules)


def own(controls: "st.delta_generator.DeltaGenerator") -> Shown:
    """A T of one's own: feasible or not, and which direction says so."""
    from lipviz import figures_condition, lessons

    W = weight(controls)
    G = W.T @ W
    n, aol = len(G), condition.aol(G)
    text = controls.text_input("T in numbers", key="cd_own", placeholder="3 2.5 4", max_chars=200, width=180, **BOUND)
    picture, sliders = st.columns([3, 1])
    with sliders:
        shares = [
            st.slider(
                f"t{i + 1} (% of AOL's {aol[i]:.4g})", 0, 150, 90, 1, key=OWN[i], disabled=bool(text.strip()), **BOUND
            )
            for i in range(n)
        ]
        if text.strip():
            st.caption("The sliders rest while T is given in numbers.")
    t = lessons.diagonal_from_text(text, n) if text.strip() else aol * np.array(shares) / 100
    values = np.linalg.eigvalsh(np.diag(t) - G)
    v, _, _ = condition.direction(W, t)
    tolerance = condition.TOLERANCE * float(max(np.abs(t).max(), np.abs(G).max()))
    with picture:
        with ui_page.part("numbers"):
            ui.numbers(condition.facts(W, t))
        with ui_page.part("notice"):
            ui.notice(condition_words.own(W, t))
        dark, places = ui.dark(), [str(i + 1) for i in range(n)]
        left, right = st.columns(2)
        with left:
            fig = figures_condition.signed(values, places, "eigenvalues of T - G", tolerance or 1e-300, dark)
            ui_live.chart(fig, "condition_eigenvalues", f"Eigenvalues of T - G, the smallest {values[0]:.4g}")
        with right:
            fig = figures_condition.signed(v, [f"v{i}" for i in places], "direction v", dark=dark)
            ui_live.chart(fig, "condition_direction", f"Entries of the tightest direction, {condition.vector(v)}")
    return Shown(W, t, {**condition.rules(G), "own T": t})


def with_smallest(G: "NDArray", rules: Mapping[str, "NDArray"]) -> dict[str, "NDArray"]:
    """The rules and the T of smallest trace; without the solver, or without its answer, a sentence and the rest."""
    try:
        return {**rules, "smallest trace": _smallest(G)}
    except ImportError:
        st.caption("The smallest trace is left out: it needs a solver, `pip install -e '.[sdp]'`.")
    except (ValueError, RuntimeError) as error:
        st.caption(f"The smallest trace is left out: {ui.sentence(str(error))}")
    return dict(rules)


@st.cache_data(max_entries=256, show_spinner=False)
def _smallest(G: "NDArray") -> "NDArray":
    return condition.smallest(G)


def view(name: str, controls: "st.delta_generator.DeltaGenerator") -> Shown:
    """Draw one of VIEWS."""
    return dict(zip(VIEWS, (two, three, many, own), strict=True))[name](controls)

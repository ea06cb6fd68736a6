"""The pieces of the page on spectra. The picture needs no weights; what needs them is computed when it is opened."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_live

if TYPE_CHECKING:
    from lipviz.history import History
    from lipviz.runs import Run
    from lipviz.spectra import Frequencies

BOUND: dict[str, Any] = {"bind": "query-params"}
KINDS = ["rank", "histogram", "cumulative", "frequency map"]
WHOLE = "all but the last"
MAPS = 3
_START: dict[str, Any] = {"sp_layer": WHOLE, "sp_log": False, "sp_progress": 100, "sp_kind": "rank"}
CHIPS: dict[str, tuple[str, dict[str, Any]]] = {
    "aol": ("AOL: play the training and watch it leave 1", {"sp_progress": 0}),
    "cayley": ("Orthogonal: both frequency maps are flat", {"sp_kind": "frequency map", "sp_layer": 1}),
    "plain": ("No constraint: watch it rise above 1", {"sp_progress": 0, "sp_kind": "histogram"}),
}
OTHERS: dict[str, dict[str, Any]] = {
    "Log axis: watch the smallest values": {"sp_log": True},
    "Cumulative: how many lie at 1?": {"sp_kind": "cumulative"},
    "The last layer: it may exceed 1": {"sp_kind": "histogram"},
}


def controls(found: Sequence["Run"]) -> tuple[list["Run"], str, bool, int, bool, Any]:
    """Runs, kind, log, progress, exact, and the place for the menu of layers, which waits for the runs."""
    left, right = st.columns([2, 3], vertical_alignment="bottom")
    with left:
        runs = ui.pick_runs(found, "sp_runs", ui.preferred(found, ("aol", "sll", "cayley")), most=6)
    with right.container(horizontal=True, vertical_alignment="bottom"):
        place = st.container(width=150)
        kind = st.segmented_control("Show", KINDS, default=KINDS[0], required=True, key="sp_kind", **BOUND)
        with st.popover("More"):
            log = st.toggle("Logarithmic axis", key="sp_log", **BOUND)
            help = "The slider below the picture moves the same without waiting; this one goes into the address."
            progress = st.slider("Point of the training (%)", 0, 100, 100, 5, key="sp_progress", help=help, **BOUND)
            exact = st.toggle("End: exact values, from the weights", key="sp_exact", **BOUND)
    return runs, kind or KINDS[0], log, progress, exact, place  # an empty address gives no kind at all


def drawable(run: "Run") -> bool:
    """Whether the run has weights, or what was stored while it trained."""
    return any((run.folder / file).exists() for file in ("weights.safetensors", "spectra.npz"))


def layer_menu(histories: Sequence["History"]) -> int | None:
    """The number of the layer to show, None for all but the last."""
    count = max((len(h.layers) for h in histories), default=0)
    number = st.selectbox("Layer", [WHOLE, *range(1, count + 1)], key="sp_layer", **BOUND)
    return None if isinstance(number, str) else number


def opened(runs: Sequence["Run"]) -> list[tuple["Run", "History"]]:
    """What is known of each run: its stored history, or the values of its weights where nothing usable is stored."""
    from lipviz import history

    pairs = []
    for run in runs:
        known = None
        with ui.in_words():
            known = history.stored(run)
        if known is None:
            with ui.in_words():
                known = history.exact(run, ui.layer_spectra(run))
        pairs += [(run, known)] if known else []
    return pairs


def picture(
    pairs: Sequence[tuple["Run", "History"]], kind: str, log: bool, progress: int, number: int | None, exact: bool
) -> float:
    """The picture; returns the share of the training (0 to 1) that it opens with."""
    from lipviz import history

    if kind == KINDS[3]:
        _maps_picture([run for run, _ in pairs], number, log)
        return 1.0
    histories = [h for _, h in pairs]
    ends = []
    if exact:
        with ui.in_words():
            ends = [history.exact(run, ui.layer_spectra(run)) for run, _ in pairs]
    points = history.shares(histories)
    start = max(i for i, p in enumerate(points) if i == 0 or 100 * p <= progress + 1e-6)
    files = tuple((str(run.folder), ui.stamp(run), ui.stamp(run, "spectra.npz")) for run, _ in pairs)
    drawn = _drawn(files, kind, log, number, exact, start, ui.dark(), histories, ends)
    if not drawn:
        st.info(f"None of these runs has a layer {number}.")
        return 1.0
    names = ", ".join(h.name for h in histories)
    ui_live.chart(drawn, "spectra", f"Singular values, {kind}, of {names}; the tab Values holds the numbers")
    return points[start]


@st.cache_data(max_entries=32, show_spinner=False)
def _drawn(
    files: tuple[tuple[str, float, float], ...],
    kind: str,
    log: bool,
    number: int | None,
    exact: bool,
    start: int,
    dark: bool,
    _histories: Sequence["History"],
    _ends: Sequence["History"],
) -> dict[str, Any]:
    """The figure as data, {} where no run has that layer: its many frames take plotly a while."""
    from lipviz import history
    from lipviz.figures_spectra import spectrum

    points = history.shares(_histories)
    curves = history.curves(_histories, number, 1.0, _ends)
    if not curves:
        return {}
    frames = [history.curves(_histories, number, p, _ends) for p in points] if len(points) > 1 else []
    fig = spectrum(curves, kind, log, dark, frames, history.labels(_histories, points), start)
    # another view is another picture: its slider and its zoom begin anew
    return ui_live.data(fig.update_layout(uirevision=f"{files} {kind} {log} {number} {start}"))


def _maps_picture(runs: Sequence["Run"], number: int | None, log: bool) -> None:
    from lipviz.figures_spectra import frequency_map as draw
    from lipviz.figures_spectra import limits

    drawn: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for run in runs[:MAPS]:
        with ui.in_words():
            found = frequency_map(run, number or 1) if (number or 1) <= depth(run) else None
            if found is None:
                st.info(f"{ui.literal(run.name)}: layer {number or 1} is no convolution, it has no frequencies.")
                continue
            title = f"{run.name}, layer {number or 1}, {'zero' if found.padding == 'zeros' else found.padding} padding"
            drawn.append({"name": title, "largest": found.largest, "smallest": found.smallest})
            own = found.padding == "circular"
            rows.append(
                {
                    "map": title,
                    "largest of all": round(float(found.largest.max()), 6),
                    "at frequency 0": round(float(found.largest[0, 0]), 6),
                    "smallest of all": round(float(found.smallest.min()), 6),
                    "frequencies": " × ".join(map(str, found.largest.shape)),
                    "are": "the singular values of the layer" if own else "those of the kernel with a wrapped image",
                }
            )
    if len(runs) > MAPS:
        st.caption(f"The first {MAPS} runs are drawn.")
    if drawn:
        ends = limits(drawn, log)
        for i, (column, one) in enumerate(zip(st.columns(MAPS), drawn, strict=False), 1):
            with column:
                alt = f"Largest and smallest singular value of {one['name']} at each frequency; a table follows"
                ui_live.chart(draw(one, log, ui.dark(), ends), f"frequencies_{i}", alt)
        ui.table(rows, "maps")


def numbers(pairs: Sequence[tuple["Run", "History"]], number: int | None, share: float) -> list[tuple[str, str, str]]:
    """One number a run: the range of the singular values, at the point of training that the address names."""
    said, what = [], "Smallest and largest singular value, rounded, at the point of the training set under *More*."
    for _, h in pairs:
        states = [layer.states[h.index(share)] for layer in h.shown(number)]
        if states:
            low, high = min(s[-1] for s in states), max(s[0] for s in states)
            said.append((f"{h.name}, at {100 * share:.0f} %", f"{low:.4f} to {high:.4f}", what))
    return said


def chips(found: Sequence["Run"]) -> dict[str, dict[str, Any]]:
    """Three things to try, with the runs that are there."""
    wanted = [run for run in found if run.name in ui.preferred(found, tuple(CHIPS))]
    made: dict[str, dict[str, Any]] = {}
    for run in wanted:
        if run.spec.layer in CHIPS and (run.spec.layer != "cayley" or run.spec.kind == "convnet"):
            label, state = CHIPS[run.spec.layer]
            made[label] = {**_START, "sp_runs": [run.name], **state}
    for label, other in OTHERS.items():
        if len(made) < 3:
            made[label] = {**_START, **other}
            if "last" in label and found:
                made[label] |= {"sp_runs": [found[0].name], "sp_layer": depth(found[0])}
    return made


def depth(run: "Run") -> int:
    """The number of the last layer."""
    from lipviz.history import plan

    return len(plan(run.spec))


def frequency_map(run: "Run", number: int) -> "Frequencies | None":
    """The frequency map of a layer, computed once for all visitors."""
    return _frequency_map(str(run.folder), ui.stamp(run), number)


@st.cache_data(max_entries=48, show_spinner="Computing the frequency map ...")
def _frequency_map(folder: str, stamp: float, number: int) -> "Frequencies | None":
    from lipviz.runs import load
    from lipviz.spectra import frequencies

    run = load(folder)
    return frequencies(run.model, run.spec.input_shape, number)

"""The tabs below the picture of the page on spectra; each is computed when it is opened."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_live

if TYPE_CHECKING:
    from lipviz.gains import Jacobian
    from lipviz.history import History
    from lipviz.runs import Run

BOUND: dict[str, Any] = {"bind": "query-params"}
TABS = ["Distance to orthogonal", "Bounds and gain", "Jacobian at an input", "Values"]


def below(pairs: Sequence[tuple["Run", "History"]], number: int | None, share: float) -> None:
    """The tabs under the picture; each is computed when it is open."""
    values = partial(_values, number=number, share=share)
    tabs = st.tabs(TABS, key="sp_below", on_change="rerun", bind="query-params")
    draws: list[Callable[..., None]] = [_distances, _bounds, _jacobian, values]
    for tab, draw in zip(tabs, draws, strict=True):
        if tab.open:
            with tab:
                draw(pairs)


def _distances(pairs: Sequence[tuple["Run", "History"]]) -> None:
    from lipviz import history, spectra_words
    from lipviz.figures_spectra import dumbbells

    rows = history.distances([h for _, h in pairs])
    left, right = st.columns([3, 2])
    with left:
        ui_live.chart(
            dumbbells(rows, ui.dark()), "distances", "Distance to orthogonal before and after; a table follows"
        )
    with right:
        for words in (spectra_words.claim(rows), *spectra_words.verdict(rows)):
            st.markdown(words)
        st.caption("Root mean square of σ - 1: 0 is orthogonal. All layers: all but the last, each counts the same.")
    ui.table(history.distance_table(rows), "distances")


def _bounds(pairs: Sequence[tuple["Run", "History"]]) -> None:
    from lipviz.digits import rounded_up
    from lipviz.figures_spectra import dumbbells

    rows: list[dict[str, Any]] = []
    drawn: list[dict[str, Any]] = []
    for run, h in pairs:
        with ui.in_words():
            certified = ui.certifier(run)
            found, where = measured(run)
            last = certified.bound.layers[-1]
            rows.append(
                {
                    "run": run.name,
                    "all layers but the last: product of proved bounds": rounded_up(certified.body, 6),
                    "last layer: proved bound": rounded_up(last.value, 6),
                    "whole network: proved bound": rounded_up(certified.bound.value, 6),
                    "whole network: largest gain measured": f"{found:.4g}",
                    "measured at": where,
                    "how": protocol(run),
                }
            )
            drawn.append(
                {"name": run.name, "row": h.row, "label": run.name, "before": found, "after": certified.bound.value}
            )
    if not drawn:
        return
    title = "how much the whole network stretches at most: between these two"
    fig = dumbbells(drawn, ui.dark(), ("measured, at least", "proved, at most"), title)
    ui_live.chart(fig, "gain", "Measured gain and proved bound of each network; a table follows")
    st.markdown(
        "The proved bound of the whole network **is the product** of the proved bounds of its layers, rounded up; "
        "nothing tighter is computed, since an activation stands between any two layers. The measured gain is a "
        "**lower** bound of the true constant: it says what happens at those inputs and nothing about others. "
        "Certificates use the product without the last layer."
    )
    ui.table(rows, "bounds")


def _jacobian(pairs: Sequence[tuple["Run", "History"]]) -> None:
    from lipviz.figures_spectra import spectrum

    names = [run.name for run, _ in pairs]
    with st.container(horizontal=True):
        name = st.selectbox("Run", names, key="sp_jrun", width=240, **BOUND)
        run, h = pairs[names.index(name)]
        image = st.selectbox("Input", point_names(run), key="sp_image", width=240, **BOUND)
    with ui.in_words():
        found = jacobians(run, image)
        curves = [
            {
                "name": "each layer" if j.what.startswith("layer") else j.what,
                "row": h.row,
                "layer": j.what,
                "values": j.values,
            }
            for j in found
            if len(j.values)
        ]
        if curves:
            fig = spectrum(curves, "rank", False, ui.dark())
            ui_live.chart(fig, "jacobian", f"Singular values of Jacobians of {name} at {image}; a table follows")
        st.markdown(
            f"Singular values of the **Jacobian** of {ui.literal(name)} at the input *{ui.literal(image)}*, by "
            "back-propagation in float64. Residual and sandwich layers are nonlinear, so theirs depend on the input "
            "that reaches them; other layers are their matrix everywhere. At other inputs the values differ: none of "
            "this is a bound."
        )
        ui.table([_jacobian_row(j) for j in found], "jacobian")


def _jacobian_row(j: "Jacobian") -> dict[str, Any]:
    size = {"of": j.what, "matrix": f"{j.outputs} × {j.inputs}"}
    if not len(j.values):
        return {**size, "largest": None, "median": None, "smallest": None, "note": "too large to be written out here"}
    middle = j.values[len(j.values) // 2]
    ends = {"largest": j.values[0], "median": middle, "smallest": j.values[-1]}
    return {**size, **{key: round(float(value), 6) for key, value in ends.items()}, "note": ""}


def _values(pairs: Sequence[tuple["Run", "History"]], number: int | None, share: float) -> None:
    from lipviz import history

    st.caption("The curves of the picture.")
    ui.table(history.summary([h for _, h in pairs], number, share), "shown")
    rows: list[dict[str, Any]] = []
    for run, _ in pairs:
        with ui.in_words():
            rows += history.table(run, ui.layer_spectra(run), ui.certifier(run).bound)
    st.caption("All layers from the weights as they are now, in float64; bounds are proved and rounded up.")
    ui.table(rows, "spectra")


def measured(run: "Run") -> tuple[float, str]:
    """The measured gain of the run and the input where it was found, computed once for all visitors."""
    return _measured(str(run.folder), ui.stamp(run), run)


@st.cache_data(max_entries=48, show_spinner="Measuring the gain ...")
def _measured(folder: str, stamp: float, _run: "Run") -> tuple[float, str]:
    from lipviz import gains

    return gains.gain(ui.certifier(_run).frozen, gains.inputs(_run.spec.input_shape))


def jacobians(run: "Run", image: str) -> list["Jacobian"]:
    """The Jacobians of the run at a named input, computed once for all visitors."""
    return _jacobians(str(run.folder), ui.stamp(run), image)


@st.cache_data(max_entries=48, show_spinner="Writing out Jacobians ...")
def _jacobians(folder: str, stamp: float, image: str) -> list["Jacobian"]:
    from lipviz import gains
    from lipviz.bounds import freeze64
    from lipviz.runs import load

    run = load(folder)
    frozen = freeze64(run.model, run.spec.input_shape)
    return gains.layer_jacobians(frozen, gains.inputs(run.spec.input_shape)[image])


@st.cache_data(max_entries=48, show_spinner=False)
def _point_names(shape: tuple[int, ...]) -> list[str]:
    from lipviz import gains

    return list(gains.inputs(shape))


def point_names(run: "Run") -> list[str]:
    """Names of the inputs that fit the run."""
    return _point_names(run.spec.input_shape)


def protocol(run: "Run") -> str:
    """How the gain of the run was measured."""
    from lipviz import gains

    return gains.protocol(run.spec.input_shape)

"""The pieces of the page Certified radii: its controls, its picture, and the numbers of every run beside each other."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_canvas, ui_page

if TYPE_CHECKING:
    from lipviz.radii import Curves, Sandwich
    from lipviz.runs import Certificates, Run

KEY = "cr_picture"
BOUND: dict[str, Any] = {"bind": "query-params"}
WIDE = '[class*="st-key-cr_wide"]'  # on a phone the menu of runs takes a line of its own
REACH = 1020  # as lipviz.radii: the widgets stand before it comes
PIXELS = "pixels in [0, 1]"
MOST_CLASSES = 20  # beside the picture; the table has them all
DEFAULT = ("sll", "cayley", "aol", "plain")


@dataclass(frozen=True, eq=False)
class Shown:
    """A run whose certificates can be read.

    Attributes:
        run: the run.
        found: its certificates.
        curves: counted at every size.
        both: both sides of the truth on the attacked images; None where nothing attacked the run.
    """

    run: "Run"
    found: "Certificates"
    curves: "Curves"
    both: "Sandwich | None" = None


def controls(found: Sequence["Run"]) -> tuple[list["Run"], str, int]:
    """The chosen runs, the name of the one in detail, eps in 1/255."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        names = data_names(found)
        data = st.pills("Data", names, default=names[0], required=True, key="cr_data", width="content", **BOUND)
        k = st.number_input("eps, in 1/255", 0, REACH, 36, key="cr_eps", width=130, **BOUND)
        place = st.container(width=190)
        same = [run for run in found if run.data_name == (data or names[0])]
        with st.container(key="cr_wide"):
            st.html(f"<style>{WIDE}, div:has(> {WIDE}) {{ min-width: min(100%, 22rem) }}</style>")
            chosen = ui.pick_runs(same, f"cr_runs_{data}", default(same)) or example(same)
        one = place.selectbox("In detail", [run.name for run in chosen], key=f"cr_one_{data}", **BOUND)
    return chosen, one or "", 36 if k is None else k


def data_names(found: Sequence["Run"]) -> list[str]:
    """The data sets of the runs: pictures before points, CIFAR-10 first."""
    shapes = {run.data_name: len(run.spec.input_shape) for run in found}
    return sorted(shapes, key=lambda name: (-shapes[name], name != "cifar10", name))


def default(same: Sequence["Run"]) -> list[str]:
    """Names of the runs to open with: the best one, and one of each of a few families."""
    best = [run.name for run in same if run.name.endswith("-best")]
    first = ui.by_layer([run for run in same if run.name not in best])
    few = [*best, *(first[row] for row in DEFAULT if row in first)]
    return few if len(few) > 1 else [run.name for run in same[:6]]


def example(same: Sequence["Run"]) -> list["Run"]:
    """The run to show where none is chosen, with a caption that says so: the first default one, if possible shipped."""
    names = default(same)
    runs = sorted((run for run in same if run.name in names), key=lambda run: names.index(run.name))
    shipped = [run for run in runs if ui.CHECKPOINTS in run.folder.parents]
    kind = "an example that ships with lipviz" if shipped else "an example"
    one = (shipped or runs)[0]
    st.caption(ui.literal(f"Nothing is chosen: {kind}, {one.name}."))
    return [one]


def unit(run: "Run") -> str:
    """What a radius of the run is measured in."""
    return PIXELS if len(run.spec.input_shape) == 3 else "in the unit of the plane the points lie in"


def opened(chosen: Sequence["Run"], one: str) -> list[Shown]:
    """What can be read of the runs; a sentence for what a folder does not hold."""
    shown = []
    for run in chosen:
        name, cost = ui.literal(run.name), "its curve, histogram, classes and images cannot be drawn"
        read = None
        with _said(cost):
            read = _counted(str(run.folder), ui.stamp(run, "certificates.csv"), len(run.classes))
            if read is None:
                st.warning(f"{name} has no certificates (certificates.csv is missing or empty): {cost}.")
        shown += [Shown(run, *read)] if read is not None else []
    detail = in_detail(shown, one) if shown else None
    return [replace(item, both=_both(item.run)) if item is detail else item for item in shown]


def in_detail(shown: Sequence[Shown], one: str) -> Shown:
    """The run that is drawn with both sides of the truth: the chosen one, or the first that can be read."""
    return next((item for item in shown if item.run.name == one), shown[0])


def _both(run: "Run") -> "Sandwich | None":
    """Both sides of the truth for the run; a sentence where there is one side only."""
    cost, both = "what attacks leave and what is unknown cannot be drawn", None
    with _said(cost):
        stamps = tuple(ui.stamp(run, file) for file in ("certificates.csv", "attacks.npz"))
        both = _attacked(str(run.folder), stamps)
        if both is None:
            st.caption(f"{ui.literal(run.name)} has no attacks.npz: {cost}. `lipviz attack` makes one.")
    return both


@contextmanager
def _said(cost: str) -> Iterator[None]:
    """A broken file in one sentence, with what it costs."""
    try:
        yield
    except (ValueError, OSError) as error:
        st.error(f"{ui.sentence(str(error))}: {cost}.")


@st.cache_resource(max_entries=48, show_spinner="Reading certificates ...")
def _counted(folder: str, stamp: float, classes: int) -> "tuple[Certificates, Curves] | None":
    from lipviz import radii
    from lipviz.runs import load

    found = load(folder).certificates
    return None if found is None or not len(found.radius) else (found, radii.curves(found, classes))


@st.cache_resource(max_entries=48, show_spinner=False)
def _attacked(folder: str, stamps: tuple[float, ...]) -> "Sandwich | None":
    from lipviz import radii
    from lipviz.runs import load

    run = load(folder)
    assert run.certificates is not None  # the caller has read them
    return None if run.attacks is None else radii.sandwich(run.certificates, run.attacks)


def picture(shown: Sequence[Shown], one: Shown, k: int, between: tuple[int, int]) -> None:
    """Certified accuracy of all runs, both sides of the truth for one, its radii and its classes; eps to drag."""
    from lipviz import radii
    from lipviz.digits import rounded_down, rounded_up

    top, run = radii.end([item.curves for item in shown], one.both, k), one.run
    seen, lines = Counter[str](), []
    for item in shown:
        lines.append(_line(item, top, seen[item.run.spec.layer]))
        seen[item.run.spec.layer] += 1
    sub, curves = one.both, one.curves
    data = {
        "runs": lines,
        "one": shown.index(one),
        "wrong": curves.wrong.tolist(),
        "sub": sub and {"n": sub.n, "right": sub.right, "kept": _cut(sub.kept, top), "stands": _cut(sub.stands, top)},
        "classes": {
            "names": list(run.classes),
            "n": curves.class_n.tolist(),
            "right": curves.class_right.tolist(),
            "kept": [_cut(kept, top) for kept in curves.class_kept],
        }
        if len(run.classes) <= MOST_CLASSES
        else None,
        "eps": k,
        "from": min(between),
        "to": max(between),
        "top": top,
        "reach": radii.REACH,
        "bin": radii.BIN,
        "marks": marks(run),
        "unit": unit(run),
        "bound": "" if (bound := constant(run)) is None else rounded_up(bound),
        "measured": "" if sub is None or (low := radii.measured(one.found, sub)) is None else rounded_down(low, 4),
        "used": used(one),
        "numbers": not ui_page.hides("numbers"),
    }
    ui_canvas.mount("radii", data, KEY, on_eps_change=moved, on_range_change=brushed)


def _line(item: Shown, top: int, before: int) -> dict[str, Any]:
    """A run as the picture takes it; runs of one layer differ in their dash."""
    from lipviz.drawing import STYLE, UNKNOWN

    style, curves = STYLE.get(item.run.spec.layer, UNKNOWN), item.curves
    return {
        "name": item.run.name,
        "colour": style.colour,
        "dash": ui_canvas.dash(style.dash) + " 1 1" * before,
        "n": curves.n,
        "right": curves.right,
        "kept": _cut(curves.kept, top),
        "bins": curves.histogram.tolist(),
    }


def _cut(counts: Any, top: int) -> list[int]:  # noqa: ANN401  an array of any length
    return counts[: top + 1].tolist()


def moved() -> None:
    """Callback of the picture: eps was let go at a new place."""
    k = ui_canvas.number(ui_canvas.sent(KEY, "eps"), 0.0, float(REACH))
    if k is not None:
        st.session_state["cr_eps"] = round(k)


def brushed() -> None:
    """Callback of the picture: another range of radii was selected."""
    ends = ui_canvas.numbers(ui_canvas.sent(KEY, "range"), 2, 0.0, float(REACH))
    if ends is not None:
        st.session_state["cr_from"], st.session_state["cr_to"] = (round(k) for k in sorted(ends))


def marks(run: "Run") -> list[int]:
    """The sizes of the literature, which speak of pixels."""
    from lipviz.runs import MARKS

    return list(MARKS) if unit(run) == PIXELS else []


def constant(run: "Run") -> float | None:
    """The proved bound of the whole network that run.json holds."""
    bound = run.results.get("bound")
    if isinstance(bound, bool) or not isinstance(bound, int | float) or not 0 < bound < float("inf"):
        return None
    return float(bound)


def used(item: Shown) -> str:
    """The constants that its radii were made with, "1.04 to 1.68"; "" where no radius is above 0."""
    from lipviz.digits import rounded_down, rounded_up
    from lipviz.radii import constants

    found = constants(item.found)
    return "" if found is None else f"{rounded_down(found[0])} to {rounded_up(found[1], 3)}"


def summary(shown: Sequence[Shown], k: int) -> list[dict[str, Any]]:
    """A row of numbers for each run; accuracies in percent of the whole test set."""
    import numpy as np

    from lipviz.digits import rounded_down, rounded_up
    from lipviz.protocols import budget
    from lipviz.radii import wilson

    rows = []
    for item in shown:
        c, kept = item.curves, int(item.curves.kept[k])
        low, high = wilson(kept, c.n)
        radii = item.found.radius[item.found.correct]
        sizes = (*np.quantile(radii, (0.1, 0.5)), radii.mean()) if len(radii) else ()
        told = [float(rounded_down(float(r), 4)) for r in sizes] or 3 * [None]
        bound = constant(item.run)
        rows.append(
            {
                "run": item.run.name,
                "clean %": round(100 * (c.right / c.n), 1),
                "certified at eps %": round(100 * (kept / c.n), 1),
                "95 % interval": f"{100 * low:.1f} to {100 * high:.1f}",
                "mean radius": told[2],
                "median radius": told[1],
                "a tenth below": told[0],
                "budget": budget(item.run),
                "constant used": used(item) or None,
                "Lipschitz bound": None if bound is None else rounded_up(bound),
            }
        )
    return rows


def csv(shown: Sequence[Shown]) -> str:
    """A line for each test input of each run; the last column is the smallest change that attacks of it found."""
    from lipviz.tables import as_csv

    rows: list[tuple[object, ...]] = []
    for item in shown:
        found = item.found
        attacked = {} if item.both is None else dict(zip(item.both.row.tolist(), item.both.distance, strict=True))
        columns = (found.index, found.label, found.prediction, found.correct, found.radius)
        for i, (index, label, said, right, radius) in enumerate(zip(*(c.tolist() for c in columns), strict=True)):
            rows.append(
                (item.run.name, index, label, said, int(right), radius, float(attacked[i]) if i in attacked else "")
            )
    return as_csv(["run", "input", "label", "prediction", "right", "radius", "attacked"], rows)


def notes(chosen: Sequence["Run"]) -> list[str]:
    """What is to be known about the data, each sentence once."""
    return list(dict.fromkeys(note for run in chosen for note in run.notes))

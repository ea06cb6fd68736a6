"""The page on false certificates: controls of each falsehood, the networks that ship, caches; streamlit outside.

Only streamlit is imported at the top: the page shows its title first, and torch comes with the first case.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import streamlit as st

from lipviz import ui, ui_live, ui_pictures

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator
    from torch import Tensor

    from lipviz.certify import Certifier
    from lipviz.falsehoods import Case, Found
    from lipviz.runs import Run

SMALL = (1, 20, 20)  # input of the networks that are made up
DIGITS = ("Digit 3", "Digit 6", "Digit 9")
PHOTOS = ("Cat", "Horse", "Flower", "Coffee")
OWN = "made up here"
CONSTANTS = (1, 2, 3, 5, 7, 10, 15, 20, 30, 50, 70, 100, 200, 500, 1000, 2000, 5000, 10000)
LOGITS = (0.01, 0.1, 1, 10, 100)
STEPS = (0, 1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 20, 25, 30, 40, 60)
STDS = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
LIPSCHITZ = ("cayley", "sll", "cpl", "aol", "sr", "spectral", "bro", "sandwich")


@dataclass(frozen=True, eq=False)
class Shown:
    """A case as the page shows it: the names of the two answers, what to know of the network, the Python of it."""

    case: "Case"
    answers: tuple[str, str]
    about: str
    code: str


def _constants() -> tuple[float | int, float | int]:
    one, second = st.columns(2)
    constant = one.select_slider("Assumed constant", CONSTANTS, 1, key="fc_constant", bind="query-params")
    return constant, second.select_slider("All logits times", LOGITS, 1, key="fc_logits", bind="query-params")


def _steps() -> int:
    return st.select_slider("Steps of power iteration", STEPS, 2, key="fc_steps", bind="query-params")


def _stds() -> float | int:
    return st.select_slider("Pictures are divided by std", STDS, 0.25, key="fc_std", bind="query-params")


def _angle() -> int:
    return st.slider("Angle between the two rows, in degrees", 30, 180, 180, 5, key="fc_angle", bind="query-params")


def _offset() -> int:
    return st.slider("Number added and taken away", 0, 24, 20, format="2^%d", key="fc_offset", bind="query-params")


HIDDEN = ".st-key-fc_aside"
SLIDERS: dict[str, Callable[[], object]] = {
    "Assumed constant": _constants,
    "Power iteration": _steps,
    "Forgotten std": _stds,
    "Unit rows": _angle,
    "float32": _offset,
}


def view(kind: str, box: "DeltaGenerator", first: Callable[[Shown], None]) -> Shown:
    """The controls of a falsehood, in `box`, and its case.

    Bounding a trained network takes seconds, once per server: until then `first` shows the promise and its break.
    """
    hidden = st.container(key="fc_aside")
    hidden.html(f"<style>{HIDDEN}, div:has(> {HIDDEN}) {{ display: none }}</style>")
    with hidden:
        # only what is drawn is kept in the address, and a suggestion may set what another falsehood shows
        for name, draw in SLIDERS.items():
            if name != kind:
                draw()
    with box:
        if kind == "Forgotten std":
            return _std()
        if kind == "Unit rows":
            return _rows()
        if kind == "float32":
            return _float32()
        return _power() if kind == "Power iteration" else _constant(first)


def _constant(first: Callable[[Shown], None]) -> Shown:
    run, name, other = _network(("plain",))
    constant, logits = _constants()
    from lipviz import falsehoods

    call = f"falsehoods.assumed_constant(certifier, x, {constant}, {logits})"
    about = _about(run, "a network without a constraint")
    if run and _stamped(run) not in _BOUNDED:
        x, found = _searched(run, name)
        claimed, divisor, margin = falsehoods.promise(found, constant, logits)
        begun = falsehoods.Case(x.numpy(), found.first, margin, divisor, claimed, math.nan, found)
        first(_shown(begun, run, name, other, call, about))
    certifier, x, found = _ready(run, name, other)
    case = falsehoods.assumed_constant(certifier, x, constant, logits, found)
    return _shown(case, run, name, other, call, about)


def _power() -> Shown:
    run, name, other = _network(("plain",), own=True)
    steps = _steps()
    from lipviz import falsehoods

    certifier, x, found = _ready(run, name, other)
    case = falsehoods.power_iteration(certifier, x, steps, found)
    about = _about(run, "a network without a constraint")
    return _shown(case, run, name, other, f"falsehoods.power_iteration(certifier, x, steps={steps})", about)


def _std() -> Shown:
    run, name, other = _network(LIPSCHITZ)
    std = _stds()
    case = _forgotten(str(run.folder) if run else "", ui.stamp(run) if run else 0.0, name, other, std)
    call = f"falsehoods.forgotten_std(certifier, x, {std}{', run.spec.mean' if run else ''})"
    about = _about(run, "a 1-Lipschitz network")
    return _shown(case, run, name, other, call, f"{about} Here it is fed (x - mean) / {std}, with one std for all.")


def _rows() -> Shown:
    name, other = _digits()
    angle = _angle()
    case = _unit_rows(name, other, angle)
    about = "The network is made up: it compares the picture with two digits, by two rows of length 1."
    trained = [run for run in ui.all_runs(finished=True, images=True, told=False) if run.spec.layer in LIPSCHITZ]
    if trained:
        run = max(trained, key=lambda run: _apart(*_stamped(run)))
        about += (
            f" Among the trained networks here, {ui.literal(run.name)} has the two rows farthest apart, "
            f"{_apart(*_stamped(run)):.3g}: there the claim is too large by a factor of up to "
            f"{_apart(*_stamped(run)) / math.sqrt(2):.3g}."
        )
    return _shown(case, None, name, other, f"falsehoods.unit_rows(x, other, {angle})", about, built=False)


def _float32() -> Shown:
    name, other = _digits()
    power = _offset()
    case, much, wrong = _in_float32(name, other, power)
    from lipviz.falsehoods import PICTURES

    about = (
        f"The network is made up: one feature, 2^{power} added, 2^{power} taken away. Of {PICTURES} pictures beside "
        f"the boundary float32 promises too much for {much}, and is sure of the wrong answer for {wrong}; shown is "
        "the one where it promises most beyond the truth."
    )
    call = f"falsehoods.float32(x, other, 2.0**{power})[0]"
    return _shown(case, None, name, other, call, about, built=False)


def _network(layers: tuple[str, ...], own: bool = False) -> tuple["Run | None", str, str]:
    """(a run of one of these layers or None, name of the picture, name of the second one where there is no run)."""
    found = [run for run in ui.all_runs(finished=True, images=True) if run.spec.layer in layers]
    runs = {run.name: run for run in found}
    names = [OWN, *runs] if own or not runs else list(runs)
    # digits first: everybody sees what the right answer is
    grey = [run for run in found if run.spec.input_shape[0] == 1]
    first = OWN if own else next(iter(ui.preferred(grey or found, layers)), OWN)
    key = f"fc_run_{layers[0]}_{own}"
    with st.container(horizontal=True):
        chosen = st.selectbox("Network", names, names.index(first), key=key, bind="query-params", width=170)
        run = runs.get(chosen)
        if run is None:
            return (None, *_digits())
        return run, _picture(PHOTOS if run.spec.input_shape[0] == 3 else DIGITS), ""


def _digits() -> tuple[str, str]:
    """A digit, and another one, which it may be taken for."""
    name = _picture(DIGITS)
    return name, DIGITS[(DIGITS.index(name) + 2) % 3]


def _picture(choice: tuple[str, ...]) -> str:
    from lipviz import samples

    names = [name for name in choice if name in samples.names()]
    if not names:
        raise ValueError("expected a sample picture, found none: install scikit-learn and scikit-image")
    key = "fc_digit" if choice == DIGITS else "fc_photo"
    picked = st.pills("Picture", names, default=names[0], required=True, key=key, bind="query-params", wrap=True)
    return picked or names[0]


def _about(run: "Run | None", kind: str, own: str = "eight layers stretch one direction by 1.2 each") -> str:
    if run is None:
        return f"The network is made up: {own}, then the nearer of two digits is the answer."
    extra = "".join(f" {ui.literal(note)}" for note in run.notes[:1])
    return f"{ui.literal(run.name)} is {kind}, trained on {ui.literal(run.data_name)}.{extra}"


def _shown(case: "Case", run: "Run | None", name: str, other: str, call: str, about: str, built: bool = True) -> Shown:
    from lipviz import falsehoods_words

    shape = tuple(run.spec.input_shape) if run else SMALL
    built = built and run is None
    code = falsehoods_words.code(call, ui.shown_path(run) if run else None, name, other, shape, built)
    if run:
        first, second = (run.class_name(label) for label in (case.label, case.found.label))
    else:
        digits = name[-1], other[-1]
        first, second = digits[case.label], digits[case.found.label]
    return Shown(case, (first, second), about, code)


def draw(pictures: "DeltaGenerator", chart: "DeltaGenerator", shown: Shown) -> None:
    """The pictures, the verdict and the lines, in their places."""
    from lipviz import falsehoods_words

    with pictures.container():  # on a phone it stands before the controls: a slider changes what one sees
        if math.isnan(shown.case.certified):
            said = "Another answer was found inside the claim" if shown.case.broken else "No break inside the claim"
            st.badge(f"{said}; the proof follows", icon=":material/hourglass:", color="gray")
        else:
            said, icon, colour = falsehoods_words.STATES[shown.case.state]
            st.badge(said, icon=icon, color=colour)
        strip(shown)
    with chart.container():
        lines(shown)


def strip(shown: Shown) -> None:
    """The picture, the changed one and their difference, side by side."""
    from lipviz import falsehoods_words

    case, found = shown.case, shown.case.found
    words = f"Changed by {falsehoods_words.size(found.size)}: {shown.answers[1]}"
    figures = [
        ui_pictures.picture(case.x, f"The picture: {shown.answers[0]}"),
        ui_pictures.picture(found.pixels, words),
        ui_pictures.picture(0.5 + 10 * (found.pixels - case.x), "Difference × 10, grey is none"),
    ]
    st.html(f'<div style="display: flex; gap: 0.75rem">{"".join(figures)}</div>')


def lines(shown: Shown) -> None:
    """The lines of the claim and of the proof, and what happens."""
    from lipviz import figures_false
    from lipviz.digits import rounded_down
    from lipviz.falsehoods_words import size

    case, found = shown.case, shown.case.found
    broken = found.size if found.label != case.label else None
    known = not math.isnan(case.certified)
    # rounded as in the line of numbers, so that the figure never names a larger one
    claimed = min(float(rounded_down(case.claimed)), 1e6)
    certified = min(float(rounded_down(case.certified)), 1e3) if known else None
    figure = figures_false.claim(found.sizes, found.margins, case.margin, claimed, certified, broken, ui.dark())
    end = f"another answer was found at {size(found.size)}" if broken is not None else "no other answer was found"
    alt = f"The claim reaches {size(claimed)}, the proof {size(certified or 0.0)}; {end}."
    ui_live.chart(figure, "false" if known else "false_first", alt)


@st.cache_data(max_entries=64, show_spinner=False)
def _apart(folder: str, stamp: float) -> float:
    """The largest distance of two rows of the head; 0 where the weights cannot be read."""
    import torch

    from lipviz.isometries import UnitRows
    from lipviz.runs import RunError, load

    try:
        head = load(folder).model[-1]  # type: ignore[index]
    except RunError:
        return 0.0
    with torch.no_grad():
        return float(torch.cdist(head.rows(), head.rows()).max()) if isinstance(head, UnitRows) else 0.0


_BOUNDED: set[tuple[str, float]] = set()  # networks whose certifier is in the cache, unless it has been pushed out


def _stamped(run: "Run") -> tuple[str, float]:
    return str(run.folder), ui.stamp(run)


def _ready(run: "Run | None", name: str, other: str) -> tuple["Certifier", "Tensor", "Found"]:
    """(certifier, picture, what a search found) of a run, or of the network that is made up."""
    if run is None:
        return _stretched(name, other)
    certifier = ui.certifier(run)
    _BOUNDED.add(_stamped(run))
    return certifier, *_searched(run, name)


def _searched(run: "Run", name: str) -> tuple["Tensor", "Found"]:
    from lipviz import falsehoods

    return falsehoods.sample(name, run.spec.input_shape), _search(*_stamped(run), name)


@st.cache_data(max_entries=64, show_spinner="Searching for another answer ...")
def _search(folder: str, stamp: float, name: str) -> "Found":
    from lipviz import falsehoods
    from lipviz.bounds import freeze64
    from lipviz.runs import load

    run = load(folder)
    shape = run.spec.input_shape
    return falsehoods.search(freeze64(run.model, shape), falsehoods.sample(name, shape))


@st.cache_resource(max_entries=8, show_spinner=False)
def _stretched(name: str, other: str) -> tuple["Certifier", "Tensor", "Found"]:
    from lipviz import falsehoods
    from lipviz.certify import Certifier

    x, second = (falsehoods.sample(picture, SMALL) for picture in (name, other))
    certifier = Certifier(falsehoods.stretched(x, second), SMALL)
    return certifier, x, falsehoods.exact(certifier, x)


@st.cache_data(max_entries=64, show_spinner="Searching for another answer ...")
def _forgotten(folder: str, stamp: float, name: str, other: str, std: float) -> "Case":
    from lipviz import falsehoods
    from lipviz.runs import load

    if not folder:
        certifier, x, _ = _stretched(name, other)
        return falsehoods.forgotten_std(certifier, x, std)
    run = load(folder)
    x = falsehoods.sample(name, run.spec.input_shape)
    return falsehoods.forgotten_std(ui.certifier(run), x, std, run.spec.mean)


@st.cache_data(max_entries=128, show_spinner=False)
def _unit_rows(name: str, other: str, angle: int) -> "Case":
    from lipviz import falsehoods

    return falsehoods.unit_rows(falsehoods.sample(name, SMALL), falsehoods.sample(other, SMALL), angle)


@st.cache_data(max_entries=128, show_spinner=False)
def _in_float32(name: str, other: str, power: int) -> tuple["Case", int, int]:
    from lipviz import falsehoods

    return falsehoods.float32(falsehoods.sample(name, SMALL), falsehoods.sample(other, SMALL), 2.0**power)

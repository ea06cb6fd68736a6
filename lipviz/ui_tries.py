"""Attempts to break the answers on the page: made at a press, counted, kept for the session, and what they found."""

import hashlib
import io
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from lipviz import ui_pictures
from lipviz.ui import certifier, literal
from lipviz.ui_pictures import SIZES, STEPS

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lipviz.pictures import Answer
    from lipviz.tries import Point, Tries

BUG = "Please report this as a bug"
KEY = "ci_tries"
PICTURES = 100  # for which attempts are kept, each with each network


def walked(answer: "Answer") -> "Tries":
    """The walk to the nearest class as one more search: its points checked against the line, its break drawn back."""
    steps = ui_pictures.walk(answer, "nearest class").pixels
    kept = _walked_of_one if answer.sample is None else _walked_of_all
    return kept(str(answer.run.folder), answer.margin, answer.pixels, steps)


@st.cache_data(max_entries=128, show_spinner=False)
def _walked_of_all(folder: str, margin: float, pixels: "NDArray", _steps: "NDArray") -> "Tries":
    return _walked(folder, pixels, _steps)


@st.cache_data(scope="session", max_entries=32, show_spinner=False)
def _walked_of_one(folder: str, margin: float, pixels: "NDArray", _steps: "NDArray") -> "Tries":
    return _walked(folder, pixels, _steps)


def _walked(folder: str, pixels: "NDArray", steps: "NDArray") -> "Tries":
    from lipviz.runs import load
    from lipviz.tries import walked

    return walked(certifier(load(folder)), pixels, steps)


def kept(answer: "Answer") -> "Tries":
    """The attempts of this session on the network and the picture of the answer."""
    from lipviz.tries import Tries

    return st.session_state.get(KEY, {}).get(_name(answer)) or Tries()


def line(answer: "Answer", end: float) -> "tuple[NDArray, NDArray]":
    """Sizes up to `end`, and the smallest margins that the proof allows there."""
    return _line(str(answer.run.folder), answer.margin, answer.pixels, end)


@st.cache_data(scope="session", max_entries=32, show_spinner=False)
def _line(folder: str, margin: float, pixels: "NDArray", end: float) -> "tuple[NDArray, NDArray]":
    import numpy as np
    import torch

    from lipviz.runs import load
    from lipviz.tries import Target

    sizes = np.linspace(0.0, end, 65)
    return sizes, Target(certifier(load(folder)), pixels).floor(torch.tensor(sizes)).numpy()


def _name(answer: "Answer") -> tuple[str, float, str]:
    """The margin tells a network from what it was before more training."""
    return str(answer.run.folder), answer.margin, hashlib.sha256(answer.pixels.tobytes()).hexdigest()


def best(answer: "Answer") -> "Point | None":
    """The smallest break found so far, by the walk or by an attempt."""
    from lipviz.tries import smaller

    return smaller(walked(answer).best, kept(answer).best)


def press(answers: Sequence["Answer"], shown: "Answer") -> None:
    """The button for more attempts, against every network; and what all attempts on the one shown came to."""
    from lipviz.tries import BUDGETS, MOST, PRESS, STEPS, attempts

    store = st.session_state.setdefault(KEY, {})
    full = all(len(kept(answer).size) >= MOST for answer in answers)
    with st.container(horizontal=True, vertical_alignment="center"):
        words = f"{PRESS} more attempts against each network, each from its own random point. At most {MOST:,}."
        asked = st.button("Try harder", help=words, key="ci_harder", disabled=full, icon=":material/search:")
        counter = st.empty()
    words = "Gradient steps of an attempt: more of them search longer, and take as much longer."
    steps = st.select_slider("Steps of an attempt", BUDGETS, STEPS, key="ci_steps", help=words, bind="query-params")
    if asked:
        for answer in answers:
            with st.spinner(f"{PRESS} more attempts to break {literal(answer.run.name)} ..."):
                so_far = kept(answer)
                if len(so_far.size) < MOST:
                    more = attempts(certifier(answer.run), answer.pixels, len(so_far.size), PRESS, steps)
                    store[_name(answer)] = so_far + more
        while len(store) > PICTURES:
            store.pop(next(iter(store)))
    counter.markdown(count(shown), width="content")


def count(answer: "Answer") -> str:
    """How many attempts there were, and how many came below the line."""
    tries = kept(answer)
    if not len(tries.size):
        return "No attempts yet beside the walk."
    return f"**{int(tries.under.sum())} of {len(tries.size)} attempts** got below the line."


def comparison(answers: Sequence["Answer"]) -> str:
    """At which size each network falls, as far as was found, and how many times sooner the plain one does."""
    from lipviz.digits import rounded_down

    plain, other = (next((a for a in answers if (a.run.spec.layer == "plain") == yes), None) for yes in (True, False))
    shown = [answer for answer in (plain, other) if answer]
    falls, beside = plain and best(plain), other and best(other)
    sentences = []
    if falls and beside and plain and other:
        near, far = literal(plain.run.name), literal(other.run.name)
        where = f"**{size_of(beside.size)}**, where {far} falls."
        if beside.size >= falls.size:
            ratio = f"**{beside.size / falls.size:.3g} times sooner** than"
            sentences.append(f"{near} falls at size **{size_of(falls.size)}**, {ratio} {where}")
        else:
            sentences.append(f"{near} falls at size **{size_of(falls.size)}**, later than {where}")
            proven = f"{rounded_down(plain.radius)} against {rounded_down(other.radius)}"
            sentences.append(f"So it is harder to break here, by this search; what is proven is {proven}.")
    else:
        for answer, found in ((plain, falls), (other, beside)):
            if answer and found:
                sentences.append(f"{literal(answer.run.name)} falls at size **{size_of(found.size)}**.")
    for answer, found in ((plain, falls), (other, beside)):
        if answer and not found:
            sentences.append(f"No search has broken {literal(answer.run.name)} up to size {reach(answer):.3g}.")
    if not (falls or beside):
        return " ".join(sentences)
    number = max(len(kept(answer).size) for answer in shown)
    by = f"a walk and {number} attempts" if number else "one walk"
    return (
        f"{' '.join(sentences)} These are the smallest breaks found by {by}; nearer ones may exist, outside the radii."
    )


def reach(answer: "Answer") -> float:
    """The largest change that was looked at; clipping to [0, 1] may keep it below what was asked for."""
    return float(max(ui_pictures.walk(answer, "nearest class").size.max(), *kept(answer).size, 0.0))


def telling(answers: Sequence["Answer"]) -> int | None:
    """The first of `STEPS` at which a plain network is broken and another certified; None where there is none."""
    walks = [ui_pictures.walk(answer, "nearest class") for answer in answers]
    for step in range(1, len(SIZES)):
        states = {
            (answer.run.spec.layer == "plain", bool(walk.label[step] != walk.label[0]), walk.size[step] < answer.radius)
            for answer, walk in zip(answers, walks, strict=True)
        }
        if {(True, True, False), (False, False, True)} <= states:
            return step
    return None


def go_there(answers: Sequence["Answer"]) -> None:
    """A button that sets the size to the one that tells the networks apart, unless it is set."""
    if (step := telling(answers)) is not None:
        k = STEPS[step]
        if (st.session_state.get("ci_eps"), st.session_state.get("ci_way")) == (k, "nearest class"):
            return
        words = f"Set the size to {k}/255: the plain network broken, the other certified"
        state = {"ci_eps": k, "ci_way": "nearest class"}
        st.button(words, key="ci_there", on_click=st.session_state.update, args=(state,), wrap=True)


def size_of(size: float) -> str:
    """A size in words short enough for a caption."""
    return f"{size:.3g}" if size >= 1e-3 else f"{size:.1e}"


def report(answers: Sequence["Answer"]) -> None:
    """Every point below a line, in full, with its data: a mistake here or rounding, and in no case hidden."""
    from lipviz.digits import rounded_down

    for number, answer in enumerate(answers):
        points = (*walked(answer).below, *kept(answer).below)
        if not points:
            continue
        st.error(
            f"**{len(points)} {'point' if len(points) == 1 else 'points'} below the line of "
            f"{literal(answer.run.name)}.** The proof says that this cannot be. {BUG}, with the data below."
        )
        for point in points:
            label = answer.run.class_name(point.label)
            st.markdown(
                f"Size {point.size!r}, margin {point.margin!r}, answer {literal(label)}; certified radius "
                f"{answer.radius!r}, margin of the unchanged picture {answer.margin!r}, answer {literal(answer.label)}."
            )
            ui_pictures.compare(answer, point.pixels, rounded_down(point.size), label)
        st.download_button(
            "Data for the report",
            partial(_evidence, answer, points),
            "below_the_line.npz",
            on_click="ignore",
            key=f"ci_report_{number}",
        )


def _evidence(answer: "Answer", points: Sequence["Point"]) -> bytes:
    """The exact pixels and numbers of the points, as npz."""
    import numpy as np

    file = io.BytesIO()
    np.savez_compressed(
        file,
        network=answer.run.folder.name,
        picture=answer.pixels,
        certified_radius=answer.radius,
        margin=answer.margin,
        changed=np.stack([point.pixels for point in points]),
        sizes=[point.size for point in points],
        margins=[point.margin for point in points],
        labels=[point.label for point in points],
    )
    return file.getvalue()

"""The picture on its way out: verdicts in words, what it looks like, its margin above the line of the proof, tables."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_live, ui_pictures
from lipviz.ui import literal
from lipviz.ui_pictures import STEPS, listed
from lipviz.ui_tries import BUG, best, count, kept, line, size_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lipviz.pictures import Answer, Walk

WAYS = ("nearest class", "random noise")


def controls(answers: Sequence["Answer"]) -> tuple[str, int, int]:
    """Which way out, which of `STEPS` on it, and through the eyes of which network."""
    eps = st.select_slider(
        "Size of the change (l2 norm, pixels in [0, 1], before clipping)",
        STEPS,
        36,
        lambda k: f"{k}/255",
        "ci_eps",
        bind="query-params",
    )
    shown = (names := [answer.run.name for answer in answers])[0]
    one: dict[str, Any] = {"required": True, "bind": "query-params"}
    with st.container(horizontal=True):
        way = st.segmented_control("Towards", WAYS, default=WAYS[0], key="ci_way", width="content", **one)
        if len(names) > 1:
            shown = st.segmented_control("Seen by", names, default=shown, key="ci_seen", width="content", **one)
    # an empty value in the address is none, required or not
    return way or WAYS[0], STEPS.index(eps), names.index(shown or names[0])


def verdicts(answers: Sequence["Answer"], walks: Sequence["Walk"], step: int) -> None:
    """A line for each network: what it answers to its picture as it is changed now, and whether that was proven."""
    for answer, walk in zip(answers, walks, strict=True):
        icon, colour, badge, words = verdict(answer, walk, step)
        with st.container(horizontal=True, gap="small", vertical_alignment="center"):
            st.badge(badge, icon=icon, color=colour)  # type: ignore[arg-type]
            st.markdown(words, width="content")


def verdict(answer: "Answer", walk: "Walk", step: int) -> tuple[str, str, str, str]:
    """Icon, colour, badge and sentence for one network."""
    from lipviz.digits import rounded_down

    size, first = float(walk.size[step]), literal(answer.label)
    changed, inside = outcome(answer, walk, step)
    name, radius = literal(answer.run.name), f"the certified radius {rounded_down(answer.radius)}"
    if size == 0:
        return ":material/image:", "gray", "Unchanged", f"{name} says **{first}**."
    if not changed:
        if inside:
            words = f"{name} says **{first}**, as it must: {size:.3f} is inside {radius}."
            return ":material/verified:", "green", "Certified", words
        words = f"{name} still says **{first}**; {size:.3f} is outside {radius}, so this is not proven."
        return ":material/help:", "orange", "Holds, not proven", words
    now = literal(answer.run.class_name(int(walk.label[step])))
    if inside:
        words = f"{name} says **{now}** instead of {first} inside {radius}. {BUG}."
        return ":material/bug_report:", "red", "Must not be", words
    words = f"{name} says **{now}** instead of {first}; {size:.3f} is outside {radius}."
    return ":material/heart_broken:", "red", "Answer changed", words


def pictures(answer: "Answer", walk: "Walk", step: int, way: str) -> None:
    """The picture unchanged, changed, their difference, noise of the same size; on request the smallest break."""
    point, after, size = best(answer), walk.pixels[step], float(walk.size[step])
    label = int(walk.label[step])
    place = st.container()
    words = f"Show the smallest break found, {size_of(point.size)}" if point else "No break found yet"
    broken = st.toggle(words, key="ci_break", disabled=point is None, bind="query-params") and point
    if point and broken:
        after, size, label = point.pixels, point.size, point.label
    noise = ui_pictures.noise(answer, size) if size > 0 and (broken or way == "nearest class") else None
    shown = f"{size:.3f}" if size >= 0.01 else size_of(size)
    with place:
        ui_pictures.compare(answer, after, shown, answer.run.class_name(label), noise)


MEANING = {  # (changed, inside the radius)
    (False, True): "same answer, as proven",
    (False, False): "same answer, outside the proof",
    (True, False): "other answer, outside the proof",
    (True, True): "other answer inside the radius: please report this as a bug",
}


def outcome(answer: "Answer", walk: "Walk", step: int) -> tuple[bool, bool]:
    """Whether the answer has changed, and whether its picture is inside the certified radius still."""
    return bool(walk.label[step] != walk.label[0]), bool(walk.size[step] < answer.radius)


def changes(answers: Sequence["Answer"], walks: Sequence["Walk"], step: int) -> list[dict[str, Any]]:
    """A row for each network: what it answers to its own changed picture, and whether that was proven."""
    from lipviz.digits import rounded_down

    rows = []
    for answer, walk in zip(answers, walks, strict=True):
        meaning = MEANING[outcome(answer, walk, step)]
        row: dict[str, Any] = {"network": answer.run.name, "answer now": answer.run.class_name(int(walk.label[step]))}
        row |= {"what it means": meaning, "size after clipping": float(f"{walk.size[step]:.3f}")}
        rows.append(row | {"certified radius": rounded_down(answer.radius)})
    return rows


def csv(answers: Sequence["Answer"], walks: Sequence["Walk"]) -> str:
    """Size, margin and answer of every step of every network's walk, then the best points of all attempts."""
    from lipviz.tables import as_csv

    rows: list[tuple[object, ...]] = []

    def add(answer: "Answer", by: str, size: float, margin: float, name: str) -> None:
        rows.append((answer.run.name, answer.radius, by, float(size), float(margin), name))

    for answer, walk in zip(answers, walks, strict=True):
        for size, margin, label in zip(walk.size, walk.margin, walk.label, strict=True):
            add(answer, "walk", size, margin, answer.run.class_name(int(label)))
        for number, (size, margin) in enumerate(zip(kept(answer).size, kept(answer).margin, strict=True)):
            add(answer, f"attempt {number}", size, margin, "")
        if point := best(answer):
            add(answer, "smallest break", point.size, point.margin, answer.run.class_name(point.label))
    return as_csv(["network", "certified_radius", "found_by", "size", "margin", "answer"], rows)


def notice(answers: Sequence["Answer"], walks: Sequence["Walk"], focus: int, step: int, way: str) -> str:
    """What to look at, in the state the page is in; the pictures are those of the network `focus`."""
    found = [outcome(answer, walk, step) for answer, walk in zip(answers, walks, strict=True)]
    names = [literal(answer.run.name) for answer in answers]
    fallen = [name for name, (changed, _) in zip(names, found, strict=True) if changed]
    kept = [name for name in names if name not in fallen]
    if step == 0:
        return "Nothing is changed yet. Move the slider until the first answer falls."
    if all(each == (False, True) for each in found):
        return "This size is inside every certified radius: no change of this size, of any kind, can alter an answer."
    if fallen and kept:
        lost, held = listed(fallen), listed(kept)
        look = "Look at the picture above" if names[focus] == fallen[0] else f"Choose {fallen[0]} under *Seen by*"
        return f"{lost} changed the answer, {held} did not. {look}: can you see the change?"
    if fallen:
        return "Outside the radius nothing is promised, and here the answer changed. Can you see why in the picture?"
    if way == "random noise":
        return "Outside the radius nothing is promised, but noise rarely finds the way. Try the nearest class."
    return "Outside the radius nothing is promised; this search has found no other answer at this size."


def _near(walk: "Walk", end: float) -> "NDArray":
    """Which steps of the walk are drawn up to that size: the first one always."""
    return (walk.size <= end) | (walk.size <= walk.size[1])


def proof(answers: Sequence["Answer"], walks: Sequence["Walk"], focus: int, step: int, way: str) -> None:
    """The margin of one network on the way out above the line of the proof, and where the others fall."""
    from lipviz import figures
    from lipviz.digits import rounded_down

    answer, walk = answers[focus], walks[focus]
    radius = min(float(rounded_down(answer.radius)), 1e3)  # so that the figure never names a larger one
    tries, point = kept(answer), best(answer)
    end = max(2.2 * radius, 1.5 * walk.size[step], 0.05, 1.05 * (point.size if point else 0.0))
    near = _near(walk, end)
    beside = [
        (other.run.name, out.size[_near(out, end)], out.margin[_near(out, end)])
        for i, (other, out) in enumerate(zip(answers, walks, strict=True))
        if i != focus
    ]
    found = "margin on the way to the nearest class" if way == "nearest class" else "margin with random noise"
    figure = figures.margin_line(
        walk.size[near],
        walk.margin[near],
        radius,
        ui.dark(),
        found,
        walk.size[step],
        line(answer, radius),
        (tries.size, tries.margin),
        (point.size, point.margin) if point else None,
        beside,
    )
    alt = f"The margin stays above a line that falls from {answer.margin:.3g} to 0 at {radius}; {count(answer)}"
    ui_live.chart(figure, "margin", alt)

"""What the pages of pictures share: choosing one, certifying it, changing it; streamlit outside, `pictures` inside.

Only streamlit is imported at the top: a page shows its title first, and torch comes with the first call below.
"""

import html
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz.ui import all_runs, certifier, literal, preferred

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lipviz.images import Picture
    from lipviz.pictures import Answer, Walk
    from lipviz.runs import Run

MAX_NETWORKS = 4  # on one picture at a time
# sizes of a change that can be chosen, in 1/255; those of the literature are among them
STEPS = (
    *(0, 1, 2, 4, 6, 9, 12, 18, 24, 30, 36, 45, 54, 63, 72, 90, 108, 127, 153, 178, 204, 230, 255),
    *(306, 357, 408, 459, 510, 612, 765),
)
SIZES = tuple(step / 255 for step in STEPS)


def pick_picture(key: str, default: str) -> Callable[[tuple[int, ...]], "Picture"]:
    """A sample, an upload or the camera; returns what makes the picture for a given input shape."""
    from lipviz import samples
    from lipviz.images import EXTENSIONS, MAX_BYTES, ImageError, open_picture

    # not in the address: a link must not ask for the camera
    source = st.segmented_control(
        "Picture", ("Sample", "Upload", "Camera"), default="Sample", required=True, key=f"{key}_from"
    )
    name, file = default, None
    if source == "Sample":
        name = st.pills("Sample", samples.names(), default=default, required=True, key=f"{key}_sample", **_QUIET)
    elif source == "Upload":
        most = MAX_BYTES // 2**20
        file = st.file_uploader("Your picture", EXTENSIONS, key=f"{key}_file", max_upload_size=most)
    else:
        file = st.camera_input("Your picture", key=f"{key}_camera", resolution="480p")
    if source != "Sample":
        st.caption("Your picture is kept in memory for this session, not stored.")
    if file is not None:
        try:
            picture = open_picture(file.getvalue(), file.name)
            return lambda shape: picture
        except ImageError as error:
            st.error(literal(str(error)))
    if source != "Sample":
        st.caption(f"Until then, the sample {name}.")
    return partial(samples.load, name)


_QUIET: dict[str, Any] = {"label_visibility": "collapsed", "wrap": True, "bind": "query-params"}


def answer(run: "Run", picture: Callable[[tuple[int, ...]], "Picture"]) -> "Answer":
    """What the run's network says about the picture, certified."""
    from lipviz import pictures

    return pictures.answer(run, certifier(run), picture(run.spec.input_shape))


def walk(answer: "Answer", way: str, sizes: Sequence[float] = SIZES) -> "Walk":
    """The picture of the answer changed by each size, one way out; kept for this session only, as the picture is."""
    return _walk(str(answer.run.folder), answer.margin, answer.pixels, way, tuple(sizes))


@st.cache_data(scope="session", max_entries=32, show_spinner="Changing the picture step by step ...")
def _walk(folder: str, margin: float, pixels: "NDArray", way: str, sizes: tuple[float, ...]) -> "Walk":
    """`margin` is here to tell a network from what it was before more training."""
    from lipviz.pictures import walk
    from lipviz.runs import load

    return walk(certifier(load(folder)), pixels, way, sizes)


def example() -> "Answer | None":
    """A certified sample picture for the first page, if possible one whose answer is right."""
    from lipviz import samples

    found = all_runs(finished=True, images=True)
    wanted = preferred(found, ("sll", "cayley", "aol"))
    for run in sorted((run for run in found if run.name in wanted), key=lambda run: wanted.index(run.name)):
        fitting = [name for name in samples.names() if samples.SAMPLES[name].truth in run.classes]
        answers = {name: answer(run, partial(samples.load, name)) for name in fitting or ["Cat"]}
        right = [a for name, a in answers.items() if a.label == samples.SAMPLES[name].truth]
        return (right or list(answers.values()))[0]
    return None


def picture(pixels: "NDArray", caption: str) -> str:
    """HTML of one picture as wide as its place, each pixel a square: what the network sees, exactly."""
    from lipviz.pictures import data_uri

    words = html.escape(caption)
    return (
        f'<figure style="flex: 1; min-width: 0; max-width: 16rem; margin: 0"><img src="{data_uri(pixels)}" '
        f'alt="{words}" style="width: 100%; image-rendering: pixelated; border: 1px solid #80808060">'
        f'<figcaption style="font-size: 0.875rem; opacity: 0.75; text-align: center">{words}</figcaption></figure>'
    )


def verdict(radius: float) -> None:
    """The certificate as a chip: an icon and words, and a colour that says nothing on its own."""
    from lipviz.pictures import rounded_down

    if radius >= 36 / 255:  # the smallest size at which the literature compares
        st.badge(f"Certified to {rounded_down(radius)}", icon=":material/verified:", color="green")
    elif radius > 0:
        st.badge(f"Certified only to {rounded_down(radius)}", icon=":material/warning:", color="orange")
    else:
        st.badge("Not certified: radius 0", icon=":material/block:", color="red")


def card(answer: "Answer") -> None:
    """One network's answer: what it sees, what it says, what is proven."""
    with st.container(border=True):
        left, right = st.columns([2, 3], wrap=False)
        left.html(picture(answer.pixels, "What it sees"))
        with right:
            says(answer)
            st.caption(_numbers(answer))
        sentence(answer)


def says(answer: "Answer") -> None:
    """The answer and its certificate, in one line each."""
    st.markdown(f"{literal(answer.run.name)} says **{literal(answer.label)}**")
    verdict(answer.radius)


def sentence(answer: "Answer") -> None:
    """The certificate in words, and how large its radius is in pixels."""
    from lipviz.pictures import rounded_down

    if answer.radius <= 0:
        st.markdown("The two largest logits are equal up to rounding, so nothing is proven about this picture.")
        return
    one = rounded_down(255 * answer.radius, 2)
    each = rounded_down(255 * answer.radius / answer.pixels.size**0.5, 2)
    st.markdown(
        f"No change of the image smaller than **{rounded_down(answer.radius)}** (l2 norm, pixels in [0, 1]) can alter "
        f"this answer. A single value may change by {one}/255, or all {answer.pixels.size} by {each}/255 each."
    )


def _numbers(answer: "Answer") -> str:
    from lipviz.pictures import rounded_up

    bound = rounded_up(answer.constant).replace(" ", "\u00a0")  # one word
    text = f"Margin {answer.margin:.3g}. Proven Lipschitz bound of all layers but the last: {bound}."
    if answer.run.spec.layer != "plain":
        return text
    return f"{text} Nothing held it down in training, so the proof is short."


def changes(answers: Sequence["Answer"], walks: Sequence["Walk"], step: int) -> list[dict[str, Any]]:
    """A row for each network: what it answers to its own changed picture, and whether that was proven."""
    from lipviz.pictures import class_name, rounded_down

    rows = []
    for answer, walk in zip(answers, walks, strict=True):
        changed, inside = walk.label[step] != walk.label[0], walk.size[step] < answer.radius
        meaning = {
            (False, True): "same answer, as proven",
            (False, False): "same answer, outside the proof",
            (True, False): "other answer, outside the proof",
            (True, True): "other answer inside the radius: please report this as a bug",
        }[bool(changed), bool(inside)]
        row: dict[str, Any] = {"network": answer.run.name, "answer now": class_name(answer.run, int(walk.label[step]))}
        row |= {"what it means": meaning, "size after clipping": float(f"{walk.size[step]:.3f}")}
        rows.append(row | {"certified radius": rounded_down(answer.radius)})
    return rows


def csv(answers: Sequence["Answer"], walks: Sequence["Walk"]) -> str:
    """Size of the change, margin and answer of every step of every network's walk, one line each."""
    from lipviz.pictures import class_name

    lines = ["network,certified_radius,size,margin,answer"]
    for answer, walk in zip(answers, walks, strict=True):
        for size, margin, label in zip(walk.size, walk.margin, walk.label, strict=True):
            name = '"' + class_name(answer.run, int(label)).replace('"', '""') + '"'
            lines.append(f"{answer.run.name},{answer.radius!r},{float(size)!r},{float(margin)!r},{name}")
    return "\n".join([*lines, ""])


def notice(rows: Sequence[dict[str, Any]], step: int, way: str) -> str:
    """What to look at, in the state the page is in."""
    fallen = [literal(row["network"]) for row in rows if row["what it means"].startswith("other")]
    kept = [literal(row["network"]) for row in rows if row["what it means"].startswith("same")]
    if step == 0:
        return "Nothing is changed yet. Move the slider until the first answer falls."
    if all("as proven" in row["what it means"] for row in rows):
        return "This size is inside every certified radius: no change of this size, of any kind, can alter an answer."
    if fallen and kept:
        lost, held = listed(fallen), listed(kept)
        return f"{lost} changed the answer, {held} did not. Look at {fallen[0]} above: can you see the change?"
    if fallen:
        return "Outside the radius nothing is promised, and here the answer changed. Can you see why in the picture?"
    if way == "random noise":
        return "Outside the radius nothing is promised, but noise rarely finds the way. Try the nearest class."
    return "Outside the radius nothing is promised; this search has found no other answer at this size."


def strip(answer: "Answer", walk: "Walk", step: int) -> None:
    """The picture, the changed one and their difference, side by side."""
    from lipviz.pictures import class_name

    before, after = walk.pixels[0], walk.pixels[step]
    label = class_name(answer.run, int(walk.label[step]))
    figures = [
        picture(before, f"What it sees: {answer.label}"),
        picture(after, f"Changed by {walk.size[step]:.3f}: {label}"),
        picture(0.5 + 10 * (after - before), "Difference × 10, grey is none"),
    ]
    st.html(f'<div style="display: flex; gap: 0.75rem">{"".join(figures)}</div>')


def proof(answer: "Answer", walk: "Walk", step: int, way: str) -> None:
    """The margin on the way out above the line of the proof."""
    from lipviz import figures, ui
    from lipviz.pictures import rounded_down

    radius = min(float(rounded_down(answer.radius)), 1e3)  # so that the figure never names a larger one
    end = max(2.2 * answer.radius, 1.5 * walk.size[step], 0.05)
    near = (walk.size <= end) | (walk.size <= walk.size[1])
    found = "margin on the way to the nearest class" if way == "nearest class" else "margin with random noise"
    figure = figures.margin_line(walk.size[near], walk.margin[near], radius, ui.dark(), found, walk.size[step])
    alt = f"The margin stays above a straight line that falls from {answer.margin:.3g} to 0 at {radius}."
    ui.show(figure, "margin", alt)


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names in one line; of many only the first.

    >>> listed(["cat", "dog", "frog"]), listed(["cat", "dog", "frog"], 2)
    ('cat, dog and frog', 'cat, dog and 1 more')
    """
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)

"""What the pages of pictures share: choosing one, certifying it, changing it; streamlit outside, `pictures` inside.

Only streamlit is imported at the top: a page shows its title first, and torch comes with the first call below.
"""

import html
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui_batch
from lipviz.ui import all_runs, by_layer, certifier, data_names, literal, preferred

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
    from lipviz.images import ImageError

    # not in the address: a link must not ask for the camera
    source = st.segmented_control(
        "Picture", ("Sample", "Upload", "Camera"), default="Sample", required=True, key=f"{key}_from"
    )
    name, picture = default, None
    try:
        if source == "Sample":
            asked = st.pills("Sample", samples.names(), default=default, required=True, key=f"{key}_sample", **_QUIET)
            name = asked or default  # an empty value in the address is none, required or not
        elif source == "Upload":
            picture = _uploaded(key)
        else:
            picture = _photographed(key)
    except ImageError as error:
        st.error(literal(str(error)))
    if source != "Sample":
        st.caption("Your pictures are kept in memory for this session, not stored.")
        if not picture:
            st.caption(f"Until then, the sample {name}.")
    if picture:
        found = picture
        return lambda shape: found
    return partial(samples.load, name)


def _photographed(key: str) -> "Picture | None":
    """A picture of the camera; raises ImageError."""
    from lipviz.images import open_picture

    file = st.camera_input("Your picture", key=f"{key}_camera", resolution="480p")
    st.caption(
        "Browsers give a camera to pages over https only, or of the same computer. On a phone *Upload* can take a "
        "photo too."
    )
    return open_picture(file.getvalue(), file.name) if file else None


def _uploaded(key: str) -> "Picture | None":
    """The one picture, or of several the one to show; raises ImageError."""
    listing, many = ui_batch.uploaded(key)
    if not listing:
        return None
    for fault in listing.faults:
        st.error(literal(fault))
    file = ui_batch.pick(listing, key) if many else listing.files[0]
    return file.picture() if file else None


_QUIET: dict[str, Any] = {"label_visibility": "collapsed", "wrap": True, "bind": "query-params"}


def answer(run: "Run", picture: Callable[[tuple[int, ...]], "Picture"]) -> "Answer":
    """What the run's network says about the picture, certified."""
    from lipviz import pictures, samples

    found = pictures.answer(run, certifier(run), picture(run.spec.input_shape))
    if isinstance(picture, partial) and picture.func is samples.load:
        return replace(found, sample=picture.args[0])
    return found


def walk(answer: "Answer", way: str, sizes: Sequence[float] = SIZES) -> "Walk":
    """The picture of the answer changed by each size, one way out."""
    kept = _walk_of_one if answer.sample is None else _walk_of_all
    return kept(str(answer.run.folder), answer.margin, answer.pixels, way, tuple(sizes))


@st.cache_data(max_entries=32, show_spinner="Changing the picture step by step ...")
def _walk_of_all(folder: str, margin: float, pixels: "NDArray", way: str, sizes: tuple[float, ...]) -> "Walk":
    """Of a sample: kept for all visitors."""
    return _walk(folder, pixels, way, sizes)


@st.cache_data(scope="session", max_entries=32, show_spinner="Changing the picture step by step ...")
def _walk_of_one(folder: str, margin: float, pixels: "NDArray", way: str, sizes: tuple[float, ...]) -> "Walk":
    """Of a visitor's own picture: kept for this session only; `margin` tells a network from what it was before."""
    return _walk(folder, pixels, way, sizes)


def _walk(folder: str, pixels: "NDArray", way: str, sizes: tuple[float, ...]) -> "Walk":
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


def side_by_side(found: Sequence["Run"]) -> list[str]:
    """Names of the networks to open with: a constrained one and the plain one of the same data, if there are such.

    The constrained one is the best of the zoo where it is there.
    """
    for name in data_names(found):
        first = by_layer([run for run in found if run.data_name == name])
        best = [run.name for run in found if run.name == f"{name}-best"]
        held = [first[layer] for layer in ("sll", "cayley", "aol", *first) if layer in first and layer != "plain"]
        if held and "plain" in first:
            return [(best + held)[0], first["plain"]]
    return preferred(found, ("sll", "cayley", "aol"))


def verdict(radius: float) -> None:
    """The certificate as a chip: an icon and words, and a colour that says nothing on its own."""
    from lipviz.digits import rounded_down

    if radius >= 36 / 255:  # the smallest size at which the literature compares
        st.badge(f"Certified to {rounded_down(radius)}", icon=":material/verified:", color="green")
    elif radius > 0:
        st.badge(f"Only to {rounded_down(radius)}", icon=":material/warning:", color="orange")
    else:
        st.badge("Not certified: radius 0", icon=":material/block:", color="red")


def cards(answers: Sequence["Answer"]) -> None:
    """A card for each network."""
    for answer in answers:
        card(answer)


def stable(answers: Sequence["Answer"]) -> None:
    """What the certificates do not say, and what was done to the picture."""
    known = [
        f"The model only knows these {len(classes)} classes: {literal(listed(classes))}."
        for classes in dict.fromkeys(answer.run.classes for answer in answers)
    ]
    st.markdown(f"{' '.join(known)} The certificate says that the answer is stable, not that it is right.")
    st.caption(" ".join(dict.fromkeys(note for answer in answers for note in answer.notes)))


def card(answer: "Answer") -> None:
    """One network's answer: what it sees, what it says, what is proven."""
    with st.container(border=True):
        left, right = st.columns([2, 3], wrap=False)
        left.html(picture(answer.pixels, "What it sees"))
        with right:
            says(answer)
            st.caption(_numbers(answer))
        sentence(answer)
        words = "What the radius hangs on, as JSON: lipviz verify computes it again from the weights."
        st.download_button(
            "Certificate",
            partial(_certificate, answer),
            f"{answer.run.name}-certificate.json",
            "application/json",
            help=words,
            on_click="ignore",
            key=f"certificate_{answer.run.folder.name}",
            icon=":material/download:",
        )


def _certificate(answer: "Answer") -> str:
    import json

    from lipviz.proofs import proof

    return json.dumps(proof(answer.run, certifier(answer.run), answer.pixels), indent=2)


def says(answer: "Answer") -> None:
    """The answer and its certificate, in one line each, and whether the answer is right where that is known."""
    st.markdown(f"{literal(answer.run.name)} says **{literal(answer.label)}**")
    verdict(answer.radius)
    if wrong := mistake(answer):
        st.badge(wrong, icon=":material/error:", color="orange")


def mistake(answer: "Answer") -> str:
    """What is wrong about the answer to a sample; "" where it is right, or nobody has said what the picture shows."""
    from lipviz import samples

    truth = None if answer.sample is None else samples.SAMPLES[answer.sample].truth
    if truth in (None, answer.label):
        return ""
    return f"Wrong: it is a {truth}" if truth in answer.run.classes else "Wrong: no such class"


def sentence(answer: "Answer") -> None:
    """The certificate in words, and how large its radius is in pixels."""
    from lipviz.digits import rounded_down

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
    from lipviz.digits import rounded_up

    bound = rounded_up(answer.constant).replace(" ", "\u00a0")  # one word
    text = f"Margin {answer.margin:.3g}. Proven Lipschitz bound of all layers but the last: {bound}."
    if answer.run.spec.layer != "plain":
        return text
    return f"{text} Nothing held it down in training, so the proof is short."


def strip(answer: "Answer", walk: "Walk", step: int) -> None:
    """The picture, the changed one and their difference, side by side."""
    compare(answer, walk.pixels[step], f"{walk.size[step]:.3f}", answer.run.class_name(int(walk.label[step])))


def compare(
    answer: "Answer", after: "NDArray", size: str, label: str, noise: "tuple[NDArray, str] | None" = None
) -> None:
    """What the network sees, and what it answers: unchanged, changed, the difference, and with noise of that size."""
    before = answer.pixels / 255
    figures = [
        picture(before, f"What it sees: {answer.label}"),
        picture(after, f"Changed by {size}: {label}"),
        picture(0.5 + 10 * (after - before), "Difference × 10, grey is none"),
    ]
    if noise:
        figures.append(picture(noise[0], f"Noise of size {size}: {noise[1]}"))
    # three stand side by side anywhere; four do where there is room for them, else two and two
    four = "repeat(auto-fit, minmax(clamp(6rem, (28rem - 100%) * 99, 45%), 1fr))"
    columns = four if noise else "repeat(3, minmax(0, 1fr))"
    style = f"display: grid; max-width: 56rem; grid-template-columns: {columns}; gap: 0.75rem"
    st.html(f'<div style="{style}">{"".join(figures)}</div>')


def noise(answer: "Answer", size: float) -> "tuple[NDArray, str]":
    """The picture with random noise of that l2 norm, and the answer to it."""
    return _noise(str(answer.run.folder), answer.margin, answer.pixels, size)


@st.cache_data(scope="session", max_entries=64, show_spinner=False)
def _noise(folder: str, margin: float, pixels: "NDArray", size: float) -> "tuple[NDArray, str]":
    import torch

    from lipviz.pictures import equal_noise
    from lipviz.runs import load

    run = load(folder)
    changed = equal_noise(pixels / 255, size)
    with torch.no_grad():
        return changed, run.class_name(int(certifier(run).frozen(torch.tensor(changed)[None]).argmax()))


def listed(names: Sequence[str], most: int = 20) -> str:
    """Names in one line; of many only the first.

    >>> listed(["cat", "dog", "frog"]), listed(["cat", "dog", "frog"], 2)
    ('cat, dog and frog', 'cat, dog and 1 more')
    """
    shown = [*names[:most], *([f"{len(names) - most} more"] if len(names) > most else [])]
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)

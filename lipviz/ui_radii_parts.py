"""Below the picture of Certified radii: galleries at eps and in a range, the classes, the confusion."""

import html
import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_page
from lipviz.ui_radii import BOUND, REACH, Shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lipviz.gallery import Gallery
    from lipviz.runs import Run

STRIP = 6  # images in each of the two strips
RANGE = 24  # images of a range
FIGURE = "margin: 0; width: 80px; font-size: 0.8rem; line-height: 1.2; overflow-wrap: anywhere"
MOST = 100  # classes of a table of confusions
WHO = ["right", "wrong"]


def gallery(item: Shown) -> "Gallery | None":
    """The images of the test set, or a sentence why there are none."""
    stamp = ui.stamp(item.run, "certificates.csv")
    found = _gallery(str(item.run.folder), item.run.name, stamp, os.environ.get("LIPVIZ_DATA", ""))
    if isinstance(found, str):
        st.caption(f":material/image_not_supported: {ui.sentence(found)}")  # for whoever runs the server
        return None
    return found


@st.cache_resource(max_entries=16, ttl=300, show_spinner="Looking for the images ...")
def _gallery(folder: str, name: str, stamp: float, root: str) -> "Gallery | str":
    from dataclasses import replace

    from lipviz import gallery
    from lipviz.runs import load

    run = load(folder)
    assert run.certificates is not None  # the caller has read them
    try:
        return gallery.find(replace(run, alias=name), run.certificates, ui.runs_folder().resolve() / "uploads")
    except (ValueError, OSError) as error:
        return str(error).replace(f"{root}{os.sep}", "") if root else str(error)


def strips(item: Shown, images: "Gallery | None", k: int) -> None:
    """The right answers whose radius is just above eps, and those just below."""
    from lipviz import radii

    both = zip(("Just certified", "Just missed"), radii.just(item.found, k / 255, STRIP), st.columns(2), strict=True)
    for kind, rows, column in both:
        side = "just above" if kind == "Just certified" else "at or below"
        with column:
            st.markdown(f"**{kind}** at {k}/255: right answers, radius {side} {k / 255:.5f}")
            if not len(rows):
                st.caption("None.")
            elif images is not None:
                show(item.run, rows, item, images)
            else:
                ui.table(listed(item, rows), kind.lower())


def show(run: "Run", rows: "NDArray", item: Shown, images: "Gallery") -> None:
    """Images in a line that wraps, each with class, prediction and radius."""
    shown = [_figure(str(run.folder), row, images) for row in listed(item, rows)]
    st.html(f'<div style="display: flex; flex-wrap: wrap; gap: 8px">{"".join(shown)}</div>')


def _figure(folder: str, row: dict[str, Any], images: "Gallery") -> str:
    words = row["class"] if row["class"] == row["answer"] else f"{row['class']}, answered {row['answer']}"
    about = html.escape(f"Test input {row['input']}: {words}, certified radius {row['radius']}")
    uri = _uri(folder, images.origin, row["input"], images)
    box = "width: 72px; height: 72px; display: block; margin-bottom: 2px"
    picture = f'<img src="{uri}" alt="{about}" title="{about}" style="{box}; image-rendering: pixelated">'
    if not uri:
        picture = f'<div style="{box}; border: 1px dashed #808080" title="{about}">cannot be read</div>'
    return (
        f'<figure style="{FIGURE}">{picture}<figcaption>{html.escape(words)}<br>{row["radius"]}</figcaption></figure>'
    )


@st.cache_data(max_entries=4000, show_spinner=False)
def _uri(folder: str, origin: str, index: int, _images: "Gallery") -> str:
    """One image as the address of a PNG; "" where it cannot be read."""
    from lipviz.pictures import data_uri

    try:
        return data_uri(_images.pixels(index))
    except (ValueError, OSError):
        return ""


def listed(item: Shown, rows: "NDArray") -> list[dict[str, Any]]:
    """Index in the test set, class, answer and radius of these answers; radii rounded down."""
    from lipviz.digits import rounded_down

    found = item.found
    return [
        {
            "input": int(found.index[i]),
            "class": item.run.class_name(int(found.label[i])),
            "answer": item.run.class_name(int(found.prediction[i])),
            "radius": rounded_down(float(found.radius[i]), 5),
        }
        for i in rows
    ]


def select() -> tuple[int, int, bool]:
    """The range of radii in 1/255, and whether right answers are asked for: what the picture brushes, as numbers."""
    with ui_page.part("controls", "range"), st.container(horizontal=True, vertical_alignment="bottom"):
        low = st.number_input("Radii from, in 1/255", 0, REACH, 72, key="cr_from", width=160, **BOUND)
        high = st.number_input("to, in 1/255", 0, REACH, 108, key="cr_to", width=160, **BOUND)
        who = st.segmented_control("Answers", WHO, default=WHO[0], required=True, key="cr_who", **BOUND)
    return 72 if low is None else low, 108 if high is None else high, who != WHO[1]


def selected(item: Shown, images: "Gallery | None", low: int, high: int, right: bool) -> None:
    """The range of radii: its numbers, its images, their table, all of it as a file."""
    from lipviz import radii

    if low >= high:
        st.info("The range is empty: its first number must be smaller than its second.")
        return
    rows, who = radii.within(item.found, low / 255, high / 255, right), WHO[0 if right else 1]
    some = radii.spread(rows, RANGE)
    few = f"; {len(some)} of them, evenly spaced by radius order" if len(some) < len(rows) else ""
    share = 100 * len(rows) / len(item.found.radius)
    st.caption(
        f"{len(rows):,} {who} answers ({share:.1f} % of the test inputs) have a radius above {low}/255 and at most "
        f"{high}/255{few}. Drag over the lower panel of the picture to select others."
    )
    if not len(rows):
        return
    if images is not None:
        show(item.run, some, item, images)
    with ui_page.part("numbers", "range"):
        with st.expander(f"These {len(some)} as a table"):
            ui.table(listed(item, some), "range")
        name = f"radii-{low}-{high}-{who}.csv"
        st.download_button("All of the range", partial(range_csv, item, rows), name, "text/csv", on_click="ignore")


def range_csv(item: Shown, rows: "NDArray") -> str:
    """Every answer of the range: index, label, prediction and radius as stored."""
    from lipviz.tables import as_csv

    columns = ("index", "label", "prediction", "radius")
    found = [getattr(item.found, name)[rows].tolist() for name in columns]
    return as_csv(["input", *columns[1:]], zip(*found, strict=True))


def by_class(item: Shown, k: int) -> list[dict[str, Any]]:
    """Certified accuracy of each class at eps, with its interval."""
    from lipviz.radii import wilson

    rows, c = [], item.curves
    for name, n, right, kept in zip(item.run.classes, c.class_n, c.class_right, c.class_kept[:, k], strict=True):
        low, high = wilson(int(kept), int(n))
        row = {
            "class": name,
            "inputs": int(n),
            "right %": _share(int(right), int(n)),
            "certified %": _share(int(kept), int(n)),
        }
        rows.append(row | {"95 % interval": f"{100 * low:.1f} to {100 * high:.1f}"})
    return rows


def _share(hits: int, n: int) -> float | None:
    return round(100 * (hits / n), 1) if n else None


def confused(item: Shown, k: int) -> None:
    """What is certified as what at eps: rows the truth, columns the answer; the darker, the larger its share."""
    from lipviz.radii import confusion

    names = item.run.classes
    if len(names) > MOST:
        st.caption(f"{len(names)} classes are too many for a table.")
        return
    counts = confusion(item.found, len(names), k / 255)
    st.html(matrix(counts.tolist(), names, f"Certified answers at {k}/255, rows truth, columns answer"))


def matrix(counts: Sequence[Sequence[int]], names: Sequence[str], about: str) -> str:
    """A table of counts; the number stands in each cell, its shade says the share of the row."""
    cell = "padding: 0.2rem 0.35rem; text-align: right; white-space: nowrap"
    heads = [*names, "not certified"]
    head = "".join(f'<th scope="col" style="{cell}">{html.escape(name)}</th>' for name in heads)
    body = ""
    for i, (name, row) in enumerate(zip(names, counts, strict=True)):
        body += f'<tr><th scope="row" style="{cell}; text-align: left">{html.escape(name)}</th>'
        for j, count in enumerate(row):
            # right answers blue, certified wrong ones brick and bold, the uncertified grey
            colour = "128,128,128" if j == len(names) else "47,92,162" if i == j else "200,94,27"
            shade = f"background: rgba({colour},{0.6 * count / max(sum(row), 1):.3f})"
            bold = "; font-weight: 600" if count and i != j < len(names) else ""
            body += f'<td style="{cell}; {shade}{bold}; font-variant-numeric: tabular-nums">{count}</td>'
        body += "</tr>"
    return (
        f'<div class="lipviz-table" role="region" aria-label="{html.escape(about)}" tabindex="0" '
        f'style="overflow-x: auto; font-size: 0.8rem"><table style="border-collapse: collapse"><thead><tr>'
        f'<th scope="col" style="{cell}">truth \\ answer</th>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )

"""Several pictures at once on the page: what was uploaded, and its table, filled in portions while one watches.

What is done is kept for the session: a change elsewhere on the page, which starts the page anew, goes on from there. So
does *Go on* after *Stop*: a press starts the page anew too, between two portions.
"""

import time
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui

if TYPE_CHECKING:
    from lipviz.batch import Fault, File, Listing, Row
    from lipviz.runs import Run

MEGABYTES = 200  # of one upload, a zip; as server.maxUploadSize in .streamlit/config.toml
LINES = 100  # of the table on the page
NAMED = 20  # files that could not be read, on the page


def uploaded(key: str) -> "tuple[Listing | None, bool]":
    """The uploader: what was given, and whether it is more than one picture."""
    from lipviz import batch
    from lipviz.images import EXTENSIONS, MAX_BYTES

    files = st.file_uploader(
        "A picture, several, or a zip",
        [*EXTENSIONS, "zip"],
        accept_multiple_files=True,
        key=f"{key}_file",
        max_upload_size=MEGABYTES,
    )
    st.caption(f"A picture may have {MAX_BYTES // 2**20} MB, a zip {MEGABYTES} MB and {batch.MOST:,} pictures.")
    if not files:
        st.session_state.pop(f"{key}_batch", None)
        return None, False
    kept = st.session_state.setdefault(f"{key}_batch", {})
    given = tuple(file.file_id for file in files)
    if kept.get("given") != given:
        listing = batch.listing([(file.name, file.getvalue()) for file in files])
        kept.clear()
        kept.update(given=given, listing=listing, many=len(files) > 1 or batch.is_zip(files[0].name), done={})
    return kept["listing"], kept["many"]


def pick(listing: "Listing", key: str) -> "File | None":
    """Which of several pictures is shown large: at first the first one that can be read."""
    from lipviz.images import ImageError

    if not listing.files:
        return None
    first = 0
    for i, file in enumerate(listing.files[:NAMED]):
        try:
            file.picture()
        except ImageError:
            continue
        first = i
        break
    names = [file.name for file in listing.files[:LINES]]
    kept = st.session_state.get(f"{key}_batch", {})
    words = "Shown here" + f", of the first {LINES}" * (len(listing.files) > LINES)
    # files of another upload are another menu
    chosen = st.selectbox(
        words, range(len(names)), first, lambda i: names[i], key=f"{key}_which {hash(kept.get('given'))}"
    )
    return listing.files[chosen]


def show(runs: Sequence["Run"], key: str) -> None:
    """The table of everything uploaded, certified for each network; it asks for the size that the page is set to."""
    from lipviz import batch

    k = st.session_state.get(f"{key}_eps", batch.SIZE)
    kept: dict[str, Any] = st.session_state.get(f"{key}_batch", {})
    if not kept.get("many") or not kept["listing"].files:
        return
    listing: Listing = kept["listing"]
    count = len(listing.files)
    st.subheader(f"Your upload: all {count:,} pictures" if count > 1 else "Your upload: the picture of the zip")
    left, stopped = _left(runs, listing, kept["done"]), kept.get("stopped", False)
    if left:
        place = st.empty()
        with place.container():
            line = st.progress(0.0)
            name = "Go on" if stopped else "Stop"
            st.button(name, key=f"{key}_batch_{name}", on_click=kept.update, args=({"stopped": not stopped},))
        if stopped:
            seen = ", ".join(f"{done:,} with {run.name}" for run, done in left)
            line.progress(left[0][1] / count, ui.literal(f"Stopped. Of {count:,} pictures: {seen}."))
        else:
            _certify([run for run, _ in left], listing, kept["done"], line)
            place.empty()
    rows, faults = _rows(runs, listing, kept["done"])
    for sentence in batch.summary(rows, faults, k):
        st.markdown(ui.literal(sentence))
    for note in listing.notes:
        st.caption(ui.literal(note))
    if faults:
        more = f" And {len(faults) - NAMED:,} more; the CSV names all." if len(faults) > NAMED else ""
        st.warning("  \n".join(ui.literal(fault.words) for fault in faults[:NAMED]) + more)
    if not rows:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        file = partial(batch.as_csv, rows, faults, k)
        st.download_button(
            "Table (CSV)", file, "certificates.csv", "text/csv", on_click="ignore", key=f"{key}_batch_csv"
        )
        if len(rows) > LINES:
            st.caption(f"The table shows the first {LINES} of {len(rows):,} lines; the CSV has all.", width="content")
    ui.table(batch.shown(rows[:LINES], k), "pictures")


def _table(run: "Run", done: dict[Any, Any]) -> dict[str, Any]:
    """What is known of the upload for this network, as its weights are now."""
    new = {"next": 0, "seconds": 0.0, "rows": [], "faults": []}
    return done.setdefault((str(run.folder), ui.stamp(run)), new)


def _left(runs: Sequence["Run"], listing: "Listing", done: dict[Any, Any]) -> "list[tuple[Run, int]]":
    """The networks that have not seen all pictures, and how many each has."""
    seen = [(run, _table(run, done)["next"]) for run in runs]
    return [(run, count) for run, count in seen if count < len(listing.files)]


def _certify(
    runs: Sequence["Run"], listing: "Listing", done: dict[Any, Any], line: "st.delta_generator.DeltaGenerator"
) -> None:
    """Certify what is missing, a portion at a time; a press of a button ends this between two portions."""
    from lipviz import batch

    for run in runs:
        with ui.in_words():
            certifier, table, total = ui.certifier(run), _table(run, done), len(listing.files)
            while table["next"] < total:
                start = table["next"]
                line.progress(start / total, progress(run.name, start, total, table["seconds"]))
                began = time.monotonic()
                rows, faults = batch.certify(run, certifier, listing.files[start : start + batch.PORTION])
                # together, with nothing of streamlit between: what is counted is there
                table["rows"] += rows
                table["faults"] += faults
                table["seconds"] += time.monotonic() - began
                table["next"] = min(start + batch.PORTION, total)


def progress(name: str, done: int, total: int, seconds: float) -> str:
    """The line above the table; what is left is expected to take as long for each picture as what was done.

    >>> progress("a", 0, 96, 0.0), progress("a", 32, 96, 8.0)
    ('a: 0 of 96 pictures certified', 'a: 32 of 96 pictures certified, about 16 s left')
    """
    from lipviz.jobs_words import duration

    left = f", about {duration(seconds / done * (total - done))} left" if done else ""
    return f"{ui.literal(name)}: {done:,} of {total:,} pictures certified{left}"


def _rows(runs: Sequence["Run"], listing: "Listing", done: dict[Any, Any]) -> "tuple[list[Row], list[Fault]]":
    """Rows by file, then by network, and what could not be read, as far as they are known."""
    tables = [_table(run, done) for run in runs]
    rows = [row for table in tables for row in table["rows"]]
    place = {file.name: i for i, file in enumerate(listing.files)}
    rows.sort(key=lambda row: place[row.file])
    return rows, list(dict.fromkeys(fault for table in tables for fault in table["faults"]))

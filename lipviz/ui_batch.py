"""Several pictures at once on the page: what was uploaded, and its table, filled in portions while one watches.

What is done is kept for the session: a change elsewhere on the page, which starts the page anew, goes on from there.
"""

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui

if TYPE_CHECKING:
    from lipviz.batch import Fault, File, Listing, Row
    from lipviz.runs import Run

MEGABYTES = 32  # of one upload, a zip; a picture may have 8
LINES = 100  # of the table on the page
NAMED = 20  # files that could not be read, on the page


def uploaded(key: str) -> "tuple[Listing | None, bool]":
    """The uploader: what was given, and whether it is more than one picture."""
    from lipviz import batch
    from lipviz.images import EXTENSIONS

    files = st.file_uploader(
        "A picture, several, or a zip",
        [*EXTENSIONS, "zip"],
        accept_multiple_files=True,
        key=f"{key}_file",
        max_upload_size=MEGABYTES,
    )
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
    rows, faults = _certified(runs, listing, kept["done"])
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


def _certified(runs: Sequence["Run"], listing: "Listing", done: dict[Any, Any]) -> "tuple[list[Row], list[Fault]]":
    """Rows by file, then by network. What is missing is certified now, a portion at a time."""
    from lipviz import batch

    tables = []
    for run in runs:
        with ui.in_words():
            certifier = ui.certifier(run)
            table = done.setdefault((str(run.folder), ui._stamp(run)), {"next": 0, "rows": [], "faults": []})
            tables.append(table)
            if table["next"] >= len(listing.files):
                continue
            line = st.progress(0.0)
            while table["next"] < len(listing.files):
                start, total = table["next"], len(listing.files)
                words = f"{ui.literal(run.name)}: {start:,} of {total:,} pictures certified"
                line.progress(start / total, words)
                rows, faults = batch.certify(run, certifier, listing.files[start : start + batch.PORTION])
                table["rows"] += rows
                table["faults"] += faults
                table["next"] = start + batch.PORTION
            line.empty()
    rows = [row for table in tables for row in table["rows"]]
    place = {file.name: i for i, file in enumerate(listing.files)}
    rows.sort(key=lambda row: place[row.file])
    return rows, list(dict.fromkeys(fault for table in tables for fault in table["faults"]))

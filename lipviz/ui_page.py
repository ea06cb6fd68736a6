"""The frame of a page: its question, the task of a lesson, what a lesson hides, two depths of text, links, code, data.

ui_page.begin("How far right can an eigenvalue be?")
with ui_page.picture(): ...                               on a phone it stands before the controls
with ui_page.part("controls"): ...                        a lesson link can hide it
with ui_page.part("numbers"): ...
ui_page.depths(IN_WORDS, WITH_MATHEMATICS)
ui_page.finish(code(...), "discs.csv", csv_text)
"""

from collections.abc import Callable

import streamlit as st

from lipviz import ui, ui_canvas, ui_course

# what a lesson link may hide; a page uses those it has
PARTS = {
    "controls": "controls",
    "numbers": "numbers",
    "notice": "what to notice",
    "chips": "suggestions",
    "words": "text below",
    "code": "links and code",
}
VERSION = "1"
LONGEST_TASK = 300

# on a phone pictures stand before what is above them on a screen, and the focus follows where the browser knows how
FIRST = """<style>@media (max-width: 640px) {
[data-testid="stVerticalBlock"]:has(> * > [class*="st-key-picture_"]) { reading-flow: flex-visual }
[data-testid="stVerticalBlock"] > :has(> [class*="st-key-picture_"]) { order: -1 }
[data-testid="stVerticalBlock"] > :has(> .st-key-page_top) { order: -2 }
[data-testid="stHorizontalBlock"]:has(> * [class*="st-key-after_"]) { reading-flow: flex-visual }
[data-testid="stColumn"]:has([class*="st-key-after_"]) { order: 1 }
}</style>"""


def begin(title: str) -> None:
    """Title of the page; then the task that a lesson link sets, while what it hides is hidden.

    The address holds `hide` (names of PARTS, with commas), `task` (a sentence) and `v` (the version of the link). What
    is hidden is drawn all the same, out of sight: its widgets carry the state of the page.
    """
    with st.container(key="page_top"):
        _top(title)


def _top(title: str) -> None:
    st.title(title)
    hidden = [part for part in PARTS if hides(part)]
    if hidden:
        rules = "".join(f'[class*="st-key-part_{part}"] {{ display: none }}' for part in hidden)
        st.html(f"<style>{rules}</style>")
    task = st.query_params.get("task", "").strip()[:LONGEST_TASK]
    if task:
        st.info(f"**Your task.** {ui.literal(task)}", icon=":material/school:")
    ui_course.banner(st.query_params.get("lesson", ""))
    if st.query_params.get("v", VERSION) != VERSION:
        st.caption("This link was made for another version of lipviz: what this one does not know was left out.")


def hides(part: str) -> bool:
    """Whether the address, that of a lesson, hides this part of the page."""
    return part in st.query_params.get("hide", "").split(",")


def part(name: str, key: str = "") -> "st.delta_generator.DeltaGenerator":
    """A container that a lesson link can hide; `key` tells several of one name apart."""
    if name not in PARTS:
        raise ValueError(f"a page has the parts {', '.join(PARTS)}, got {name!r}")
    return st.container(key=f"part_{name}_{key}")


def picture(key: str = "") -> "st.delta_generator.DeltaGenerator":
    """A container for what the page is about; on a phone it comes first in its column, but for the title."""
    found = st.container(key=f"picture_{key}")
    with found:
        st.html(FIRST)
    return found


def after(key: str) -> "st.delta_generator.DeltaGenerator":
    """A container in a column that on a phone comes after the columns beside it: words on the picture there."""
    found = st.container(key=f"after_{key}")
    with found:
        st.html(FIRST)
    return found


def depths(words: str, mathematics: str) -> None:
    """The text below the picture, in plain words or with the mathematics; the choice is kept in the address."""
    kinds = ["in words", "with the mathematics"]
    with part("words", "depths"):
        shown = st.segmented_control(
            "Explained", kinds, default=kinds[0], required=True, key="depth", bind="query-params"
        )
        st.markdown(mathematics if shown == kinds[1] else words)  # nonsense in the address gives None


def finish(code: str = "", file: str = "", data: str | bytes | Callable[[], str | bytes] = "") -> None:
    """The end of a page: links to it, the few lines of Python behind the picture, and its numbers as a file.

    Args:
        code: runs by itself, and draws or prints what the page shows now; the tests execute it. "" for none.
        file: name of the data file, "" for none.
        data: what it holds, or a function that makes it when it is asked for.
    """
    with part("code", "finish"):
        ui_canvas.mount("links", {"parts": PARTS}, key="links")
        with st.container(horizontal=True):
            if code:
                with st.popover("The code"):
                    st.caption("It runs as it is where lipviz is installed.")
                    st.code(code, language="python")
            if file:
                kind = "text/csv" if file.endswith(".csv") else "application/octet-stream"
                st.download_button("Data", data, file, kind, on_click="ignore", key="finish_data")

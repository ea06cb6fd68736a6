"""What pages share: cached loaders, pickers that return plain values, tables.

Only streamlit is imported at the top: a page shows its title first, and torch comes with the first call below.
"""

import html
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ahead

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lipviz.certify import Certifier
    from lipviz.grams import Gram
    from lipviz.runs import Run
    from lipviz.spectra import Spectrum

ROOT = Path(__file__).resolve().parent.parent
CHECKPOINTS = ROOT / "checkpoints"


def runs_folder() -> Path:
    """Where the app writes its runs: $LIPVIZ_RUNS, or `runs` beside the app."""
    return Path(os.environ.get("LIPVIZ_RUNS", ROOT / "runs"))


def dark() -> bool:
    """Whether the visitor looks at the dark theme."""
    return st.context.theme.type == "dark"


def table(rows: Sequence[Mapping[str, Any]], name: str, chosen: Collection[str] | None = None) -> None:
    """A table that is also the text twin of a chart: plain HTML, which screen readers read and phones scroll sideways.

    Streamlit's own, a canvas, would add a quarter of a megabyte to the first visit. Nothing is drawn without rows.

    Args:
        rows: column -> cell, each.
        name: for screen readers.
        chosen: what the first cells of the chosen rows say. Those cells are buttons then, for a picture to listen to.
    """
    if not rows:
        return
    columns = list(dict.fromkeys(column for row in rows for column in row))
    head = "".join(f'<th scope="col" style="{_CELL}">{html.escape(column)}</th>' for column in columns)
    body = "".join(_row([row.get(column) for column in columns], chosen) for row in rows)
    st.html(
        f'<div class="lipviz-table" role="region" aria-label="{html.escape(name)}" tabindex="0" '
        f'style="overflow-x: auto">'
        f'<table style="border-collapse: collapse"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
    )


_CELL = "padding: 0.25rem 0.5rem; text-align: left; border-bottom: 1px solid #80808060; white-space: nowrap"


_BUTTON = (
    "font: inherit; color: inherit; background: none; border-radius: 0.4rem; padding: 0.1rem 0.5rem; cursor: pointer"
)


def _row(cells: Sequence[object], chosen: Collection[str] | None) -> str:
    """One line of a table."""
    if chosen is None:
        return f"<tr>{''.join(map(_cell, cells))}</tr>"
    first, pressed = html.escape(str(cells[0])), cells[0] in chosen
    looks, edge = ("font-weight: 700; background: #80808030", "currentColor") if pressed else ("", "#80808060")
    return (
        f'<tr style="{looks}"><td style="{_CELL}"><button type="button" aria-pressed="{str(pressed).lower()}" '
        f'data-row="{first}" style="{_BUTTON}; border: 1px solid {edge}">{first}</button></td>'
        f"{''.join(map(_cell, cells[1:]))}</tr>"
    )


def _cell(value: object) -> str:
    """One cell; numbers stand on the right, in full: whoever made the row has rounded them."""
    right = isinstance(value, int | float) and not isinstance(value, bool)
    style = _CELL.replace("left", "right") + "; font-variant-numeric: tabular-nums" if right else _CELL
    return f'<td style="{style}">{"" if value is None else html.escape(str(value))}</td>'


def numbers(values: Sequence[tuple[str, str, str]]) -> None:
    """One line of numbers: (label, value, what it means); on a phone it wraps."""
    with st.container(horizontal=True, gap="medium"):
        for label, value, meaning in values:
            st.metric(label, value, help=meaning, width="content")


def notice(words: str) -> None:
    """The line that says what to see in the picture as it is now."""
    st.info(words, icon=":material/visibility:")


@contextmanager
def in_words(stop: bool = False) -> Iterator[None]:
    """What is broken or was asked wrongly is said in one sentence, without the paths of the server.

    The page goes on below, or ends there if `stop`.
    """
    try:
        yield
    except (ValueError, OSError) as error:
        st.error(sentence(str(error)))
        if stop:
            ahead.stop()


@contextmanager
def remembered(key: str) -> Iterator[None]:
    """The same for callbacks, which run before there is a page to write to: `recall` shows the sentence."""
    try:
        yield
    except (ValueError, OSError) as error:
        st.session_state[key] = sentence(str(error))


def recall(key: str) -> None:
    """Show what the last callback could not do, once."""
    if key in st.session_state:
        st.error(st.session_state.pop(key))


def sentence(message: str) -> str:
    """An error message as Markdown that is safe to show, without the paths of the server."""
    for folder in (CHECKPOINTS, runs_folder().resolve(), runs_folder()):
        message = message.replace(f"{folder}{os.sep}", "")
    return literal(message[:1].upper() + message[1:])


def edit_matrix(W: "NDArray", key: str, text: Callable[["NDArray"], str]) -> None:
    """The entries of W as a table; an edit is written as text into the widget `key`, and so into the address."""

    def write() -> None:
        edited = W.copy()
        for row, cells in st.session_state[cells_key]["edited_rows"].items():
            for column, value in cells.items():
                edited[int(row), int(column) - 1] = value or 0.0
        st.session_state[key] = text(edited)

    cells_key = f"{key}_cells {text(W)}"  # another matrix is another table, without the edits of this one
    rows = [{str(j + 1): float(w) for j, w in enumerate(row)} for row in W]
    st.data_editor(rows, hide_index=True, key=cells_key, on_change=write)


def try_this(chips: Mapping[str, Mapping[str, Any]], key: str) -> None:
    """Buttons that set the state of the page, each named after what to watch."""
    with st.container(horizontal=True):
        st.markdown("**Try this**", width="content")
        for i, (label, state) in enumerate(chips.items()):
            st.button(label, key=f"{key}_try{i}", on_click=st.session_state.update, args=(dict(state),), wrap=True)


def all_runs(finished: bool = False, images: bool = False, told: bool = True) -> list["Run"]:
    """The runs that ship and those trained here, by name; on request only finished ones, or those of pictures.

    What cannot be read is left out, and named in a caption unless that is `told` elsewhere on the page.
    """
    from lipviz import runs

    broken = runs.unreadable(CHECKPOINTS, runs_folder())
    if broken and told:
        st.caption(literal(f"Left out: {'; '.join(f'{folder.name}: {why}' for folder, why in broken)}."))
    found = runs.find(CHECKPOINTS)
    shipped = {run.name for run in found}
    own = runs.find(runs_folder())
    found += [replace(run, alias=f"{run.name} (trained here)") if run.name in shipped else run for run in own]
    found = [run for run in found if run.readable]
    if finished:
        found = [run for run in found if run.config["state"] == "finished"]
    if images:
        found = [run for run in found if len(run.config["spec"].get("input_shape", ())) == 3]
    return sorted(found, key=lambda run: run.name)


def pick_runs(
    found: Sequence["Run"], key: str, default: Sequence[str], label: str = "Runs", most: int | None = None
) -> list["Run"]:
    """A menu of several runs, kept in the address; unknown names there fall back to the default."""
    names = [run.name for run in found]
    shown = [n for n in default if n in names][:most]
    chosen = st.multiselect(label, names, shown, key=key, bind="query-params", max_selections=most, wrap=True)
    return [found[names.index(name)] for name in chosen]


def certifier(run: "Run") -> "Certifier":
    """The run's network, frozen and bounded once for all visitors; raises RunError on broken weights."""
    return _certifier(str(run.folder), stamp(run))


@st.cache_resource(max_entries=24, show_spinner="Bounding the network in float64 ...")
def _certifier(folder: str, stamp: float) -> "Certifier":
    from lipviz.certify import Certifier
    from lipviz.runs import load

    run = load(folder)
    return Certifier(run.model, run.spec.input_shape)


def layer_spectra(run: "Run") -> list["Spectrum"]:
    """Singular values of every layer of the run, computed once for all visitors."""
    return _spectra(str(run.folder), stamp(run))


@st.cache_data(max_entries=24, show_spinner="Computing singular values ...")
def _spectra(folder: str, stamp: float) -> list["Spectrum"]:
    from lipviz.runs import load
    from lipviz.spectra import spectra

    run = load(folder)
    return spectra(run.model, run.spec.input_shape)


def stamp(run: "Run", file: str = "weights.safetensors") -> float:
    """Changes with the file, so that a cache entry of an older training is not used."""
    path = run.folder / file
    return path.stat().st_mtime if path.exists() else 0.0


def layer_names(run: "Run") -> list[str]:
    """The layers of the run that have a Gram matrix."""
    return _layer_names(str(run.folder), stamp(run))


@st.cache_data(max_entries=64, show_spinner=False)
def _layer_names(folder: str, stamp: float) -> list[str]:
    from lipviz.grams import layers

    return layers(folder)


def layer_gram(run: "Run", index: int, frequency: int) -> "Gram":
    """Gram matrix, T and q of one layer of the run, computed once for all visitors."""
    return _layer_gram(str(run.folder), stamp(run), index, frequency)


@st.cache_data(max_entries=64, show_spinner="Computing the Gram matrix ...")
def _layer_gram(folder: str, stamp: float, index: int, frequency: int) -> "Gram":
    from lipviz.grams import layer

    return layer(folder, index, frequency)


def no_runs(pictures: bool = True) -> None:
    """Say that there is nothing to show yet, and how to change that."""
    what, source = ("network for pictures", "digits") if pictures else ("network", "moons")
    st.info(f"There is no trained {what} here yet. Train one on the page below, or with `lipviz train {source}`.")
    link("train", "Train a network")


def link(page: str, label: str, parameters: Mapping[str, str] | None = None) -> None:
    """A link to the page of that name, with these parameters in its address."""
    path = ROOT / "pages" / f"{page}.py"
    st.page_link(path, label=label, icon=":material/arrow_forward:", query_params=dict(parameters or {}))


def literal(text: str) -> str:
    r"""Text of a visitor (names of classes, runs, files) in Markdown, as it stands.

    >>> print(literal("a*b"))
    a\*b
    """
    return re.sub(r"([^\w\s]|_)", r"\\\1", " ".join(text.split()))


def data_names(found: Sequence["Run"]) -> list[str]:
    """The data sets of the runs, CIFAR-10 and MNIST first."""
    return sorted({run.data_name for run in found}, key=lambda name: (name not in ("cifar10", "mnist"), name))


def by_layer(found: Sequence["Run"]) -> dict[str, str]:
    """Layer -> name of the first run of it."""
    return {run.spec.layer: run.name for run in reversed(found)}


def preferred(found: Sequence["Run"], layers: Sequence[str] = ("sll", "plain")) -> list[str]:
    """Names of the runs to open with: one of each of `layers` on the same data, CIFAR-10 and MNIST first."""
    first_data = data_names(found)[:1]
    same = [run for run in found if run.data_name in first_data]
    first = by_layer(same)
    return [first[layer] for layer in layers if layer in first] or [run.name for run in same[:1]]


def shown_path(run: "Run") -> str:
    """The folder of a run as someone at home would write it, without the paths of the server."""
    root = "checkpoints" if CHECKPOINTS in run.folder.parents else "runs"
    return f"{root}/{run.folder.name}"

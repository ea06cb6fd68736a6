"""What pages share: cached loaders, pickers that return plain values, charts with their export.

Only streamlit is imported at the top: a page shows its title first, and torch comes with the first call below.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from lipviz.certify import Certifier
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


def show(figure: "go.Figure", name: str, alt: str) -> None:
    """One chart: our own template, SVG export under `name`, and a sentence for screen readers."""
    from lipviz.figures import config

    st.plotly_chart(figure, theme=None, config=config(name), alt=alt, key=f"chart_{name}")


def table(rows: Sequence[Mapping[str, Any]], name: str) -> None:
    """A table that is also the text twin of a chart; it can be downloaded as CSV from its toolbar."""
    st.dataframe(list(rows), hide_index=True, width="stretch", key=f"table_{name}")


def all_runs(finished: bool = False, images: bool = False) -> list["Run"]:
    """The runs that ship and those trained here, by name; on request only finished ones, or those of pictures."""
    from lipviz import runs

    found = runs.find(CHECKPOINTS, runs_folder())
    if finished:
        found = [run for run in found if run.config["state"] == "finished"]
    if images:
        found = [run for run in found if len(run.config["spec"].get("input_shape", ())) == 3]
    return sorted((run for run in found if _readable(run)), key=lambda run: run.name)


def _readable(run: "Run") -> bool:
    from lipviz.runs import RunError

    try:
        return bool(run.spec)
    except RunError:
        return False


def pick_runs(found: Sequence["Run"], key: str, default: Sequence[str], label: str = "Runs") -> list["Run"]:
    """A menu of several runs, kept in the address; unknown names there fall back to the default."""
    names = [run.name for run in found]
    chosen = st.multiselect(label, names, [n for n in default if n in names], key=key, bind="query-params")
    return [run for run in found if run.name in chosen]


def pick_run(found: Sequence["Run"], key: str, default: str, label: str = "Run") -> "Run":
    """A menu of one run, kept in the address."""
    names = [run.name for run in found]
    index = names.index(default) if default in names else 0
    name = st.selectbox(label, names, index, key=key, bind="query-params")
    return found[names.index(name)]


def certifier(run: "Run") -> "Certifier":
    """The run's network, frozen and bounded once for all visitors; raises RunError on broken weights."""
    return _certifier(str(run.folder), _stamp(run))


@st.cache_resource(max_entries=24, show_spinner="Bounding the network in float64 ...")
def _certifier(folder: str, stamp: float) -> "Certifier":
    from lipviz.certify import Certifier
    from lipviz.runs import load

    run = load(folder)
    return Certifier(run.model, run.spec.input_shape)


def layer_spectra(run: "Run") -> list["Spectrum"]:
    """Singular values of every layer of the run, computed once for all visitors."""
    return _spectra(str(run.folder), _stamp(run))


@st.cache_data(max_entries=24, show_spinner="Computing singular values ...")
def _spectra(folder: str, stamp: float) -> list["Spectrum"]:
    from lipviz.runs import load
    from lipviz.spectra import spectra

    run = load(folder)
    return spectra(run.model, run.spec.input_shape)


def _stamp(run: "Run") -> float:
    """Changes with the weights, so that a cache entry of an older training is not used."""
    path = run.folder / "weights.safetensors"
    return path.stat().st_mtime if path.exists() else 0.0

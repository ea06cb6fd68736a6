"""Pieces of the page Train: the form of a new run, the buttons of the chosen one, its curves."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import streamlit as st

from lipviz import ui, ui_live

if TYPE_CHECKING:
    from streamlit.runtime.uploaded_file_manager import UploadedFile

    from lipviz.runs import Run

ERROR = "tr_error"


def form(key: str) -> dict[str, Any]:
    """What a new run is made of: the arguments of jobs.start; `source` may be an uploaded file, or None yet."""
    from lipviz import jobs
    from lipviz.data import NAMES
    from lipviz.layers import LAYERS
    from lipviz.networks import fitting

    bound: dict[str, Any] = {"bind": "query-params"}
    kinds = [*NAMES, "zip of pictures"]
    source = st.segmented_control("Data", kinds, default=kinds[0], required=True, key=f"{key}_data", wrap=True, **bound)
    if source == kinds[-1]:
        source = st.file_uploader("Folders named after classes, in a zip", "zip", key=f"{key}_zip", max_upload_size=8)
    rows = LAYERS if source == "digits" else fitting("mlp" if source in NAMES else "convnet")
    titles = {LAYERS[name].title: name for name in rows}
    names = list(titles)
    title = st.selectbox("Layer", names, names.index(LAYERS["aol"].title), key=f"{key}_layer", **bound)
    sizes = {}
    with st.container(horizontal=True):
        for name, start, step in (("epochs", 50, 10), ("width", 64, 2), ("seed", 0, 1)):
            low, high = jobs.LIMITS[name]
            sizes[name] = st.number_input(
                name.capitalize(), low, high, start, step, key=f"{key}_{name}", width=130, **bound
            )
    devices = jobs.devices()
    device = st.segmented_control("Device", devices, default="auto", required=True, key=f"{key}_device", **bound)
    return {"source": source, "layer": titles[title], "device": device, **sizes}


def begin(root: Path, source: "str | UploadedFile", options: dict[str, Any]) -> None:
    """Callback: start a run and choose it; what stands against it is said when the page is drawn again."""
    from lipviz import jobs

    with ui.remembered(ERROR):
        path = source if isinstance(source, str) else jobs.store_upload(root, source.name, source.getvalue())
        st.session_state["tr_run"] = jobs.start(root, path, **options).name


def act(action: Callable[..., None], *arguments: object) -> None:
    """Callback of a button; likewise."""
    with ui.remembered(ERROR):
        action(*arguments)


def buttons(run: "Run", root: Path) -> None:
    """Stop, resume, delete and download a run."""
    from lipviz import jobs

    said = jobs.state(run)
    active = said in ("queued", "running")
    with st.container(horizontal=True):
        if not jobs.readonly():
            st.button("Stop", disabled=not active, on_click=act, args=(jobs.stop, run))
            over = said not in ("stopped", "failed", "interrupted")
            st.button("Resume", disabled=over, on_click=act, args=(jobs.resume, run))
            with st.popover("Delete", disabled=active):
                st.write("All files of this run go, for good.")
                st.button("Delete this run", type="primary", on_click=act, args=(jobs.delete, root, run))
        data = partial(jobs.archive, run)
        st.download_button("Download", data, f"{run.name}.zip", "application/zip", on_click="ignore")


def code(run: "Run") -> str:
    """The lines that train a run like this one."""
    from lipviz import jobs, snippets

    return snippets.train(run.data_name, run.spec.layer, run.spec.width, jobs.total_epochs(run), run.seed)


def metrics(run: "Run") -> bytes:
    """metrics.csv of the run, nothing where there is none yet."""
    path = run.folder / "metrics.csv"
    return path.read_bytes() if path.exists() else b""


def curve(run: "Run", name: str) -> None:
    """The numbers of a run so far, and its curves."""
    from lipviz import jobs, jobs_words
    from lipviz.figures import training

    if not run.metrics:
        if not jobs.active(run):
            st.caption("No evaluation of this run is kept (metrics.csv): its curves cannot be drawn.")
        return
    ui.numbers(jobs_words.facts(run))
    for note in run.notes:
        st.caption(ui.literal(note))
    columns = {key: column for key, column in run.metrics.items() if key != "seconds"}
    figure = training([{"name": run.name, "row": run.spec.layer, **columns}], dark=ui.dark())
    # a click in the legend hides one curve; another run is another picture, and a zoom into the last one is over
    figure.update_layout(uirevision=str(run.folder), legend={"groupclick": "toggleitem"})
    epochs = columns.get("epoch")
    now = f"epoch {epochs[-1]:.0f}" if epochs is not None and len(epochs) and jobs.active(run) else ""
    ui_live.chart(figure, name, f"Accuracy, certified accuracy and loss of {run.name} over its epochs", now)

"""The layer benchmark on a page: a button, progress, the table. It runs as a job, so that a reload finds it again."""

from pathlib import Path

import streamlit as st

from lipviz import ui

ERROR = "co_error"


def measure(root: Path) -> None:
    """The layer benchmark as a job: begin, progress, result."""
    from lipviz import bench_job

    st.subheader("Measure on this machine")
    st.caption("Time and memory of every layer against the plain one, as the command bench layers measures them.")
    ui.recall(ERROR)
    busy = bench_job.running(root)
    if bench_job.readonly():
        st.info("This server is read-only: it shows measurements, it makes none.")
    else:
        st.button("Measure the layers", disabled=busy, on_click=_begin, args=(root,), key="co_measure")
    st.fragment(_measured, run_every=2 if busy else None)(root, busy)


def _begin(root: Path) -> None:
    from lipviz import bench_job

    with ui.remembered(ERROR):
        bench_job.start(root)


def _measured(root: Path, was_busy: bool) -> None:
    """Where the benchmark stands; drawn again every two seconds while it runs."""
    import time

    from lipviz import bench_job
    from lipviz.jobs_words import duration

    if bench_job.running(root):
        done = bench_job.progress(root)
        since = duration(time.time() - bench_job.asked(root))
        if done is None:
            st.info(f"Asked for {since} ago: it starts as soon as no run trains.")
        else:
            st.progress(done[0] / max(done[1], 1), f"{done[0]} of {done[1]} layers, running for {since}")
        st.caption("You can close this tab: the table is here when you come back.")
        return
    if was_busy:
        st.rerun()
    with ui.in_words():
        if failed := bench_job.failure(root):
            st.error(f"The measurement ended without a table: {ui.literal(failed[-300:])}")
        made = bench_job.table(root)
        ui.table(made, "layers")
        for line in bench_job.protocol(root) if made else []:
            st.caption(ui.literal(line))

"""The layer benchmark on a page: a button, progress, the table. It runs as a job, so that a reload finds it again."""

from collections.abc import Callable
from pathlib import Path

import streamlit as st

from lipviz import ui

ERROR = "co_error"
FIRST = "It takes two to four minutes on two cores that do nothing else"  # five pairs a layer


def measure(root: Path) -> None:
    """The layer benchmark as a job: how long it takes, begin, stop, progress, result."""
    from lipviz import bench_job
    from lipviz.jobs_words import duration

    st.subheader("Measure on this machine")
    st.caption("Time and memory of every layer against the plain one, as the command bench layers measures them.")
    ui.recall(ERROR)
    busy, took = bench_job.running(root), bench_job.took(root)
    if bench_job.readonly():
        st.info("This server is read-only: it shows measurements, it makes none.")
    else:
        last = f"The last time it took {duration(took)} here" if took else FIRST
        st.caption(f"{last}. It begins when no run trains; beside other work it takes longer.")
        with st.container(horizontal=True):
            st.button("Measure the layers", disabled=busy, on_click=_do, args=(bench_job.start, root), key="co_measure")
            over = not busy or bench_job.stopped(root)
            st.button("Stop", disabled=over, on_click=_do, args=(bench_job.stop, root), key="co_measure_stop")
    st.fragment(_measured, run_every=2 if busy else None)(root, busy)


def _do(what: Callable[[Path], object], root: Path) -> None:
    with ui.remembered(ERROR):
        what(root)


def _measured(root: Path, was_busy: bool) -> None:
    """Where the benchmark stands; drawn again every two seconds while it runs."""
    import time

    from lipviz import bench_job
    from lipviz.jobs_words import duration

    if bench_job.running(root):
        done = bench_job.progress(root)
        since = duration(time.time() - bench_job.asked(root))
        if bench_job.stopped(root):
            st.info("It stops.")
        elif done is None:
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
        if bench_job.stopped(root):
            st.info(f"Stopped. {'The table is that of the measurement before.' if made else 'There is no table yet.'}")
        ui.table(made, "layers")
        for line in bench_job.protocol(root) if made else []:
            st.caption(ui.literal(line))

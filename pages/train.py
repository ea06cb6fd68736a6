"""Train: a form, the chosen run live, and all runs of this server."""

from functools import partial

import streamlit as st

from lipviz import ui

st.title("Train a 1-Lipschitz network")
bound, root = {"bind": "query-params"}, ui.runs_folder()
left, right = st.columns([3, 2], gap="large")

from lipviz import jobs, runs  # noqa: E402  the title stands before torch comes


def begin(source: object, **options: object) -> None:
    """Start a run and choose it; what stands against it is said when the page is drawn again."""
    with ui.remembered("tr_error"):
        path = source if isinstance(source, str) else jobs.store_upload(root, source.name, source.getvalue())
        st.session_state["tr_run"] = jobs.start(root, path, **options).name


def act(action: object, *arguments: object) -> None:
    """A button of the chosen run."""
    with ui.remembered("tr_error"):
        action(*arguments)


def live(folder: str, was_active: bool) -> None:
    """The chosen run, drawn again every second while it is active."""
    with ui.in_words():
        run = runs.load(folder)
        st.markdown(f"**{ui.literal(run.name)}** {ui.literal(jobs.told(run))}.")
        if len(run.metrics):
            ui.training_curve(run, "training")
        if was_active and not jobs.active(run):
            st.rerun()  # the whole page: its buttons change, and the clock of this part stops


with right:
    st.subheader("New run")
    ui.recall("tr_error")
    form = None if jobs.readonly() else ui.training_form("tr")
    if form:
        asked = str(form["source"]), form["layer"], form["width"], form["epochs"]
        st.caption(jobs.estimate(ui.all_runs(), *asked))
        st.button("Train", type="primary", disabled=not form["source"], on_click=begin, kwargs=form)
    else:
        st.info("This server is read-only: it shows runs, it trains and deletes none.")
here = jobs.listing(root)
with left:
    names = [run.name for run in here]
    name = st.selectbox("Run", names, None, key="tr_run", placeholder=names[0], **bound) if here else None
    shipped = ui.all_runs(finished=True)
    run = here[names.index(name) if name else 0] if here else None
    if run:
        was_active, said = jobs.active(run), jobs.state(run)
        st.fragment(live, run_every=1 if was_active else None)(str(run.folder), was_active)
        with st.container(horizontal=True):
            if not jobs.readonly():
                st.button("Stop", disabled=not was_active, on_click=act, args=(jobs.stop, run))
                over = said not in ("stopped", "failed", "interrupted")
                st.button("Resume", disabled=over, on_click=act, args=(jobs.resume, run))
                with st.popover("Delete", disabled=was_active):
                    st.write("All its files go, for good.")
                    st.button("Delete this run", type="primary", on_click=act, args=(jobs.delete, root, run))
            data = partial(jobs.archive, run)
            st.download_button("Download", data, f"{run.name}.zip", "application/zip", on_click="ignore")
        st.caption("You can close this tab. Choose the run in the menu above: this link then finds it again.")
    elif shipped:
        st.caption(f"Nothing was trained here yet. An example, {shipped[0].name}, which ships with lipviz:")
        ui.training_curve(shipped[0], "example")
    else:
        st.info("Nothing was trained here yet: press Train.")
if here:
    st.subheader("All runs of this server")
    ui.table([jobs.row(run) for run in here], "runs")

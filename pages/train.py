"""Train: a form, the chosen run live, and all runs of this server."""

from functools import partial

import streamlit as st

from lipviz import texts, ui, ui_page

TRY = {
    "AOL on two moons: watch certified accuracy follow accuracy": {"tr_data": "moons", "tr_layer": "AOL"},
    "Cayley on spirals: watch it need more epochs": {"tr_data": "spirals", "tr_layer": "Cayley", "tr_epochs": 100},
    "No constraint: watch the bound grow": {"tr_data": "moons", "tr_layer": "Plain"},
}

ui_page.begin("Train a 1-Lipschitz network")
left, right = st.columns([3, 2], gap="large")
root = ui.runs_folder()

from lipviz import jobs, jobs_words, runs, ui_train  # noqa: E402  the title stands before torch comes


def live(folder: str, was_active: bool) -> None:
    """The chosen run, drawn again every second while it is active."""
    with ui.in_words():
        run = runs.load(folder)
        st.markdown(f"**{ui.literal(run.name)}** {ui.literal(jobs_words.told(run))}.")
        ui_train.curve(run, "training")
        if was_active and not jobs.active(run):
            st.rerun()  # the whole page: its buttons change, and the clock of this part stops


def overview(was_busy: bool) -> None:
    """The table, drawn again every two seconds while anything trains or waits."""
    ui.table([jobs_words.row(run) for run in jobs.listing(root)], "runs")
    if was_busy and not any(jobs.active(run) for run in jobs.listing(root)):
        st.rerun()


shown = None
with right, ui_page.part("controls"):
    st.subheader("New run")
    ui.recall(ui_train.ERROR)
    if jobs.readonly():
        st.info("This server is read-only: it shows runs, it trains and deletes none.")
    else:
        form = ui_train.form("tr")
        source = form.pop("source")
        others = ui.all_runs(told=False)  # told below
        st.caption(jobs_words.estimate(others, str(source), form["layer"], form["width"], form["epochs"]))
        asked = (root, source, form)
        st.button("Train", type="primary", disabled=not source, on_click=ui_train.begin, args=asked)
        ui.try_this(TRY, "tr")

here, shipped = jobs.listing(root), ui.all_runs(finished=True)
with left:
    names = [run.name for run in here]
    # drawn even when empty: only a menu that is there already writes the run that starts next into the address
    first = names[0] if here else "none yet"
    name = st.selectbox("Run", names, None, key="tr_run", placeholder=first, bind="query-params")
    if here:
        run = shown = here[names.index(name) if name else 0]
        active = jobs.active(run)
        st.fragment(live, run_every=1 if active else None)(str(run.folder), active)
        ui_train.buttons(run, root)
        link = "this link" if name else "choose it in the menu above, and the link"
        st.caption(f"You can close this tab: {link} finds the run again.")
    elif shipped:
        st.caption(f"Nothing was trained here yet. An example that ships with lipviz, {shipped[0].name}:")
        shown = shipped[0]
        with ui.in_words():
            ui_train.curve(shown, "example")
    else:
        st.info("Nothing was trained here yet: press Train.")
if here:
    st.subheader("All runs of this server")
    busy = any(jobs.active(run) for run in here)
    st.fragment(overview, run_every=2 if busy else None)(busy)
ui_page.depths(*texts.TRAIN)
if shown:
    ui_page.finish(ui_train.code(shown), "metrics.csv", partial(ui_train.metrics, shown))

"""Gershgorin discs: what AOL and SLL see of a matrix, and what they cannot see."""

from contextlib import suppress

import streamlit as st

from lipviz import ui, ui_discs, ui_page

ui_page.begin("How far right can an eigenvalue be?")
st.markdown(
    "Every eigenvalue (cross) of $G = W^\\top W$ lies in a disc, so the right-most edge bounds $\\|W\\|^2$. "
    "A factor $q_i$ for each neuron moves the discs, never the crosses: drag them."
)
runs = {run.name: run for run in ui.all_runs()}
with ui_page.part("controls"), st.container(horizontal=True, vertical_alignment="bottom"):
    source = st.selectbox("Matrix", ["example", *runs], key="gd_source", width=200, bind="query-params")
    views = ["G", "T - G"]
    view = (
        st.segmented_control("Discs of", views, default="G", required=True, key="gd_view", bind="query-params") or "G"
    )
    controls = st.container(horizontal=True, vertical_alignment="bottom")

from lipviz import lessons, lessons_words  # noqa: E402  the title stands before torch comes

aside = ui_discs.out_of_sight()
with ui.in_words(stop=True):
    if source == "example":
        shown = ui_discs.example(controls, aside, view)
    else:
        with suppress(ValueError):  # the example waits out of sight
            ui_discs.example(aside, aside, view)
        shown = ui_discs.layer(controls, runs[source], view)
found = lessons.discs(shown.G, shown.q, shown.t)
ui_discs.picture(shown, found, view)
with ui_page.part("numbers"):
    ui.numbers(lessons_words.numbers(shown.G, shown.q, shown.t, shown.frames, shown.frame))
with ui_page.part("notice"):
    ui.notice(lessons_words.told(shown.G, shown.q, shown.t, shown.frames, shown.frame))
if source != "example":
    st.caption(shown.about if shown.frames is not None else f"{shown.about} {ui_discs.NO_FRAMES}")
zero = {"gd_source": "example", **{f"gd_q{i + 1}": 0.0 for i in range(8)}}
G = shown.G if source == "example" else lessons.example_gram()
best = {f"gd_q{i + 1}": x for i, x in enumerate(lessons.exponents(lessons.best_q(G)))}
with ui_page.part("chips"):
    ui.try_this(
        {
            "Pull the right-most edge as far left as you can": {**zero, "gd_view": "G"},
            "Perron, the best q: watch the right edges meet": {**zero, **best, "gd_view": "G"},
            "AOL, all q = 1: watch every disc touch zero": {**zero, "gd_view": "T - G", "gd_rule": "AOL"},
            "Spectral T: watch discs cross zero": {**zero, "gd_view": "T - G", "gd_rule": "spectral"},
        },
        "gd",
    )
with ui_page.part("numbers", "table"), st.expander("The picture in numbers"):
    st.caption("Eigenvalues in ascending order: none belongs to the disc in its line.")
    ui.table(lessons.table(found, shown.q), "discs")
ui_page.depths(lessons_words.IN_WORDS, lessons_words.WITH_MATHEMATICS)
ui_page.finish(shown.code, "discs.csv", lessons.csv(found, shown.q))

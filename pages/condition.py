"""The condition W^T W <= T: where every rule for T stands, and what happens outside."""

import streamlit as st

from lipviz import ui, ui_page

ui_page.begin("How small may T be?")
st.markdown(
    "A layer divides by $T$ so that it stretches nothing. It does if $T - W^\\top W$ has no negative eigenvalue. "
    "Every rule is a choice of $T$ that keeps this condition."
)

from lipviz import condition, condition_words, ui_condition  # noqa: E402  the title stands before numpy comes

with ui_page.part("controls"):
    bar = st.container(horizontal=True, vertical_alignment="bottom")
views = ui_condition.VIEWS
name = bar.segmented_control("Look at", views, default=views[0], required=True, key="cd_view", bind="query-params")
name = name or views[0]  # nothing in the address is nothing chosen
shown = None
with ui.in_words():
    shown = ui_condition.view(name, bar)
with ui_page.part("chips"):
    ui.try_this(ui_condition.CHIPS, "cd")
if shown:
    G = shown.W.T @ shown.W
    if name in (views[0], views[3]):
        ui.table(condition.table(G, shown.rules), "condition")
    ui_page.depths(condition_words.IN_WORDS, condition_words.WITH_MATHEMATICS)
    ui_page.finish(condition.code(shown.W, shown.t), "condition.csv", condition.csv(G, shown.rules))

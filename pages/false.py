"""False certificates: five formulas that promise too much, each broken before one's eyes."""

from functools import partial

import streamlit as st

from lipviz import ui, ui_page

ui_page.begin("What makes a certificate false?")

from lipviz import falsehoods_words, ui_false  # noqa: E402  the title stands before numpy comes

TRY = {
    "Ten times the logits: watch the promise grow, and no answer change": {
        "fc_kind": "Assumed constant",
        "fc_logits": 10,
    },
    "Sixty steps of power iteration: watch the claim come down to the proof": {
        "fc_kind": "Power iteration",
        "fc_steps": 60,
    },
    "Rows at a right angle: watch m / √2 become true": {"fc_kind": "Unit rows", "fc_angle": 90},
}

kinds = falsehoods_words.NAMES
with ui_page.part("controls"):
    kind = st.segmented_control("Falsehood", kinds, default=kinds[0], required=True, key="fc_kind", bind="query-params")
kind = kind or kinds[0]  # nothing in the address is nothing chosen
words = falsehoods_words.KINDS[kind]
left, right = st.columns([3, 4], gap="medium")
with left:
    with ui_page.part("controls", "own"):
        box = st.container()
    with ui_page.picture():
        pictures = st.empty()
with right:
    st.markdown(f"**Claimed:** {words.formula}. **Wrong:** {words.wrong} **Repair:** {words.repair}")
    chart = st.empty()
shown = None
with ui.in_words():
    shown = ui_false.view(kind, box, partial(ui_false.draw, pictures, chart))
if shown:
    ui_false.draw(pictures, chart, shown)
    with ui_page.part("numbers"):
        ui.numbers(falsehoods_words.numbers(shown.case))
    with ui_page.part("notice"):
        ui.notice(falsehoods_words.notice(kind, shown.case, shown.answers))
with ui_page.part("chips"):
    ui.try_this(TRY, "fc")
if shown:
    with ui_page.part("numbers", "table"):
        ui.table(falsehoods_words.table(shown.case, shown.answers), "claim and proof")
    st.caption(f"{shown.about} Norm l2, pixels in [0, 1]; breaks are checked in float64.")
    ui_page.depths(falsehoods_words.IN_WORDS, falsehoods_words.WITH_MATHEMATICS)
    ui_page.finish(shown.code, "false.csv", partial(falsehoods_words.csv, shown.case))

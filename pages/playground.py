"""Playground: a small network on points in the plane, trained live, with its certified discs."""

import streamlit as st

from lipviz import ui, ui_page
from lipviz.playground_thumbnails import style

DATA = ["moons", "circles", "spirals", "blobs", "square wave"]
TAGLINES = (
    "Drag the probe. Inside its circle the answer cannot change: that is a proof.",
    "A jump has no slope: how near can a network with a bounded slope come?",
)
# on a phone the map comes before what few change; while it is trained the picture does not fade
BELOW = ", ".join(f'> [class*="st-key-part_{part}"]' for part in ("chips", "words", "code"))
STYLE = f"""<style>@media (max-width: 640px) {{
[data-testid="stVerticalBlock"] > :has(> .st-key-part_controls_rest) {{ order: 1 }}
[data-testid="stVerticalBlock"] > :has({BELOW}) {{ order: 2 }}
}}
.st-key-pg_map {{ opacity: 1 !important }}</style>"""

ui_page.begin("How far can you go before the answer changes?")
drawn = ["own"] if "pg_own" in st.session_state else []
with ui_page.part("controls"), st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
    data = st.segmented_control(
        "Data",
        DATA + drawn,
        default="moons",
        required=True,
        key="pg_data",
        bind="query-params",
        label_visibility="collapsed",
    )
    st.markdown(TAGLINES[data == "square wave"], width="content")
rest = ui_page.part("controls", "rest")
st.html(style("pg_data") + STYLE)

from lipviz import playground_words, ui_playground  # noqa: E402  the title stands before torch comes

with rest:
    setups, source = ui_playground.controls(data or "moons")
with ui.in_words(stop=True):
    ui_playground.show(setups, source)
base = {"pg_data": "moons", "pg_layer": "SLL", "pg_with": "nothing", "pg_margin": 0.3, "pg_view": "decision"}
with ui_page.part("chips"):
    ui.try_this(
        {
            "Can you break it? Drag the probe along the boundary": {**base, "pg_x": 0.16, "pg_y": 0.2},
            "Spend the budget: circles grow, accuracy falls": {**base, "pg_margin": 1.0},
            "The liar: watch the circles of a network without a constraint": {**base, "pg_with": "Plain"},
        },
        "pg",
    )
ui_page.depths(playground_words.WORDS, playground_words.WAVE if data == "square wave" else playground_words.MATHEMATICS)
ui_playground.finish(setups, source)

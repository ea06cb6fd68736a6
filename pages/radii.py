"""Certified radii: how many answers of a test set are certified, and how far."""

from functools import partial

import streamlit as st

from lipviz import snippets, texts, ui, ui_page, ui_radii

TRY = {
    "Size 36/255: watch the gap between clean and certified": {"cr_eps": 36},
    "Size 108/255: watch which network keeps most": {"cr_eps": 108},
    "Size 0: every right answer with a positive radius counts": {"cr_eps": 0},
}

ui_page.begin("How many answers are certified, and how far?")
found = ui.all_runs(finished=True)
if not found:
    ui.no_runs(pictures=False)
    st.stop()

with ui_page.part("controls"):
    left, middle, right = st.columns([2, 3, 3], gap="medium")
with left:
    names = ui_radii.data_names(found)
    data = st.pills("Data", names, default=names[0], required=True, key="cr_data", bind="query-params", wrap=True)
with middle:
    same = [run for run in found if ui.data_name(run) == data]
    chosen = ui.pick_runs(same, f"cr_runs_{data}", [run.name for run in same[:6]])
with right:
    k = st.slider("Size eps, in 1/255", 0, 510, 36, format="%d/255", key="cr_eps", bind="query-params")
eps = k / 255

curves = []
for run in chosen:
    with ui.in_words():
        curves += ui_radii.curve(run)
if not curves:
    st.info("Choose a run that has certificates.")
    st.stop()
unit = ui_radii.unit(chosen[0])
rows = ui_radii.summary(curves, eps)
left, right = st.columns([4, 3], gap="medium")
with left:
    ui_radii.show_curves(curves, eps, unit)
with right:
    ui_radii.show_histogram(curves, unit)
with ui_page.part("notice"):
    ui.notice(ui_radii.notice(rows, k))
with ui_page.part("chips"):
    ui.try_this(TRY, "cr")
with ui_page.part("numbers"):
    ui.table(rows, "radii")
st.caption(
    f"eps = {k}/255 = {eps:.4f}. Norm l2, {unit}. An answer counts as certified where it is right and its radius is "
    "larger than eps; the interval (Wilson) is for other inputs drawn like the test set. The Lipschitz bound is that "
    "of the whole network; a radius uses the proven bound of all layers but the last, and the last one class by class."
)
for note in ui_radii.notes(chosen):
    st.caption(ui.literal(note))
ui_page.depths(*texts.RADII)
folders = [ui.shown_path(run) for run in chosen]
ui_page.finish(snippets.radii(folders, round(eps, 6)), "radii.csv", partial(ui_radii.csv, curves))

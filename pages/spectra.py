"""Singular values of the layers of runs, over each other, now and during training."""

from functools import partial

import streamlit as st

from lipviz import ahead, ui, ui_page, ui_spectra, ui_spectra_tabs

ui_page.begin("How much does a layer keep of its input?")
st.markdown(
    "A singular value is the factor by which a layer stretches one direction. 1-Lipschitz: none above 1. "
    "Orthogonal: all equal 1, nothing is lost."
)
found = [run for run in ui.all_runs() if ui_spectra.drawable(run)]
if not found:
    ui.no_runs(pictures=False)
    ahead.stop()
with ui_page.part("controls"):
    runs, kind, log, progress, exact, place = ui_spectra.controls(found)
chart = st.container()

from lipviz import history, spectra_words  # noqa: E402  the title stands before torch comes

pairs = ui_spectra.opened(runs)
histories = [h for _, h in pairs]
with place:
    number = ui_spectra.layer_menu(histories)
share = 1.0
with chart:
    if pairs:
        share = ui_spectra.picture(pairs, kind, log, progress, number, exact)
    else:
        st.info("Choose one run or more.")
with ui_page.part("numbers"):
    ui.numbers(ui_spectra.numbers(pairs, number or 1 if kind == "frequency map" else number, share))
with ui_page.part("notice"):
    if pairs:
        ui.notice(spectra_words.notice(histories, kind, number, share))
with ui_page.part("chips"):
    ui.try_this(ui_spectra.chips(found), "sp")
if pairs:
    ui_spectra_tabs.below(pairs, number, share)
ui_page.depths(spectra_words.IN_WORDS, spectra_words.WITH_MATHEMATICS)
folders = [ui.shown_path(run) for run in runs]
ui_page.finish(spectra_words.code(folders, kind, number, log), "spectra.csv", partial(history.csv, histories))

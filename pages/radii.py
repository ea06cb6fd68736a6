"""Certified radii: how many answers of a test set are certified, how far, and what attacks leave of the rest."""

from functools import partial

import streamlit as st

from lipviz import ahead, radii_words, ui, ui_page, ui_radii, ui_radii_parts

ui_page.begin("How many answers are certified, and how far?")
found = ui.all_runs(finished=True)
if not found:
    ui.no_runs(pictures=False)
    ahead.stop()

with ui_page.part("controls"):
    chosen, name, k = ui_radii.controls(found)
shown = ui_radii.opened(chosen, name)
if shown:
    one = ui_radii.in_detail(shown, name)
    chart = ui_page.picture()
    told, near = st.container(), st.container()
    st.subheader("Radii in a range")
    low, high, right = ui_radii_parts.select()
    with chart:
        ui_radii.picture(shown, one, k, (low, high))
        if bug := radii_words.bug(one):
            st.error(bug)
    with told, ui_page.part("notice"):
        ui.notice(radii_words.notice(shown, one, k))
    with near:
        images = ui_radii_parts.gallery(one)
        ui_radii_parts.strips(one, images, k)
        with ui_page.part("chips"):
            ui.try_this(radii_words.TRY, "cr")
    ui_radii_parts.selected(one, images, low, high, right)
    with ui_page.part("numbers"):
        st.subheader("All runs")
        ui.table(ui_radii.summary(shown, k), "radii")
        first, second = st.columns([5, 6], gap="medium")
        with first:
            st.subheader(f"By class at {k}/255")
            ui.table(ui_radii_parts.by_class(one, k), "classes")
        with second:
            st.subheader(f"What is certified as what at {k}/255")
            ui_radii_parts.confused(one, k)
    for said in (radii_words.counted(one, k, ui_radii.unit(one.run)), radii_words.attacked(one)):
        st.caption(ui.literal(said))
    for note in ui_radii.notes(chosen):
        st.caption(ui.literal(note))
    if images is not None:
        st.caption(
            ui.literal(
                f"Images: {images.origin}, checked against the number, the classes, all labels and some answers."
            )
        )
else:
    st.info("Choose a run that has certificates.")
ui_page.depths(radii_words.IN_WORDS, radii_words.WITH_MATHEMATICS)
if not shown:
    ui_page.finish()
else:
    folders = [ui.shown_path(item.run) for item in shown]
    code = radii_words.code(folders, ui.shown_path(one.run), k)
    ui_page.finish(code, "radii.csv", partial(ui_radii.csv, shown))

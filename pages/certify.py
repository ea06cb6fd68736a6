"""Certify an image: what networks answer to a picture, how far the proof reaches, and what lies beyond."""

from functools import partial

import streamlit as st

from lipviz import ahead, snippets, texts, ui, ui_batch, ui_page, ui_pictures, ui_tries, ui_walks

TRY = {
    "Walk to the nearest class: which answer falls first?": {"ci_way": "nearest class", "ci_eps": 72},
    "Noise of size 1: watch the answers hold far outside the radius": {"ci_way": "random noise", "ci_eps": 255},
    "A palace is none of the classes: certified all the same, and the plain network has fallen long before": {
        "ci_from": "Sample",
        "ci_sample": "Palace",
        "ci_eps": 36,
        "ci_way": "nearest class",
    },
}

ui_page.begin("Which change of this picture could alter the answer?")
found = ui.all_runs(finished=True, images=True)
if not found:
    ui.no_runs()
    ahead.stop()

left, middle, right = st.columns([2, 3, 4], gap="medium")
with left, ui_page.part("controls"):
    default = ui_pictures.side_by_side(found)
    grey = next(run.spec.input_shape[0] == 1 for run in found if run.name in default)
    picture = ui_pictures.pick_picture("ci", "Digit 3" if grey else "Cat")
    chosen = ui.pick_runs(found, "ci_runs", default, "Networks", ui_pictures.MAX_NETWORKS)
    if not chosen:
        chosen = [run for run in found if run.name in default]
        st.caption("No network is chosen: these are an example.")
answers = []
with middle, ui_page.after("cards"):
    for run in chosen:
        with ui.in_words():
            answers.append(ui_pictures.answer(run, picture))
    ui_pictures.cards(answers)
if not answers:
    ahead.stop()
with right:
    line = st.container()
    way, step, focus = ui_walks.controls(answers)
    changed = st.container()  # beside the slider that changes it
    walks = [ui_pictures.walk(answer, way) for answer in answers]
    ui_tries.press(answers, answers[focus])
    with line:
        ui_walks.proof(answers, walks, focus, step, way)
    with changed:
        with st.container(key="ci_verdict"):
            ui_walks.verdicts(answers, walks, step)
        ui_walks.pictures(answers[focus], walks[focus], step, way)
batch = st.container()

st.subheader("Who falls first")
rows = ui_walks.changes(answers, walks, step)
st.markdown(ui_tries.comparison(answers))
ui_tries.go_there(answers)
ui_tries.report(answers)
ui_pictures.stable(answers)
with ui_page.part("notice"):
    ui.notice(ui_walks.notice(answers, walks, focus, step, way))
with ui_page.part("chips"):
    ui.try_this(TRY, "ci")
with ui_page.part("numbers"):
    ui.table(rows, "answers")
own = "Each network is led its own way: towards its own nearest class, along the gradient of its own margin."
st.caption(own if way == "nearest class" else "Networks of one input shape see the same random noise.")
ui_page.depths(*texts.CERTIFY)
shown = answers[focus]
code = snippets.margin(ui.shown_path(shown.run), shown.sample, way, ui_pictures.SIZES[step])
ui_page.finish(code, "margins.csv", partial(ui_walks.csv, answers, walks))
with batch:
    ui_batch.show(chosen, "ci")

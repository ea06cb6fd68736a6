"""Certify an image: what networks answer to a picture, how far the proof reaches, and what lies beyond."""

from functools import partial

import streamlit as st

from lipviz import snippets, texts, ui, ui_page, ui_pictures

WAYS = ("nearest class", "random noise")
TRY = {
    "Walk to the nearest class: which answer falls first?": {"ci_way": "nearest class", "ci_eps": 72},
    "Noise of size 1: watch the answers hold far outside the radius": {"ci_way": "random noise", "ci_eps": 255},
    "An astronaut is none of the classes: watch it be certified all the same": {
        "ci_from": "Sample",
        "ci_sample": "Astronaut",
    },
}

ui_page.begin("Which change of this picture could alter the answer?")
found = ui.all_runs(finished=True, images=True)
if not found:
    ui.no_runs()
    st.stop()

left, right = st.columns([2, 5], gap="medium")
with left, ui_page.part("controls"):
    default = ui.preferred(found)
    grey = next(run.spec.input_shape[0] == 1 for run in found if run.name in default)
    picture = ui_pictures.pick_picture("ci", "Digit 3" if grey else "Cat")
    chosen = ui.pick_runs(found, "ci_runs", default, "Networks", ui_pictures.MAX_NETWORKS)
answers = []
with right:
    for run in chosen:
        with ui.in_words():
            answers.append(ui_pictures.answer(run, picture))
    for start in range(0, len(answers), 2):
        for place, answer in zip(st.columns(2), answers[start : start + 2], strict=False):
            with place:
                ui_pictures.card(answer)
    if not chosen:
        st.info("Choose a network on the left.")
if not answers:
    st.stop()
for classes in dict.fromkeys(answer.run.classes for answer in answers):
    st.markdown(f"The model only knows these {len(classes)} classes: {ui.literal(ui_pictures.listed(classes))}.")
st.markdown("The certificate says that the answer is stable, not that it is right.")
st.caption(" ".join(dict.fromkeys(note for answer in answers for note in answer.notes)))

st.subheader("Change the picture")
left, right = st.columns([4, 5], gap="medium")
with left:
    way = st.segmented_control("Towards", WAYS, default=WAYS[0], required=True, key="ci_way", bind="query-params")
    eps = st.select_slider(
        "Size of the change (l2 norm, pixels in [0, 1], before clipping)",
        ui_pictures.STEPS,
        36,
        lambda k: f"{k}/255",
        "ci_eps",
        bind="query-params",
    )
    step = ui_pictures.STEPS.index(eps)
    shown = (names := [answer.run.name for answer in answers])[0]
    if len(names) > 1:
        shown = st.segmented_control("Seen by", names, default=shown, required=True, key="ci_seen", bind="query-params")
    walks = [ui_pictures.walk(answer, way) for answer in answers]
    focus = names.index(shown)
    ui_pictures.strip(answers[focus], walks[focus], step)
rows = ui_pictures.changes(answers, walks, step)
with right:
    ui_pictures.proof(answers[focus], walks[focus], step, way)
with ui_page.part("notice"):
    ui.notice(ui_pictures.notice(rows, step, way))
with ui_page.part("chips"):
    ui.try_this(TRY, "ci")
with ui_page.part("numbers"):
    ui.table(rows, "answers")
st.caption("Each network is led its own way: towards its own nearest class, along the gradient of its own margin.")
ui_page.depths(*texts.CERTIFY)
code = snippets.certify(ui.shown_path(answers[focus].run))
ui_page.finish(code, "margins.csv", partial(ui_pictures.csv, answers, walks))

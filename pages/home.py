"""The first page: one certified picture, what that means, and where to go next. No chart: it must load fast."""

import streamlit as st

from lipviz import ahead, snippets, texts, ui, ui_page, ui_pictures

NEXT = {
    "lessons": ("Lessons", "Eight times ten minutes, from what a certificate says to why one without a constant lies."),
    "playground": (
        "Playground",
        "A small network that learns before your eyes, and the disc that is proved around it.",
    ),
    "certify": ("Certify an image", "Your own picture: what networks answer, and how far the proof reaches."),
}

ui_page.begin("How far can a picture change before the answer does?")
st.markdown(
    "**lipviz** shows, trains and certifies 1-Lipschitz neural networks: no layer but the last moves two inputs "
    "further apart, and what the last one adds is counted. So every answer comes with a radius within which it is "
    "proven not to change."
)
answer = None
with ui.in_words():
    answer = ui_pictures.example()
    if answer is None:
        ui.no_runs()
    else:
        noisy = ui_pictures.walk(answer, "random noise", (0.0, answer.radius))
        left, right = st.columns([5, 4], gap="medium", vertical_alignment="center")
        with left, ahead.now():
            ui_pictures.strip(answer, noisy, 1)
        with right:
            ui_pictures.says(answer)
            ui_pictures.sentence(answer)
            st.caption(
                "The noise is one of the countless changes within the radius, as large as the radius before the pixels "
                "are clipped to [0, 1]. The proof covers all of them. It says that the answer is stable, not that it "
                "is right."
            )

for place, (page, (label, line)) in zip(st.columns(3), NEXT.items(), strict=True):
    with place.container(border=True):
        ui.link(page, label)
        st.caption(line)
if answer:
    ui_page.depths(*texts.HOME)
    ui_page.finish(snippets.certify(ui.shown_path(answer.run)))

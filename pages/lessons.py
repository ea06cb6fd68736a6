"""Lessons: the course, one card a lesson, each with its picture and a link into the page it happens on."""

import streamlit as st

from lipviz import ahead, course, course_pictures, texts, ui, ui_page

ui_page.begin("Eight lessons of ten minutes")
st.markdown(
    "In order, from what a certificate says to why one without a proved constant is worth nothing. Each lesson happens "
    "on one page of this app and ends with a question that the page checks."
)
for start in range(0, len(course.LESSONS), 4):
    for place, number in zip(st.columns(4), range(start + 1, start + 5), strict=True):
        lesson = course.LESSONS[number - 1]
        with place.container(border=True, height="stretch"):
            with ahead.now():
                st.html(course_pictures.picture(number, ui.dark()))
            ui.link(lesson.page, f"{number}. {lesson.title}", course.parameters(number))
            st.caption(lesson.question)
ui_page.depths(*texts.LESSONS)
ui_page.finish()

"""A lesson of the course on the page it happens on: what to do, the question, and whether the answer is right."""

import streamlit as st

from lipviz import course, ui


def banner(number: str) -> None:
    """The lesson that the address names, above its page; nothing where it names none."""
    lesson = course.lesson(number)
    if lesson is None:
        return
    with st.container(border=True, key="lesson"):
        left, right = st.columns(2, gap="medium")
        left.markdown(f"**Lesson {number} of {len(course.LESSONS)}. {lesson.title}**")
        left.markdown("\n".join(f"{i}. {step}" for i, step in enumerate(lesson.steps, 1)))
        with right:
            given = _given(lesson, number)
            with st.container(horizontal=True, vertical_alignment="center"):
                if st.button("Check", key=f"lesson_check_{number}", type="primary", disabled=given is None):
                    st.session_state[f"lesson_said_{number}"] = given
                ui.link("lessons", "All lessons")
                after = int(number) + 1
                if after <= len(course.LESSONS):
                    ui.link(course.LESSONS[after - 1].page, f"Lesson {after}", course.parameters(after))
            if given is not None and st.session_state.get(f"lesson_said_{number}") == given:
                with ui.in_words():
                    _say(lesson, given)


def _say(lesson: course.Lesson, given: str | float) -> None:
    if lesson.right(given):
        st.success(f"**Right.** {lesson.why}", icon=":material/check_circle:")
    else:
        st.warning(f"**Not yet.** {lesson.hint}", icon=":material/refresh:")


def _given(lesson: course.Lesson, number: str) -> str | float | None:
    key = f"lesson_answer_{number}"
    if lesson.choices:
        return st.radio(f"**Question.** {lesson.question}", lesson.choices, index=None, key=key)
    return st.number_input(f"**Question.** {lesson.question}", value=None, format="%.4g", key=key, width=420)

"""The course: its file, its answers, what an address with a lesson shows."""

import re
from pathlib import Path

import pytest
from shipped import CHECKPOINTS

import pages
from lipviz import course, course_pictures, runs

ROOT = Path(__file__).parents[1]
NUMBERS = range(1, len(course.LESSONS) + 1)


def opened(number, **parameters):
    return pages.opened(course.LESSONS[number - 1].page, **{**course.parameters(number), **parameters})


def test_eight_lessons_on_pages_that_exist():
    assert len(course.LESSONS) == 8
    assert all((ROOT / "pages" / f"{lesson.page}.py").exists() for lesson in course.LESSONS)
    assert {lesson.page for lesson in course.LESSONS} >= {"certify", "condition", "discs", "playground", "spectra"}


def test_the_file_of_the_course_is_the_course():
    assert (ROOT / "docs" / "course.md").read_text() == course.markdown()


@pytest.mark.parametrize("number", NUMBERS)
def test_choices_hold_the_answer_once(number):
    lesson = course.LESSONS[number - 1]
    if lesson.choices:
        assert len(set(lesson.choices)) == len(lesson.choices) >= 3
        assert [choice for choice in lesson.choices if lesson.right(choice)] == [lesson.answer]
    assert not lesson.right(None) and not lesson.right("EVIL")


@pytest.mark.parametrize("number", [n for n in NUMBERS if not course.LESSONS[n - 1].choices])
def test_numbers_are_checked_within_their_tolerance(number):
    lesson = course.LESSONS[number - 1]
    wanted = lesson.answer()
    width = max(lesson.near, lesson.tolerance * wanted)
    assert lesson.right(wanted) and lesson.right(wanted + 0.9 * width)
    assert not lesson.right(wanted + 1.2 * width) and not lesson.right(wanted - 1.2 * width)
    assert not lesson.right(float("nan"))


def test_the_share_is_that_of_the_certificates():
    found = runs.load(CHECKPOINTS / "cifar10-sll").certificates
    kept = sum(bool(c) and r > 72 / 255 for c, r in zip(found.correct, found.radius, strict=True))
    assert course.share_kept("cifar10-sll", 72) == pytest.approx(100 * kept / len(found.radius))


@pytest.mark.parametrize("number", NUMBERS)
def test_the_page_asks_and_checks(number):
    lesson = course.LESSONS[number - 1]
    at = opened(number)
    assert any(f"Lesson {number} of 8" in text.value for text in at.markdown)
    right = lesson.answer if lesson.choices else lesson.answer()
    wrong = next(c for c in lesson.choices if c != right) if lesson.choices else right * 3 + 1
    for given in (wrong, right):
        widget = at.radio if lesson.choices else at.number_input
        widget(f"lesson_answer_{number}").set_value(given).run()
        at.button(f"lesson_check_{number}").click().run()
        assert not at.exception
        said = at.success if given == right else at.warning
        assert re.match(r"\*\*Right|\*\*Not yet", said[0].value)
    assert lesson.why in at.success[0].value


@pytest.mark.parametrize("value", ["", "0", "9", "-1", "1.0", "EVIL", "<script>", "１"])
def test_nonsense_is_no_lesson(value):
    at = opened(2, lesson=value)
    assert not any("Lesson" in text.value for text in at.markdown)


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("dark", [False, True])
def test_every_lesson_has_a_picture(number, dark):
    from urllib.parse import unquote
    from xml.etree import ElementTree

    source = re.search(r'src="data:image/svg\+xml,([^"]*)"', course_pictures.picture(number, dark)).group(1)
    assert len(list(ElementTree.fromstring(unquote(source)))) >= 3


def test_no_two_pictures_are_alike():
    """Nor those of the two themes, which have colours of their own."""
    assert len({course_pictures.picture(number, dark) for number in NUMBERS for dark in (False, True)}) == 16

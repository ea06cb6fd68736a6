"""The page Compare in a real browser: eps is dragged without the server, the address keeps it."""

import pytest
from browser import MARKS, find, settled, watched
from shipped import CHECKPOINTS

from lipviz import runs
from lipviz.protocols import groups
from lipviz.standings import pareto, standings

pytestmark = MARKS

FIND = find("compare")


def state(page):
    page.wait_for_function(f"() => ({FIND})()?.state().marks")
    return page.evaluate(f"() => ({FIND})().state()")


@pytest.fixture
def ranking():
    return standings(groups(runs.find(CHECKPOINTS))[0].runs)


def test_eps_is_dragged_in_the_browser_and_kept_in_the_address(visit, ranking):
    page, messages = watched(visit, "/compare")
    before = state(page)
    page.wait_for_timeout(1000)
    messages.clear()
    assert before["k"] == 36
    own = {mark["name"]: mark for mark in before["marks"] if not mark["published"]}
    assert own.keys() == {line.name for line in ranking}
    for line in ranking:
        assert own[line.name]["y"] == pytest.approx(line.certified(36), abs=0.01)
        assert own[line.name]["x"] == pytest.approx(line.clean, abs=0.01)
    knob = page.evaluate(f"() => ({FIND})().places()")["knob"]
    page.mouse.move(*knob)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(knob[0] + 2 * i, knob[1])
    moved = state(page)
    assert moved["k"] > 60 and not messages, "nothing was sent while it was dragged"
    places = {mark["name"]: mark["y"] for mark in moved["marks"] if not mark["published"]}
    for line in ranking:
        assert places[line.name] == pytest.approx(line.certified(moved["k"]), abs=0.01)
    front = pareto([(line.clean, line.certified(moved["k"])) for line in ranking])
    assert moved["front"] == [ranking[i].name for i in front]
    page.mouse.up()
    page.wait_for_function(f"location.search.includes('co_eps={moved['k']}')")
    settled(page)
    assert page.get_by_role("spinbutton", name="eps, in 1/255").input_value() == str(moved["k"])
    assert page.get_by_role("columnheader", name=f"at {moved['k']}/255").is_visible()
    page.reload()
    settled(page)
    page.wait_for_timeout(500)
    assert state(page)["k"] == moved["k"]


def test_the_knob_takes_keys_and_published_results_stay_apart(visit):
    page = visit("/compare?co_eps=72")
    knob = page.get_by_role("slider", name="Size eps, in 1/255")
    published = [mark for mark in state(page)["marks"] if mark["published"]]
    assert published and not {mark["name"] for mark in published} & set(state(page)["front"])
    knob.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("location.search.includes('co_eps=73')")
    assert state(page)["k"] == 73
    assert page.evaluate(f"() => ({FIND})().between([[0, 70], [36, 60], [108, 30]], 50)") == [30, 60]
    assert page.evaluate(f"() => ({FIND})().between([[0, 70], [36, 60]], 50)") is None
    page.get_by_text("Published", exact=True).click()
    settled(page)
    page.wait_for_timeout(300)
    assert not [mark for mark in state(page)["marks"] if mark["published"]]


def test_a_mark_is_told_below_the_picture(visit, ranking):
    page = visit("/compare")
    state(page)
    for kind, words in (("true", "Published, not measured here"), ("false", ranking[0].name)):
        spot = page.evaluate(
            f"""() => {{ const c = ({FIND})(), mark = c.state().marks.find((m) => String(m.published) === '{kind}' &&
                (m.published || m.name === '{ranking[0].name}')); return c.spot(mark.name); }}"""
        )
        page.mouse.move(*spot)
        page.get_by_text(words).first.wait_for()


@pytest.mark.parametrize("axis", ["parameters", "training"])
def test_costs_are_an_axis(visit, ranking, axis):
    page = visit(f"/compare?co_axis={axis}")
    shown = {mark["name"]: mark for mark in state(page)["marks"]}
    key = {"training": "seconds"}.get(axis, axis)
    for line in ranking:
        assert shown[line.name]["x"] == pytest.approx(line.numbers[key])
    assert any(mark["published"] for mark in shown.values()) == (axis == "parameters")
    front = pareto([(line.numbers[key], line.certified(36)) for line in ranking], high=False)
    assert state(page)["front"] == [ranking[i].name for i in front]


def test_latex_and_csv_are_files(visit):
    page = visit("/compare")
    for label, start in (("LaTeX", "% \\usepackage{booktabs}"), ("CSV", "run,layer,clean")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        with open(download.value.path(), encoding="utf-8") as file:
            assert file.read().startswith(start)

"""The page Compare in a real browser: eps is dragged without the server, runs are selected, maps share a probe."""

import re
from itertools import pairwise

import pytest
import torch
from browser import MARKS, find, serve, settled, watched
from folders import copied, unbeaten
from shipped import CHECKPOINTS

from lipviz import runs
from lipviz.certify import certify
from lipviz.digits import rounded_down
from lipviz.networks import Spec
from lipviz.protocols import groups
from lipviz.recipes import Recipe
from lipviz.standings import standings
from lipviz.train import train

pytestmark = MARKS

FIND, MAPS = find("compare"), find("maps")
INPUTS = (
    "[class*='st-key-part_controls']:not([class*='_filter']) :is([data-testid='stSelectbox'], [data-testid='stSlider'])"
)


def state(page):
    page.wait_for_function(f"() => ({FIND})()?.state().marks")
    return page.evaluate(f"() => ({FIND})().state()")


@pytest.fixture(scope="module")
def planes(tmp_path_factory):
    """The folder of the server: two runs on points, and two of other data, one of them without certificates."""
    root = tmp_path_factory.mktemp("runs")
    for layer in ("plain", "sll"):
        spec = Spec(layer, "mlp", (2,), 2, 8)
        train(root / f"plane-{layer}", "moons", spec=spec, recipe=Recipe(epochs=2), device="cpu", show=False)
    for name, seed in (("letters-a", 0), ("letters-b", 0)):
        copied(root, name, data__name="letters", recipe__seed=seed)
    (root / "letters-b" / "certificates.csv").unlink()
    return root


@pytest.fixture(scope="module")
def server(planes):
    """The app, with these runs; (address, process id)."""
    address, process = serve(planes)
    yield address, process.pid
    process.terminate()
    process.wait(30)


@pytest.fixture
def ranking():
    return standings(groups(runs.find(CHECKPOINTS))[0].runs)


def test_eps_is_dragged_in_the_browser_and_kept_in_the_address(visit, ranking, planes):
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
    chosen = selected(page, ranking)
    page.get_by_role("slider", name="Size eps, in 1/255").scroll_into_view_if_needed()
    knob = page.evaluate(f"() => ({FIND})().places()")["knob"]
    messages.clear()
    page.mouse.move(*knob)
    page.mouse.down()
    for i in range(60):
        page.mouse.move(knob[0] + 2 * i, knob[1])
    moved = state(page)
    assert moved["k"] > 60 and not messages, "nothing was sent while it was dragged"
    assert moved["chosen"] == chosen
    places = {mark["name"]: mark["y"] for mark in moved["marks"] if not mark["published"]}
    for line in ranking:
        assert places[line.name] == pytest.approx(line.certified(moved["k"]), abs=0.01)
    kept = unbeaten([(line.clean, line.certified(moved["k"])) for line in ranking])
    assert moved["front"] == [ranking[i].name for i in kept]
    page.mouse.up()
    page.wait_for_function(f"location.search.includes('co_eps={moved['k']}')")
    settled(page)
    assert page.get_by_role("spinbutton", name="eps, in 1/255").input_value() == str(moved["k"])
    assert page.get_by_role("columnheader", name=f"at {moved['k']}/255").is_visible()
    page.reload()
    settled(page)
    page.wait_for_timeout(500)
    assert state(page)["k"] == moved["k"] and state(page)["chosen"] == chosen and pressed(page) == set(chosen)
    page.get_by_role("button", name="The maps of moons").click()
    page.wait_for_function(f"() => ({MAPS})()?.state().maps.every((map) => map.filled)")
    settled(page)
    one_probe(page, messages, planes)


def selected(page, ranking):
    """A mark is clicked, and a row of the table is chosen with a key: their names."""
    first, last = ranking[0].name, ranking[-1].name
    page.mouse.click(*page.evaluate(f"() => ({FIND})().spot('{first}')"))
    page.wait_for_function(f"location.search.includes('co_runs={first}')")
    settled(page)
    assert pressed(page) == {first}
    page.locator(f"button[data-row='{last}']").focus()
    page.keyboard.press("Enter")
    page.wait_for_function(f"location.search.includes('co_runs={last}')")
    settled(page)
    assert state(page)["chosen"] == [first, last] and pressed(page) == {first, last}
    assert page.evaluate("document.activeElement.dataset.row") == last, "also where the table was drawn anew"
    return [first, last]


def pressed(page):
    """The names that are chosen in the table."""
    return {button.inner_text() for button in page.locator("button[data-row][aria-pressed=true]").all()}


def one_probe(page, messages, planes):
    """It is dragged on one map and moves in all of them; what is proved comes when it is let go."""
    page.locator("h3", has_text="The plane").scroll_into_view_if_needed()
    page.mouse.wheel(0, 300)
    page.wait_for_timeout(300)
    start, stop = (page.evaluate(f"(at) => ({MAPS})().spot(1, at)", at) for at in ([0.16, 0.42], [1.0, -1.0]))
    page.mouse.move(*start)
    messages.clear()
    page.mouse.down()
    for i in range(1, 41):
        page.mouse.move(*(a + (b - a) * i / 40 for a, b in zip(start, stop, strict=True)))
    page.wait_for_timeout(200)
    moved = page.evaluate(f"() => ({MAPS})().state()")
    assert moved["probe"] == pytest.approx([1.0, -1.0], abs=0.05) and not messages
    assert len(moved["maps"]) == 2 and not any(map["proved"] for map in moved["maps"])
    page.mouse.up()
    page.wait_for_function(f"() => ({MAPS})().state().maps.every((map) => map.proved !== null)")
    shown = page.evaluate(f"() => ({MAPS})().state()")
    for map in shown["maps"]:
        at = torch.tensor([shown["probe"]], dtype=torch.float64)
        proved = float(certify(runs.load(planes / map["name"]).model, at).radius)
        assert map["proved"] == pytest.approx(proved, rel=1e-9) and f"{rounded_down(proved)}proof" in map["text"]


def label(folder, data):
    """The menu entry of the first ranking of these data."""
    return next(group.label for group in groups(runs.find(folder)) if group.protocol.data == data)


def dragged(page, k):
    """The knob is taken to k/255 and let go; the address has it."""
    page.get_by_role("slider", name="Size eps, in 1/255").evaluate("(knob) => knob.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(300)
    now, places = state(page)["k"], page.evaluate(f"() => ({FIND})().places()")
    x, y = places["knob"]
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + (k - now) * places["per"], y, steps=5)
    page.mouse.up()
    page.wait_for_function(f"location.search.includes('co_eps={k}')")
    settled(page)


def test_what_is_sent_twice_counts_twice(visit, ranking):
    page = visit("/compare")
    dragged(page, 72)
    page.get_by_role("button", name="At 108/255").click()
    page.wait_for_function("location.search.includes('co_eps=108')")
    settled(page)
    dragged(page, 72)
    assert page.get_by_role("columnheader", name="at 72/255").is_visible()
    name = ranking[0].name
    for _ in range(2):
        page.mouse.click(*page.evaluate(f"() => ({FIND})().spot('{name}')"))
        page.wait_for_function(f"location.search.includes('co_runs={name}')")
        page.get_by_role("combobox", name="Selected, up to 4").press("Backspace")
        page.wait_for_function("!location.search.includes('co_runs')")
        settled(page)


def test_the_maps_follow_what_is_typed_and_forget_what_was_drawn(visit, planes):
    chosen = "&co_runs=plane-plain&co_runs=plane-sll"
    page = visit(f"/compare?co_group={label(planes, 'moons')}{chosen}", height=1000)
    page.wait_for_function(f"() => ({MAPS})()?.state().maps.every((map) => map.filled)")
    page.get_by_role("slider", name="Probe").first.evaluate("(probe) => probe.scrollIntoView({block: 'center'})")
    page.wait_for_timeout(300)
    page.mouse.click(*page.evaluate(f"() => ({MAPS})().spot(0, [1, -1])"))
    page.wait_for_function("/co_y=-[01]/.test(location.search)")
    settled(page)
    page.get_by_text("Exact probe").click()
    page.get_by_role("spinbutton", name="Probe, x").fill("0.5")
    page.keyboard.press("Enter")
    page.wait_for_function("location.search.includes('co_x=0.5')")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="radius", exact=True).click()
    page.wait_for_function("location.search.includes('co_view=radius')")
    settled(page)
    before = page.evaluate(f"() => ({MAPS})().state().probe")
    assert before[0] == 0.5 and "co_x=0.5" in page.url, "what was dragged before does not come back"

    x, y = page.evaluate(f"() => ({MAPS})().spot(0, [-0.5, 0.5])")
    touch, at = page.context.new_cdp_session(page), f"() => ({MAPS})().state().probe"
    page.evaluate(
        """() => { window.seen = []; for (const kind of ["pointermove", "pointercancel"])
          document.addEventListener(kind, () => window.seen.push(kind), true); }"""
    )
    touch.send("Input.dispatchTouchEvent", {"type": "touchStart", "touchPoints": [{"x": x, "y": y}]})
    for i in range(1, 5):
        touch.send("Input.dispatchTouchEvent", {"type": "touchMove", "touchPoints": [{"x": x + 9 * i, "y": y}]})
    touch.send("Input.dispatchTouchEvent", {"type": "touchCancel", "touchPoints": []})
    page.wait_for_function("window.seen[0] === 'pointermove' && window.seen.includes('pointercancel')")
    settled(page)
    assert page.evaluate(at) == before and "co_x=0.5" in page.url, "a finger that scrolls takes no probe along"

    page.evaluate(  # no work on the maps from now on
        """() => { const later = window.setTimeout;
          window.setTimeout = (f, ...rest) => String(f).includes("this.ticking") ? 0 : later(f, ...rest); }"""
    )
    page.locator("button[data-row='plane-plain']").click()
    page.wait_for_function(f"() => ({MAPS})().state().maps.length === 1")
    [kept] = page.evaluate(f"() => ({MAPS})().state().maps")
    assert kept["name"] == "plane-sll" and not kept["filled"], "no field of the run that stood there before"


def test_a_run_is_selected_without_a_place_on_the_screen_and_without_certificates(visit, planes):
    page = visit(f"/compare?co_group={label(planes, 'letters')}")
    assert [mark["name"] for mark in state(page)["marks"]] == ["letters-a"]
    page.get_by_role("button", name=re.compile("^letters-a, ")).evaluate(
        "(mark) => mark.dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    page.wait_for_function("location.search.includes('co_runs=letters-a')")
    settled(page)
    page.locator("button[data-row='letters-b']").click()
    page.wait_for_function("location.search.includes('co_runs=letters-b')")
    settled(page)
    assert pressed(page) == {"letters-a", "letters-b"}


def test_the_numbers_on_the_track_do_not_overlap(visit):
    page = visit(f"/compare?co_group={label(CHECKPOINTS, 'mnist')}", width=320)
    state(page)
    boxes = page.locator(".lv svg text").evaluate_all(
        """all => all.map((one) => { const { left, right, top } = one.getBoundingClientRect();
          return { text: one.textContent, left, right, top }; })"""
    )
    [clean] = [box for box in boxes if box["text"] == "clean"]
    row = sorted((box for box in boxes if abs(box["top"] - clean["top"]) < 2), key=lambda box: box["left"])
    assert row[0] == clean and row[-1]["text"] == "255" and len(row) > 2
    assert all(a["right"] < b["left"] for a, b in pairwise(row))


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
        page.locator(".co-about", has_text=words).wait_for()


@pytest.mark.parametrize("name", ["compare", "radii", "false"])
def test_on_a_phone_the_picture_stands_before_what_changes_it(visit, name):
    page = visit(f"/{name}", width=390, height=844)
    picture = page.locator("[class*='st-key-picture_']")
    picture.locator("svg, img").first.wait_for()
    page.wait_for_timeout(500)
    box, inputs = picture.bounding_box(), page.locator(INPUTS).all()
    assert box["y"] < 500 and box["height"] > 100
    assert inputs and all(one.bounding_box()["y"] >= box["y"] + box["height"] for one in inputs)
    if name == "compare":
        named, front = (set(state(page)[key]) for key in ("named", "front"))
        assert named and named <= front, "the others have no room for a name"
    page.set_viewport_size({"width": 1280, "height": 800})
    assert all(one.bounding_box()["y"] < picture.bounding_box()["y"] for one in inputs)


@pytest.mark.parametrize("axis", ["parameters", "seconds per epoch"])
def test_costs_are_an_axis(visit, ranking, axis):
    page = visit(f"/compare?co_axis={axis.replace(' ', '+')}")
    shown = {mark["name"]: mark for mark in state(page)["marks"]}
    key = {"seconds per epoch": "epoch_seconds"}.get(axis, axis)
    for line in ranking:
        assert shown[line.name]["x"] == pytest.approx(line.numbers[key])
    assert any(mark["published"] for mark in shown.values()) == (axis == "parameters")
    kept = unbeaten([(line.numbers[key], line.certified(36)) for line in ranking], high=False)
    assert state(page)["front"] == [ranking[i].name for i in kept]


def test_latex_and_csv_are_files(visit):
    page = visit("/compare")
    for label, start in (("LaTeX", "% \\usepackage{booktabs}"), ("CSV", "run,layer,clean")):
        with page.expect_download() as download:
            page.get_by_role("button", name=label, exact=True).click()
        with open(download.value.path(), encoding="utf-8") as file:
            assert file.read().startswith(start)

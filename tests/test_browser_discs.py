"""The page on Gershgorin discs in a real browser: dragging, its numbers against Python's, playing a training."""

import re

import numpy as np
import pytest
from browser import MARKS, settled

from lipviz import lessons
from lipviz.networks import Spec
from lipviz.recipes import Recipe
from lipviz.train import train

pytestmark = MARKS


@pytest.fixture(scope="module")
def server(app):
    """The app, with one small run that kept its discs."""
    recipe = Recipe(epochs=5, batch=64, held_out=0.2)
    train(app.runs / "small", "moons", spec=Spec("sll", "mlp", (2,), 2, 8), recipe=recipe, device="cpu", show=False)
    yield app.address, app.pid
    app.clear()


def settled_at(page, pattern):
    """Wait until the address matches, and the page is drawn."""
    page.wait_for_url(re.compile(pattern))
    settled(page)
    page.wait_for_timeout(400)  # the discs have arrived


def drawn(page):
    """What is to be seen: {disc: (cx, cy, r)} in pixels of the picture, values of the crosses, of the lines."""
    return page.locator(".discs .plane svg").evaluate(
        "svg => ({discs: Object.fromEntries([...svg.querySelectorAll('[data-disc]')].map(c => [c.dataset.disc,"
        " ['cx', 'cy', 'r'].map(name => +c.getAttribute(name))])),"
        " crosses: [...svg.querySelectorAll('[data-eigenvalue]')].map(c => +c.dataset.eigenvalue),"
        " marks: [...svg.querySelectorAll('[data-mark]')].map(c => +c.dataset.mark)})"
    )


def sent_by(page):
    """All that the page sends to the server from now on."""
    sent = []

    def heard(payload):
        sent.append(payload)

    page.on("websocket", lambda socket: socket.on("framesent", heard))
    return sent


def drag(page, selector, dx, dy, moves=20, let_go=True):
    box = page.locator(selector).first.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for k in range(1, moves + 1):
        page.mouse.move(x + dx * k / moves, y + dy * k / moves)
    page.wait_for_timeout(100)  # a frame of the screen
    if let_go:
        page.mouse.up()


def numbers(page):
    """The metrics that Python wrote."""
    texts = page.locator("[data-testid='stMetricValue']").all_inner_texts()
    return [float(text) for text in texts if re.fullmatch(r"-?[\d.]+", text)]


def test_dragging_moves_every_disc_and_no_cross_and_asks_the_server_once(visit):
    page = visit.stranger()
    sent = sent_by(page)
    page.goto("/discs")
    settled(page)
    before, count = drawn(page), len(sent)
    drag(page, "[data-grip='4']", 0, 60, moves=200, let_go=False)
    during = drawn(page)
    assert len(sent) == count, "200 moves, no rerun"
    assert during["crosses"] == before["crosses"]
    assert all(abs(during["discs"][k][2] - before["discs"][k][2]) > 1 for k in before["discs"]), "all discs move"
    assert during["discs"]["4"][2] < before["discs"]["4"][2] and during["marks"][0] < before["marks"][0]
    page.mouse.up()
    settled_at(page, "gd_q4=")
    after = drawn(page)
    assert numbers(page) == pytest.approx(after["marks"], rel=1e-3), "Python says the same"
    address = page.url
    page.reload()
    settled_at(page, re.escape(address))
    assert drawn(page) == after, "the address holds the state"


def test_a_cell_of_w_moves_the_crosses_and_a_cell_of_t_the_discs(visit):
    page = visit("/discs?gd_view=T+-+G")
    before = drawn(page)
    drag(page, "td.free >> nth=3", 0, -45)
    settled_at(page, "gd_w=")
    after = drawn(page)
    assert after["crosses"] != before["crosses"] and "gd_w=-0.2+-0.1+1.1+-0.9+0.5" in page.url
    assert after["marks"][0] == pytest.approx(0, abs=1e-9), "AOL touches zero for the new W, too"
    drag(page, "table:nth-of-type(2) td.free >> nth=1", 0, 40)
    settled_at(page, "gd_rule=own")
    assert re.search(r"gd_t=[\d.]+\+[\d.]+", page.url)
    assert drawn(page)["marks"][0] < -1, "T is too small for the discs now"
    assert numbers(page)[0] == pytest.approx(drawn(page)["marks"][0], rel=1e-3)


def test_keyboard_perron_and_reset(visit):
    page = visit("/discs")
    first = drawn(page)
    page.locator("[data-knob='2']").focus()
    for _ in range(10):
        page.keyboard.press("ArrowUp")
    settled_at(page, "gd_q2=0.5(&|$)")
    assert drawn(page)["discs"]["2"][2] < first["discs"]["2"][2]
    page.get_by_role("button", name="Perron", exact=True).click()
    settled_at(page, "gd_q1=")
    edge, best, top = drawn(page)["marks"]
    assert edge == pytest.approx(best, rel=2e-3) and best > top
    assert "Goal reached" in page.locator(".discs .lv-bar").first.inner_text()
    page.get_by_role("button", name="Reset q", exact=True).click()
    page.wait_for_url(re.compile("/discs$"))
    settled(page)
    page.wait_for_timeout(500)
    assert drawn(page) == first


def test_discs_travel_to_the_state_of_a_chip_unless_no_motion_is_wanted(visit):
    # values between the two states were seen on the way
    watch = (
        "svg => { window.seen = new Set(); const look = () => { const c = svg.querySelector('[data-disc=\"4\"]');"
        " if (c) window.seen.add(c.getAttribute('r')); requestAnimationFrame(look); }; look(); }"
    )
    for motion, low, high in (("no-preference", 4, 1000), ("reduce", 0, 3)):
        page = visit("/discs", reduced_motion=motion)
        page.locator(".discs .plane svg").evaluate(watch)
        page.get_by_role("button", name="Perron, the best q: watch the right edges meet").click()
        settled_at(page, "gd_q4=")
        seen = page.evaluate("window.seen.size")
        assert low < seen < high, (motion, seen)


@pytest.mark.parametrize("start", ["/discs", "/discs?gd_source=small"])
def test_a_chip_writes_the_address_of_what_it_shows(visit, start):
    for chip, mark in (
        ("Spectral T: watch discs cross zero", 0),
        ("Perron, the best q: watch the right edges meet", 1),
    ):
        page = visit(start)
        page.get_by_role("button", name=chip).click()
        settled_at(page, "gd_")
        page.wait_for_timeout(1000)
        shown, address = drawn(page), page.url
        again = visit(address)
        again.wait_for_timeout(600)
        assert drawn(again)["marks"] == shown["marks"], address
        edge, other = shown["marks"][:2]
        assert edge < -1 if mark == 0 else edge == pytest.approx(other, rel=2e-3)


def test_the_numbers_of_the_browser_are_those_of_python(visit):
    page, random, worst = visit("/discs"), np.random.default_rng(3), 0.0
    root = page.locator(".lv:has(.discs)")
    for case in range(40):
        n, rows = int(random.integers(2, 9)), int(random.integers(1, 9))
        W = random.standard_normal((rows, n)) * np.exp(random.standard_normal(n)) * 10.0 ** random.integers(-5, 6)
        e = random.uniform(-3, 3, n)
        G, q = W.T @ W, 2.0**e
        for rule in (None, "AOL", "SLL", "spectral", "own"):
            own = random.uniform(0, 2 * G.max(), n)
            t = own if rule == "own" else lessons.rule(rule, G, q) if rule else None
            expected = lessons.discs(G, q, t)
            view = "T - G" if rule else "G"
            state = {"W": W.tolist(), "e": e.tolist(), "view": view, "rule": rule or "AOL", "t": own.tolist()}
            found = root.evaluate("(element, state) => element.derive(state)", state)
            scale = np.abs(expected.centers).max() + expected.radii.max()
            for name in ("centers", "radii", "eigenvalues"):
                difference = np.abs(np.array(found[name]) - getattr(expected, name)).max() / scale
                worst = max(worst, difference)
                assert difference < 1e-9, (case, rule, name)
            assert found["best"] == pytest.approx(lessons.best_edge(G), rel=1e-9, abs=1e-9 * scale)
    assert 0 < worst < 1e-12


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_circles_are_circles_and_nothing_sticks_out(visit, width, scheme):
    page = visit("/discs", scheme=scheme, width=width, height=800)
    for selector in ("[data-disc='4']", "[data-grip='1']"):
        box = page.locator(selector).bounding_box()
        assert box["width"] == pytest.approx(box["height"], abs=1), "a circle must be a circle"
    # one unit is as many pixels to the right as up: the lines of the grid say so
    svg = page.locator(".discs .plane svg")
    lines = svg.evaluate(
        "svg => [...svg.querySelectorAll('text')].filter(t => /^-?[0-9.]+$/.test(t.textContent)"
        " && !t.hasAttribute('pointer-events'))"
        ".map(t => [+t.textContent, t.getAttribute('text-anchor'), +t.getAttribute('x'), +t.getAttribute('y')])"
    )
    across = sorted((value, x) for value, anchor, x, _ in lines if anchor == "middle")
    up = sorted((value, -y) for value, anchor, _, y in lines if anchor == "end")
    scales = [(line[-1][1] - line[0][1]) / (line[-1][0] - line[0][0]) for line in (across, up)]
    span = across[-1][0] - across[0][0]
    assert scales[0] * span == pytest.approx(scales[1] * span, abs=1)
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1
    sizes = page.locator(".discs").evaluate(
        "d => [...d.querySelectorAll('text, td, th, caption, button, span')]"
        ".filter(n => n.textContent && n.getBoundingClientRect().width)"
        ".map(n => parseFloat(getComputedStyle(n).fontSize) * (n.ownerSVGElement ?"
        " n.ownerSVGElement.getBoundingClientRect().width / n.ownerSVGElement.viewBox.baseVal.width : 1))"
    )
    assert min(sizes) >= 11


def test_rows_and_discs_light_each_other(visit):
    page = visit("/discs")
    page.locator(".discs table >> nth=1 >> tbody tr >> nth=2").hover()
    page.wait_for_timeout(200)
    lit = page.locator(".discs .plane svg").evaluate(
        "svg => [...svg.querySelectorAll('[data-disc]')].filter(c => c.getAttribute('stroke-width') === '4')"
        ".map(c => c.dataset.disc)"
    )
    assert lit == ["3"] and "Disc 3: centre" in page.locator(".discs").inner_text()
    page.locator("[data-grip='5']").hover()
    page.wait_for_timeout(200)
    assert page.locator(".discs table >> nth=1 >> tbody tr >> nth=4 >> td.lit").count() == 5


def test_the_training_is_played_in_the_browser(visit):
    page = visit.stranger()
    sent = sent_by(page)
    page.goto("/discs?gd_source=small")
    settled(page)
    page.locator(".discs .plane svg").wait_for()
    page.wait_for_timeout(500)
    seen, count = [], len(sent)
    slider = page.locator(".discs input[type=range]")
    assert slider.get_attribute("max") == "5"
    for value in range(6):  # as a hand does that does not let go
        slider.evaluate("(s, v) => { s.value = v; s.dispatchEvent(new Event('input')); }", str(value))
        page.wait_for_timeout(300)
        seen.append(drawn(page))
    assert len(sent) == count, "scrubbing asks nothing of the server"
    assert len({tuple(state["crosses"]) for state in seen}) == 6 and seen[0]["discs"] != seen[4]["discs"]
    slider.evaluate("s => { s.value = 2; s.dispatchEvent(new Event('input')); s.dispatchEvent(new Event('change')); }")
    settled_at(page, "gd_point=40")
    assert "epoch 2 of 5" in page.locator(".discs").inner_text()
    assert "At epoch 2 " in page.inner_text("[data-testid='stMain']")
    page.reload()
    settled_at(page, "gd_point=40")
    assert drawn(page)["crosses"] == seen[2]["crosses"]
    page.get_by_role("button", name="Play").click()
    page.wait_for_url(re.compile(r"gd_source=small$"), timeout=20_000)
    settled(page)
    assert "now" in page.locator(".discs .time").inner_text()


def test_the_picture_is_saved_as_svg(visit, tmp_path):
    page = visit("/discs?gd_view=T+-+G&gd_rule=spectral", scheme="dark")
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG", exact=True).click()
    download.value.save_as(tmp_path / "discs.svg")
    text = (tmp_path / "discs.svg").read_text()
    assert text.startswith("<svg") and text.count("data-disc=") == 5 and "smallest eigenvalue 0" in text
    assert "var(--" not in text and "NaN" not in text


LIMITS = [("0 0; 0 0", "G"), ("1e6 -1e6; 1e6 1e6", "T - G"), ("1 1; 1 1", "T - G"), ("1e-6 1e6", "G")]


@pytest.mark.parametrize(("text", "view"), LIMITS)
def test_matrices_at_the_limits_are_drawn_and_dragged(visit, text, view):
    page = visit(f"/discs?gd_view={view}&gd_w={text}")
    drag(page, "td.free >> nth=0", 0, -30)
    settled_at(page, "gd_w=")
    whole = page.locator(".discs").inner_html()
    assert "NaN" not in whole and "Infinity" not in whole and "undefined" not in whole
    page.get_by_role("button", name="Perron", exact=True).click()
    page.wait_for_timeout(800)
    assert "NaN" not in page.locator(".discs").inner_html() and "nan" not in page.url.lower()

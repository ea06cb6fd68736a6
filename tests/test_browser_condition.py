"""The picture of two neurons in a browser: its numbers against Python's, drags, keys, the wheel, files."""

import json
import re

import numpy as np
import pytest
from browser import MARKS, settled
from cases import TWO

from lipviz import condition

pytestmark = MARKS
PICTURE = ".lv:has(.cd-row)"


@pytest.fixture
def opened(visit):
    """Open the page, and wait for the picture: (page, call), where call("state()") asks its hook."""

    def go(address="/condition", **options):
        page = visit(address, **options)
        picture = page.locator(PICTURE)
        picture.locator("[aria-label='T'][role=slider]").wait_for()
        page.wait_for_timeout(700)
        return page, lambda what: picture.evaluate(f"(root) => root.condition.{what}")

    return go


def drag(page, name, dx, dy, steps=20, drop=True):
    """Pull what has that name by so many pixels."""
    box = page.locator(f"{PICTURE} [aria-label='{name}']").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for k in range(1, steps + 1):
        page.mouse.move(x + dx * k / steps, y + dy * k / steps)
    page.wait_for_timeout(100)
    if drop:
        page.mouse.up()
        page.wait_for_timeout(700)
        settled(page)


def metric(page, label):
    """The value that Python wrote under a label."""
    return (
        page.locator("[data-testid='stMetric']", has_text=label).locator("[data-testid='stMetricValue']").inner_text()
    )


def test_the_browser_computes_what_python_computes(opened):
    _, call = opened()
    random = np.random.default_rng(0)
    special = [
        np.zeros((2, 2)),
        np.diag([1.0, 0.0]),
        np.ones((2, 2)),
        np.diag([1.0, 2.0]),
        np.array([[1e-3, 90], [2, 1]]),
    ]
    cases = []
    for W in [*special, *(random.standard_normal((2, 2)) * np.exp(random.standard_normal(2)) for _ in range(40))]:
        G, q = W.T @ W, float(random.uniform(-4, 4))
        aol = condition.aol(G)
        for t in (random.uniform(0.1, 2, 2) * (aol + 0.01), aol, condition.to_edge(G, random.uniform(0.2, 2, 2) * aol)):
            cases.append((W, np.maximum(t, 0.0), q))
    sent = json.dumps([[W.ravel().tolist(), t.tolist(), q] for W, t, q in cases])
    solved = call(f"constructor && {sent}.map(([w, t, q]) => root.condition.solve(w, t, q))")
    images = call(
        f"constructor && {sent}.map(([w, t, q]) => ['affine', 'residual'].map("
        "(form) => root.condition.image(root.condition.solve(w, t, q).B, form).stretch))"
    )
    edges = call(f"constructor && {sent}.map(([w, t, q]) => root.condition.toEdge(w, t))")
    for (W, t, q), found, stretch, edge in zip(cases, solved, images, edges, strict=True):
        G = W.T @ W
        size = max(float(np.abs(G).max()), float(t.max()), 1e-300)
        rules = condition.rules(G, np.array([1.0, 2.0**q]))
        for name, key in (("AOL", "aol"), ("SLL", "sll"), ("CPL, spectral", "cpl")):
            assert np.allclose(found[key], rules[name], rtol=1e-12, atol=1e-12 * size)
        assert found["slack"] == pytest.approx(condition.slack(G, t), abs=1e-12 * size)
        assert found["trace"] == pytest.approx(t.sum()) and found["state"] == condition.state(G, t)
        norm = condition.norm(W, t)
        if np.isfinite(norm):
            assert found["norm"] == pytest.approx(norm, rel=1e-9, abs=1e-12)
            assert stretch[0] == pytest.approx(norm, rel=1e-9, abs=1e-12)
            B = np.divide(W, np.sqrt(t), out=np.zeros_like(W), where=t > 0)
            assert stretch[1] == pytest.approx(np.linalg.norm(np.eye(2) - 2 * B @ B.T, 2), rel=1e-9, abs=1e-12)
        assert np.allclose(edge, condition.to_edge(G, t).clip(0), atol=1e-9 * size)


def test_dragging_t_outside_and_onto_the_edge(opened):
    page, call = opened()
    before, frame = call("state()"), call("places()")
    drag(page, "T", -150, 40, steps=60, drop=False)
    during = call("state()")
    assert during["t"][0] < before["t"][0] - 1 and "cd_t1" not in page.url, "nothing is sent before it is let go"
    assert call("places()")["aol"] == frame["aol"], "the view stands still"
    assert "live: fails" in page.locator(PICTURE).inner_text() and metric(page, "condition") == "holds"
    page.mouse.up()
    page.wait_for_url("**cd_t1=**")
    settled(page)
    page.wait_for_timeout(500)
    assert metric(page, "condition") == "fails" and "pokes out" in page.inner_text("[data-testid='stMain']")
    shown = call("state()")
    G = TWO.T @ TWO
    assert float(metric(page, "smallest eigenvalue")) == pytest.approx(
        condition.slack(G, np.array(shown["t"])), abs=1e-3
    )
    # back: within a few pixels of the edge it snaps to it
    places = call("places()")
    dx, dy = (a - b for a, b in zip(places["aol"], places["t"], strict=True))
    drag(page, "T", dx + 2, dy + 1, steps=30)
    assert call("state()")["edge"] and metric(page, "condition") == "on the edge"
    assert metric(page, "norm of W") == "1" and "cd_edge=true" in page.url


def test_sll_slides_along_the_edge(opened):
    page, call = opened()
    before = call("places()")
    drag(page, "SLL on the edge: q2/q1", 90, 0, drop=False)
    state, after = call("state()"), call("places()")  # once it is let go, the view follows
    assert state["q"] > 1.25 and state["t"] == [2.9, 2.2] and after["sll"][0] > before["sll"][0] + 20
    page.mouse.up()
    settled(page)
    assert re.search(r"cd_q=1\.\d+|cd_q=2", page.url)
    page.locator(f"{PICTURE} input[type=range]").focus()
    page.keyboard.press("Home")
    page.wait_for_url("**cd_q=-4**")


def test_pulling_w_by_its_columns_its_entries_and_the_wheel(opened):
    page, call = opened("/condition?cd_edge=true")
    drag(page, "Column 2 of W", -40, 20)
    state = call("state()")
    assert state["w"][1] < 0.6 and state["w"][3] < 0.5 and metric(page, "condition") == "on the edge"
    drag(page, "W, row 1, column 1", 0, -60)
    assert call("state()")["w"][0] == pytest.approx(1.6) and "cd_w11=1.6" in page.url
    entry = page.locator(f"{PICTURE} [aria-label='W, row 2, column 1']")
    entry.hover()
    page.mouse.wheel(0, 60)
    page.wait_for_timeout(300)
    assert call("state()")["w"][2] == -0.3, "the page scrolls, not the number"
    entry.focus()
    page.keyboard.press("ArrowUp")
    entry.hover()
    page.mouse.wheel(0, -60)
    page.wait_for_timeout(900)
    assert call("state()")["w"][2] == pytest.approx(-0.2) and metric(page, "condition") == "on the edge"


def test_keys_move_t_and_do_not_stick_to_the_edge(opened):
    page, call = opened()
    page.locator(f"{PICTURE} button", has_text="T to CPL").click()
    page.wait_for_url("**cd_edge=true**")
    settled(page)
    top = condition.cpl(TWO.T @ TWO)
    assert np.allclose(call("state()")["t"], top, rtol=1e-3)
    page.locator(f"{PICTURE} [aria-label='T']").focus()
    for _ in range(3):
        page.keyboard.press("ArrowLeft")
    page.wait_for_timeout(1200)
    settled(page)
    assert call("state()")["t"][0] < top[0] - 0.02 and metric(page, "condition") == "fails"
    assert "fails" in page.locator(f"{PICTURE} .say").inner_text()


def test_files(opened, tmp_path):
    page, _ = opened("/condition?cd_t1=1.75&cd_t2=1.3")
    for button, name in (("SVG", "condition.svg"), ("CSV", "condition.csv")):
        with page.expect_download() as waiting:
            page.locator(f"{PICTURE} button", has_text=button).click()
        assert waiting.value.suggested_filename == name
        waiting.value.save_as(tmp_path / name)
    svg = (tmp_path / "condition.svg").read_text()
    assert svg.count("<svg") == 5 and "T fails" in svg and "var(--" not in svg
    rows = (tmp_path / "condition.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[4].startswith("own T,1.75,1.3,3.05,") and rows[4].endswith("fails")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark"), (320, "light")])
def test_circles_are_circles_and_letters_can_be_read(opened, width, scheme):
    page, _ = opened("/condition?cd_form=residual", width=width, scheme=scheme)
    box = page.locator(f"{PICTURE} svg >> circle[r]").first.bounding_box()
    assert box["width"] == pytest.approx(box["height"], rel=0.02)
    sizes = page.locator(f"{PICTURE} svg text").evaluate_all(
        "all => all.map((t) => 12 * t.getScreenCTM().a)"
    )  # of letters, on the screen
    assert sizes and min(sizes) >= 11
    assert page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth") <= 1


def test_the_first_screen_holds_the_numbers(opened):
    page, _ = opened(width=1280, height=800)
    box = page.locator("[data-testid='stMetric']").last.bounding_box()
    assert box["y"] + box["height"] <= 800


@pytest.mark.parametrize("view", ["3 neurons", "up to 8", "your own T"])
def test_other_views_are_drawn(visit, view):
    page = visit(f"/condition?cd_view={view.replace(' ', '+')}")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert page.locator("[data-testid='stAlert']").first.inner_text()

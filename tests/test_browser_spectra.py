"""The page on spectra in a real browser: the training is scrubbed and played without the server."""

import pytest
from browser import MARKS, watched
from shipped import CHECKPOINTS

from lipviz import runs

pytestmark = MARKS

STATE = """() => {
    const plot = document.querySelector('.js-plotly-plot'), full = plot._fullData, last = full[full.length - 1];
    const axis = plot._fullLayout.yaxis, height = Array.from(last.y?._inputArray ?? last.y);
    return {low: Math.min(...height), range: axis.range.slice(), active: plot._fullLayout.sliders[0].active,
            thin: full[0].line.width, end: Array.from(full[0].y?._inputArray ?? full[0].y).slice(-1)[0],
            frames: plot._transitionData._frames.length};
}"""
ONE = "/spectra?sp_runs=cifar10-aol&sp_layer=1"


@pytest.fixture
def sent(visit):
    """A visitor on the page, and the list of what her browser sends to the server from now on."""
    page, messages = watched(visit, ONE)
    page.wait_for_selector(".slider-rail-touch-rect")
    page.wait_for_timeout(1500)
    messages.clear()
    return page, messages


def rail(page):
    page.locator(".slider-rail-touch-rect").scroll_into_view_if_needed()
    return page.locator(".slider-rail-touch-rect").bounding_box()


def test_scrubbing_needs_no_server_and_keeps_the_zoom(sent):
    page, messages = sent
    before, box = page.evaluate(STATE), rail(page)
    epochs = runs.load(CHECKPOINTS / "cifar10-aol").config["epoch"]
    assert before["frames"] == epochs + 1 and before["active"] == epochs and before["thin"] < 1
    # the buttons of plotly change the ranges in this way; a drag over the picture is left to scrolling
    page.evaluate("""() => new Promise(done => {
        const button = document.querySelector('.modebar-btn[data-attr="zoom"], .modebar-btn[data-val="zoom"]');
        button.click(); setTimeout(done, 300); })""")
    plot = page.locator(".js-plotly-plot .nsewdrag").first.bounding_box()
    page.mouse.move(plot["x"] + 100, plot["y"] + 40)
    page.mouse.down()
    page.mouse.move(plot["x"] + 400, plot["y"] + 150, steps=5)
    page.mouse.up()
    page.wait_for_timeout(500)
    zoomed = page.evaluate(STATE)
    assert zoomed["range"] != before["range"]
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] - 4, y)
    page.mouse.down()
    page.mouse.move(box["x"] + 4, y, steps=40)
    page.mouse.up()
    page.wait_for_timeout(500)
    after = page.evaluate(STATE)
    assert after["active"] == 0 and after["low"] > 0.99 > before["low"], "it starts orthogonal"
    assert after["end"] == before["end"], "the thin line stays at the end of the training"
    assert after["range"] == zoomed["range"], "the zoom is kept"
    assert not messages, "the server was asked"


def test_play_and_pause(sent, visit):
    page, messages = sent
    box = rail(page)
    page.mouse.click(box["x"] + 4, box["y"] + box["height"] / 2)
    page.wait_for_timeout(300)
    page.locator(".updatemenu-button").first.click()
    page.wait_for_timeout(1300)
    page.locator(".updatemenu-button").nth(1).click()
    page.wait_for_timeout(600)
    paused = page.evaluate(STATE)
    assert 0 < paused["active"] < paused["frames"] - 1
    page.wait_for_timeout(1000)
    assert page.evaluate(STATE) == paused and not messages
    # plotly rejects the promise of an animation that is interrupted, with no reason given, and nobody waits for it:
    # this one line in the console is known, any other error still fails the visit
    known = [error for error in visit.errors if error.endswith(": undefined")]
    assert len(known) <= 1
    visit.errors[:] = [error for error in visit.errors if error not in known]


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize("kind", ["rank", "frequency+map"])
def test_it_fits(visit, width, kind):
    page = visit(f"/spectra?sp_kind={kind}", scheme="dark" if width == 390 else "light", width=width)
    page.wait_for_selector(".js-plotly-plot .main-svg")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 1
    if width == 1280 and kind == "rank":
        bottom = page.locator("[data-testid='stMetric']").first.bounding_box()
        assert bottom["y"] + bottom["height"] <= 800, "the first screen holds the line of numbers"


def test_the_svg_export_is_not_black(visit):
    page = visit(ONE, scheme="dark")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    page.locator(".js-plotly-plot").first.hover()
    with page.expect_download() as download:
        page.locator(".modebar-btn[data-title*='ownload']").first.click()
    text = download.value.path().read_text()
    assert text.startswith("<svg") and "rgb(20, 23, 28)" in text and "rgb(0, 0, 1)" not in text

"""The playground in a real browser: what is dragged, drawn and computed there."""

import numpy as np
import pytest
import torch
from browser import MARKS, settled

from lipviz import playground_live as trainings
from lipviz.certify import certify
from lipviz.playground import gradient_norm, radii

pytestmark = MARKS


def open_playground(page, query=""):
    """The page with its field filled, and what the browser sends to the server from now on."""
    sent = []
    page.on("websocket", lambda socket: socket.on("framesent", lambda frame: sent.append(frame)))  # noqa: PLW0108  no builtin
    page.goto(f"/playground{query}")
    settled(page)
    page.locator(".pg").wait_for()
    settled(page)
    for _ in range(60):
        if data(page, "filled"):
            break
        page.wait_for_timeout(500)
    return sent


def evaluated(page, at):
    """What the networks in the browser say at these places, and what a move of the probe costs there."""
    ask = "const d = {at}; pg.dispatchEvent(new CustomEvent('lipviz-evaluate', {detail: d})); return [d.nets, d.cost];"
    return page.locator(".pg").evaluate(f"(pg, at) => {{ {ask} }}", at)


def data(page, name):
    return page.locator(".pg").evaluate("(pg, name) => pg.dataset[name]", name)


def grip_at(page):
    box = page.locator(".pg-grip").first.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_a_drag_moves_the_picture_and_asks_the_server_nothing(page):
    sent = open_playground(page)
    x, y = grip_at(page)
    page.mouse.move(x, y)
    page.mouse.down()
    sent.clear()
    before = int(data(page, "frames"))
    for k in range(200):
        page.mouse.move(x + 60 * np.sin(k / 15), y + 40 * np.cos(k / 9) - 40)
    frames = int(data(page, "frames")) - before
    assert not sent, "nothing is sent while it is dragged"
    assert frames > 0, "the picture moves along"
    page.mouse.up()
    page.wait_for_url("**pg_x=**")
    settled(page)
    assert 1 <= len(sent) <= 3, "one message when it is let go"
    proof = page.locator(".pg-read").inner_text()
    assert "proof" in proof


def test_the_radius_in_the_browser_is_the_radius_in_float64(page):
    open_playground(page, "?pg_with=Plain")
    at = np.random.default_rng(0).uniform(-1.8, 1.8, (1000, 2))
    nets, _ = evaluated(page, at.tolist())
    assert len(nets) == 2
    for net, setup in zip(nets, trainings.STORED_SETUPS, strict=False):
        reference = radii(net["ops"], at, net["lipschitz"])
        assert np.abs(np.array(net["radius"]) - reference).max() < 1e-9
        frame = trainings.stored(setup).frame
        assert frame.ops == net["ops"]
        model = trainings._session(trainings.STORED_SETUPS.index(setup)).model
        proved = certify(model, torch.tensor(at))
        assert np.abs(np.array(net["radius"]) - proved.radius.numpy()).max() < 1e-6
        assert net["label"] == proved.label.tolist()
        slopes = gradient_norm(net["ops"], at) / net["lipschitz"]
        assert np.abs(np.array(net["slope"]) - slopes).max() < 1e-9


def test_a_circle_is_a_circle(page):
    open_playground(page)
    box = page.locator(".pg-square").bounding_box()
    disc = page.locator(".pg-square svg path[stroke-width='2.4']").first.evaluate(
        "(node) => { const b = node.getBBox(), m = node.getScreenCTM(); return [b.width * m.a, b.height * m.d]; }"
    )
    assert box["width"] == pytest.approx(box["height"], abs=1)
    assert disc[0] == pytest.approx(disc[1], abs=1)


def test_no_break_lies_inside_a_certified_disc(page):
    open_playground(page)
    grip = page.locator(".pg-grip").first
    grip.focus()
    for key in ("ArrowLeft", "ArrowDown", "ArrowRight", "ArrowDown") * 4:
        page.keyboard.press(f"Shift+{key}")
        page.wait_for_timeout(60)
        figures = page.locator(".pg-read b").all_inner_texts()
        assert float(figures[0]) <= float(figures[1]) + 1e-3


def test_points_are_added_and_removed_by_clicks(page):
    open_playground(page)
    few = page.locator(".pg-few")
    assert "300 points" in few.inner_text()
    box = page.locator(".pg-square").first.bounding_box()
    place = (box["x"] + 0.9 * box["width"], box["y"] + 0.1 * box["height"])
    page.mouse.click(*place)
    page.wait_for_timeout(1500)
    assert "301 points" in few.inner_text() and "own" in page.url
    page.keyboard.down("Shift")
    page.mouse.click(place[0] - 60, place[1])
    page.keyboard.up("Shift")
    page.wait_for_timeout(1500)
    assert "302 points" in few.inner_text()
    page.keyboard.down("Control")
    page.mouse.click(*place)
    page.keyboard.up("Control")
    page.wait_for_timeout(1500)
    assert "301 points" in few.inner_text()
    page.get_by_role("button", name="Undo").click()
    page.wait_for_timeout(1500)
    assert "302 points" in few.inner_text()


def test_live_ticks_keep_the_probe_and_the_view(page):
    open_playground(page)
    page.locator("[data-view=radius]").click()
    settled(page)
    page.get_by_role("button", name="Play").click()
    page.get_by_role("button", name="Pause").wait_for()
    x, y = grip_at(page)
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 30, y + 20, steps=4)
    held, seen = data(page, "probe"), set()
    for _ in range(40):
        page.wait_for_timeout(500)
        seen.add(data(page, "step"))
        if len(seen) >= 4:
            break
    assert len(seen) >= 4, "the training goes on while the probe is held"
    assert data(page, "probe") == held
    assert page.locator("[data-view=radius]").get_attribute("aria-pressed") == "true"
    page.mouse.move(x + 60, y + 20, steps=3)
    assert data(page, "probe") != held, "the drag goes on"
    page.mouse.up()
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Play").wait_for()
    page.wait_for_timeout(2500)
    stopped = data(page, "step")
    page.wait_for_timeout(2500)
    assert data(page, "step") == stopped


def test_the_liar_is_called_one(page):
    open_playground(page, "?pg_with=Plain")
    page.locator(".pg-square svg text", has_text="false").wait_for()
    assert "are false" in page.locator(".pg-lie").inner_text()


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_shows_the_map(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    open_playground(page)
    box = page.locator(".pg-square").bounding_box()
    assert box["y"] < 560 and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert page.evaluate("() => document.documentElement.scrollWidth") <= width


def test_many_points_do_not_freeze_the_page(page):
    open_playground(page, "?pg_n=10000")
    page.locator(".pg-few", has_text="10000 points").wait_for()
    assert "discs of" in page.locator(".pg-few").inner_text()

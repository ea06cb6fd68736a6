"""The page Certified radii in a real browser: eps and a range are dragged without the server, then galleries follow."""

import re

from browser import MARKS, find, settled, watched
from shipped import CHECKPOINTS

from lipviz import radii, runs

pytestmark = MARKS

FIND = find("radii")


def state(page):
    page.wait_for_function(f"() => ({FIND})()?.state()")
    return page.evaluate(f"() => ({FIND})().state()")


def tile(page, name):
    """What the line of numbers says of `name`: its value and the line below."""
    return page.locator(".cr-numbers div", has=page.locator("dt", has_text=re.compile(f"^{name}"))).inner_text()


def test_eps_and_a_range_are_dragged(visit):
    page, messages = watched(visit, "/radii?cr_data=mnist")
    before = state(page)
    name = page.locator(".cr-side svg text").first.text_content().rpartition(", ")[2]
    run = runs.load(CHECKPOINTS / name)
    found, both = run.certificates, radii.sandwich(run.certificates, run.attacks)
    knob, per = (page.evaluate(f"() => ({FIND})().places()")[key] for key in ("knob", "per"))
    page.wait_for_timeout(1000)
    messages.clear()
    page.mouse.move(*knob)
    page.mouse.down()
    for i in range(50):
        page.mouse.move(knob[0] + 2 * i, knob[1])
    page.wait_for_timeout(200)
    now = state(page)
    k, kept = now["k"], int((found.correct & (found.radius > now["k"] / 255)).sum())
    assert before["k"] == 36 and abs(k - 36 - 98 / per) <= 3 and not messages, "nothing was sent while it was dragged"
    assert now["certified"] == kept and now["clean"] == found.correct.sum()
    assert (now["sub"]["certified"], now["sub"]["attacked"]) == (both.kept[k], both.stands[k])
    low, high = radii.wilson(kept, len(found.radius))
    assert f"{100 * low:.1f} to {100 * high:.1f}, of {len(found.radius):,}" in tile(page, "certified")
    assert f"{100 * kept / len(found.radius):.1f} %" in tile(page, "certified")
    assert f"{both.stands[k] - both.kept[k]} of {both.n}" in tile(page, "unknown")
    low, high = radii.constants(found)
    used = re.search(r"([\d.]+) to ([\d.]+)", tile(page, "constant used"))
    assert float(used[1]) <= low < high <= float(used[2])
    measured, bound = (
        float(re.search(r"[≥≤] ([\d.]+)", tile(page, name))[1]) for name in ("measured Lipschitz", "Lipschitz bound")
    )
    assert measured <= radii.measured(found, both) <= run.config["results"]["bound"] <= bound
    page.mouse.up()
    page.wait_for_function(f"location.search.includes('cr_eps={k}')")
    page.get_by_text(f"at {k}/255: right answers").first.wait_for()
    settled(page)
    main = page.locator("[data-testid='stMain']").inner_html()
    for i in (i for rows in radii.just(found, k / 255, 6) for i in rows):  # as images, or in a table without them
        assert f"Test input {found.index[i]}:" in main or f">{found.index[i]}</td>" in main

    zero, per = (page.evaluate(f"() => ({FIND})().places()")[key] for key in ("zero", "per"))
    messages.clear()
    page.mouse.move(zero[0] + 150 * per, zero[1])
    page.mouse.down()
    for i in range(20):
        page.mouse.move(zero[0] + (150 + 2.5 * i) * per, zero[1])
    assert not messages
    page.mouse.up()
    low, high = state(page)["range"]
    assert abs(low - 150) <= 1 and abs(high - 197.5) <= 2
    page.wait_for_function(f"location.search.includes('cr_from={low}') && location.search.includes('cr_to={high}')")
    rows = radii.within(found, low / 255, high / 255)
    page.get_by_text(f"{len(rows):,} right answers").wait_for()
    page.get_by_role("slider", name="Size eps, in 1/255").press("ArrowRight")
    page.wait_for_function(f"location.search.includes('cr_eps={k + 1}')")
    # a slider has one line, so all arrows move it
    page.get_by_role("slider", name="Size eps, in 1/255").press("ArrowUp")
    page.wait_for_function(f"location.search.includes('cr_eps={k + 2}')")

    # the end of the range, missed by a finger's width; then eps once more where it was sent last
    page.mouse.move(zero[0] + low * per - 11, zero[1])
    page.mouse.down()
    page.mouse.move(zero[0] + low * per - 11 - 20 * per, zero[1], steps=4)
    page.mouse.up()
    assert state(page)["range"] == [low - 20, high]
    settled(page)
    page.locator("[class*='_try'] button").first.click()
    page.wait_for_function(f"!location.search.includes('cr_eps={k + 2}')")
    settled(page)
    knob, way = page.get_by_role("slider", name="Size eps, in 1/255"), k + 2 - state(page)["k"]
    for _ in range(abs(way)):
        knob.press("ArrowRight" if way > 0 else "ArrowLeft")
    page.wait_for_function(f"location.search.includes('cr_eps={k + 2}')")

"""False certificates in a browser: from a broken claim to a true one with the keyboard, and what fits the screen."""

import re

import pytest
from browser import MARKS, figure, settled

from lipviz.falsehoods_words import STATES

pytestmark = MARKS


def metric(page, label):
    """The number under a label."""
    box = page.locator("[data-testid='stMetric']", has_text=label)
    return float(box.locator("[data-testid='stMetricValue']").inner_text())


def test_a_claim_is_dragged_until_it_is_true(visit):
    page = visit("/false?fc_kind=Unit+rows")
    assert page.get_by_text(STATES["broken"][0]).is_visible()
    assert metric(page, "claim / break") == pytest.approx(2**0.5, rel=0.01)
    names = [trace["name"] for trace in figure(page, 0)]
    assert names[:3] == ["claimed: never below", "certified: never below", "margin on the way found"]
    assert any("broken" in name for name in names)
    page.get_by_role("slider", name=re.compile("Angle")).focus()
    for _ in range(18):
        page.keyboard.press("ArrowLeft")
    page.wait_for_url("**fc_angle=90**")
    settled(page)
    page.get_by_text(STATES["true"][0]).wait_for()
    assert metric(page, "claimed radius") == metric(page, "certified radius")
    page.get_by_role("button", name=re.compile("Ten times the logits")).click()
    page.wait_for_url("**fc_logits=10**")
    settled(page)
    page.get_by_text(STATES["broken"][0]).wait_for()
    assert metric(page, "claim / break") > 10


@pytest.mark.parametrize("kind", ["Assumed+constant", "float32"])
def test_the_first_screen_holds_picture_and_numbers(visit, kind):
    page = visit(f"/false?fc_kind={kind}")
    box = page.locator("[data-testid='stMetric']").last.bounding_box()
    assert box["y"] + box["height"] <= 800
    assert page.locator("figure img").count() == 3
    assert page.locator(".katex").count() == 0, "the fonts of mathematics come with the deeper text"

"""The eight lessons, answered by someone who knows nothing but what the pages show."""

import re

from browser import MARKS, settled

from lipviz import course

pytestmark = MARKS


def lesson(page, number):
    """Follow the link of the lesson from the page of all lessons."""
    page.goto("/lessons")
    settled(page)
    page.get_by_role("link", name=re.compile(rf"{number}\. ")).click()
    page.wait_for_url(f"**lesson={number}**")
    page.get_by_text(f"Lesson {number} of {len(course.LESSONS)}").wait_for()
    settled(page)


def answered(page, given):
    """Give the answer: whether the page says that it is right."""
    box = page.locator(".st-key-lesson")
    if isinstance(given, str):
        box.get_by_text(given, exact=True).click()
    else:
        box.locator("input[type=number]").fill(str(given))
        box.locator("input[type=number]").press("Enter")
    settled(page)
    box.get_by_role("button", name="Check").click()
    said = box.locator("[data-testid=stAlert]")
    said.wait_for()
    return "Right" in said.inner_text()


def metric(page, label):
    """The value under a label."""
    found = page.locator("[data-testid='stMetric']", has_text=label).first
    return found.locator("[data-testid='stMetricValue']").inner_text()


def notice(page):
    """What to notice."""
    return page.locator("[class*='st-key-part_notice']").first.inner_text()


def press(page, name):
    """Press a button of a picture, and wait for the page."""
    page.locator(".lv").get_by_role("button", name=name, exact=True).first.click()
    page.wait_for_timeout(800)
    settled(page)


def test_what_a_certificate_says(page):
    lesson(page, 1)
    page.get_by_role("button", name="Palace").first.click()
    settled(page)
    certified = page.get_by_text(re.compile(r"(Certified|Only) to 0\.")).count()
    assert certified
    assert not answered(page, "Its radius is 0")
    assert answered(page, "It is certified all the same")


def test_how_much_survives(page):
    lesson(page, 2)
    page.get_by_role("slider").first.focus()
    for _ in range(36):
        page.keyboard.press("ArrowRight")
    settled(page)
    page.wait_for_url("**cr_eps=72**")
    grid = page.locator(".lipviz-table", has_text="certified at eps %").first
    header = grid.locator("th").all_text_contents()
    rows = [row.locator("td").all_text_contents() for row in grid.locator("tbody tr").all()]
    wanted = next(row for row in rows if "cifar10-sll" in row)
    assert answered(page, float(wanted[header.index("certified at eps %")]))


def test_can_you_break_it(page):
    lesson(page, 3)
    for x, y in ((0.1, 0.2), (0.5, 0.4), (-0.6, 0.5), (-0.4, 0.3)):
        page.goto(f"/playground?lesson=3&pg_x={x}&pg_y={y}")
        settled(page)
        place = page.locator(".lv", has=page.locator("canvas")).first
        place.filter(has_text=re.compile(r"\dproof ✓.*\dnearest break found", re.S)).wait_for()
        text = place.inner_text()
        proof, found = (
            float(re.search(rf"([\d.]+)\s+{name}", text).group(1)) for name in ("proof", "nearest break found")
        )
        assert proof <= found
    assert answered(page, "A break closer than the proof")


def test_one_condition(page):
    lesson(page, 4)
    press(page, "T to CPL")
    assert metric(page, "condition") == "on the edge"
    assert answered(page, float(metric(page, "trace of T")) / 2)


def test_four_methods_one_edge(page):
    lesson(page, 5)
    seen = set()
    for pair in ("G12", "G13", "G12"):
        page.get_by_role("button", name=re.compile(pair)).first.click()
        settled(page)
        words = notice(page)
        seen.add(("inside" in words, "product is -" in words))
    assert seen == {(False, False), (True, True)}
    assert answered(page, "When the product of the three signs is -")


def test_circles_that_bound_a_layer(page):
    lesson(page, 6)
    press(page, "Perron")
    assert answered(page, float(metric(page, "right-most edge")))


def test_what_a_layer_keeps(page):
    lesson(page, 7)
    ranges = {}
    for metric_box in page.locator("[data-testid='stMetric']").all():
        found = re.search(r"([\d.]+) to ([\d.]+)", metric_box.inner_text())
        if found:
            ranges[metric_box.inner_text().split()[0]] = float(found.group(1))
    name = max(ranges, key=ranges.get)
    assert ranges[name] > 0.999
    family = next(choice for choice in course.LESSONS[6].choices if choice.lower() in name)
    assert answered(page, family)


def test_the_liar(page):
    lesson(page, 8)
    text = page.locator(".lv", has=page.locator("canvas")).first.inner_text()
    plain = text[text.index("Plain") :]
    assert float(re.search(r"bound ([\d.]+)", plain).group(1)) > 2
    assert answered(page, "Its Lipschitz constant is larger than 1")

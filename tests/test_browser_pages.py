"""What holds on every page, seen in a real browser: access, lesson links, exports, keys, narrow screens."""

import csv
import io
import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from browser import MARKS, PAGES, ROOT, settled

pytestmark = MARKS

FRAMED = [name for name in PAGES if "ui_page.finish(" in (ROOT / "pages" / f"{name}.py").read_text()]
# Streamlit's own, not ours to mend
CHROME = ["[data-testid='stHeader']", "[data-testid='stSidebar']"]
SVG = "{http://www.w3.org/2000/svg}"
PLACEHOLDER = re.compile(r"#0000(0[1-9]|[1-3][\da-f]|40)\b|rgb\(0, 0, ([1-9]|[1-5]\d|6[0-4])\)")

# all elements of the page and of its shadow roots, in document order
DEEP = """
const deep = (root = document) => [...root.querySelectorAll('*')].flatMap(
  (e) => e.shadowRoot ? [e, ...deep(e.shadowRoot)] : [e]);
const active = () => {
  let e = document.activeElement;
  while (e?.shadowRoot?.activeElement) e = e.shadowRoot.activeElement;
  return e;
};
"""


def path(name):
    return "/" if name == "home" else f"/{name}"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_a_wide_light_screen(visit, name):
    """One visit for all that is asked of every page: a visit is what costs.

    Nor does the browser log an error or ask another host: `visit` sees to that on every page of this file.
    """
    page = visit(path(name))
    page.wait_for_timeout(1500)
    the_tab_key_reaches_every_control_in_order_and_one_sees_where_it_is(page)
    axe_finds_nothing_serious_and_nothing_sticks_out(page, 1280)
    page.set_viewport_size({"width": 1280, "height": 800})
    if name in FRAMED:
        pictures_data_and_code_can_be_taken_along(page, name, "light")


@pytest.mark.parametrize("name", PAGES)
def test_a_page_on_a_dark_phone(visit, name):
    page = visit(path(name), "dark", 390)
    page.wait_for_timeout(1000)
    for button in page.get_by_role("button", name=re.compile("^(SVG|Figure)$")).all():
        check_svg(saved(page, button.click)[1], "dark")
    axe_finds_nothing_serious_and_nothing_sticks_out(page, 390)


def axe_finds_nothing_serious_and_nothing_sticks_out(page, width):
    from axe_playwright_python.base import AXE_SCRIPT

    page.evaluate(AXE_SCRIPT)
    context = {"include": [["body"]], "exclude": [[selector] for selector in CHROME]}
    found = page.evaluate("c => axe.run(c, {resultTypes: ['violations']})", context)
    serious = [
        (finding["id"], node["html"][:200], [check["message"] for check in node["any"]][:1])
        for finding in found["violations"]
        for node in finding["nodes"]
        if finding["impact"] in ("serious", "critical")
    ]
    assert len(found["passes"]) > 10, "axe looked at the page"
    assert not serious
    for narrow in (width, 320):  # what is wider is scrolled sideways, by the page or by its main part
        page.set_viewport_size({"width": narrow, "height": 700})
        page.wait_for_timeout(400)
        wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        main = page.locator("[data-testid='stMain']").evaluate("e => e.scrollWidth - e.clientWidth")
        assert max(wide, main) <= 1, narrow


def parts(page):
    """Name of each part of the page -> (how many, how many of them are visible)."""
    found = page.evaluate(
        """() => [...document.querySelectorAll('[class*="st-key-part_"]')].map((e) =>
             [e.className.match(/st-key-part_([a-z]+)/)[1], e.checkVisibility() && e.offsetHeight > 0])"""
    )
    names = Counter(name for name, _ in found)
    return {name: (count, sum(seen for other, seen in found if other == name)) for name, count in names.items()}


@pytest.mark.parametrize("name", ["condition", "playground", "train"])  # tests/test_ui_page.py asks every page
def test_a_lesson_link_hides_exactly_what_it_names(visit, name):
    whole = parts(visit(path(name)))
    task = "Make the **left-most** edge touch 0. <b>Why</b>?"
    page = visit(f"{path(name)}?{urlencode({'hide': 'controls,words', 'task': task, 'v': 1})}")
    hidden = parts(page)
    assert hidden.keys() == whole.keys()
    for part, (count, seen) in whole.items():
        assert hidden[part] == (count, 0 if part in ("controls", "words") else seen), part
    assert "words" in whole and whole["words"][1]
    assert page.get_by_text(task).is_visible(), "as it was written, without markup"
    assert page.get_by_text("another version").count() == 0


def values(page):
    """What the controls of the page hold."""
    return page.evaluate(
        """() => [...document.querySelector('[data-testid="stMain"]')
             .querySelectorAll('input, textarea, [role=slider], [role=radio]')]
             .filter((e) => e.type !== 'file')
             .map((e) => [e.ariaLabel, e.type === 'checkbox' || e.type === 'radio' ? e.checked : e.value,
                          e.ariaChecked, e.ariaValueNow])"""
    )


@pytest.mark.parametrize("name", ["condition", "discs", "playground", "spectra", "certify"])  # a kind of state each
def test_links_restore_the_page(visit, name):
    """After the second of the suggestions: a page as it opens would prove nothing."""
    page = visit(path(name), permissions=["clipboard-read", "clipboard-write"])
    chips = page.locator("[class*='_try'] button")
    if chips.count():
        chips.nth(1).click()
        page.wait_for_function("location.search.length > 1")
        settled(page)
    page.get_by_role("button", name="Copy link", exact=True).click()
    page.get_by_text("Copied.").wait_for()
    copied = page.evaluate("navigator.clipboard.readText()")
    asked, given = parse_qs(urlsplit(copied).query), parse_qs(urlsplit(page.url).query)
    assert asked == given | {"v": ["1"]}
    assert len(asked) > 1 or not chips.count(), "a suggestion is in the address"

    page.get_by_role("button", name="Lesson link", exact=True).click()
    page.get_by_label("Task for the class").fill("Why is it 1 & not 2? 50 % + 1")
    page.get_by_label("suggestions").check()
    lesson = page.locator("#lv-link").input_value()
    page.get_by_role("button", name="Copy lesson link").click()
    page.wait_for_timeout(300)
    assert page.evaluate("navigator.clipboard.readText()") == lesson
    assert parse_qs(urlsplit(lesson).query) == asked | {"task": ["Why is it 1 & not 2? 50 % + 1"], "hide": ["chips"]}

    before, pupil = values(page), visit(lesson.removeprefix(visit.address))
    pupil.wait_for_timeout(1000)
    assert values(pupil) == before
    assert asked.items() <= parse_qs(urlsplit(pupil.url).query).items()
    assert pupil.get_by_text("Why is it 1 & not 2? 50 % + 1").is_visible()


def luminance(colour):
    if match := re.match(r"rgba?\((\d+),\s*(\d+),\s*(\d+)", colour):
        channels = [int(c) for c in match.groups()]
    else:
        channels = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    linear = [c / 255 / 12.92 if c <= 10 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a, b):
    dim, bright = sorted((luminance(a), luminance(b)))
    return (bright + 0.05) / (dim + 0.05)


def fill(node):
    style = re.search(r"(?<!-)fill:\s*([^;]+)", node.get("style", ""))
    return style.group(1).strip() if style else node.get("fill")


def check_svg(text, scheme):
    """It stands by itself: paper of this theme, no colour that only a page would fill in, text one can read."""
    assert not PLACEHOLDER.search(text) and "var(--" not in text
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg" and float(root.get("width")) > 100 and float(root.get("height")) > 100
    paper = fill(next(root.iter(f"{SVG}rect")))
    assert (luminance(paper) > 0.9) == (scheme == "light")
    inks = Counter(fill(node) for node in root.iter(f"{SVG}text") if "".join(node.itertext()).strip())
    assert inks and None not in inks, "a text without a colour is black"
    assert contrast(inks.most_common(1)[0][0], paper) > 4.5, inks


def saved(page, click):
    with page.expect_download() as download:
        click()
    return download.value.suggested_filename, Path(download.value.path()).read_text(encoding="utf-8")


def pictures_data_and_code_can_be_taken_along(page, name, scheme):
    drawn = page.locator(".lv:not(.lv-live) svg").count() + page.locator(".js-plotly-plot").count()
    names = []
    for button in page.get_by_role("button", name=re.compile("^(SVG|Figure)$")).all():
        file, text = saved(page, button.click)
        names.append(file)
        check_svg(text, scheme)
    for chart in page.locator(".js-plotly-plot:visible").all():
        chart.scroll_into_view_if_needed()
        chart.hover()
        buttons = chart.locator(".modebar-btn")
        titles = [button.get_attribute("data-title") for button in buttons.all()]
        assert titles and not any(re.search("share|cloud|edit", title, re.I) for title in titles)
        file, text = saved(page, chart.locator(".modebar-btn[data-title^='Download']").click)
        names.append(file)
        check_svg(text, scheme)
    assert all(name.endswith(".svg") for name in names) and len(set(names)) == len(names)
    assert names or not drawn, "a picture that cannot be saved"
    assert page.get_by_text(re.compile("share chart|plotly cloud", re.I)).count() == 0

    data = page.get_by_role("button", name="Data", exact=True).and_(page.locator("[class*=finish_data] button"))
    if data.count():
        file, text = saved(page, data.click)
        rows = list(csv.reader(io.StringIO(text)))
        assert file.endswith(".csv") and len(rows) > 1 and len(rows[0]) > 1
        assert {len(row) for row in rows} == {len(rows[0])}
    code = page.get_by_role("button", name="The code")
    if code.count():
        code.click()
        text = page.locator("[data-testid='stPopoverBody'] [data-testid='stCode'] code").text_content()
        compile(text, name, "exec")
        assert "import" in text and text.count("\n") >= 3
    assert (data.count() and code.count()) or name in ("home", "lessons"), "a page with a picture gives both"


# what a key can do something with, in the first screen; of a group of radio buttons one is enough
CONTROLS = """() => {
  const kinds = 'a[href], button, input, select, textarea, [role=slider], [role=radio], [tabindex="0"]';
  const seen = (e) => {
    const b = e.getBoundingClientRect();
    return e.checkVisibility({ visibilityProperty: true }) && b.width * b.height && b.top < innerHeight && b.bottom > 0;
  };
  // not: what the browser leaves out, and the frame that scrolls the page (Streamlit's)
  window.controls = deep().filter((e) => e.matches(kinds) && !e.disabled && e.tabIndex !== -1 && e.type !== 'file'
    && seen(e) && e.id !== 'stMain');
  window.group = (e) => e.closest('[role=radiogroup]') ?? (e.name && e.type === 'radio' ? e.name : e);
  const style = (e) => {
    const s = getComputedStyle(e);
    return [s.outlineStyle, s.outlineWidth, s.boxShadow, s.borderColor, s.backgroundColor, s.color, s.opacity].join();
  };
  // the ring may be drawn by what surrounds the control or by what lies in it
  window.look = (e) => {
    const out = [];
    for (let p = e, i = 0; p && i < 5; p = p.parentElement, i++)
      out.push(style(p), ...(i < 2 ? [...p.children].map(style) : []));
    return out;
  };
  window.before = new Map(controls.map((e) => [e, look(e)]));
  window.met = []; window.unseen = [];
  return controls.length;
}"""
STEP = """() => {
  const e = active();
  if (!e || e === document.body) return 'out';
  if (met.includes(e)) return 'again';
  met.push(e);
  const was = before.get(e), is = look(e);
  if (was && was.every((style, i) => style === is[i])) unseen.push(e.outerHTML.slice(0, 200));
  return controls.includes(e) ? 'control' : 'other';
}"""
MISSED = """() => {
  const groups = new Set(met.map(group));
  return controls.filter((e) => !groups.has(group(e))).map((e) => e.outerHTML.slice(0, 200));
}"""
ORDER = """() => {
  const all = deep(), places = met.filter((e) => controls.includes(e)).map((e) => all.indexOf(e));
  return places.filter((place, i) => i && place < places[i - 1]).length;
}"""


def the_tab_key_reaches_every_control_in_order_and_one_sees_where_it_is(page):
    page.evaluate("() => { " + DEEP + " window.deep = deep; window.active = active; }")
    count = page.evaluate(CONTROLS)
    for _ in range(3 * count + 40):
        page.keyboard.press("Tab")
        page.wait_for_timeout(50)  # the ring fades in
        if page.evaluate(STEP) in ("out", "again"):
            break
    assert not page.evaluate(MISSED)
    assert not page.evaluate("unseen"), "focus that nobody sees"
    assert page.evaluate(ORDER) == 0


PLOT = """() => { const plot = document.querySelector('.js-plotly-plot');
  plot.mine ??= Math.random();
  return { mine: plot.mine, x: plot._fullLayout.xaxis.range, y: plot._fullLayout.yaxis.range,
           points: plot._fullData[0].x.length, shown: plot._fullData.map((trace) => trace.visible) }; }"""


def test_the_chart_of_a_training_keeps_its_zoom(visit):
    """Over more than three ticks: same chart, same axes, same hidden curve, more points; and Freeze stops it."""
    page = visit("/train?tr_data=moons&tr_epochs=500")
    page.get_by_role("button", name="Train", exact=True).click()
    page.get_by_role("button", name="Freeze").wait_for()
    page.wait_for_function("document.querySelector('.js-plotly-plot')?._fullData[0].x.length > 2")
    chart = page.locator(".js-plotly-plot")
    chart.hover()
    chart.locator(".modebar-btn[data-title='Zoom']").click()
    box = chart.locator(".nsewdrag").first.bounding_box()
    page.mouse.move(box["x"] + 20, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    chart.locator(".legendtoggle").nth(1).click()
    page.wait_for_function(f"({PLOT})().shown[1] === 'legendonly'")
    page.wait_for_timeout(500)
    before = page.evaluate(PLOT)
    sizes = set()
    for _ in range(40):
        page.wait_for_timeout(500)
        sizes.add(page.evaluate(PLOT)["points"])
        if len(sizes) > 4:
            break
    after = page.evaluate(PLOT)
    assert len(sizes) > 4 and after["points"] > before["points"], "the training went on"
    assert {**after, "points": 0} == {**before, "points": 0}

    page.get_by_role("button", name="Freeze").click()
    held = page.evaluate(PLOT)
    page.get_by_text(re.compile(r"Held at epoch \d+; the training is at epoch \d+")).wait_for()
    page.wait_for_timeout(3500)
    assert page.evaluate(PLOT) == held
    page.get_by_role("button", name="Follow", exact=True).click()
    page.wait_for_function(
        "n => document.querySelector('.js-plotly-plot')._fullData[0].x.length > n", arg=held["points"]
    )
    assert {**page.evaluate(PLOT), "points": 0} == {**before, "points": 0}
    page.get_by_role("button", name="Stop").click()
    page.get_by_text(re.compile("stopped")).first.wait_for()


def test_a_chart_that_cannot_be_loaded_says_so(visit):
    page = visit.stranger()
    page.route("**/plotly-*.js", lambda route: route.fulfill(status=200, body="", content_type="text/javascript"))
    page.goto("/train")
    page.get_by_text("The chart could not be drawn").wait_for()
    assert page.locator(".js-plotly-plot").count() == 0
    curves = page.locator(".lv-live svg.sketch path[fill=none]")
    steps = [path.count("L") for path in curves.evaluate_all("all => all.map((one) => one.getAttribute('d'))")]
    assert len(steps) == 3 and min(steps) >= max(steps) - 1 >= 2, "accuracies and loss stay, as a sketch"
    assert page.get_by_role("button", name="Data", exact=True).count()


def test_a_chart_that_was_left_is_not_drawn(visit):
    page, held = visit.stranger(), []

    def hold(route):
        held.append(route)

    page.route("**/plotly-*.js", hold)
    page.goto("/train")
    page.locator(".lv-live svg.sketch").first.wait_for()
    for _ in range(100):
        page.wait_for_timeout(100)
        if held:
            break
    page.evaluate("window.left = document.querySelector('.lv-live [role=figure]')")
    page.locator("header a", has_text="lipviz").first.click()
    page.wait_for_function("!window.left.isConnected", timeout=20_000)
    for route in held:
        route.continue_()
    page.unroute("**/plotly-*.js")
    page.wait_for_function("window.Plotly")
    page.wait_for_timeout(2000)
    assert page.evaluate("window.left.children.length") == 0, "nothing is drawn where nobody looks"


def test_the_train_page_loads_one_plotly(visit):
    page = visit.stranger()
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto("/train")
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert page.locator(".lv-live svg.sketch").count() == 0, "the chart has taken its place"
    assert [url for url in asked if "plotly" in url.lower()] == [f"{visit.address}/lipviz/{_plotly()}"]
    answer = page.request.get(asked[[_plotly() in url for url in asked].index(True)])
    assert answer.headers["content-encoding"] == "gzip" and "immutable" in answer.headers["cache-control"]


def _plotly():
    import plotly

    return f"plotly-{plotly.__version__}.min.js"

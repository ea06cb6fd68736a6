"""The parts of `lipviz bench app` that need a browser: first element, bytes, slider, drag.

Nothing here knows what a page holds: titles, sliders, charts and pictures are found by their roles.
"""

import itertools
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib import metadata
from importlib.util import find_spec
from typing import Any
from urllib.parse import urlsplit

from lipviz.bench_app import MB, Row, row, spread
from lipviz.bench_app_clients import asked
from lipviz.bench_app_scripts import CHART, DRAWN, FIRST, MOVE, PRESS, STEADY, STILL

FLAGS = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-proxy-server")  # fmt: skip
NAMES = ("chromium", "chromium-browser", "google-chrome")
VISITS, PRESSES, MOVES = 5, 15, 200
CHARTS, PICTURES = "false", ("playground", "condition", "discs", "radii")
PATIENCE = 10_000  # ms
VIEW = {"width": 1280, "height": 800}
PROTOCOL = {
    "first element": f"First element: from navigation to the moment the title is in the page, {VISITS} visits each; "
    "first visit with an empty browser, next visit with what it has kept; both begin with Streamlit's own scripts. "
    "What the server and the page take begins where the browser first asks for the page. Quartiles in brackets.",
    "first picture": "First picture: in the same visits, the frame in which a picture or chart of at least 100 x 60 "
    "pixels stands. A chart begins as a plain sketch of its figure, which counts; plotly's chart takes its place.",
    "bytes": "Bytes: gzip, an empty browser, until the page is drawn; those of HTTP as they come over the wire, those "
    "of the websocket before its compression. 1 MB is 10^6 bytes. A page without a line on other hosts asked none.",
    "slider": f"Slider: {PRESSES} presses of an arrow key, from the key to the last change of the charts, which then "
    "stand still for half a second.",
    "drag": f"Drag: one pointer move in every frame of the screen, {MOVES} moves; a headless browser draws 60 frames a "
    "second at most. Drawn: frames before which the picture had changed. Reruns: what the page sent to the server "
    "while it was dragged, and after it was let go.",
}


def chromium() -> str | None:
    """The Chromium of this machine."""
    return next(filter(None, map(shutil.which, NAMES)), None)


def missing() -> str:
    """Why there is no browser to measure with; "" where there is one."""
    if find_spec("playwright") is None:
        return "not measured: playwright is missing (pip install playwright)"
    if chromium() is None:
        return f"not measured: none of {', '.join(NAMES)} is on the PATH"
    return ""


_found: list[str] = []


def version() -> list[str]:
    """Browser and playwright that were used, if any."""
    return [*_found, f"playwright {metadata.version('playwright')}"] if _found else []


@contextmanager
def opened(address: str) -> Iterator[Any]:
    """One headless Chromium, with the server already visited once."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=list(FLAGS))
        _found[:] = [f"Chromium {browser.version}"]
        try:
            with visitor(browser, address) as page, suppress(ValueError):
                go(page, "")
            yield browser
        finally:
            browser.close()


@contextmanager
def visitor(browser: Any, address: str) -> Iterator[Any]:  # noqa: ANN401
    """A tab of a browser that has kept nothing."""
    context = browser.new_context(base_url=address, viewport=VIEW)
    context.set_default_timeout(30_000)
    context.add_init_script(FIRST)
    try:
        yield context.new_page()
    finally:
        context.close()


def go(page: Any, name: str) -> None:  # noqa: ANN401
    """Open a page and wait until it has been drawn to its end; ValueError where it shows an error instead."""
    page.goto(f"/{name}")
    page.wait_for_function(STEADY)
    if page.get_by_text("Something went wrong").count():
        raise ValueError("the page shows an error")


def appears(locator: Any) -> bool:  # noqa: ANN401
    """Whether a part of a page comes up within a few seconds."""
    from playwright.sync_api import TimeoutError

    try:
        locator.first.wait_for(state="visible", timeout=PATIENCE)
    except TimeoutError:
        return False
    return True


def _each(names: Sequence[str], what: str, measure: Callable[[str], list[Row]]) -> list[Row]:
    """The rows of each page; a page that cannot be measured says why."""
    from playwright.sync_api import Error

    rows = []
    for name in names:
        try:
            rows += measure(name)
        except (Error, ValueError) as error:
            rows.append(row(what, shown(name), f"not measured: {' '.join(str(error).split())[:80]}"))
    return rows


def shown(name: str) -> str:
    """A page as the table names it."""
    return name or "landing page"


def first(browser: Any, address: str, names: Sequence[str]) -> list[Row]:  # noqa: ANN401
    """Seconds until the title of a page stands, and its first picture."""
    from playwright.sync_api import TimeoutError

    def measure(name: str) -> list[Row]:
        fresh, again, served, drawn, charts = [], [], [], [], []
        for _ in range(VISITS):
            with visitor(browser, address) as page:
                go(page, name)
                fresh.append(page.evaluate("window.lipvizFirst / 1000"))
                second = page.context.new_page()
                go(second, name)
                again.append(second.evaluate("window.lipvizFirst / 1000"))
                served.append(second.evaluate("(window.lipvizFirst - window.lipvizAsked) / 1000"))
                with suppress(TimeoutError):  # a page may have none
                    second.wait_for_function("window.lipvizPicture", timeout=PATIENCE)
                drawn.append(second.evaluate("(window.lipvizPicture - window.lipvizAsked) / 1000"))
                if second.locator(".lv-live").count():
                    second.wait_for_function("window.lipvizChart", timeout=PATIENCE)
                    charts.append(second.evaluate("(window.lipvizChart - window.lipvizAsked) / 1000"))
        return [
            row("first element, after the browser asked for the page", shown(name), spread(served, "s"), "0.3 s"),
            row("first picture, after the browser asked for the page", shown(name), _picture(drawn), "0.5 s"),
            *(
                [row("plotly's chart, after the browser asked for the page", shown(name), spread(charts, "s"))]
                if charts
                else []
            ),
            row("first element, first visit", shown(name), spread(fresh, "s"), "-"),
            row("first element, next visit", shown(name), spread(again, "s"), "-"),
        ]

    return _each(names, "first element", measure)


def _picture(seconds: Sequence[float | None]) -> str:
    """How long the picture took; a page may have none."""
    found = [s for s in seconds if s is not None and s == s]
    return spread(found, "s") if len(found) == len(seconds) else f"none in {len(seconds) - len(found)} visits"


def foreign(urls: Sequence[str], address: str) -> list[str]:
    """Those of the requests that went to another host.

    >>> foreign(["http://127.0.0.1:1/a", "data:x", "ws://127.0.0.1:1/b", "https://example.org/c"], "http://127.0.0.1:1")
    ['https://example.org/c']
    """
    home = urlsplit(address).netloc
    return [url for url in urls if urlsplit(url).netloc not in ("", home) and not url.startswith(("data:", "blob:"))]


def bytes(browser: Any, address: str, names: Sequence[str]) -> list[Row]:  # noqa: ANN401
    """What a visitor with an empty browser receives for one page."""

    def measure(name: str) -> list[Row]:
        received, messages, urls = [], [], []
        with visitor(browser, address) as page:
            client = page.context.new_cdp_session(page)
            client.send("Network.enable")
            client.send("Network.setCacheDisabled", {"cacheDisabled": True})
            client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
            page.context.on("request", lambda request: urls.append(request.url))
            page.on("websocket", lambda line: line.on("framereceived", lambda frame: messages.append(len(frame))))
            go(page, name)
            page.wait_for_load_state("networkidle")
            charts = page.locator(".js-plotly-plot").count()
        elsewhere = foreign(urls, address)
        size = f"{sum(received) / MB:.2f} MB, messages {sum(messages) / MB:.2f} MB, {len(urls)} requests"
        aim = "1.3 MB" if not name else "2.7 MB" if charts else "-"
        note = f"{len(elsewhere)}, the first to {urlsplit(elsewhere[0]).netloc}" if elsewhere else "0"
        return [
            row(f"bytes{', with charts' if charts else ''}", shown(name), size, aim),
            *([row("bytes: requests to other hosts", shown(name), note, "0")] if elsewhere or not name else []),
        ]

    return _each(names, "bytes", measure)


def slider(browser: Any, address: str, names: Sequence[str]) -> list[Row]:  # noqa: ANN401
    """Milliseconds from a key on the slider of a page with charts to its new picture."""

    def measure(name: str) -> list[Row]:
        what, times, same = "slider key to new plotly picture", [], 0
        with visitor(browser, address) as page:
            go(page, name)
            handle = page.get_by_role("slider").and_(page.locator("[data-testid='stSlider'] *"))
            if not appears(handle) or not appears(page.locator(".js-plotly-plot")):
                return [row(what, name, "not measured: this page has no slider beside a plotly chart", "250 ms")]
            handle.first.focus()
            page.evaluate(CHART)
            for _ in range(PRESSES):
                before = page.evaluate(DRAWN)
                page.keyboard.press("ArrowRight")
                took = page.evaluate(STILL)
                same += page.evaluate(DRAWN) == before
                times += [] if took is None else [took]
        note = f"; {same} of {PRESSES} presses changed nothing" if same else ""
        return [row(what, name, spread(times, "ms", 0) + note, "250 ms")]

    return _each([CHARTS] if CHARTS in names else [], "slider", measure)


def drag(browser: Any, address: str, names: Sequence[str]) -> list[Row]:  # noqa: ANN401
    """Frames a second and reruns while the first thing that can be dragged is dragged."""

    def measure(name: str) -> list[Row]:
        with visitor(browser, address) as page:
            sent: list[Any] = []

            def hear(frame: Any) -> None:  # noqa: ANN401
                sent.append(frame)

            page.on("websocket", lambda line: line.on("framesent", hear))
            go(page, name)
            grip = page.locator("svg [role='slider']:visible, canvas[role='slider']:visible").first
            if not appears(grip):
                return [row("drag", name, "not measured: nothing here can be dragged (no role slider in a picture)")]
            label = (grip.get_attribute("aria-label") or "").split(",")[0]
            grip.scroll_into_view_if_needed()
            page.wait_for_timeout(1000)  # the picture is computed to its end
            box = grip.bounding_box()
            page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
            page.evaluate(PRESS)
            page.mouse.down()
            page.wait_for_timeout(100)
            sent.clear()
            found = page.evaluate(MOVE, [MOVES, 40])
            during, running = asked(map(_raw, sent)), page.evaluate("window.lipvizDrag.running")
            sent.clear()
            page.mouse.up()
            page.wait_for_timeout(1500)
            after = asked(map(_raw, sent))
        if found is None:
            return [row("drag", name, "not measured: the press did not reach the picture")]
        return _dragged(name, label, found, during, running, after)

    return _each([name for name in PICTURES if name in names], "drag", measure)


def _dragged(
    name: str, label: str, found: dict[str, Any], during: dict[str, int], running: int, after: dict[str, int]
) -> list[Row]:
    rate, longest = frames(found["times"])
    counted = f"{rate:.0f} frames/s, longest {longest:.0f} ms, drawn {found['drawn']} of {len(found['times']) - 1}"
    timers = f", by a timer {during['timer']}" if during["timer"] else ""
    reruns = f"{during['rerun']}{timers} (state running {running} times), after letting go {after['rerun']}"
    return [
        row(f"drag of {label or 'the first grip'}", name, counted, "55 frames/s"),
        row(f"drag, reruns in {MOVES} moves", name, reruns, "0"),
    ]


def frames(times: Sequence[float | int]) -> tuple[float, float]:
    """Frames a second and the longest wait, from the times of the frames in milliseconds.

    >>> frames([0, 10, 20, 40])
    (75.0, 20.0)
    """
    waits = [float(after - before) for before, after in itertools.pairwise(times)]
    return 1000 * len(waits) / sum(waits), max(waits)


def _raw(frame: Any) -> Any:  # noqa: ANN401
    return frame.encode() if isinstance(frame, str) else frame

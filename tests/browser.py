"""What the browser tests share; their fixtures are in conftest.py."""

import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
# the first has no window and no pages of its own: a sixth less work
BROWSERS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
MARKS = [
    pytest.mark.slow,
    pytest.mark.flaky(reruns=1),  # a browser on a busy machine gets a second chance
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install it to run the browser journeys"),
]


def serve(folder):
    """Start the app on a free port of this machine, with `folder` for its runs: (address, process), once it answers."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LIPVIZ_RUNS": str(folder), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.port", str(port), "--server.headless=true",
               "--server.address=127.0.0.1"]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"{address}/_stcore/health", timeout=2)
            break
        except OSError:
            time.sleep(0.3)
    return address, process


@dataclass
class App:
    """A running app: its address, its process, and the folder of its runs."""

    address: str
    pid: int
    runs: Path

    def clear(self):
        """Stop what still trains, and empty the folder."""
        from lipviz import jobs, runs  # here: what is imported before pytest is set up has its types unchecked

        for run in runs.find(self.runs):
            if jobs.active(run):
                jobs.stop(run)
        deadline = time.monotonic() + 60
        while any(jobs.active(run) for run in runs.find(self.runs)) and time.monotonic() < deadline:
            time.sleep(0.2)
        for path in self.runs.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Visits:
    """Visitors of the app at `address`, each in a tab and a session of their own, and what their browsers did.

    `contexts` keeps the browser profiles from one test to the next: what has been loaded and compiled once, is there.
    """

    def __init__(self, browser, address, contexts):
        self.browser, self.address, self.contexts = browser, address, contexts
        self.pages, self.hosts, self.errors = [], set(), []

    def __call__(self, path="/", scheme="light", width=1280, height=800, **options):
        """A visitor who opened the page of that path; she waits until it is drawn."""
        page = self.stranger(scheme, width, height, **options)
        page.goto(path)
        settled(page)
        return page

    def stranger(self, scheme="light", width=1280, height=800, **options):
        """A visitor who has opened no page yet."""
        key = (scheme, repr(sorted(options.items())))
        if key not in self.contexts:
            self.contexts[key] = self.browser.new_context(base_url=self.address, color_scheme=scheme, **options)
            self.contexts[key].set_default_timeout(60_000)
        page = self.contexts[key].new_page()
        page.set_viewport_size({"width": width, "height": height})
        self.pages.append(page)
        page.on("request", lambda request: self.hosts.add(re.sub(r"^(\w+://[^/]+).*", r"\1", request.url)))
        page.on("pageerror", lambda error: self.errors.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._heard(page, message))
        return page

    def _heard(self, page, message):
        # a deep link makes Streamlit ask for /page/_stcore/... first: two 404s, then it asks at the right place
        # and while a key is held down Streamlit may drop the icon of the tab for a moment and ask for it once more
        harmless = "404" in message.text and re.search(r"/\w+/_stcore/|/media/\w+\.png$", message.location["url"])
        if message.type == "error" and not harmless:
            self.errors.append(f"{page.url}: {message.text} {message.location}")

    def close(self):
        """End all visits: no traceback was shown, nothing was asked of another host, no error was logged."""
        shown = [page.url for page in self.pages if "Traceback" in page.content()]
        for page in self.pages:
            page.close()
        own = (self.address, self.address.replace("http", "ws"), "data:", "blob:")
        assert not shown
        assert not {host for host in self.hosts if not host.startswith(own)}, "a request to another host"
        assert not self.errors, self.errors


def settled(page):
    """Wait until the page has been drawn to its end: the script is over, nothing came or went for half a second.

    On a busy machine the browser may rest for longer than that while a grey placeholder stands for what it loads.
    """
    page.wait_for_selector("[data-testid='stAppViewContainer'] h1")
    deadline, quiet, before = time.monotonic() + 60, 0, None
    while quiet < 2 and time.monotonic() < deadline:
        page.wait_for_timeout(250)
        now = page.evaluate(
            "[document.querySelector('[data-test-script-state]')?.dataset.testScriptState,"
            " document.querySelectorAll('[data-testid=stSkeleton]').length,"
            " document.querySelectorAll('body *').length]"
        )
        quiet = quiet + 1 if now == before and now[:2] == ["notRunning", 0] else 0
        before = now
    assert quiet == 2, f"the page did not come to rest: {before}"
    assert page.get_by_text("Something went wrong").count() == 0


def watched(visits, path):
    """A visitor who opened the page of that path, and the list of what her browser sends to the server."""
    page, messages = visits.stranger(), []

    def remember(data):  # playwright takes no builtin
        messages.append(data)

    page.on("websocket", lambda socket: socket.on("framesent", remember))
    page.goto(path)
    settled(page)
    return page, messages


def find(name):
    """JavaScript for what the picture of that name holds out to tests, inside its shadow."""
    return f"""() => {{
  const all = (root) => [...root.querySelectorAll('*')].flatMap((e) => e.shadowRoot ? all(e.shadowRoot) : [e]);
  return all(document).find((e) => e.{name})?.{name}; }}"""


def figure(page, name):
    """What plotly holds in the nth chart of the page: its traces."""
    page.wait_for_selector(".js-plotly-plot .main-svg")
    return page.evaluate(
        "n => JSON.parse(JSON.stringify(document.querySelectorAll('.js-plotly-plot')[n].data.map("
        "t => ({name: t.name ?? '', x: Array.from(t.x?._inputArray ?? t.x ?? [])}))))",
        name,
    )

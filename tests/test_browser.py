"""Journeys in a real browser: what a visitor does, seen from outside."""

import io
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from shipped import CHECKPOINTS, NAMES

ROOT = Path(__file__).parent.parent
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: install it to run the browser journeys"),
    pytest.mark.xdist_group("browser"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """The app on a free port of this machine, with an empty folder for its runs; (address, process id)."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "LIPVIZ_RUNS": str(tmp_path_factory.mktemp("runs")), "OMP_NUM_THREADS": "1"}
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
    yield address, process.pid
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def browser():
    """One headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, server):
    """A fresh visitor; at the end no request may have gone to another host and no traceback have been shown."""
    context = browser.new_context(base_url=server[0], viewport={"width": 1280, "height": 900})
    context.set_default_timeout(60_000)
    visitor = context.new_page()
    hosts = set()
    visitor.on("request", lambda request: hosts.add(re.sub(r"^(\w+://[^/]+).*", r"\1", request.url)))
    yield visitor
    assert "Traceback" not in visitor.content()
    context.close()
    foreign = {h for h in hosts if not h.startswith((server[0], "data:", "blob:", server[0].replace("http", "ws")))}
    assert not foreign


def settled(page):
    """Wait until the page has been drawn to its end."""
    page.wait_for_selector("[data-testid='stAppViewContainer'] h1")
    page.wait_for_function("!document.querySelector('[data-test-script-state=\"running\"]')")
    page.wait_for_timeout(400)
    assert page.get_by_text("Something went wrong").count() == 0


def figure(page, name):
    """What plotly holds in the nth chart of the page: its traces."""
    page.wait_for_selector(".js-plotly-plot .main-svg")
    return page.evaluate(
        "n => JSON.parse(JSON.stringify(document.querySelectorAll('.js-plotly-plot')[n].data.map("
        "t => ({name: t.name ?? '', x: Array.from(t.x?._inputArray ?? t.x ?? [])}))))",
        name,
    )


def photo():
    """A real photograph that ships with scikit-learn, as JPEG bytes."""
    from sklearn.datasets import load_sample_image

    buffer = io.BytesIO()
    Image.fromarray(load_sample_image("flower.jpg")).save(buffer, "JPEG")
    return buffer.getvalue()


def upload(page, name, content):
    """Choose a file of one's own on the page Certify an image."""
    page.goto("/certify")
    settled(page)
    page.get_by_role("radio", name="Upload").or_(page.get_by_role("button", name="Upload")).first.click()
    settled(page)
    page.set_input_files("input[type=file]", {"name": name, "mimeType": "image/jpeg", "buffer": content})
    page.wait_for_timeout(1500)
    settled(page)


def test_certify_a_photo(page):
    upload(page, "flower.jpg", photo())
    text = page.inner_text("[data-testid='stMain']")
    assert re.search(r"radius|can alter this answer|No change", text)
    assert re.search(r"0\.\d\d", text) and "stable, not that it is right" in text


def test_compare_spectra(page):
    page.goto("/spectra")
    settled(page)
    before = {trace["name"] for trace in figure(page, 0)}
    page.goto("/spectra?sp_runs=cifar10-aol&sp_runs=cifar10-plain")
    settled(page)
    names = " ".join(str(trace["name"]) for trace in figure(page, 0))
    assert "cifar10-aol" in names and "cifar10-plain" in names and before


def test_move_q_on_the_discs(page):
    page.goto("/discs")
    settled(page)
    before = figure(page, 0)
    page.get_by_role("slider").first.focus()
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    page.wait_for_url("**gd_q1**")
    settled(page)
    after = figure(page, 0)
    moved = [a["x"] != b["x"] for a, b in zip(before, after, strict=False)]
    crosses = [t["x"] for t in before if "eigen" in str(t["name"]).lower()]
    assert any(moved) and crosses == [t["x"] for t in after if "eigen" in str(t["name"]).lower()]
    box = page.evaluate(
        "() => { const l = document.querySelector('.js-plotly-plot')._fullLayout;"
        "return [l.xaxis._length / (l.xaxis.range[1] - l.xaxis.range[0]),"
        " l.yaxis._length / (l.yaxis.range[1] - l.yaxis.range[0])]; }"
    )
    assert box[0] == pytest.approx(box[1], rel=0.01), "a circle must be a circle"


def test_read_the_radii_of_two_runs(page):
    page.goto("/radii?cr_eps=72")
    settled(page)
    names = " ".join(str(trace["name"]) for trace in figure(page, 0))
    shown = [name for name in NAMES if name in names]
    assert len(shown) >= 2
    assert "72/255" in page.inner_text("[data-testid='stMain']")


def test_train_a_small_run_to_the_end_and_find_it_after_a_reload(page):
    page.goto("/train?tr_data=moons")
    settled(page)
    page.get_by_role("button", name="Train", exact=True).click()
    page.wait_for_url("**tr_run=**")
    page.get_by_text(re.compile("finished")).first.wait_for(timeout=180_000)
    address = page.url
    page.reload()
    settled(page)
    assert page.url == address
    assert "finished" in page.inner_text("[data-testid='stMain']") and page.locator(".js-plotly-plot").count()


BROKEN = {"text.png": b"not a picture at all", "empty.png": b"", "cut.jpg": photo()[:400]}


def resident(pid):
    """Memory of a process in MB, its children not counted."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+)", status).group(1)) / 1024


def test_bad_uploads_are_a_sentence_and_give_the_memory_back(page, server):
    buffer = io.BytesIO()
    Image.new("1", (12_000, 12_000)).save(buffer, "PNG")  # 137 MiB once decoded
    files = {**BROKEN, "bomb.png": buffer.getvalue()}
    after = []
    for names in (files, ["bomb.png"], ["bomb.png"]):  # what is loaded once stays: a leak grows with every round
        for name in names:
            upload(page, name, files[name])
            assert name in " ".join(page.locator("[data-testid='stAlert']").all_inner_texts())
        page.goto("/")
        settled(page)
        after.append(resident(server[1]))
    assert after[2] - after[1] < 60, after


def test_a_heavy_upload_is_refused(page):
    noise = np.random.default_rng(0).integers(0, 256, 9 * 2**20, dtype=np.uint8).tobytes()
    upload(page, "heavy.png", noise)
    assert re.search(r"8(\.0)?\s?MB", page.inner_text("[data-testid='stMain']"))


@pytest.mark.parametrize("name", ["", "discs", "spectra", "radii", "train", "certify"])
@pytest.mark.parametrize("scheme,width", [("light", 1280), ("dark", 1280), ("light", 390)])
def test_every_page_is_drawn(browser, server, name, scheme, width, tmp_path):
    """No sideways scrolling, no error; with LIPVIZ_PICTURES set the screenshots are kept there."""
    context = browser.new_context(base_url=server[0], color_scheme=scheme, viewport={"width": width, "height": 900})
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(f"/{name}")
    settled(page)
    folder = Path(os.environ.get("LIPVIZ_PICTURES", tmp_path))
    page.screenshot(path=folder / f"{name or 'home'}-{scheme}-{width}.png")
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 1 and "Traceback" not in page.content()
    context.close()


def test_the_landing_page_is_light_and_has_no_charts(browser, server):
    context = browser.new_context(base_url=server[0])
    page = context.new_page()
    client = context.new_cdp_session(page)
    client.send("Network.enable")
    received = []
    client.on("Network.loadingFinished", lambda event: received.append(event["encodedDataLength"]))
    page.goto("/")
    settled(page)
    assert page.locator(".js-plotly-plot").count() == 0
    assert sum(received) < 1.3e6, json.dumps(received)
    context.close()


def test_the_shipped_runs_are_there():
    assert all((CHECKPOINTS / name / "run.json").is_file() for name in NAMES)

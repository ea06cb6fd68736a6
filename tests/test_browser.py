"""Journeys in a real browser: what a visitor does, seen from outside."""

import io
import json
import re
from pathlib import Path

import numpy as np
from browser import MARKS, figure, settled
from PIL import Image
from shipped import CHECKPOINTS, NAMES

pytestmark = MARKS


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
    page.wait_for_selector(".js-plotly-plot .main-svg")
    assert "finished" in page.inner_text("[data-testid='stMain']")


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

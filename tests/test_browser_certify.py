"""A visitor's own photo, a zip of a hundred pictures, and the camera of a phone."""

import csv
import io
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, FLAGS, MARKS, settled
from PIL import Image
from test_browser import photo

pytestmark = MARKS

CAMERA = ["--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="module")
def browser():
    """One headless Chromium with a camera that films a test picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*FLAGS, *CAMERA])
        yield chromium
        chromium.close()


def chosen(page, source):
    page.get_by_role("radio", name=source).or_(page.get_by_role("button", name=source)).first.click()
    settled(page)


def text(page):
    return page.inner_text("[data-testid='stMain']")


def hundred(count=100):
    """A zip of so many pictures, a hundred if not said, and of one that is none."""
    rng = np.random.default_rng(0)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for i in range(count):
            file = io.BytesIO()
            Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(file, "PNG")
            archive.writestr(f"some/{i:03}.png", file.getvalue())
        archive.writestr("some/broken.png", b"not a picture")
    return buffer.getvalue()


def test_own_photo_breaks_the_plain_network_and_not_the_certified_one(visit):
    page = visit("/certify")
    chosen(page, "Upload")
    page.set_input_files("input[type=file]", {"name": "flower.jpg", "mimeType": "image/jpeg", "buffer": photo()})
    page.get_by_text("Cut to the centred").first.wait_for()
    settled(page)
    page.get_by_role("button", name="Try harder").click()
    page.get_by_text("0 of 10 attempts").first.wait_for()
    settled(page)
    said = re.search(r"cifar10-plain falls at size ([\d.]+), ([\d.]+) times sooner than ([\d.]+)", text(page))
    assert said and float(said[1]) < float(said[3])
    page.get_by_role("button", name=re.compile("the plain network broken, the other certified")).click()
    page.get_by_text(", as it must: ").first.wait_for()
    settled(page)
    verdict = page.locator(".st-key-ci_verdict").inner_text()
    assert re.search(r"cifar10-best says \w+, as it must: \S+ is inside the certified radius", verdict), verdict
    assert re.search(r"Answer changed\s+cifar10-plain says \w+ instead of", verdict), verdict
    assert "Noise of size" in text(page)
    shown = page.evaluate("[...document.querySelectorAll('.js-plotly-plot')][0].data.map(t => [t.name, t.x.length])")
    assert [name for name, _ in shown][-2:] == ["best point of each attempt", "smallest break found"]


def test_a_zip_of_a_hundred_pictures_gives_a_table_and_a_file(visit):
    page = visit("/certify")
    chosen(page, "Upload")
    content = {"name": "hundred.zip", "mimeType": "application/zip", "buffer": hundred()}
    page.set_input_files("input[type=file]", content)
    page.get_by_text("all 101 pictures").wait_for()
    button = page.get_by_role("button", name="Table (CSV)")
    button.wait_for()
    settled(page)
    assert re.search(r"cifar10-best certifies \d+ of 100 pictures at 36/255", text(page))
    assert "broken.png" in " ".join(page.locator("[data-testid='stAlert']").all_inner_texts())
    with page.expect_download() as download:
        button.click()
    lines = list(csv.DictReader(io.StringIO(Path(download.value.path()).read_text(encoding="utf-8"))))
    assert len(lines) == 201 and {line["network"] for line in lines} == {"cifar10-best", "cifar10-plain", ""}
    assert all(float(line["radius_l2"]) >= 0 for line in lines[:200])
    assert page.locator(".lipviz-table").first.locator("tbody tr").count() == 100


def test_stop_is_heard_between_two_portions_and_what_is_done_stays(visit):
    page = visit("/certify")
    chosen(page, "Upload")
    many = {"name": "many.zip", "mimeType": "application/zip", "buffer": hundred(2000)}
    page.set_input_files("input[type=file]", many)
    page.get_by_text(re.compile(r"of 2,001 pictures certified, about .* left")).wait_for()
    main = page.get_by_test_id("stMainBlockContainer")  # the header has a Stop of its own
    main.get_by_role("button", name="Stop").click()
    page.get_by_text("Stopped. Of 2,001 pictures").wait_for()
    settled(page)
    [done] = re.findall(r"Stopped. Of 2,001 pictures: ([\d,]+) with", text(page))[:1]
    assert 0 < int(done.replace(",", "")) < 2001 and page.get_by_text("Table (CSV)").count()
    main.get_by_role("button", name="Go on").click()
    main.get_by_role("button", name="Stop").wait_for()


def test_the_camera_of_a_phone(visit):
    page = visit("/certify", width=390, height=844, permissions=["camera"], has_touch=True)
    chosen(page, "Camera")
    page.get_by_role("button", name=re.compile("Take Photo", re.I)).click()
    page.get_by_text("Cut to the centred").first.wait_for()
    settled(page)
    assert page.get_by_text("Until then").count() == 0
    assert re.search(r"says \w+", text(page))
    assert page.get_by_role("button", name="Try harder").is_visible()
    wide = page.locator("[data-testid='stMain']").evaluate("e => e.scrollWidth - e.clientWidth")
    assert wide <= 1

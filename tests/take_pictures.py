"""Screenshots of every page for docs/pictures: `python tests/take_pictures.py [PAGE ...]`. Needs Chromium; not a test.

Each page as it opens and after one drag or key, light, dark and as wide as a phone; half size, 256 colours.
"""

import io
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

from PIL import Image
from playwright.sync_api import Locator, Page, sync_playwright

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "docs" / "pictures"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
         "--disable-component-update", "--disable-sync"]  # fmt: skip
LOOKS = {"light": (1280, 800, "light"), "dark": (1280, 800, "dark"), "phone": (390, 844, "light")}
# what is dragged, or moved with the arrow keys, for the second picture: the first match of these selectors
MOVED = {
    "condition": ".lv [role=slider]",
    "discs": ".lv [role=slider]",
    "playground": ".lv [role=slider], .lv canvas",
    "spectra": ".slider-grip-rect, .lv input[type=range], [data-testid=stSlider] input",
    "radii": ".lv [role=slider]",
    "certify": "[data-testid=stSlider] input",
    "compare": ".lv [role=slider]",
    "false": "[data-testid=stSlider] input",
}


def main() -> None:
    """Start the app, take the pictures, stop it."""
    pages = sys.argv[1:] or sorted(path.stem for path in (ROOT / "pages").glob("*.py"))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as runs:
        command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.headless=true"]
        server = subprocess.Popen(
            [*command, f"--server.port={port}", "--server.address=127.0.0.1"],
            cwd=ROOT,
            env={**os.environ, "LIPVIZ_RUNS": runs},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            _wait(f"http://127.0.0.1:{port}/_stcore/health")
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                for look, (width, height, scheme) in LOOKS.items():
                    for name in pages:
                        page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
                        page.goto(f"http://127.0.0.1:{port}/{'' if name == 'home' else name}")
                        _take(page, name, look)
                        page.close()
        finally:
            server.terminate()
            server.wait(20)


def _take(page: Page, name: str, look: str) -> None:
    _settled(page)
    _save(page, f"{name}-{look}")
    if name not in MOVED:
        return
    grip = page.locator(MOVED[name]).first
    if not grip.count():
        print(f"{name}: nothing to drag")
        return
    grip.scroll_into_view_if_needed()
    _drag(page, grip, -6 if name == "spectra" else 1)  # there the slider stands at its end
    _settled(page)
    _save(page, f"{name}-{look}-dragged")


def _drag(page: Page, grip: Locator, way: int) -> None:
    if grip.evaluate("e => e.matches('input')"):  # a slider of Streamlit: its thumb is a hidden input
        grip.focus()
        for _ in range(10):
            page.keyboard.press("ArrowRight")
        return
    box = grip.bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for i in range(20):
        page.mouse.move(x + way * 3 * i, y - 1.5 * i)
    page.mouse.up()


def _settled(page: Page) -> None:
    page.locator("h1").first.wait_for(timeout=60_000)
    page.wait_for_timeout(1500)
    page.locator("[data-testid='stApp'][data-test-script-state='notRunning']").wait_for(timeout=60_000)
    page.wait_for_function("!document.querySelector('[data-testid=stSkeleton]')", timeout=60_000)
    page.wait_for_timeout(1500)


def _save(page: Page, name: str) -> None:
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    if shot.width > 600:
        shot = shot.resize((shot.width // 2, shot.height // 2), Image.Resampling.LANCZOS)
    shot.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(FOLDER / f"{name}.png", optimize=True)


def _wait(address: str) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            urllib.request.urlopen(address, timeout=2)
            return
        except OSError:
            time.sleep(0.3)
    raise SystemExit("The app did not start within a minute: run `streamlit run app.py` to see why.")


if __name__ == "__main__":
    main()

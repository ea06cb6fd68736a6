"""What tests share: seeds, real images, a run trained once."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from browser import CHROMIUM, FLAGS, App, Visits, serve

from lipviz import ahead

torch.set_num_threads(1)  # the suite runs in several workers
ahead.PAUSE = 0.0  # without a browser nothing is drawn that one could wait for


@pytest.fixture
def generator():
    """A seeded generator."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def seed():
    """Tests draw the same numbers in any order."""
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture(scope="session")
def image_data():
    """The folder of real images, or a skip."""
    folder = os.environ.get("LIPVIZ_DATA")
    if not folder:
        pytest.skip("LIPVIZ_DATA is not set: a folder that holds cifar10/ and mnist/, each with train/ and test/")
    return Path(folder)


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory):
    """A finished run on digits, one epoch."""
    from lipviz.recipes import Recipe
    from lipviz.train import train

    folder = tmp_path_factory.mktemp("runs") / "digits-aol"
    return train(folder, "digits", "aol", recipe=Recipe(epochs=1, batch=64, held_out=0.1), device="cpu", show=False)


# what these files train, read or bound is kept for the whole process
TOGETHER = re.compile("test_(pages?_|ui_page|shell|spectra_page|course|costs)")


def pytest_collection_modifyitems(items):
    """Tests that share something costly have one worker: those of a browser file its server, those of pages the runs.

    The longest file is cut by test. Large groups are the first to start, by themselves.
    """
    for item in items:
        stem = item.path.stem
        if stem.startswith("test_browser"):
            group = f"{stem} {item.originalname}" if stem == "test_browser_pages" else stem
            item.add_marker(pytest.mark.xdist_group(group))
        elif TOGETHER.match(stem):
            item.add_marker(pytest.mark.xdist_group("pages"))


@pytest.fixture(scope="session")
def app(tmp_path_factory):
    """The app, one for all tests of a worker: what it imported, read and bounded once, is there; browser.App."""
    runs = tmp_path_factory.mktemp("runs")
    address, process = serve(runs)
    yield App(address, process.pid, runs)
    process.terminate()
    process.wait(30)


@pytest.fixture(scope="module")
def server(app):
    """The app, with an empty folder for its runs; (address, process id)."""
    yield app.address, app.pid
    app.clear()


@pytest.fixture(scope="module")
def browser():
    """One headless Chromium."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def contexts(browser):
    """Profiles of the browser, made as tests ask for them."""
    made = {}
    yield made
    for context in made.values():
        context.close()


@pytest.fixture
def visit(browser, server, contexts):
    """Opens pages as fresh visitors, such as `visit("/discs?gd_n=4", scheme="dark", width=390)`: browser.Visits."""
    visits = Visits(browser, server[0], contexts)
    yield visits
    visits.close()


@pytest.fixture
def page(visit):
    """A fresh visitor who has opened no page yet."""
    return visit.stranger(height=900)

"""The frame: every page runs in it, it imports nothing heavy, and the app serves it compressed."""

import ast
import gc
import gzip
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from pages import SHELL

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted(path.name for path in (ROOT / "pages").glob("*.py"))


@pytest.fixture(scope="module")
def app():
    """The app on its first page, its warm-up done; torch keeps its threads for the other tests."""
    import torch

    threads = torch.get_num_threads()
    at = AppTest.from_file(SHELL, default_timeout=60).run()
    for thread in threading.enumerate():
        if thread.name == "warm-up":
            thread.join()
    yield at
    torch.set_num_threads(threads)
    gc.unfreeze()


def test_first_page_opens_and_the_server_is_warm(app):
    assert not app.exception
    assert gc.get_freeze_count() > 0


@pytest.mark.parametrize("page", PAGES)
def test_page_runs(app, page, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch._dynamo", None)  # the compiler: a page that asks for it now fails
    app.switch_page(f"../pages/{page}").run()
    assert not app.exception
    assert app.title, "a page opens with a title"


def test_what_pages_import_brings_no_compiler():
    """An optimiser of torch asks for it: 70 MB, and 60 ms of garbage collection after every rerun."""
    code = (
        "import importlib, sys\n"
        "from lipviz import shell\n"
        "for name in shell.HEAVY: importlib.import_module(name)\n"
        "assert 'torch' in sys.modules and 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=400)


def test_every_page_is_in_the_navigation():
    listed = [file for files in _sections().values() for file in files]
    assert sorted(listed) == PAGES


@pytest.mark.parametrize("page", PAGES)
def test_page_is_thin(page):
    source = (ROOT / "pages" / page).read_text()
    assert len(source.splitlines()) <= 80
    names = {name.split(".")[0] for node in ast.walk(ast.parse(source)) for name in _imported(node)}
    assert not names & {"torch", "plotly"}


def test_nothing_heavy_is_imported_before_the_first_picture():
    heavy = {"torch", "plotly", "pandas", "numpy"}
    assert not _reachable(SHELL) & heavy
    assert not _reachable(SHELL.with_name("ahead.py")) & heavy, "the one module of lipviz that the shell asks for"


def test_app_serves_pages_and_compressed_scripts(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path / "log"
    command = [sys.executable, "-m", "streamlit", "run", "app.py", "--server.address=127.0.0.1"]
    with log.open("w") as out:
        server = subprocess.Popen([*command, f"--server.port={port}"], cwd=ROOT, stdout=out, stderr=out)
    try:
        page = _get(f"http://127.0.0.1:{port}/discs", patience=30)
        script = page.split('src="./static/js/')[1].split('"')[0]
        assert len(_get(f"http://127.0.0.1:{port}/static/js/{script}")) > 100_000
    finally:
        server.terminate()
        server.wait(20)
    assert "warn" not in log.read_text().lower() and "not a valid config" not in log.read_text()


def _sections():
    """SECTIONS of the shell, read without importing it."""
    for node in ast.parse(SHELL.read_text()).body:
        if isinstance(node, ast.AnnAssign) and node.target.id == "SECTIONS":
            return ast.literal_eval(node.value)
    raise AssertionError("lipviz/shell.py has no SECTIONS")


def _imported(node):
    """Full names that an import statement brings in."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or "", *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


def _reachable(path, seen=frozenset()):
    """Top-level packages that importing the file `path` imports, through the modules of lipviz."""
    names = {name for node in ast.parse(path.read_text()).body for name in _imported(node)}
    found = {name.split(".")[0] for name in names}
    for name in names:
        module = ROOT / Path(*name.split(".")).with_suffix(".py")
        if name.startswith("lipviz.") and module.is_file() and module not in seen:
            found |= _reachable(module, seen | {module})
    return found


def _get(url, patience=0.0):
    """Text of `url`, asked for in gzip, and again for `patience` seconds while nobody answers."""
    until = time.monotonic() + patience
    while True:
        try:
            request = urllib.request.Request(url, headers={"Accept-Encoding": "gzip"})
            with urllib.request.urlopen(request, timeout=10) as answer:
                body = answer.read()
                packed = answer.headers["Content-Encoding"] == "gzip"
                assert packed or len(body) < 2000, "streamlit itself compresses nothing"
                return (gzip.decompress(body) if packed else body).decode()
        except urllib.error.URLError:
            if time.monotonic() > until:
                raise
            time.sleep(0.2)

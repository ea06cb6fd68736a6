"""How fast the app is, as a visitor sees it: `lipviz bench app`.

A server of its own on a free port of this machine, with an empty folder of runs; then a browser, many clients, and the
trainings of the playground. Every number stands beside its aim; none is refused for missing it.
"""

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from lipviz.bench_timing import Spread

ROOT = Path(__file__).resolve().parent.parent
PARTS = {
    "start": "seconds from the start of the server to its first answer, and to the end of its warm-up",
    "first": "seconds from navigation to the title of each page, on a warm server",
    "bytes": "what comes over the wire with an empty browser, and requests to other hosts",
    "slider": "milliseconds from a key press on a slider to the new plotly picture",
    "drag": "frames a second and reruns while a picture is dragged",
    "clients": "milliseconds of a tick on the playground with many clients",
    "training": "steps a second of the trainings of the playground",
}
IN_A_BROWSER = ("first", "bytes", "slider", "drag")
STARTS = 3
LAYERS = ("aol", "sll", "cayley", "sandwich", "plain")
QUIET = 1.0  # seconds without work after which the warm-up counts as done
MB = 1e6

Row = dict[str, str]


def row(what: str, where: str, measured: str, aim: str = "-") -> Row:
    """One line of the table."""
    return {"what": what, "where": where, "measured": measured, "aim": aim}


def spread(values: Sequence[float], unit: str, digits: int = 2) -> str:
    """Median and quartiles in words.

    >>> spread([1.0, 2.0, 3.0], "s")
    '2.00 s (1.50 to 2.50)'
    >>> spread([], "s"), spread([1.0], "ms", 0)
    ('-', '1 ms')
    """
    if not values:
        return "-"
    if len(values) == 1:
        return f"{values[0]:.{digits}f} {unit}"
    found = Spread.of(values)
    return f"{found.median:.{digits}f} {unit} ({found.low:.{digits}f} to {found.high:.{digits}f})"


def pages() -> list[str]:
    """The addresses of all pages, the landing page "" first."""
    from lipviz.shell import PAGES, SECTIONS

    files = [file for section in SECTIONS.values() for file in section if (PAGES / file).exists()]
    return ["" if file == "home.py" else Path(file).stem for file in files]


@dataclass(frozen=True)
class Server:
    """A running app.

    Attributes:
        address: http://127.0.0.1:port.
        pid: its process.
        health: seconds until it answered.
        warm: seconds until it had nothing more to do; None where that cannot be seen.
    """

    address: str
    pid: int
    health: float
    warm: float | None


@contextmanager
def served() -> Iterator[Server]:
    """The app on a free port of this machine with an empty folder of runs, warmed up; stopped at the end.

    Raises:
        OSError: there is no app.py beside the package, or the server does not answer within a minute.
    """
    if not (ROOT / "app.py").exists():
        raise OSError(f"{ROOT} holds no app.py: run this command in a copy of the repository")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = ["--server.port", str(port), "--server.address", "127.0.0.1", "--server.headless", "true"]
    command = [sys.executable, "-m", "streamlit", "run", "app.py", *options]
    with tempfile.TemporaryDirectory(prefix="lipviz-bench-") as runs:
        start = time.monotonic()
        environment = {**os.environ, "LIPVIZ_RUNS": runs}
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            address = f"http://127.0.0.1:{port}"
            _answers(process, f"{address}/_stcore/health", start + 60)
            health = time.monotonic() - start
            quiet = _quiet(process.pid)
            yield Server(address, process.pid, health, None if quiet is None else quiet - start)
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(process: subprocess.Popen[bytes], url: str, deadline: float) -> None:
    ask = urllib.request.build_opener(urllib.request.ProxyHandler({})).open  # a proxy has no business here
    while process.poll() is None and time.monotonic() < deadline:
        try:
            with ask(url, timeout=2):
                return
        except OSError:
            time.sleep(0.02)
    raise OSError("the app did not start: `lipviz app` says why")


def _quiet(pid: int, limit: float = 60.0) -> float | None:
    """When the process last did some work before a pause; None where that cannot be seen, after a wait."""
    if cpu_seconds(pid) is None:
        time.sleep(10)
        return None
    last, spent, end = time.monotonic(), cpu_seconds(pid) or 0.0, time.monotonic() + limit
    while time.monotonic() < min(end, last + QUIET):
        time.sleep(0.1)
        now = cpu_seconds(pid) or 0.0
        if now - spent > 0.02:  # an idle server needs less than a tenth of that
            last = time.monotonic()
        spent = now
    return last


def cpu_seconds(pid: int) -> float | None:
    """What a process has used of the processor; None where there is no such file (only Linux has it)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int) -> float | None:
    """Resident MB of a process, its children not counted; None where there is no such file."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 / MB for line in lines if line.startswith("VmRSS:")), None)


def worker(pid: int) -> int | None:
    """The process that trains for the server `pid`; None where there is none."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[1])
            if parent == pid and b"lipviz.worker" in (folder / "cmdline").read_bytes():
                return int(folder.name)
        except OSError:  # it ended meanwhile
            continue
    return None


def start() -> list[Row]:
    """How fast a server starts, and what it holds before the first visitor."""
    health, warm, held = [], [], []
    for _ in range(STARTS):
        with served() as server:
            health.append(server.health)
            warm += [server.warm] if server.warm is not None else []
            size = memory(server.pid)
            held += [size] if size is not None else []
    return [
        row("start to the first answer of the server", "server", spread(health, "s")),
        row("start to the end of the warm-up", "server", spread(warm, "s")),
        row("memory after the warm-up", "server", spread(held, "MB", 0)),
    ]


def training(seconds: float = 3.0, layers: Sequence[str] = LAYERS, width: int = 64) -> list[Row]:
    """Steps a second of 2-64-64-3 on 300 points in a process of its own, looked at once a second as the page does."""
    from lipviz.playground import Setup
    from lipviz.points import sample
    from lipviz.worker import Worker

    process, rows = Worker(), []
    try:
        for layer in layers:
            id = process.open(Setup(layer=layer, depth=2, width=width), sample("moons", 3, 300))
            process.play(id)
            time.sleep(min(1.0, seconds))  # the first steps allocate
            frame, then = process.poll(id), time.perf_counter()
            first = last = frame.step if frame else 0
            rates, end = [], then + seconds
            while time.perf_counter() < end:
                time.sleep(min(1.0, seconds))
                frame, now = process.poll(id), time.perf_counter()
                last, first, then, passed = (frame.step if frame else last), last, now, now - then
                rates.append((last - first) / passed)
            process.close(id)
            measured = f"{statistics.median(rates):.0f} steps/s"
            rows.append(row(f"training 2-{width}-{width}-3, 300 points, batch 64", layer, measured, "200 steps/s"))
    finally:
        process.stop()
    return rows


def measure(only: Sequence[str] | None = None, clients: int = 30, seconds: float | int = 30) -> list[Row]:
    """The rows of the page, part by part.

    Args:
        only: some of `PARTS`; None for all.
        clients: of the part "clients".
        seconds: of the part "clients".

    Raises:
        ValueError: an unknown part, or less than one client or second.
        OSError: the app does not start.
    """
    chosen = list(only or PARTS)
    if unknown := [part for part in chosen if part not in PARTS]:
        raise ValueError(f"a part is one of {', '.join(PARTS)}, got {unknown[0]!r}")
    if clients < 1 or not 1 <= seconds < float("inf"):
        raise ValueError(f"--clients and --seconds must be 1 or more, got {clients} and {seconds}")
    rows: list[Row] = []
    if "training" in chosen:
        _tell("training")
        rows += training()
    if "start" in chosen:
        _tell("start")
        rows = start() + rows
    with ExitStack() as stack:
        server = stack.enter_context(served()) if set(chosen) - {"training", "start"} else None
        if server and set(chosen) & set(IN_A_BROWSER):
            rows += _in_a_browser(server, chosen)
        if server and "clients" in chosen:
            from lipviz.bench_app_clients import ticks

            _tell("clients")
            rows += ticks(server, clients, seconds)
    return rows


def _in_a_browser(server: Server, chosen: Sequence[str]) -> list[Row]:
    from lipviz import bench_app_browser as browsers

    if reason := browsers.missing():
        return [row(PARTS[part], "-", reason) for part in IN_A_BROWSER if part in chosen]
    rows = []
    with browsers.opened(server.address) as browser:
        for part in IN_A_BROWSER:
            if part in chosen:
                _tell(part)
                rows += getattr(browsers, part)(browser, server.address, pages())
    return rows


def _tell(part: str) -> None:
    print(f"{part}: {PARTS[part]}", file=sys.stderr, flush=True)


def protocol(rows: Sequence[Row], clients: int, seconds: float | int) -> list[str]:
    """How it was measured, one sentence each: only what the rows speak of."""
    from lipviz.bench_app_browser import PROTOCOL, version

    spoken = " ".join(line["what"] for line in rows)
    lines = [sentence for word, sentence in PROTOCOL.items() if word in spoken]
    if "tick" in spoken:
        lines.append(
            f"Tick: {clients} websocket clients without a browser, one rerun a second each for {seconds:g} s, from the "
            "moment it was due to the end of the run. Those that train rerun what refreshes itself, the others what "
            "letting go of the picture reruns, on a page without such a part all of it."
        )
    installed: dict[str, Any] = {name: metadata.version(name) for name in ("streamlit", "plotly")}
    parts = [f"{name} {found}" for name, found in installed.items()]
    return [*lines, f"Server, browser and clients share one machine; {', '.join([*parts, *version()])}."]

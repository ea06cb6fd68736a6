"""`lipviz bench layers` in the background, for the app: one at a time on a server, and never beside a training.

A process of its own, `python -m lipviz.bench_job FOLDER`, that outlives the server and every browser tab. All that is
known about it lies in FOLDER, `bench` among the runs:

    job.json     when it was asked for
    job.lock     locked by the process as long as it lives
    stop         written by `stop`; the process looks for it, so nobody ever signals a process number
    log.txt      what it prints, with the progress bar
    layers.csv   the numbers, written at the end: until then those of the measurement before
    layers.md    the same as a page, with the protocol
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Thread
from typing import Any

from filelock import FileLock, Timeout

from lipviz.jobs import STARTING, held, readonly
from lipviz.runs import RunError, read_csv, write_json

ARGUMENTS = ("--pairs", "5")  # of the command
_children: dict[Path, subprocess.Popen] = {}  # of this server: a process that ended must be waited for


def start(root: str | Path) -> Path:
    """Begin to measure; returns the folder of the benchmark.

    Raises:
        ValueError: read-only, or one is measured already.
    """
    if readonly():
        raise ValueError("this server is read-only: it shows measurements, it makes none")
    folder = Path(root).resolve() / "bench"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "start.lock"):  # two visitors at once: one of them starts it
        if running(root):
            raise ValueError("the layers are being measured already: wait for the table")
        for name in ("stop", "log.txt"):
            (folder / name).unlink(missing_ok=True)
        write_json(folder / "job.json", {"asked": time.time()})
        spare = max(1, (os.cpu_count() or 2) - 1)  # visitors keep one core
        with (folder / "log.txt").open("wb") as log:
            _children[folder] = subprocess.Popen(
                [sys.executable, "-m", "lipviz.bench_job", str(folder), *ARGUMENTS],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "OMP_NUM_THREADS": str(spare)},
                start_new_session=True,
            )
    return folder


def stop(root: str | Path) -> None:
    """Ask the process to end, with all that it started; the table of the measurement before stays.

    Raises:
        ValueError: read-only, or nothing is measured.
    """
    if readonly():
        raise ValueError("this server is read-only: it shows measurements, it stops none")
    if not running(root):
        raise ValueError("nothing is measured: there is nothing to stop")
    (Path(root) / "bench" / "stop").touch()


def stopped(root: str | Path) -> bool:
    """Whether the last benchmark was told to stop before it had a table."""
    return (Path(root) / "bench" / "stop").exists() and not _told(root)


def _told(root: str | Path) -> bool:
    """Whether the table is that of the last benchmark."""
    path = Path(root) / "bench" / "layers.csv"
    return path.exists() and path.stat().st_mtime >= asked(root)


def running(root: str | Path) -> bool:
    """Whether a benchmark waits or measures."""
    folder = Path(root).resolve() / "bench"
    child = _children.get(folder)
    if child and child.poll() is None:
        return True
    if not (folder / "job.json").exists():
        return False
    silent = not (folder / "log.txt").exists() or not (folder / "log.txt").stat().st_size
    if not child and silent and time.time() - asked(root) < STARTING:  # another copy of the app may have started it
        return True
    return held(folder / "job.lock")


def asked(root: str | Path) -> float:
    """When the last benchmark was asked for, in seconds since 1970; 0 where none was."""
    try:
        return float(json.loads((Path(root) / "bench" / "job.json").read_text(encoding="utf-8"))["asked"])
    except (OSError, ValueError, TypeError, KeyError):
        return 0.0


def progress(root: str | Path) -> tuple[int, int] | None:
    """(layers measured, layers in all); None before the first."""
    try:
        log = (Path(root) / "bench" / "log.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    bars = re.findall(r"\| (\d+)/(\d+) \[", log)
    return (int(bars[-1][0]), int(bars[-1][1])) if bars else None


def took(root: str | Path) -> float | None:
    """Seconds that the last benchmark measured, where it came to its end."""
    try:
        log = (Path(root) / "bench" / "log.txt").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    clocks = re.findall(r"\| (\d+)/\1 \[([\d:]+)<", log)
    return sum(float(part) * 60**i for i, part in enumerate(reversed(clocks[-1][1].split(":")))) if clocks else None


def failure(root: str | Path) -> str:
    """The last line that a benchmark printed which ended without a table; "" where none did, or it was stopped."""
    folder = Path(root) / "bench"
    if running(root) or _told(root) or stopped(root) or not (folder / "log.txt").exists():
        return ""
    lines = re.split(r"[\r\n]+", (folder / "log.txt").read_text(encoding="utf-8", errors="replace").strip())
    return lines[-1] if lines[-1] else "it printed nothing"


def table(root: str | Path) -> list[dict[str, Any]]:
    """The measurements as rows to show; empty before there are any.

    Raises:
        RunError: layers.csv is cut off.
    """
    path = Path(root) / "bench" / "layers.csv"
    if not path.exists():
        return []
    rows = []
    for row in read_csv(path):
        try:
            ratios = {key: f"{float(row[key]):.2f} ({float(row[f'{key}_low']):.2f} to {float(row[f'{key}_high']):.2f})"
                      for key in ("train", "forward")}  # fmt: skip
            rows.append(
                {
                    "layer": row["row"] + (" (circular)" if row["source"].startswith("torch") else ""),
                    "shape": row["shape"],
                    "training step, times plain": ratios["train"],
                    "frozen forward, times plain": ratios["forward"],
                    "training step ms": round(float(row["train_ms"]), 1),
                    "forward ms": round(float(row["forward_ms"]), 1),
                    "memory, times plain": round(float(row["memory"]), 2),
                }
            )
        except (KeyError, ValueError):
            raise RunError(f"{path}: not a table of `lipviz bench layers`: measure again") from None
    return rows


def protocol(root: str | Path) -> list[str]:
    """The sentences on how it was measured, with hardware, versions and date."""
    path = Path(root) / "bench" / "layers.md"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return [line.removeprefix("- ") for line in lines if line.startswith("- ") and not line.startswith("- Command")]


def main(folder: Path, arguments: Sequence[str]) -> int:
    """Wait until nothing trains, then measure."""
    from lipviz.cli import main as command

    try:
        with FileLock(folder / "job.lock", timeout=STARTING), FileLock(folder.parent / ".training.lock"):
            files = ["--csv", str(folder / "layers.csv"), "--markdown", str(folder / "layers.md")]
            return command(["bench", "layers", *arguments, *files])
    except Timeout:
        print("another process measures already", file=sys.stderr)
        return 1


def _watch(folder: Path) -> None:
    """End this process and its children, which are one group, at the stop file; the system frees their locks."""
    while not (folder / "stop").exists():
        time.sleep(0.2)
    os.killpg(0, signal.SIGTERM)


if __name__ == "__main__":
    Thread(target=_watch, args=(Path(sys.argv[1]),), daemon=True).start()
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))

"""Training in the background, on this machine: one run at a time, the others wait in a line.

Each job is a process of its own, `python -m lipviz.jobs FOLDER`, that outlives the server and every browser tab.
All that is known about it lies in the run folder:

    job.json    when it was asked for, and on which device
    job.lock    locked by the process as long as it lives: the system frees it, however the process ends
    stop        written by `stop`; the process looks for it, so nobody ever signals a process number
    log.txt     what the process prints
    train.lock  held by whoever trains in the folder, `lipviz train` and `lipviz zoo` too; not there between trainings

`.training.lock` in the folder of the runs is held by the one that trains.
"""

import hashlib
import io
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from threading import Thread
from typing import Any

from filelock import FileLock, Timeout

from lipviz import runs

CHECKPOINTS = Path(__file__).resolve().parent.parent / "checkpoints"
STARTING = 20.0  # seconds that a process may take until it holds its lock
QUEUE = 4  # jobs that wait or train, at most
UPLOADS = 200 * 2**20  # bytes of all uploads together
PICTURES = 5000  # of one upload
UNPACKED = 200 * 2**20  # bytes of one upload
FILES = (
    "run.json",
    "metrics.csv",
    "weights.safetensors",
    "certificates.csv",
    "spectra.npz",
    "attacks.npz",
    "autoattack.json",
    "log.txt",
)
LIMITS = {"epochs": (1, 1000), "width": (2, 512), "seed": (0, 2**31 - 1)}

_children: dict[Path, subprocess.Popen] = {}  # of this server: a process that ended must be waited for


def start(
    root: str | Path,
    source: str | Path,
    layer: str,
    *,
    epochs: int = 50,
    width: int = 64,
    device: str = "auto",
    seed: int = 0,
) -> Path:
    """Put a new run in the line and return its folder, named after the data and the layer.

    Raises:
        ValueError: read-only, the line is full, or arguments that do not fit together, in a sentence.
    """
    _writable()
    for name, value in (("epochs", epochs), ("width", width), ("seed", seed)):
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise ValueError(f"{name} must lie between {low} and {high}, got {value}")
    root = Path(root)
    _room(root)
    config = _config(source, layer, epochs, width, device, seed)
    folder = _new_folder(root, f"{config['data']['name']}-{layer}")
    runs.write_json(folder / "run.json", config)
    _launch(folder, device)
    return folder


def _config(source: str | Path, layer: str, epochs: int, width: int, device: str, seed: int) -> dict[str, Any]:
    """run.json of a run that waits; the data are read once, so that what is wrong with them is said at once."""
    from lipviz import data
    from lipviz.recipes import default_recipe, default_spec
    from lipviz.step import pick_device

    pick_device(device)
    loaded = data.load(source, None, seed)
    return {
        "state": "queued",
        "spec": default_spec(loaded, layer, width).to_json(),
        "data": {"name": loaded.name, "source": str(source), "classes": list(loaded.classes)},
        "recipe": asdict(default_recipe(loaded, epochs=epochs, seed=seed)),
        "epoch": 0,
    }


def state(run: runs.Run) -> str:
    """The state in run.json, or "interrupted" where it says queued or running and nothing runs any more."""
    said = str(run.config["state"])
    return said if said not in ("queued", "running") or alive(run) else "interrupted"


def active(run: runs.Run) -> bool:
    """Whether the run waits or trains."""
    return state(run) in ("queued", "running")


def stopping(run: runs.Run) -> bool:
    """Whether the run has been told to stop and has not stopped yet."""
    return (run.folder / "stop").exists() and active(run)


def alive(run: runs.Run) -> bool:
    """Whether a process works on this run."""
    child = _children.get(run.folder.resolve())
    if child and child.poll() is None:
        return True
    if not child and run.config["state"] == "queued" and time.time() - _job(run.folder).get("asked", 0.0) < STARTING:
        return True
    return held(run.folder / "job.lock") or held(run.folder / runs.LOCK)


def held(lock: Path) -> bool:
    """Whether a process holds a lock; a file that may not be opened is left to whom it belongs to."""
    if not lock.exists():
        return False
    try:
        with FileLock(lock, timeout=0):
            return False
    except OSError:  # Timeout is one, too
        return True


def line(root: str | Path) -> list[runs.Run]:
    """The runs that wait, the next one first."""
    waiting = [run for run in runs.find(root) if state(run) == "queued"]
    return sorted(waiting, key=lambda run: _job(run.folder).get("asked", 0.0))


def stop(run: runs.Run) -> None:
    """Ask the process of a run to stop; it writes what it has and ends within a step or two.

    Raises:
        ValueError: read-only, nothing runs, or it was not started here.
    """
    _writable()
    if not active(run):
        raise ValueError(f"{run.name} does not run: there is nothing to stop")
    if not (run.folder / "job.json").exists():
        raise ValueError(f"{run.name} was started on the command line: stop it there with Ctrl-C")
    (run.folder / "stop").touch()


def resume(run: runs.Run) -> None:
    """Put a stopped, failed or interrupted run in the line again; it continues from its last evaluation.

    Raises:
        ValueError: read-only, the line is full, or the run is finished or active.
    """
    _writable()
    said = state(run)
    if said not in ("stopped", "failed", "interrupted"):
        raise ValueError(f"{run.name} is {said}: only a run that stopped before its end can be resumed")
    _room(run.folder.parent)
    config = {k: v for k, v in run.config.items() if k not in ("error", "pid")}
    runs.write_json(run.folder / "run.json", {**config, "state": "queued"})
    _launch(run.folder, _job(run.folder).get("device", "auto"))


def delete(root: str | Path, run: runs.Run) -> None:
    """Remove the folder of a run that lies directly in `root`.

    Raises:
        ValueError: read-only, the run is active, or it lies elsewhere, such as among the checkpoints.
    """
    _writable()
    home = Path(root).resolve()
    inside = run.folder.resolve().parent == home and not run.folder.is_symlink()
    if not inside or home == CHECKPOINTS:
        raise ValueError(f"{run.name} is not one of the runs that were trained here: it stays")
    if active(run):
        raise ValueError(f"{run.name} still runs: stop it first")
    shutil.rmtree(run.folder)
    source = Path(str(run.config["data"].get("source", "")))
    if source.parent.parent == home / "uploads" and not _used(home, source):
        shutil.rmtree(source.parent, ignore_errors=True)


def _used(home: Path, source: Path) -> bool:
    return any(run.config["data"].get("source") == str(source) for run in runs.find(home))


def archive(run: runs.Run) -> bytes:
    """The run as a zip, without what only a resume needs."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as file:
        for name in FILES:
            if (run.folder / name).is_file():
                file.write(run.folder / name, f"{run.name}/{name}")
    return packed.getvalue()


def store_upload(root: str | Path, name: str, content: bytes) -> Path:
    """Keep an uploaded zip of class folders below `root` and return its path, the same for the same content.

    Raises:
        ValueError: read-only, no zip, too many or too large pictures, or no room for it.
    """
    from lipviz import archives

    _writable()
    with archives.open_zip(content, name, UNPACKED) as file:
        if len(file.namelist()) > PICTURES:
            raise ValueError(f"{name} holds more than {PICTURES:,} files, the most read here: pack fewer pictures.")
    stem = _slug(Path(name).stem) or "pictures"
    path = Path(root).resolve() / "uploads" / hashlib.sha256(content).hexdigest()[:12] / f"{stem}.zip"
    kept = sum(file.stat().st_size for file in (Path(root) / "uploads").glob("*/*.zip"))
    if not path.exists():
        if kept + len(content) > UPLOADS:
            raise ValueError(f"the uploads kept here fill their {UPLOADS // 2**20} MB: ask who runs this server")
        path.parent.mkdir(parents=True, exist_ok=True)
        runs.write_bytes(path, content)
    return path


def listing(root: str | Path) -> list[runs.Run]:
    """The runs in `root` whose network can be read: those that train, those that wait in turn, then the newest."""
    found = [run for run in runs.find(root) if run.readable and total_epochs(run) > 0]
    waiting = [run.name for run in line(root)]

    def rank(run: runs.Run) -> tuple[int, float]:
        if run.name in waiting:
            return 1, float(waiting.index(run.name))
        return (0, 0.0) if active(run) else (2, -(run.folder / "run.json").stat().st_mtime)

    return sorted(found, key=rank)


def total_epochs(run: runs.Run) -> int:
    """The epochs that the run is to have."""
    epochs = run.recipe.get("epochs")
    return epochs if isinstance(epochs, int) else 0


def devices() -> list[str]:
    """The devices that can be asked for here."""
    import torch

    return ["auto", "cpu", "cuda"] if torch.cuda.is_available() else ["auto", "cpu"]


def readonly() -> bool:
    """Whether this server only shows, by LIPVIZ_READONLY."""
    return os.environ.get("LIPVIZ_READONLY", "") not in ("", "0")


def _writable() -> None:
    if readonly():
        raise ValueError("this server is read-only: it shows runs, it trains, changes and deletes none")


def _room(root: Path) -> None:
    busy = sum(active(run) for run in runs.find(root))
    if busy >= QUEUE:
        raise ValueError(f"{busy} runs train or wait already, which is the limit: stop one, or come back later")


def _new_folder(root: Path, name: str) -> Path:
    """A folder that nobody else gets: making it is what decides."""
    slug = _slug(name) or "run"
    for i in range(1, 1000):
        folder = root / (slug if i == 1 else f"{slug}-{i}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise ValueError(f"there are 999 runs called {slug} already: delete some")


def _slug(name: str) -> str:
    """Small letters, digits and dashes.

    >>> _slug("../My Photos")
    'my-photos'
    """
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40]


def _launch(folder: Path, device: str) -> None:
    before = _children.get(folder.resolve())
    if before:  # it has written its last word, and is about to end
        before.wait(20)
    for ended in [path for path, child in _children.items() if child.poll() is not None]:
        del _children[ended]
    (folder / "stop").unlink(missing_ok=True)
    runs.write_json(folder / "job.json", {"asked": time.time(), "device": device})
    spare = max(1, (os.cpu_count() or 2) - 1)  # visitors keep one core
    with (folder / "log.txt").open("ab") as log:
        _children[folder.resolve()] = subprocess.Popen(
            [sys.executable, "-m", "lipviz.jobs", str(folder.resolve())],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=CHECKPOINTS.parent,
            env={"OMP_NUM_THREADS": str(min(spare, 8)), **os.environ},
            start_new_session=True,
        )


def _job(folder: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((folder / "job.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def main(folder: Path) -> int:
    """Work on one run: wait for its turn, then train it."""
    # a server started in the background ignores Ctrl-C and hands that down: take it back
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with FileLock(folder / "job.lock", timeout=20):
            Thread(target=_watch, args=(folder,), daemon=True).start()
            return _work(folder)
    except Timeout:
        print("another process works on this run", file=sys.stderr)
        return 1


def _work(folder: Path) -> int:
    from lipviz.train import recipe_of, train

    try:
        with _turn(folder):
            run = runs.load(folder)
            again = (folder / "resume.safetensors").exists()
            recipe = recipe_of(run)
            source, device = run.config["data"].get("source", ""), _job(folder).get("device", "auto")
            train(folder, source, spec=run.spec, recipe=recipe, device=device, resume=again, show=False)
    except KeyboardInterrupt:
        _settle(folder, "stopped")
        return 130
    except Exception as error:
        _settle(folder, "failed", error=f"{type(error).__name__}: {error}")
        raise
    return 0


@contextmanager
def _turn(folder: Path) -> Iterator[None]:
    """Hold the lock of the one that trains, once no other job in the line was asked for earlier."""
    while True:
        with FileLock(folder.parent / ".training.lock"):
            if line(folder.parent)[0].folder == folder:
                yield
                return
        time.sleep(0.3)


def _settle(folder: Path, said: str, **more: str) -> None:
    """Write how it ended, where the trainer did not come to that."""
    config = runs.load(folder).config
    if config["state"] in ("queued", "running"):
        runs.write_json(folder / "run.json", {**config, "state": said, **more})


def _watch(folder: Path) -> None:
    """Turn the stop file into the Ctrl-C that the trainer knows."""
    while not (folder / "stop").exists():
        time.sleep(0.2)
    signal.raise_signal(signal.SIGINT)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

"""What `lipviz bench layers` prints and writes: tables, CSV, Markdown, a figure, and the protocol above them."""

import csv
import datetime
import io
import os
import platform
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

from lipviz.bench import OWN, Measurement
from lipviz.bench_peers import packages
from lipviz.bench_timing import REPEATS, WARM_UP, Spread
from lipviz.drawing import config
from lipviz.figures_bench import bench
from lipviz.runs import write_bytes
from lipviz.tables import markdown

FIGURES = (".html", ".svg", ".png", ".pdf")


def tables(found: Iterable[Measurement]) -> dict[str, list[dict[str, str]]]:
    """One table for each shape and mode, ready to print."""
    parts: dict[str, list[dict[str, str]]] = {}
    for m in found:
        row = {
            "layer": m.row,
            "from": m.source,
            "padding": m.padding,
            "plain layer": m.reference,
            "training step": _text(m.train),
            "explicit forward": _text(m.forward),
            "step ms": _text(m.train_ms),
            "forward ms": _text(m.forward_ms),
            "peak memory": _text(m.memory),
            "MiB": "-" if m.memory_mib is None else f"{m.memory_mib:.1f}",
            "note": m.note,
        }
        parts.setdefault(f"{m.shape}, {m.mode}", []).append(row)
    return parts


def protocol(found: Sequence[Measurement], pairs: int, device: str, peers: bool) -> list[str]:
    """Method, hardware and versions, one sentence each."""
    cuda = device == "cuda"
    lines = [
        f"Ratios: time of the layer / time of the plain torch layer, median (quartiles) of {pairs} pairs called in "
        f"turns, plain, layer, plain, layer, ..., after {WARM_UP} calls of each."
        + (f" Each time is the mean of {REPEATS} calls between two CUDA events." if cuda else ""),
        "Training step: forward, and backward of the sum of squares to parameters and input. Explicit forward: the "
        "frozen layer against the plain one, without gradients.",
        'The plain layer has the padding of the layer, except in the row "plain, circular" of torch, which says what '
        "circular padding alone costs. Residual rows stand against x + conv(relu(conv(x))), sandwich rows against "
        "conv(relu(conv(x))), dense layers likewise.",
        "Peak memory: the most bytes alive at one time among those a training step allocates (outputs, saved tensors, "
        "gradients, temporaries; not parameters and input), as a ratio and in MiB.",
    ]
    if any("compiled" in m.mode for m in found):
        lines.append("compiled is torch.compile, of the layer and of the plain one.")
    if peers:
        lines.append("Layers of other packages run as they are; their forward is that of evaluation mode.")
    if any("bfloat16" in m.mode for m in found):
        lines.append("bfloat16 is autocast: weights, T, inverses and FFT products of lipviz stay in float32.")
    versions = [f"Python {platform.python_version()}", f"torch {torch.__version__}", OWN]
    versions += [line for line in packages() if peers and not line.startswith("torch ")]
    return [
        *lines,
        f"Hardware: {hardware(device)}.",
        f"Versions: {', '.join(versions)}.",
        f"Date: {datetime.date.today()}.",
    ]


def publish_pieces(found: Sequence[tuple[str, float]], command: str, calls: int, markdown: Path | None) -> None:
    """Print the times of `bench_pieces.pieces` with their protocol, and write them as a page where a path is given."""
    counted = f"Median of {calls} calls each, after {WARM_UP} that are not counted, one after the other; float32."
    rows = [{"piece": what, "ms": f"{milliseconds:.1f}"} for what, milliseconds in found]
    _publish("Pieces of the layers", [f"Command: {command}", counted], rows, markdown)


def publish_solvers(found: Sequence[dict[str, str]], command: str, markdown: Path | None) -> None:
    """Print the rows of `bench_pieces.solved` with their protocol, and write them as a page where a path is given."""
    lines = [
        f"Command: {command}",
        "Gaussian weights, float64; one program runs before.",
        "product / value: the product of the spectral norms over LipSDP's constant, mean over the seeds.",
    ]
    _publish("Semidefinite programs", lines, found, markdown)


def publish_training(
    found: Sequence[dict[str, str]], command: str, lines: Sequence[str], markdown: Path | None, device: str
) -> None:
    """Print the rows of `bench_train.training` with their protocol, and write them as a page where a path is given."""
    _publish("Images a second of training", [f"Command: {command}", *lines], found, markdown, device)


def publish_app(found: Sequence[dict[str, str]], command: str, lines: Sequence[str], markdown: Path | None) -> None:
    """Print the rows of `bench_app.measure` with their protocol, and write them as a page where a path is given."""
    _publish("Speed of the app", [f"Command: {command}", *lines], found, markdown)


def _publish(
    title: str, lines: list[str], rows: Sequence[dict[str, str]], path: Path | None, device: str = "cpu"
) -> None:
    lines += [
        f"Hardware: {hardware(device)}.",
        f"Versions: Python {platform.python_version()}, torch {torch.__version__}, {OWN}.",
        f"Date: {datetime.date.today()}.",
    ]
    page = [f"# {title}", "", *(f"- {line}" for line in lines), "", *markdown(rows)]
    print("\n".join(page))
    if path:
        write_bytes(path, "\n".join([*page, ""]).encode())


def hardware(device: str) -> str:
    """The GPU and its settings, or the processor with its vector instructions and the threads in use."""
    if device == "cuda":
        tf32 = "with" if torch.backends.cudnn.allow_tf32 else "without"
        precision = torch.get_float32_matmul_precision()
        return f"{torch.cuda.get_device_name()}, float32 products at precision {precision!r}, convolutions {tf32} TF32"
    try:  # only Linux has the file
        names = re.findall(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.M)
    except OSError:
        names = []
    name = names[0] if names else platform.processor() or platform.machine()
    used = f"{torch.get_num_threads()} of {os.cpu_count()} threads"
    return f"{name}, {torch.backends.cpu.get_cpu_capability()}, {used}"


def as_csv(found: Iterable[Measurement]) -> str:
    """One line for each measurement, numbers in full, quartiles in columns of their own."""
    rows = []
    for m in found:
        row: dict[str, Any] = {}
        for key, value in asdict(m).items():
            if key in ("train", "forward"):
                spread = value or {"median": None, "low": None, "high": None}
                row |= {key if k == "median" else f"{key}_{k}": v for k, v in spread.items()}
            else:
                row[key] = value
        rows.append(row)
    stream = io.StringIO()
    writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue()


def as_markdown(found: Iterable[Measurement], lines: Iterable[str]) -> str:
    """A page: the protocol, and a table for each shape and mode."""
    page = ["# Time and memory of every layer", "", *(f"- {line}" for line in lines)]
    for title, rows in tables(found).items():
        page += ["", f"## {title}", "", *markdown(rows)]
    return "\n".join(page) + "\n"


def figure_rows(found: Iterable[Measurement]) -> list[dict[str, Any]]:
    """What `figures_bench.bench` draws: the measurements that have numbers."""
    return [
        {
            "panel": f"{m.shape}, {m.mode}",
            "name": m.row if m.source == OWN else f"{m.row}{', circular' * (m.row == 'plain')} ({m.source})",
            "row": m.row if m.source == OWN else "",
            "train": (m.train.median, m.train.low, m.train.high),
            "forward": (m.forward.median, m.forward.low, m.forward.high),
        }
        for m in found
        if m.train and m.forward
    ]


def check(csv: Path | None = None, markdown: Path | None = None, figure: Path | None = None) -> None:
    """Refuse now, and not after minutes of measuring, a file that could not be written.

    Raises:
        ValueError: no such folder, a figure that is not one of FIGURES, or an image without kaleido.
    """
    for path in filter(None, (csv, markdown, figure)):
        if not path.parent.is_dir():
            raise ValueError(f"{path}: there is no folder {path.parent}")
    if figure and figure.suffix not in FIGURES:
        raise ValueError(f"{figure}: a figure ends in one of {', '.join(FIGURES)}")
    if figure and figure.suffix != ".html" and find_spec("kaleido") is None:
        raise ValueError(f"{figure}: images need kaleido (pip install kaleido), a .html file needs nothing")


def write(
    found: Sequence[Measurement],
    lines: Sequence[str],
    csv: Path | None = None,
    markdown: Path | None = None,
    figure: Path | None = None,
) -> None:
    """The numbers as CSV, a page with the protocol `lines`, and a figure: each where a path is given."""
    if csv:
        write_bytes(csv, as_csv(found).encode())
    if markdown:
        write_bytes(markdown, as_markdown(found, lines).encode())
    if figure and figure.suffix == ".html":
        bench(figure_rows(found)).write_html(figure, include_plotlyjs=True, config=config(figure.stem))
    elif figure:
        bench(figure_rows(found)).write_image(figure, width=1100)


def _text(value: Spread | float | None) -> str:
    return "-" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)

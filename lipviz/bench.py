"""Time and memory of every layer, as a ratio to the plain torch layer of the same shape and padding.

Both are called in turns in the same loop, so that whatever slows the machine down slows both.
"""

import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, cast

import torch
from torch import Tensor, nn
from tqdm import tqdm

from lipviz import __version__
from lipviz.bench_peers import Candidate, candidates
from lipviz.bench_timing import SECONDS, Spread, in_turns, peak_bytes, predict, step
from lipviz.layers import LAYERS, conv2d, dense, explicit

KERNEL = 3
DTYPES = ("float32", "bfloat16")
OWN = f"lipviz {__version__}"


@dataclass(frozen=True)
class Shape:
    """What is measured: a 3x3 convolution, width -> width on square images, or a dense layer where side is 0.

    >>> print(Shape(64, 64, 32), "|", Shape(1024, 256))
    conv 64 -> 64, 3x3, 32x32 image, batch 64 | dense 1024 -> 1024, batch 256
    """

    width: int
    batch: int
    side: int = 0

    @property
    def kind(self) -> str:
        """conv or dense."""
        return "conv" if self.side else "dense"

    @property
    def input(self) -> tuple[int, ...]:
        """Shape of one input."""
        return (self.width, self.side, self.side) if self.side else (self.width,)

    def __str__(self) -> str:
        image = f", 3x3, {self.side}x{self.side} image" if self.side else ""
        return f"{self.kind} {self.width} -> {self.width}{image}, batch {self.batch}"


SHAPES = (Shape(64, 64, 32), Shape(1024, 256))


@dataclass(frozen=True)
class Mode:
    """How the layers run: "float32" or "bfloat16" (autocast), and compiled or not."""

    dtype: str
    compiled: bool = False

    def __str__(self) -> str:
        return self.dtype + (" autocast" if self.dtype == "bfloat16" else "") + (", compiled" if self.compiled else "")


@dataclass(frozen=True)
class Measurement:
    """One layer at one shape. Without numbers, `note` says what went wrong.

    Attributes:
        shape: the shape in words.
        mode: the number format, and whether it is compiled.
        source: package and version.
        row: name of the layer there.
        form: affine, residual, orthogonal or sandwich.
        padding: "zeros" or "circular", "-" for a dense layer.
        reference: what the plain counterpart computes, and its padding.
        train: ratios of the time of a training step, layer / plain.
        forward: ratios of the time of a forward pass without gradients, the explicit layer / plain.
        train_ms: median time of a training step of the layer, in ms.
        forward_ms: median time of its forward pass, in ms.
        memory: peak memory of a training step, layer / plain.
        memory_mib: peak memory of a training step of the layer, in MiB.
        note: what a reader must know.
    """

    shape: str
    mode: str
    source: str
    row: str
    form: str
    padding: str
    reference: str
    train: Spread | None = None
    forward: Spread | None = None
    train_ms: float | None = None
    forward_ms: float | None = None
    memory: float | None = None
    memory_mib: float | None = None
    note: str = ""


class PlainResidual(nn.Module):
    """x -> x + outer(relu(inner(x))), the plain counterpart of a residual row."""

    def __init__(self, inner: nn.Module, outer: nn.Module) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer

    def forward(self, x: Tensor) -> Tensor:
        """Two plain layers and a skip connection."""
        return x + self.outer(torch.relu(self.inner(x)))


def plain_conv(width: int, padding: str) -> nn.Conv2d:
    """torch's own convolution, width -> width, that keeps the size of the image."""
    mode: Literal["zeros", "circular"] = "circular" if padding == "circular" else "zeros"
    return nn.Conv2d(width, width, KERNEL, padding=KERNEL // 2, padding_mode=mode)


def plain(form: str, shape: Shape, padding: str) -> tuple[nn.Module, str]:
    """The plain counterpart of a layer, made of torch's own layers, and what it computes.

    >>> plain("residual", Shape(2, 1), "-")[1]
    'x + linear(relu(linear(x)))'
    """
    n, conv = shape.width, shape.kind == "conv"

    def one() -> nn.Module:
        return plain_conv(n, padding) if conv else nn.Linear(n, n)

    name, where = ("conv", f", {padding}") if conv else ("linear", "")
    if form == "residual":
        return PlainResidual(one(), one()), f"x + {name}(relu({name}(x))){where}"
    if form == "sandwich":
        return nn.Sequential(one(), nn.ReLU(), one()), f"{name}(relu({name}(x))){where}"
    return one(), f"{name}(x){where}"


def layers(
    pairs: int = 15,
    shapes: Sequence[Shape] | None = None,
    rows: Sequence[str] | None = None,
    peers: bool = False,
    device: str = "cpu",
    dtypes: Sequence[str] | None = None,
    compile: bool = False,
    show: bool = False,
) -> list[Measurement]:
    """Time and memory of every row at every shape it has.

    Args:
        pairs: calls of the plain layer and of the layer behind each median.
        shapes: by default those of SHAPES, on a GPU with batch 256.
        rows: names from LAYERS, by default all.
        peers: measure the layers of torch, orthogonium and deel-torchlip too.
        device: "cpu" or "cuda".
        dtypes: "float32", "bfloat16" (autocast); by default the first, on a GPU both.
        compile: measure everything once more under torch.compile, the plain layer as well.
        show: a progress bar on standard error.

    Raises:
        ValueError: an unknown row, device or dtype, or fewer than two pairs.
    """
    _check(pairs, rows, device, dtypes)
    gpu = device == "cuda"
    shapes = shapes or [replace(shape, batch=256) if gpu else shape for shape in SHAPES]
    modes = [Mode(dtype, c) for dtype in dtypes or DTYPES[: 1 + gpu] for c in (False, True)[: 1 + compile]]
    jobs = [
        (candidate, shape, mode)
        for shape in shapes
        for mode in modes
        for candidate in own(shape, rows) + (candidates(shape.kind, shape.width) if peers else [])
    ]
    found = []
    with torch.random.fork_rng(devices=[]), tqdm(jobs, disable=not show, unit="layer") as bar:
        for candidate, shape, mode in bar:
            bar.set_description(f"{shape.kind}, {mode}, {candidate.row}")
            found.append(measure(candidate, shape, mode, pairs, device))
    return found


def own(shape: Shape, rows: Sequence[str] | None = None) -> list[Candidate]:
    """The rows of LAYERS that have this kind of layer, and torch's circular convolution against zero padding."""
    n, found = shape.width, []
    for name in rows or LAYERS:
        row = LAYERS[name]
        note = ", ".join(f"{option} {value}" for option, value in row.options.items())
        if shape.kind == "conv" and row.conv is not None:
            padding = "circular" if row.fft else "zeros"
            found.append(Candidate(OWN, name, row.form, padding, padding, partial(conv2d, name, n, n, KERNEL), note))
        if shape.kind == "dense" and row.dense is not None:
            found.append(Candidate(OWN, name, row.form, "-", "-", partial(dense, name, n, n), note))
    if shape.kind == "conv" and "plain" in (rows or LAYERS):
        build, source = partial(plain_conv, n, "circular"), f"torch {torch.__version__}"
        found.append(Candidate(source, "plain", "affine", "circular", "zeros", build, "what circular padding costs"))
    return found


def measure(candidate: Candidate, shape: Shape, mode: Mode, pairs: int, device: str) -> Measurement:
    """One layer against its plain counterpart.

    A row of lipviz has to work. A layer of another package that fails, or one that does not compile, gets its error
    as a note.
    """
    ours = candidate.source == OWN and not mode.compiled
    torch.default_generator.manual_seed(0)
    reference, words = plain(candidate.form, shape, candidate.against)
    about = {key: getattr(candidate, key) for key in ("source", "row", "form", "padding", "note")}
    found = Measurement(shape=str(shape), mode=str(mode), reference=words, **about)
    with nullcontext() if ours else warnings.catch_warnings(action="ignore"):
        try:
            return replace(found, **_numbers(candidate, reference, shape, mode, pairs, device))
        except Exception as error:
            if ours:
                raise
            return replace(found, note=" ".join(f"{type(error).__name__}: {error}".split())[:200])


def _numbers(
    candidate: Candidate, reference: nn.Module, shape: Shape, mode: Mode, pairs: int, device: str
) -> dict[str, Any]:
    """What `Measurement` holds from `train` on."""
    x = torch.randn(shape.batch, *shape.input).to(device)
    layer, reference = candidate.build().to(device), reference.to(device)
    if (got := layer(x).shape) != x.shape:
        raise ValueError(f"the layer turns {tuple(x.shape)} into {tuple(got)}")
    if mode.compiled:
        torch.compiler.reset()  # a function is compiled for a few modules only, then quietly no longer

    def call(run: Callable[[nn.Module, Tensor, str], None], module: nn.Module) -> Callable[[], None]:
        return partial(run, cast(nn.Module, torch.compile(module)) if mode.compiled else module, x, mode.dtype)

    other, own = call(step, reference), call(step, layer)
    train, train_ms = in_turns(other, own, pairs, SECONDS[device])
    for module in (reference, layer):
        module.zero_grad(set_to_none=True)  # on a GPU the step would be credited with freeing them
    memory, other_memory = peak_bytes(own, device), peak_bytes(other, device)
    frozen = explicit(layer, shape.input) if candidate.source == OWN else layer.eval()
    forward, forward_ms = in_turns(call(predict, reference.eval()), call(predict, frozen), pairs, SECONDS[device])
    return {
        "train": train,
        "forward": forward,
        "train_ms": train_ms,
        "forward_ms": forward_ms,
        "memory": memory / other_memory,
        "memory_mib": memory / 2**20,
    }


def _check(pairs: int, rows: Sequence[str] | None, device: str, dtypes: Sequence[str] | None) -> None:
    if pairs < 2:
        raise ValueError(f"a median with quartiles needs at least 2 pairs, got {pairs}")
    for what, given, known in (("layer", rows, LAYERS), ("dtype", dtypes, DTYPES), ("device", [device], SECONDS)):
        for name in given or ():
            if name not in known:
                raise ValueError(f"unknown {what} {name!r}: choose one of {', '.join(known)}")
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("torch finds no CUDA device here: leave out --device cuda")

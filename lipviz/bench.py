"""Time of every layer as a ratio to the plain one of the same shape, measured in turns in the same loop.

A residual row is compared with two plain convolutions and a ReLU between them, since that is what it computes.
"""

import platform
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from lipviz.layers import LAYERS, conv2d, dense, explicit

Run = Callable[[nn.Module, Tensor], None]
SHAPES = {
    "conv 64, 3x3, 32x32, batch 64": (64, (64, 64, 32, 32)),
    "dense 1024, batch 256": (1024, (256, 1024)),
}


class PlainResidual(nn.Module):
    """x -> x + outer(relu(inner(x))), the plain counterpart of a residual row."""

    def __init__(self, inner: nn.Module, outer: nn.Module) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer

    def forward(self, x: Tensor) -> Tensor:
        """Two plain layers and a skip connection."""
        return x + self.outer(torch.relu(self.inner(x)))


def layers(pairs: int = 15) -> list[dict[str, str]]:
    """One row for each layer and shape: median ratio (and its quartiles) of a training step and a frozen forward."""
    rows = []
    for what, (width, shape) in SHAPES.items():
        x = torch.randn(shape, generator=torch.Generator().manual_seed(0))
        for name in LAYERS:
            layer, plain = _pair(name, width, x)
            train = _ratios(_step, layer, plain, x, pairs)
            frozen = explicit(layer, tuple(x.shape[1:])), explicit(plain, tuple(x.shape[1:]))
            forward = _ratios(_forward, *frozen, x, pairs)
            rows.append({"shape": what, "row": name, "training step": _text(train), "explicit forward": _text(forward)})
    return rows


def protocol(pairs: int) -> str:
    """Hardware, versions and method, in words."""
    return (
        f"ratio to the plain layer, median (quartiles) of {pairs} pairs measured in turns; float32, "
        f"{torch.get_num_threads()} threads, {platform.machine()}, torch {torch.__version__}; FFT rows are circular, "
        "the plain layer pads with zeros; residual rows against x + conv(relu(conv(x)))"
    )


def _pair(name: str, width: int, x: Tensor) -> tuple[nn.Module, nn.Module]:
    def make(row: str) -> nn.Module:
        return conv2d(row, width, width, 3) if x.ndim == 4 else dense(row, width, width)

    if LAYERS[name].form == "residual":
        return make(name), PlainResidual(make("plain"), make("plain"))
    return make(name), make("plain")


def _ratios(run: Run, layer: nn.Module, plain: nn.Module, x: Tensor, pairs: int) -> list[float]:
    for module in (layer, plain):
        run(module, x)  # the first call pays for allocations and plans
    return [_seconds(run, layer, x) / _seconds(run, plain, x) for _ in range(pairs)]


def _seconds(run: Run, module: nn.Module, x: Tensor) -> float:
    started = time.perf_counter()
    run(module, x)
    return time.perf_counter() - started


def _step(module: nn.Module, x: Tensor) -> None:
    """Forward, and backward of the sum of squares to parameters and input."""
    x = x.detach().requires_grad_()
    module.zero_grad(set_to_none=True)
    module(x).square().sum().backward()


def _forward(module: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        module(x)


def _text(ratios: list[float]) -> str:
    low, middle, high = statistics.quantiles(ratios, n=4)
    return f"{middle:.2f} ({low:.2f}..{high:.2f})"

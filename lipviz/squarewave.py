"""LBDN's square wave: how much of its Lipschitz bound a network of one row uses (Wang & Manchester, ICML 2023).

A network of bound gamma is fitted to jumps, for which no slope is steep enough. Tightness is the steepest slope found,
a lower bound of its Lipschitz constant, divided by the certified upper bound.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from lipviz.bounds import bound, freeze64, product
from lipviz.isometries import MaxMin
from lipviz.layers import dense
from lipviz.recipes import learning_rate

TRAIN, TEST, BATCH, DEPTH, EPOCHS = 300, 200, 50, 8, 200
ACTIVATIONS: dict[str, type[nn.Module]] = {"MaxMin": MaxMin, "ReLU": nn.ReLU, "none": nn.Identity}


@dataclass(frozen=True)
class Setting:
    """What differs from entry to entry: the hidden layers, and the learning rate."""

    row: str
    width: int = 128
    activation: str = "none"  # after each of them, a key of ACTIVATIONS
    start: str = "lipviz"  # their initial weights: those of `dense`, or "uniform" as in nn.Linear
    lr: float = 0.01  # of Adam, at its peak


SETTINGS = {
    "aol": Setting("aol", activation="ReLU"),
    "cayley": Setting("cayley", activation="ReLU", start="uniform"),
    "sll": Setting("sll", lr=0.03),
    "sandwich": Setting("sandwich", width=86, start="uniform"),
    "aol-maxmin": Setting("aol", activation="MaxMin", start="uniform"),
    "cayley-maxmin": Setting("cayley", activation="MaxMin", start="uniform"),
}


@dataclass(frozen=True)
class Fit:
    """One fitted network: the curve is y on a grid x."""

    parameters: int
    losses: np.ndarray  # mean squared error of each epoch
    test: float  # mean squared error on the test points
    bound: float  # certified: gamma, or less where the layers do not use it up
    slope: float  # the steepest one found on [-2, 2]
    x: np.ndarray
    y: np.ndarray

    @property
    def tightness(self) -> float:
        """Slope / bound, in [0, 1]."""
        return self.slope / self.bound


class Scaled(nn.Module):
    """x -> sqrt(gamma) body(sqrt(gamma) x), of numbers: gamma times the Lipschitz constant of the body."""

    def __init__(self, body: nn.Module, gamma: float) -> None:
        super().__init__()
        if not (gamma > 0 and math.isfinite(gamma)):
            raise ValueError(f"gamma must be positive, got {gamma!r}")
        self.body, self.root = body, math.sqrt(gamma)

    def forward(self, x: Float[Tensor, "b 1"]) -> Float[Tensor, "b 1"]:
        """Scale, body, scale."""
        return self.root * self.body(self.root * x)

    def bound(self) -> float:
        """Gamma times the certified bound of the body, rounded up."""
        return product([self.root, bound(self.body, (1,)).value, self.root])


def square_wave(x: Tensor) -> Tensor:
    """1 for x <= -1 and for 0 < x <= 1, else 0.

    >>> square_wave(torch.tensor([-1.0, -0.5, 0.0, 1.0, 1.5]))
    tensor([1., 0., 0., 1., 0.])
    """
    return ((x <= -1) | (x > 0) & (x <= 1)).to(x.dtype)


def network(name: str, gamma: float, seed: int) -> Scaled:
    """Cayley 1 -> width, DEPTH hidden layers, Cayley width -> 1, between two factors sqrt(gamma)."""
    if name not in SETTINGS:
        raise ValueError(f"the square wave has settings for {', '.join(SETTINGS)}, got {name!r}")
    setting, n, generator = SETTINGS[name], SETTINGS[name].width, torch.Generator().manual_seed(seed)
    layers = [dense("cayley", 1, n, generator=generator)]
    for _ in range(DEPTH):
        hidden = dense(setting.row, n, n, generator=generator)
        if setting.start == "uniform":
            _uniform(hidden, generator)
        layers += [hidden, ACTIVATIONS[setting.activation]()]
    return Scaled(nn.Sequential(*layers, dense("cayley", n, 1, generator=generator)), gamma)


@torch.no_grad()
def _uniform(layer: nn.Module, generator: torch.Generator) -> None:
    """Weight and bias uniform within 1 / sqrt(fan-in); a gain is the norm of the weight."""
    parts = dict(layer.named_parameters())
    for value in (parts["weight"], parts["bias"]):
        value.uniform_(-1, 1, generator=generator).div_(max(parts["weight"].shape) ** 0.5)
    if "gain" in parts:
        parts["gain"].copy_(torch.linalg.vector_norm(parts["weight"]))


def fit(name: str, gamma: float, seed: int, epochs: int = EPOCHS) -> Fit:
    """Fit a network to TRAIN points, drawn once from [-2, 2]; the seed is that of the weights and the batches."""
    model, generator = network(name, gamma, seed), torch.Generator().manual_seed(seed)
    x = 4 * torch.rand(TRAIN, 1, generator=torch.Generator().manual_seed(0)) - 2
    test, grid = torch.linspace(-2, 2, TEST)[:, None], torch.linspace(-2, 2, 2001, dtype=torch.float64)[:, None]
    lr, batches = SETTINGS[name].lr, math.ceil(TRAIN / BATCH)
    optimizer = torch.optim.Adam(model.parameters(), lr)
    losses = torch.zeros(epochs, batches)
    for epoch in range(epochs):
        for i, batch in enumerate(torch.randperm(TRAIN, generator=generator).split(BATCH)):
            optimizer.param_groups[0]["lr"] = learning_rate(epoch * batches + i, epochs * batches, lr)
            loss = (model(x[batch]) - square_wave(x[batch])).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses[epoch, i] = loss.detach()
    frozen, size = Scaled(freeze64(model.body, (1,)), gamma), sum(p.numel() for p in model.parameters())
    with torch.no_grad():
        error, y = float((model(test) - square_wave(test)).square().mean()), frozen(grid)[:, 0].numpy()
    return Fit(size, losses.mean(1).numpy(), error, model.bound(), slope(frozen), grid[:, 0].numpy(), y)


def slope(f: Callable[[Tensor], Tensor], low: float = -2.0, high: float = 2.0, cells: int = 20_000) -> float:
    """A lower bound of the Lipschitz constant of a float64 function: its steepest slope on an even grid.

    Of each cell the derivative in its middle, and the chord less what rounding may have added to it.
    """
    x = torch.linspace(low, high, cells + 1, dtype=torch.float64)[:, None]
    y = f(x).detach()
    rounding = 1e-12 * (1 + y.abs().max())
    best = float(((y.diff(dim=0).abs() - rounding) / x.diff(dim=0)).max())
    for middle in ((x[1:] + x[:-1]) / 2).split(5000):
        (derivative,) = torch.autograd.grad(f(middle.requires_grad_()).sum(), middle)
        best = max(best, float(derivative.abs().max()))
    return best

"""What a playground trains: a small network on points in the plane or on the square wave, in a few numbers."""

from dataclasses import dataclass

import torch
from torch import nn

from lipviz import networks
from lipviz.isometries import MaxMin
from lipviz.layers import LAYERS, dense
from lipviz.networks import Spec, fitting
from lipviz.points import Points
from lipviz.squarewave import Scaled

MODES = ("plane", "wave")
LIMITS: dict[str, tuple[float, float]] = {
    "depth": (1, 8),
    "width": (2, 128),
    "margin": (0.0, 2.0),
    "temperature": (0.01, 10.0),
    "rate": (0.0001, 0.5),
    "batch": (1, 1000),
    "seed": (0, 2**31 - 1),
    "gamma": (1.0, 10.0),
}
_WHOLE = ("depth", "width", "batch", "seed")


@dataclass(frozen=True)
class Setup:
    """A network and how it is trained.

        plane   2 -> width, depth x (dense, MaxMin), unit-row head: `networks.build`
        wave    sqrt(gamma) (Cayley 1 -> width, depth x dense, Cayley width -> 1) sqrt(gamma): `squarewave.Scaled`

    Attributes:
        layer: a dense row of LAYERS; "plain" is the same skeleton without a constraint.
        depth: hidden layers.
        width: of each, even.
        margin: the radius the loss asks for, in the unit of the plane.
        temperature: t of the loss.
        rate: peak learning rate of Adam.
        batch: points a step.
        seed: of weights and batches.
        mode: "plane" or "wave".
        gamma: Lipschitz bound of the wave.
    """

    layer: str = "sll"
    depth: int = 2
    width: int = 64
    margin: float | int = 0.3
    temperature: float | int = 0.1
    rate: float | int = 0.01
    batch: int = 64
    seed: int = 0
    mode: str = "plane"
    gamma: float | int = 1.0

    def __post_init__(self) -> None:
        if self.layer not in fitting("mlp"):
            raise ValueError(f"layer must be one of {', '.join(fitting('mlp'))}, got {self.layer!r}")
        if self.mode not in MODES:
            raise ValueError(f"mode must be 'plane' or 'wave', got {self.mode!r}")
        for name, (low, high) in LIMITS.items():
            value = getattr(self, name)
            whole = name in _WHOLE
            if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
                raise ValueError(f"{name} must be a {'whole ' if whole else ''}number, got {value!r}")
            if not low <= value <= high:
                raise ValueError(f"{name} must lie between {low:g} and {high:g}, got {value!r}")
        if self.width % 2:
            raise ValueError(f"width must be even, since MaxMin sorts pairs, got {self.width}")


def build(setup: Setup, points: Points | None = None) -> nn.Module:
    """The network of a setup, initialised from its seed: nn.Sequential, or Scaled for the wave."""
    return network(setup, points.classes if points else 2)


def network(setup: Setup, classes: int) -> nn.Module:
    """`build` by the number of classes; the wave has none."""
    if setup.mode == "plane":
        return networks.build(
            Spec(setup.layer, "mlp", (2,), classes, setup.width, dense_depth=setup.depth), seed=setup.seed
        )
    generator, n = torch.Generator().manual_seed(setup.seed), setup.width
    ends = "plain" if setup.layer == "plain" else "cayley"
    layers = [dense(ends, 1, n, generator=generator)]
    for _ in range(setup.depth):
        layers.append(dense(setup.layer, n, n, generator=generator))
        layers += [] if LAYERS[setup.layer].form in ("residual", "sandwich") else [MaxMin()]  # these have a relu
    return Scaled(nn.Sequential(*layers, dense(ends, n, 1, generator=generator)), float(setup.gamma))

"""Networks: a validated Spec -> nn.Sequential."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import nn

from lipviz.isometries import Center, MaxMin, PadChannels, Pool, UnitRows
from lipviz.layers import LAYERS, conv2d, dense


@dataclass(frozen=True)
class Spec:
    """A network in numbers: the same for every row of LAYERS, so that rows can be compared.

    mlp       center, flatten, pad to width, dense_depth x (dense, MaxMin), unit-row head
    convnet   center, PixelUnshuffle(patch), pad to width, depth x (conv, MaxMin), Pool(pool), flatten,
              dense_depth x (dense, MaxMin), unit-row head; the dense layers of a row that has none are its partner's

    Attributes:
        layer: a row of LAYERS.
        kind: "mlp" or "convnet".
        input_shape: shape of one input, (features,) or (channels, height, width).
        classes: number of logits, at least 2.
        width: features of the mlp, channels of the convnet; even, not below what comes in.
        depth: convolutions of the convnet.
        dense_depth: dense layers.
        kernel: side of the kernels.
        patch: PixelUnshuffle factor at the input.
        pool: side of the blocks pooled before the dense layers.
        mean: subtracted from every channel, in the unit of the input.
    """

    layer: str
    kind: str
    input_shape: tuple[int, ...]
    classes: int
    width: int
    depth: int = 0
    dense_depth: int = 2
    kernel: int = 3
    patch: int = 1
    pool: int = 1
    mean: tuple[float, ...] = (0.0,)

    def __post_init__(self) -> None:
        object.__setattr__(self, "input_shape", tuple(self.input_shape))
        object.__setattr__(self, "mean", tuple(self.mean))
        if self.layer not in LAYERS:
            raise ValueError(f"layer must be one of {', '.join(LAYERS)}, got {self.layer!r}")
        if self.kind not in ("mlp", "convnet"):
            raise ValueError(f"kind must be 'mlp' or 'convnet', got {self.kind!r}")
        least = {"classes": 2, "width": 2, "depth": 0, "dense_depth": 0, "kernel": 1, "patch": 1, "pool": 1}
        for name, smallest in least.items():
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
                raise ValueError(f"{name} must be a whole number of at least {smallest}, got {value!r}")
        if self.width % 2:
            raise ValueError(f"width must be even, since MaxMin sorts pairs, got {self.width}")
        if (LAYERS[self.layer].conv if self.kind == "convnet" else LAYERS[self.layer].dense) is None:
            what = "convolutions" if self.kind == "convnet" else "dense layers"
            others = ", ".join(fitting(self.kind))
            raise ValueError(f"{self.layer!r} has no {what}, got kind {self.kind!r}: choose one of {others}")
        self._check_shapes()

    def _check_shapes(self) -> None:
        incoming = 1
        for n in self.input_shape:
            incoming *= n
        if self.kind == "convnet":
            if len(self.input_shape) != 3:
                raise ValueError(f"a convnet needs input_shape (channels, height, width), got {self.input_shape}")
            c, h, w = self.input_shape
            step = self.patch * self.pool
            if h % step or w % step:
                raise ValueError(f"height and width must be divisible by patch x pool = {step}, got {h}x{w}")
            incoming = c * self.patch**2
        if incoming > self.width:
            raise ValueError(
                f"width must be at least {incoming}, the number of channels that come in, got {self.width}"
            )
        channels = self.input_shape[0]
        if len(self.mean) not in (1, channels):
            raise ValueError(f"mean needs 1 or {channels} values, got {len(self.mean)}")

    def to_json(self) -> dict[str, Any]:
        """Plain values for run.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Spec":
        """The Spec of a run.json; raises ValueError on a missing or unknown key."""
        known = {f.name for f in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise ValueError(f"unknown key {unknown[0]!r} in the spec: expected {', '.join(sorted(known))}")
        lists = {k: tuple(v) for k, v in values.items() if isinstance(v, list)}
        try:
            return cls(**{**values, **lists})
        except TypeError as error:
            raise ValueError(f"the spec is incomplete: {error}") from None


def fitting(kind: str) -> list[str]:
    """The rows of LAYERS of which an "mlp" or a "convnet" can be built.

    >>> "aoc" in fitting("mlp"), "aoc" in fitting("convnet")
    (False, True)
    """
    return [name for name, row in LAYERS.items() if (row.conv if kind == "convnet" else row.dense)]


def build(spec: Spec, seed: int = 0) -> nn.Sequential:
    """The network of a Spec, initialised from a generator of its own.

    >>> build(Spec("aol", "mlp", (2,), 2, width=4, dense_depth=1))[3]
    Affine(Dense(inputs=4, outputs=4), aol)
    """
    generator = torch.Generator().manual_seed(seed)
    mean = torch.tensor(spec.mean, dtype=torch.float32).expand(spec.input_shape[0]).clone()
    layers: list[nn.Module] = [Center(mean)]
    features = spec.width
    if spec.kind == "convnet":
        layers += [nn.PixelUnshuffle(spec.patch)] if spec.patch > 1 else []
        layers += [PadChannels(spec.width)]
        for _ in range(spec.depth):
            layers += [conv2d(spec.layer, spec.width, spec.width, spec.kernel, generator=generator), MaxMin()]
        layers += [Pool(spec.pool)] if spec.pool > 1 else []
        layers += [nn.Flatten()]
        _, h, w = spec.input_shape
        features = spec.width * (h // spec.patch // spec.pool) * (w // spec.patch // spec.pool)
    else:
        layers += [nn.Flatten(), PadChannels(spec.width)]
    for _ in range(spec.dense_depth):
        layers += [dense(LAYERS[spec.layer].partner or spec.layer, features, features, generator=generator), MaxMin()]
    return nn.Sequential(*layers, UnitRows(features, spec.classes, generator=generator))

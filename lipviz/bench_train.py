"""Images a second of training: every row of the zoo beside the same network with plain layers, in turns.

A step is what training does: a batch drawn from the data on the device, augmented, forward in the number format of the
training, backward, Adam. Pixels are noise, and the learning rate is 0: neither changes what there is to compute.
"""

import os
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from lipviz import zoo
from lipviz.bench import KERNEL, Shape, plain
from lipviz.bench_timing import REPEATS, SECONDS, WARM_UP, Spread, in_pairs
from lipviz.data import Data
from lipviz.isometries import UnitRows
from lipviz.layers import LAYERS
from lipviz.networks import Spec, build
from lipviz.operators import Conv, Dense
from lipviz.recipes import Recipe
from lipviz.step import Step
from lipviz.train import NOWHERE, Trainer

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32)}
CLASSES = 10


@dataclass(frozen=True)
class Rate:
    """One network against its plain counterpart.

    Attributes:
        run: its name in the zoo.
        row: of LAYERS.
        reference: what stands in the place of each convolution.
        precision: of the forward pass.
        compiled: whether its steps were compiled, and those of the plain network.
        images: a second, the median.
        plain: those of the plain network.
        ratio: images a second of the network / of the plain one, of each pair.
    """

    run: str
    row: str
    reference: str
    precision: str
    compiled: tuple[bool, bool]
    images: float
    plain: float
    ratio: Spread

    def words(self) -> dict[str, str]:
        """A row of the table."""
        told = {"run": self.run, "plain layer": self.reference, "images/s": f"{self.images:,.0f}"}
        told |= {"plain images/s": f"{self.plain:,.0f}", "ratio": str(self.ratio)}
        return told | {"compiled": ", plain ".join("yes" if each else "no" for each in self.compiled)}

    def numbers(self) -> dict[str, object]:
        """A row of the CSV file."""
        median, low, high = self.ratio.median, self.ratio.low, self.ratio.high
        own, other = self.compiled
        found = {"run": self.run, "row": self.row, "precision": self.precision, "images": self.images}
        found |= {"plain_images": self.plain, "ratio": median, "ratio_low": low, "ratio_high": high}
        return found | {"compiled": own, "plain_compiled": other}


def training(
    path: str | Path,
    pairs: int = 15,
    rows: Sequence[str] | None = None,
    device: str = "cpu",
    compile: bool | None = None,
    show: bool = False,
) -> list[Rate]:
    """Every run that a zoo file lists for the device, or those of some rows.

    Args:
        path: of the zoo file.
        pairs: steps of each network behind a median, on a GPU of ten steps each.
        rows: of LAYERS; None for all.
        device: "cpu" or "cuda".
        compile: try the compiler; None on a GPU only. As in training, the faster way is taken, for both networks.
        show: a progress bar on standard error.

    Raises:
        ValueError: fewer than two pairs, a row or data set that is not known, or a file that cannot be read.
    """
    if pairs < 2:
        raise ValueError(f"a median with quartiles needs at least 2 pairs, got {pairs}")
    entries = zoo.read(path, device)
    if strange := sorted(set(rows or ()) - {entry.layer for entry in entries}):
        raise ValueError(f"{path} has no {strange[0]!r}: choose from {', '.join({e.layer: 0 for e in entries})}")
    for entry in entries:
        if entry.source not in SHAPES:
            raise ValueError(f"the size of {entry.source!r} is not known, expected one of {', '.join(SHAPES)}")
    chosen = [entry for entry in entries if not rows or entry.layer in rows]
    with torch.random.fork_rng(devices=[]), tqdm(chosen, disable=not show, unit="run") as bar:
        return [_rate(entry, pairs, device, compile) for entry in bar]


def _rate(entry: zoo.Entry, pairs: int, device: str, compile: bool | None) -> Rate:
    recipe = Recipe(**entry.recipe)
    data = noise(SHAPES[entry.source], 2 * recipe.batch)
    spec = entry.network(data)
    own, other = (trainer(spec, recipe, data, device, compile, flat) for flat in (False, True))
    calls = [step_of(each) for each in (own, other)]
    times = in_pairs(calls[1], calls[0], pairs, SECONDS[device])
    images = [recipe.batch / statistics.median(t[i] for t in times) for i in (1, 0)]
    ratio = Spread.of([theirs / ours for theirs, ours in times])
    _, words = plain(LAYERS[spec.layer].form, Shape(2, 1, 1), "circular" if LAYERS[spec.layer].fft else "zeros")
    compiled = (own.step.compiled, other.step.compiled)
    return Rate(entry.name, spec.layer, words, own.step.precision, compiled, images[0], images[1], ratio)


def trainer(
    spec: Spec, recipe: Recipe, data: Data, device: str, compile: bool | None = None, flat: bool = False
) -> Trainer:
    """Ready to step: the network of the Spec, or if `flat` the same one of plain layers."""
    # with a budget the compiler is tried however few steps there are, as in the zoo
    made = Trainer(NOWHERE, spec, recipe, data, device, budget=0.0, compile=compile)
    if flat:
        made.model = plain_network(spec).to(made.device)
        made.step = Step(made.model, recipe, made.device, made.step.precision)
    made.prepare()
    return made


def step_of(trainer: Trainer) -> Callable[[], object]:
    """A call that draws a batch, augments it and makes a step."""
    index = torch.arange(trainer.recipe.batch, device=trainer.device) % len(trainer.x)
    return partial(_step, trainer, index)


def _step(trainer: Trainer, index: torch.Tensor) -> None:
    trainer.step(*trainer.batch(index), 0.0)


def noise(shape: tuple[int, ...], n: int) -> Data:
    """Random pixels."""
    g = torch.Generator().manual_seed(0)
    x = torch.randint(0, 256, (n, *shape), generator=g, dtype=torch.uint8)
    y = torch.arange(n) % CLASSES
    return Data("noise", tuple(map(str, range(CLASSES))), x, y, x[:CLASSES], y[:CLASSES])


def plain_network(spec: Spec) -> nn.Sequential:
    """The network of a Spec with torch's own layers: as many products, nothing constrained.

    A residual layer becomes x + conv(relu(conv(x))), a sandwich conv(relu(conv(x))), the others one layer.

    >>> plain_network(Spec("aol", "mlp", (2,), 2, width=4, dense_depth=1))[3]
    Linear(in_features=4, out_features=4, bias=True)
    """
    if spec.kernel != KERNEL:
        raise ValueError(f"the plain counterpart has {KERNEL}x{KERNEL} kernels, got {spec.kernel}")
    network, row = build(spec), LAYERS[spec.layer]
    flat = LAYERS[row.partner or spec.layer]
    for i, layer in enumerate(network):
        op = getattr(layer, "op", None)
        if isinstance(op, Conv):
            network[i] = plain(row.form, Shape(op.outputs, 1, 1), op.padding_mode)[0]
        elif isinstance(op, Dense):
            network[i] = plain(flat.form, Shape(op.outputs, 1), "-")[0]
        elif isinstance(layer, UnitRows):
            classes, features = layer.weight.shape
            network[i] = nn.Linear(features, classes)
    return network


def protocol(found: Sequence[Rate], pairs: int, device: str) -> list[str]:
    """How it was measured, one sentence each."""
    cuda = device == "cuda"
    lines = [
        "A step: a batch of noise from the device, augmented, forward, backward, Adam, with the network and the recipe "
        "of the zoo file.",
        f"Ratio: images a second of the network / of the same network with plain torch layers, median (quartiles) of "
        f"{pairs} pairs called in turns, after {WARM_UP} calls of each."
        + (f" Each is {REPEATS} steps between two CUDA events." if cuda else ""),
        "Plain layers: residual rows stand against x + conv(relu(conv(x))), sandwich rows against conv(relu(conv(x))), "
        "all others against one convolution, of the padding of the row; dense layers likewise.",
        f"Number format of the forward pass: {', '.join(dict.fromkeys(rate.precision for rate in found))}.",
    ]
    if any(any(rate.compiled) for rate in found):
        lines.append("Compiled: torch.compile, with CUDA graphs on a GPU, where that made more steps a second.")
    if hasattr(os, "getloadavg"):
        lines.append(f"Load of the machine at the end: {os.getloadavg()[0]:.1f} on {os.cpu_count()} processors.")
    return lines

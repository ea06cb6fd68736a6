"""Attacks: the smallest perturbation that foolbox finds, the other end of every certificate.

A certificate says that nothing smaller than its radius can change the answer. An attack that finds something
smaller has found a bug. The attacks search in float32, for speed; what they return is checked in float64, not
believed: it must lie in [0, 1], it must change the label, and its norm is measured here.

DeepFool comes first, and its distance sets the scale of the others: FMN goes on from where it ended, DDN walks down the
margin on a sphere of that size, Carlini-Wagner gets the constant that suits it, and FMN starts again from elsewhere.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from lipviz import data as datasets
from lipviz.certify import Certifier, in_unit
from lipviz.runs import Attacks, Run, write_arrays

Attack = Callable[..., tuple[Tensor, Tensor, Tensor]]
BATCH = 100  # images at a time: what they need of the memory stays bounded
ELSEWHERE = "FMN from elsewhere"


@dataclass(frozen=True)
class Protocol:
    """How hard the attacks try.

    Attributes:
        steps: of each attack, at most.
        restarts: of FMN, each from another image of the batch that has another answer.
        seed: of the choice of those images.
    """

    steps: int = 30
    restarts: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("restarts", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")

    def __str__(self) -> str:
        several = f"{self.restarts} restart{'s' * (self.restarts > 1)} of FMN from other images, seed {self.seed}"
        return f"l2, pixels in [0, 1], {self.steps} steps{f', {several}' if self.restarts else ''}"


def report(found: Attacks) -> str:
    """What attacks found, in words."""
    lines = [f"{len(found.index)} test images, {Protocol(**found.protocol)}"]
    for name, distance in {**found.distance, "best of all": found.smallest}.items():
        hit = np.isfinite(distance)
        middle = f"median distance {np.median(distance[hit]):.3f}" if hit.any() else "nothing"
        inside = int(np.sum(distance < found.radius))
        lines.append(f"{name}: found {hit.sum()} of {len(hit)}, {middle}, {inside} inside a certified radius")
    tight = found.tightness
    lines.append(f"certified radius / distance found: median {np.median(tight):.2f}, largest {tight.max():.3f}")
    return "\n".join(lines)


def attack_run(run: Run, source: str, images: int = 200, protocol: Protocol | None = None) -> Attacks:
    """Attack evenly spaced test images of a run, and keep what was found in its attacks.npz.

    Raises:
        ValueError: the data is not that of the run, or foolbox is missing.
    """
    x, _, index = images_of(run, source, images)
    found = attack(Certifier(run.model, run.spec.input_shape), x, index, protocol)
    kept = {"index": index, "radius": found.radius, **found.protocol, **found.distance}
    write_arrays(run.folder / "attacks.npz", kept)
    return found


def images_of(run: Run, source: str, images: int) -> tuple[Tensor, Int64[Tensor, " n"], np.ndarray]:
    """Evenly spaced test images of the data of a run, their labels, and their places in the test set.

    Raises:
        ValueError: the run takes points, or the data is not that of the run.
    """
    if len(run.spec.input_shape) != 3:
        raise ValueError(
            f"{run.name} takes {run.spec.input_shape[0]} numbers, not pictures: there are no pixels to attack"
        )
    if images < 1:
        raise ValueError(f"images must be at least 1, got {images}")
    return tested(run, source, images)


def tested(run: Run, source: str, images: int | None) -> tuple[Tensor, Int64[Tensor, " n"], np.ndarray]:
    """Evenly spaced test inputs of a run (None: all), their labels, and their places in the test set.

    Raises:
        ValueError: the data is not that of the run.
    """
    shape = tuple(run.spec.input_shape)
    data = datasets.load(source, shape if len(shape) == 3 else None, seed=run.seed, training=False)
    if data.classes != run.classes:
        raise ValueError(f"{source} has other classes than {run.name} was trained on: {', '.join(data.classes)}")
    expected = run.config["data"].get("test_images", len(data.x_test))
    if len(data.x_test) != expected:
        raise ValueError(f"{source} has {len(data.x_test):,} test inputs, the test set of {run.name} has {expected:,}")
    index = datasets.evenly(expected, images or expected)
    return data.x_test[index], data.y_test[index], index


def attack(
    certifier: Certifier, images: Tensor, index: np.ndarray | None = None, protocol: Protocol | None = None
) -> Attacks:
    """Run every attack on the network's own predictions, labels of the data set play no part.

    Args:
        certifier: of the network.
        images: as a Certifier takes them.
        index: of the images in the test set.
        protocol: how hard to try.
    """
    protocol = protocol or Protocol()
    x = in_unit(images)
    certificate = certifier(x)
    parts = [
        _distances(certifier.frozen, x, label, protocol)
        for x, label in zip(x.split(BATCH), certificate.label.split(BATCH), strict=True)
    ]
    found = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    index = np.arange(len(x)) if index is None else index
    return Attacks(index, certificate.radius.numpy(), found, asdict(protocol))


def _distances(model: nn.Module, x: Tensor, label: Tensor, protocol: Protocol) -> dict[str, Tensor]:
    """Attack -> distance for each of a few images. DeepFool is first: what it finds sets the scale of the others."""
    try:
        from foolbox import attacks
    except ModuleNotFoundError:
        raise ModuleNotFoundError("attacks need foolbox: pip install -e '.[attack]'") from None
    search = Search(model, x, label)
    ends = search(attacks.L2DeepFoolAttack(steps=protocol.steps))
    distance = search.distance(ends)
    scale = torch.where(distance.isfinite(), distance, 1.0)
    found = {"DeepFool": distance, "FMN": _fmn(search, ends, scale, protocol.steps, 0.05)}
    found["DDN"] = search.distance(_ddn(search, scale, protocol.steps))
    found["Carlini-Wagner"] = search.distance(_carlini_wagner(search, scale, protocol.steps))
    generator = torch.Generator().manual_seed(protocol.seed)
    starts = [_others(x, label, generator) for _ in range(protocol.restarts)]
    again = [_fmn(search, start, scale.clamp_min(0.3), protocol.steps, 0.3) for start in starts]
    return found | ({ELSEWHERE: torch.stack(again).amin(0)} if again else {})


def _others(x: Tensor, label: Tensor, generator: torch.Generator) -> Tensor:
    """For each image a random other one with another label; itself where there is none."""
    other = (label[:, None] != label).double()
    alone = ~other.any(1)
    other[alone, alone.nonzero()[:, 0]] = 1.0
    return x[torch.multinomial(other, 1, generator=generator)[:, 0]]


def _fmn(search: "Search", start: Tensor, scale: Tensor, steps: int, gamma: float) -> Float[Tensor, " b"]:
    """Distances of FMN from the boundary on the way to `start`; infinite where its label is not another one.

    Its steps begin at the size of `scale`, and its ball shrinks or grows by 1 + gamma.
    """
    best = torch.full_like(scale, torch.inf)
    able = search.changes(start)
    if able.any():
        some = Search(search.model, search.x[able], search.label[able])
        sizes = scale[able].float().view(-1, *[1] * (search.x.ndim - 1))
        ends = some(_projected_fmn()(steps=steps, max_stepsize=_wrapped(sizes), gamma=gamma), start[able])
        best[able] = some.distance(ends)
    return best


def _ddn(search: "Search", scale: Tensor, steps: int) -> Tensor:
    """Ends of DDN down the margin, on a sphere that begins at `scale`.

    Down the cross-entropy, as it stands in foolbox, it ends further away: with the small logits of a 1-Lipschitz
    network that gradient leads to the mean of all other classes.
    """
    from foolbox.attacks import DDNAttack

    return search(DDNAttack(steps=steps, init_epsilon=_wrapped(scale.float())), margin=True)


def _carlini_wagner(search: "Search", scale: Tensor, steps: int) -> Tensor:
    """Ends of Carlini-Wagner with one constant c an image, instead of a search for it.

    Where |d|^2 + c max(margin, 0) is least at a change d of the size `scale`, c is about 2 |d|^2 / margin; half as much
    again lets it cross. The search of foolbox from c = 0.001 does not come that far in a few rounds. On black or white
    pixels its arctanh is so flat that few steps hardly move: on MNIST it is weak.
    """
    from foolbox.attacks import L2CarliniWagnerAttack

    with torch.no_grad():
        mine, other = Pair(search.fast, search.label)(search.x.float()).double().unbind(1)
    c = (3 * scale**2 / (mine - other).clamp_min(1e-6)).numpy()
    return search(L2CarliniWagnerAttack(1, steps, stepsize=0.01, initial_const=c, abort_early=False))


@cache
def _projected_fmn() -> type:
    """foolbox's FMN with the projection that its version 3.3.4 leaves out: there the factor is min(1, norm / norm)."""
    import eagerpy
    from foolbox.attacks import L2FMNAttack
    from foolbox.devutils import atleast_kd, flatten

    class Projected(L2FMNAttack):
        def project(self, x: Any, x0: Any, epsilon: Any) -> Any:  # noqa: ANN401
            norms = eagerpy.maximum(flatten(x - x0).norms.l2(axis=-1), 1e-12)
            return x0 + (x - x0) * atleast_kd(eagerpy.minimum(1, epsilon / norms), x.ndim)

    return Projected


def _wrapped(tensor: Tensor) -> Any:  # noqa: ANN401
    import eagerpy

    return eagerpy.astensor(tensor)


class Search:
    """Images under attack: what foolbox searches in float32, checked in float64.

    Args:
        model: float64.
        x: images in [0, 1].
        label: the answers to be changed.
    """

    def __init__(self, model: nn.Module, x: Float[Tensor, "b ..."], label: Int64[Tensor, " b"]) -> None:
        self.model, self.x, self.label = model, x, label
        self.fast = deepcopy(model).float().eval()

    def __call__(self, attack: Attack, start: Tensor | None = None, margin: bool = False) -> Float[Tensor, "b ..."]:
        """Where an attack ends, for each image.

        Args:
            attack: of foolbox.
            start: for an attack that takes it, images with another label.
            margin: show it two logits, of the label and of the closest other class.
        """
        import foolbox

        model = Pair(self.fast, self.label).eval() if margin else self.fast
        label = torch.zeros_like(self.label) if margin else self.label
        bounded = foolbox.PyTorchModel(model, bounds=(0, 1), device=self.x.device)
        more = {} if start is None else {"starting_points": _wrapped(start.float())}
        ends, _, _ = attack(bounded, self.x.float(), label, epsilons=None, **more)
        return ends.detach().to(self.x)

    @torch.no_grad()
    def changes(self, points: Float[Tensor, "b ..."]) -> Bool[Tensor, " b"]:
        """Whether the label changes there, in float32."""
        return self.fast(points.float()).argmax(1) != self.label

    @torch.no_grad()
    def distance(self, ends: Float[Tensor, "b ..."]) -> Float[Tensor, " b"]:
        """l2 distance of each end, measured in float64; infinite where it leaves [0, 1] or the label stays."""
        inside = ((ends >= 0) & (ends <= 1)).flatten(1).all(1)
        success = (self.model(ends).argmax(1) != self.label) & inside
        return torch.where(success, (ends - self.x).flatten(1).norm(dim=1), torch.inf)


class Pair(nn.Module):
    """The logit of one label for each image, and the largest other one."""

    def __init__(self, model: nn.Module, label: Int64[Tensor, " b"]) -> None:
        super().__init__()
        self.model, self.label = model, label

    def forward(self, x: Float[Tensor, "b ..."]) -> Float[Tensor, "b 2"]:
        """Both logits."""
        s, y = self.model(x), self.label[:, None]
        return torch.cat([s.gather(1, y), s.scatter(1, y, -torch.inf).amax(1, keepdim=True)], 1)

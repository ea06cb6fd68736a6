"""Attacks: the smallest perturbation that foolbox finds, the other end of every certificate.

A certificate says that nothing smaller than its radius can change the answer. An attack that finds something
smaller has found a bug. The attacks search in float32, for speed; what they return is checked in float64, not
believed: it must lie in [0, 1], it must change the label, and its norm is measured here.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import asdict, dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lipviz import data as datasets
from lipviz.certify import Certifier
from lipviz.runs import Run

Search = Callable[..., tuple[Tensor, Tensor, Tensor]]
BATCH = 100  # images at a time: what they need of the memory stays bounded
ELSEWHERE = "FMN from elsewhere"


@dataclass(frozen=True)
class Protocol:
    """How hard the attacks try.

    Attributes:
        steps: of each attack; Carlini-Wagner takes them in each of 3 searches for its constant.
        restarts: of FMN, each from another image of the batch that has another answer.
        seed: of the choice of those images.
    """

    steps: int = 100
    restarts: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        for name, least in (("steps", 1), ("restarts", 0), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < least:
                raise ValueError(f"{name} must be a whole number of at least {least}, got {value!r}")

    def __str__(self) -> str:
        again = f", {self.restarts} restarts of FMN from other images, seed {self.seed}" if self.restarts else ""
        return f"l2, pixels in [0, 1], {self.steps} steps (Carlini-Wagner 3 searches){again}"


def attacks() -> dict[str, Callable[[int], Search]]:
    """The l2 attacks, each made for a number of steps; raises ModuleNotFoundError where foolbox is missing."""
    try:
        import foolbox
    except ModuleNotFoundError:
        raise ModuleNotFoundError("attacks need foolbox: pip install 'lipviz[attack]'") from None
    a = foolbox.attacks
    return {
        "DDN": lambda steps: a.DDNAttack(steps=steps),
        "DeepFool": lambda steps: a.L2DeepFoolAttack(steps=steps),
        "FMN": lambda steps: a.L2FMNAttack(steps=steps),
        "Carlini-Wagner": lambda steps: a.L2CarliniWagnerAttack(binary_search_steps=3, steps=steps),
    }


@dataclass(frozen=True)
class Report:
    """What the attacks found on images of one run, l2, pixels in [0, 1].

    Attributes:
        index: of the images in the test set.
        radius: certified, one an image.
        distance: of the smallest change of the prediction found, infinite where none was; attack -> one an image.
        protocol: how hard they tried.
    """

    index: np.ndarray
    radius: np.ndarray
    distance: dict[str, np.ndarray]
    protocol: Protocol

    @property
    def smallest(self) -> np.ndarray:
        """The best of all attacks, image by image."""
        return np.min(list(self.distance.values()), axis=0)

    @property
    def broken(self) -> int:
        """Images whose prediction was changed within the radius: must be 0."""
        return int(np.sum(self.smallest < self.radius))

    def text(self) -> str:
        """The report in words."""
        lines = [f"{len(self.index)} test images, {self.protocol}"]
        for name, found in {**self.distance, "best of all": self.smallest}.items():
            hit = np.isfinite(found)
            middle = f"median distance {np.median(found[hit]):.3f}" if hit.any() else "nothing"
            inside = int(np.sum(found < self.radius))
            lines.append(f"{name}: found {hit.sum()} of {len(found)}, {middle}, {inside} inside a certified radius")
        tight = self.radius / self.smallest
        lines.append(f"certified radius / distance found: median {np.median(tight):.2f}, largest {tight.max():.3f}")
        return "\n".join(lines)


def attack_run(run: Run, source: str, images: int = 200, protocol: Protocol | None = None) -> Report:
    """Attack evenly spaced test images of a run, and keep what was found in its attacks.npz.

    Raises:
        ValueError: the data is not that of the run, or foolbox is missing.
    """
    channels, height, width = run.spec.input_shape
    data = datasets.load(source, (channels, height, width), seed=run.config["recipe"].get("seed", 0))
    if data.classes != run.classes:
        raise ValueError(f"{source} has other classes than {run.name} was trained on: {', '.join(data.classes)}")
    index = np.unique(np.linspace(0, len(data.x_test) - 1, images).astype(int))
    report = attack(Certifier(run.model, run.spec.input_shape), data.x_test[index], index, protocol)
    beside = run.folder / "attacks.npz.part"
    with beside.open("wb") as file:
        kept = {"index": index, "radius": report.radius, **asdict(report.protocol), **report.distance}
        np.savez_compressed(file, **kept)  # type: ignore[arg-type]
    beside.replace(run.folder / "attacks.npz")
    return report


def attack(
    certifier: Certifier, images: Tensor, index: np.ndarray | None = None, protocol: Protocol | None = None
) -> Report:
    """Run every attack on the network's own predictions, labels of the data set play no part.

    Args:
        certifier: of the network.
        images: as a Certifier takes them.
        index: of the images in the test set.
        protocol: how hard to try.
    """
    protocol = protocol or Protocol()
    x = images.double() / 255 if images.dtype == torch.uint8 else images.double()
    certificate = certifier(x)
    parts = [
        _distances(certifier.frozen, x, label, protocol)
        for x, label in zip(x.split(BATCH), certificate.label.split(BATCH), strict=True)
    ]
    found = {name: torch.cat([part[name] for part in parts]).numpy() for name in parts[0]}
    return Report(np.arange(len(x)) if index is None else index, certificate.radius.numpy(), found, protocol)


def _distances(model: nn.Module, x: Tensor, label: Tensor, protocol: Protocol) -> dict[str, Tensor]:
    """Attack -> distance for each of a few images."""
    searches = {name: make(protocol.steps) for name, make in attacks().items()}
    found = {name: smallest_change(model, x, label, search) for name, search in searches.items()}
    generator = torch.Generator().manual_seed(protocol.seed)
    again = [_from_elsewhere(model, x, label, searches["FMN"], generator) for _ in range(protocol.restarts)]
    return found | ({ELSEWHERE: torch.stack(again).amin(0)} if again else {})


def _from_elsewhere(
    model: nn.Module, x: Tensor, label: Tensor, search: Search, generator: torch.Generator
) -> Float[Tensor, " b"]:
    """FMN from the boundary on the way to a random other image with another answer."""
    best = torch.full((len(x),), torch.inf, dtype=x.dtype)
    other = (label[:, None] != label).double()
    able = other.any(1)
    if not able.any():
        return best
    start = x[torch.multinomial(other[able], 1, generator=generator)[:, 0]]
    best[able] = smallest_change(model, x[able], label[able], search, start)
    return best


def smallest_change(
    model: nn.Module,
    x: Float[Tensor, "b ..."],
    label: Int64[Tensor, " b"],
    attack: Search,
    start: Float[Tensor, "b ..."] | None = None,
) -> Float[Tensor, " b"]:
    """l2 distance of the change one attack finds for each image; infinite where the label stays.

    `start`, for an attack that takes it, are images with another label.
    """
    import eagerpy
    import foolbox

    bounded = foolbox.PyTorchModel(deepcopy(model).float().eval(), bounds=(0, 1), device=x.device)
    more = {} if start is None else {"starting_points": eagerpy.astensor(start.float())}
    changed, _, _ = attack(bounded, x.float(), label, epsilons=None, **more)
    changed = changed.detach().to(x)
    with torch.no_grad():
        inside = ((changed >= 0) & (changed <= 1)).flatten(1).all(1)
        success = (model(changed).argmax(1) != label) & inside
    distance = (changed - x).flatten(1).norm(dim=1)
    return torch.where(success, distance, torch.inf)

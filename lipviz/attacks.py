"""Attacks: the smallest perturbation that foolbox finds, the other end of every certificate.

A certificate says that nothing smaller than its radius can change the answer. An attack that finds something
smaller has found a bug. The attacks search in float32, for speed; what they return is checked in float64, not
believed: it must lie in [0, 1], it must change the label, and its norm is measured here.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from lipviz import data as datasets
from lipviz.certify import Certifier
from lipviz.runs import Run

Search = Callable[..., tuple[Tensor, Tensor, Tensor]]


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
        steps: of each attack.
    """

    index: np.ndarray
    radius: np.ndarray
    distance: dict[str, np.ndarray]
    steps: int

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
        lines = [f"{len(self.index)} test images, l2, pixels in [0, 1], {self.steps} steps (Carlini-Wagner 3 searches)"]
        for name, found in {**self.distance, "best of all": self.smallest}.items():
            hit = np.isfinite(found)
            middle = f"median distance {np.median(found[hit]):.3f}" if hit.any() else "nothing"
            inside = int(np.sum(found < self.radius))
            lines.append(f"{name}: found {hit.sum()} of {len(found)}, {middle}, {inside} inside a certified radius")
        tight = self.radius / self.smallest
        lines.append(f"certified radius / distance found: median {np.median(tight):.2f}, largest {tight.max():.3f}")
        return "\n".join(lines)


def attack_run(run: Run, source: str, images: int = 200, steps: int = 200) -> Report:
    """Attack evenly spaced test images of a run, and keep what was found in its attacks.npz.

    Raises:
        ValueError: the data is not that of the run, or foolbox is missing.
    """
    channels, height, width = run.spec.input_shape
    data = datasets.load(source, (channels, height, width), seed=run.config["recipe"].get("seed", 0))
    if data.classes != run.classes:
        raise ValueError(f"{source} has other classes than {run.name} was trained on: {', '.join(data.classes)}")
    index = np.unique(np.linspace(0, len(data.x_test) - 1, images).astype(int))
    report = attack(Certifier(run.model, run.spec.input_shape), data.x_test[index], index, steps)
    beside = run.folder / "attacks.npz.part"
    with beside.open("wb") as file:
        np.savez_compressed(file, index=index, radius=report.radius, steps=steps, **report.distance)  # type: ignore[arg-type]
    beside.replace(run.folder / "attacks.npz")
    return report


def attack(certifier: Certifier, images: Tensor, index: np.ndarray | None = None, steps: int = 200) -> Report:
    """Run every attack on the network's own predictions, labels of the data set play no part."""
    x = datasets.as_float(images).double()
    certificate = certifier(x)
    found = {
        name: smallest_change(certifier.frozen, x, certificate.label, make(steps)).numpy()
        for name, make in attacks().items()
    }
    return Report(np.arange(len(x)) if index is None else index, certificate.radius.numpy(), found, steps)


def smallest_change(
    model: nn.Module, x: Float[Tensor, "b ..."], label: Int64[Tensor, " b"], attack: Search
) -> Float[Tensor, " b"]:
    """l2 distance of the change one attack finds for each image; infinite where the label stays."""
    import foolbox

    bounded = foolbox.PyTorchModel(deepcopy(model).float().eval(), bounds=(0, 1), device=x.device)
    changed, _, _ = attack(bounded, x.float(), label, epsilons=None)
    changed = changed.detach().to(x)
    with torch.no_grad():
        inside = ((changed >= 0) & (changed <= 1)).flatten(1).all(1)
        success = (model(changed).argmax(1) != label) & inside
    distance = (changed - x).flatten(1).norm(dim=1)
    return torch.where(success, distance, torch.inf)

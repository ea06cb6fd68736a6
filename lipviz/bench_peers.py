"""Layers of other packages, and of torch, that `lipviz bench layers --peers` measures beside the rows.

A package is imported when its first layer is built. The convolutions pad with zeros, as all of them can.
"""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib import metadata

from torch import nn

Call = Callable[[Callable[..., nn.Module], int], nn.Module]


@dataclass(frozen=True)
class Candidate:
    """A layer to be measured, not built yet.

    Attributes:
        source: package and version.
        row: what it is called there.
        form: "residual", "sandwich", or anything else for one linear map: picks the plain layer it is compared with.
        padding: "zeros" or "circular", "-" for a dense layer.
        against: the padding of the plain layer.
        build: () -> module.
        note: what a reader must know.
    """

    source: str
    row: str
    form: str
    padding: str
    against: str
    build: Callable[[], nn.Module]
    note: str = ""


@dataclass(frozen=True)
class Peer:
    """A layer of another package: `call(module.name, width)` builds it.

    Attributes:
        package: its name on the package index.
        module: where the class or function is.
        name: of the class or function.
        form: as in `Candidate`.
        call: (class, width) -> module.
        option: what `call` sets, where a package has several of one name.
    """

    package: str
    module: str
    name: str
    form: str
    call: Call
    option: str = ""

    def build(self, width: int) -> nn.Module:
        """The layer, width -> width."""
        return self.call(getattr(importlib.import_module(self.module), self.name), width)


def _conv(make: Callable[..., nn.Module], n: int) -> nn.Module:
    return make(n, n, 3, padding="same", padding_mode="zeros")


def _dense(make: Callable[..., nn.Module], n: int) -> nn.Module:
    return make(n, n)


def _orthogonal(method: str) -> Call:
    return lambda make, n: make(nn.Linear(n, n), orthogonal_map=method)


TORCH = "torch.nn.utils.parametrizations"
AOC, SLL = "orthogonium.layers.conv.AOC", "orthogonium.layers.conv.SLL"
AOL, SOC = "orthogonium.layers.conv.AOL", "orthogonium.layers.conv.adaptiveSOC"
PEERS: dict[str, tuple[Peer, ...]] = {
    "conv": (
        Peer("torch", TORCH, "spectral_norm", "affine", lambda make, n: make(nn.Conv2d(n, n, 3, padding="same"))),
        Peer("orthogonium", AOC, "AdaptiveOrthoConv2d", "orthogonal", _conv),
        Peer("orthogonium", AOL, "AOLConv2D", "affine", _conv),
        Peer("orthogonium", SOC, "AdaptiveSOCConv2d", "orthogonal", _conv),
        Peer("orthogonium", SLL, "SDPBasedLipschitzResBlock", "residual", lambda make, n: make(n, 1, 3)),
        Peer("orthogonium", SLL, "SLLxAOCLipschitzResBlock", "residual", lambda make, n: make(n, n, 1, 3, 1)),
        Peer("deel-torchlip", "deel.torchlip", "SpectralConv2d", "affine", _conv),
        Peer("deel-torchlip", "deel.torchlip", "FrobeniusConv2d", "affine", _conv),
    ),
    "dense": (
        Peer("torch", TORCH, "spectral_norm", "affine", lambda make, n: make(nn.Linear(n, n))),
        Peer("torch", TORCH, "orthogonal", "orthogonal", _orthogonal("cayley"), "cayley"),
        Peer("torch", TORCH, "orthogonal", "orthogonal", _orthogonal("matrix_exp"), "matrix_exp"),
        Peer("torch", TORCH, "orthogonal", "orthogonal", _orthogonal("householder"), "householder"),
        Peer("orthogonium", "orthogonium.layers", "OrthoLinear", "orthogonal", _dense),
        Peer("orthogonium", SLL, "SDPBasedLipschitzDense", "residual", lambda make, n: make(n, n, n)),
        Peer("deel-torchlip", "deel.torchlip", "SpectralLinear", "affine", _dense),
        Peer("deel-torchlip", "deel.torchlip", "FrobeniusLinear", "affine", lambda make, n: make(n, n, True, False)),
    ),
}


def candidates(kind: str, width: int) -> list[Candidate]:
    """The layers of this kind ("conv" or "dense") of torch and of every installed package, width -> width."""
    padding = "zeros" if kind == "conv" else "-"
    return [
        Candidate(
            f"{peer.package} {version(peer.package)}",
            f"{peer.name} {peer.option}".strip(),
            *(peer.form, padding, padding),
            partial(peer.build, width),
            "evaluation mode",
        )
        for peer in PEERS[kind]
        if version(peer.package)
    ]


def packages() -> list[str]:
    """Every package and its version, or a sentence that it is not installed."""
    names = dict.fromkeys(peer.package for kind in PEERS.values() for peer in kind)
    return [
        f"{name} {version(name)}" if version(name) else f"{name} is not installed (pip install {name})"
        for name in names
    ]


def version(package: str) -> str:
    """The installed version of a package, "" where there is none."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""

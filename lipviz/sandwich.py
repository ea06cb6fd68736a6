"""The sandwich form: x -> sqrt(2) A^T Psi relu(sqrt(2) Psi^{-1} B x + b) with A A^T + B B^T = I.

Psi is diagonal and positive. With slopes in [0, 1] the layer is 1-Lipschitz although neither factor need be (Wang &
Manchester, ICML 2023). The proof, which the bound of the frozen layer uses too: let x change by dx, relu(.) by dz and
Psi dz = z, let Bh = sqrt(2) B, Ah = sqrt(2) A^T and (Ah^T Ah + Bh Bh^T) / 2 <= c I. Slopes in [0, 1] say
|z|^2 <= z^T Bh dx. So |Ah z|^2 <= 2 c |z|^2 - |Bh^T z|^2 <= 2 c (Bh^T z)^T dx - |Bh^T z|^2 <= c^2 |dx|^2.
"""

import math

import torch
from torch import Tensor, nn

from lipviz.forms import Operator, full_precision
from lipviz.operators import CircularConv, Conv, Dense, check_size, fft_correlate, symbol
from lipviz.orthogonal import bounded, cayley

ROOT = math.sqrt(2)


class Sandwich(nn.Module):
    """x -> sqrt(2) A^T Psi relu(sqrt(2) Psi^{-1} B x + b), [A B]^T = cayley(W).

    Args:
        op: Dense, or a circular Conv of stride 1, for which A and B are matrices at every frequency.
        bias: with a bias (inside, before the relu) or without.
        generator: source of the initial weight: A = B = I / sqrt(2) but for noise, so that a stack keeps its signal.
    """

    def __init__(self, op: Operator, bias: bool, generator: torch.Generator | None) -> None:
        super().__init__()
        p, q = op.inputs, op.outputs
        self.op, self.limit = op, 4 * q**0.5
        W = torch.randn(q + p, q, *op.shape[2:], generator=generator) * 0.02 / (p + q) ** 0.5
        middle = W[:, :, op.before, op.before] if isinstance(op, Conv) else W
        middle[q:] -= math.tan(math.pi / 8) * torch.eye(p, q)
        self.weight = nn.Parameter(W)
        self.gain = nn.Parameter(torch.linalg.vector_norm(W))
        self.log_psi = nn.Parameter(torch.zeros(q))
        self.bias = nn.Parameter(torch.zeros(q)) if bias else None

    def extra_repr(self) -> str:
        """The geometry."""
        return str(self.op)

    @full_precision
    def factors(self, size: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
        """(sqrt(2) Psi^{-1} B, sqrt(2) A^T Psi, diagonal of Psi); of a convolution one matrix a frequency."""
        W = bounded(self.weight, self.gain, self.limit)
        if isinstance(self.op, Conv):
            check_size(size, self.op.kernel)
            W = symbol(W, (size[0], size[1]), self.op.before)
        C, q = cayley(W), self.op.outputs
        psi = (4 * torch.tanh(self.log_psi / 4)).exp()  # within e^-4 .. e^4
        return ROOT * C[..., q:, :].mH / psi[:, None], ROOT * C[..., :q, :] * psi, psi

    def forward(self, x: Tensor) -> Tensor:
        """Sqrt(2) A^T Psi relu(sqrt(2) Psi^{-1} B x + b)."""
        inner, outer, _ = self.factors(x.shape[-2:])
        return _apply(self.op, outer, torch.relu(_apply(self.op, inner, x, self.bias)), None)

    def freeze(self, size: tuple[int, ...] | None) -> nn.Module:
        """Two plain layers (or FFT products), and Psi^2, for the bound."""
        inner, outer, psi = self.factors(size or ())
        if isinstance(self.op, Conv):
            n = size or ()
            first, second = CircularConv.from_symbol(inner, n, self.bias), CircularConv.from_symbol(outer, n, None)
            return FrozenSandwich(first, second, psi.square())
        square = Dense(self.op.outputs, self.op.outputs)
        return FrozenSandwich(self.op.freeze(inner, self.bias), square.freeze(outer, None), psi.square())


def _apply(op: Operator, W: Tensor, x: Tensor, b: Tensor | None) -> Tensor:
    return op(W, x, b) if isinstance(op, Dense) else fft_correlate(W, x, b)


class FrozenSandwich(nn.Module):
    """x -> outer(relu(inner(x))), the frozen form of a sandwich row.

    Args:
        inner: sqrt(2) Psi^{-1} B and the bias, a linear layer or an FFT product.
        outer: sqrt(2) A^T Psi, the same kind of layer without a bias.
        multiplier: the diagonal of Psi^2, with which the bound is proved; any positive numbers give a true one.
    """

    multiplier: Tensor

    def __init__(self, inner: nn.Module, outer: nn.Module, multiplier: Tensor) -> None:
        super().__init__()
        self.inner, self.outer = inner, outer
        self.register_buffer("multiplier", multiplier)

    def forward(self, x: Tensor) -> Tensor:
        """Outer(relu(inner(x)))."""
        return self.outer(torch.relu(self.inner(x)))

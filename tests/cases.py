"""The cases of the support table, and slow references for their norms."""

import itertools

import numpy as np
import torch

from lipviz.layers import LAYERS, conv2d, dense
from lipviz.networks import Spec, build

KERNELS = (1, 2, 3, 5)
WIDTHS = ((1, 1), (2, 3), (4, 2), (3, 3), (2, 9))
TWO = np.array([[1.2, 0.8], [-0.3, 0.6]])  # what the page on the condition begins with
CONSTRAINED = tuple(name for name in LAYERS if name != "plain")


def conv_cases(rows):
    """(row, kernel, stride, padding_mode, in, out, image side) of everything the support table promises."""
    for row, k, s, mode, (ci, co) in itertools.product(rows, KERNELS, (1, 2), ("zeros", "circular"), WIDTHS):
        if not supported(row, k, s, mode, ci, co):
            continue
        even = LAYERS[row].fft or (LAYERS[row].unshuffles and s == 2)
        yield row, k, s, mode, ci, co, max(6, 2 * k) if even else 5 if (k + ci) % 2 else 6


def supported(row, k, s, mode, ci, co):
    """Design 8, the table of what each row must support, written out."""
    if row in ("exponential", "bjorck", "householder"):
        return False
    if row in ("cpl", "sll"):
        return ci == co and s == 1
    if row in ("cayley", "bro", "lot", "sandwich"):
        return mode == "circular"
    if row == "soc":
        return k % 2 == 1
    return row != "aoc" or k >= s


def dense_cases(rows):
    """(row, in, out) of everything the support table promises."""
    for row, (n, m) in itertools.product(rows, ((1, 1), (2, 5), (5, 2), (4, 4), (1, 3), (7, 7))):
        if row not in ("soc", "aoc", "lot") and (row not in ("cpl", "sll") or n == m):
            yield row, n, m


def make(case):
    """(layer in float64, shape of one input) of a case of either kind."""
    torch.manual_seed(sum(map(len, map(str, case))))
    if len(case) == 3:
        row, n, m = case
        return dense(row, n, m).double(), (n,)
    row, k, s, mode, ci, co, side = case
    return conv2d(row, ci, co, k, s, padding_mode=mode).double(), (ci, side, side)


def jacobian(function, x):
    """The Jacobian at x, as a matrix."""
    J = torch.autograd.functional.jacobian(lambda z: function(z).flatten(), x, vectorize=True)
    return J.flatten(1)


def norm(function, shape, points=2):
    """The largest singular value of the Jacobian at a few random points of different size: a lower bound.

    The points are one batch, of which `function` takes each for itself: the weights are computed once for all.
    """
    x = torch.cat([3.0**i * torch.randn(1, *shape, dtype=torch.float64) for i in range(points)])
    J = torch.autograd.functional.jacobian(lambda z: function(z).flatten(1).sum(0), x, vectorize=True)
    return float(torch.linalg.matrix_norm(J.transpose(0, 1).flatten(2), 2).max())


def perturb(model, scale):
    """Add Gaussian noise of this standard deviation to every parameter."""
    with torch.no_grad():
        for p in model.parameters():
            p.add_(scale * torch.randn_like(p))


def network(row, kind=None):
    """(perturbed network, shape of one input) of a row: a convnet, or an mlp where the row has no convolution."""
    kind = kind or ("convnet" if LAYERS[row].conv else "mlp")
    shape = (1, 8, 8) if kind == "convnet" else (6,)
    model = build(Spec(row, kind, shape, 4, width=8, depth=2, patch=2, pool=2, mean=(0.3,)))
    perturb(model, 0.2)
    return model, shape

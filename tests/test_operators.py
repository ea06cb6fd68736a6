"""Operators against the matrix written out: adjoint, Gram kernel, folding, frequencies."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from lipviz import sdp
from lipviz.operators import Conv, Dense, symbol

CONVS = [
    Conv(ci, co, k, s, mode)
    for (ci, co), k, s, mode in itertools.product(((2, 3), (3, 2)), (1, 2, 3, 5), (1, 2), ("zeros", "circular"))
]


def matrix(op, W, n):
    """The operator on n x n images, column by column."""
    eye = torch.eye(op.inputs * n * n, dtype=torch.float64).view(-1, op.inputs, n, n)
    return op(W, eye).flatten(1).mT


def slow(op, W, x):
    """The definition: pad (k - 1) // 2 before and the rest after, correlate, keep every s-th pixel."""
    k, n = op.kernel, x.shape[-1]
    y = torch.zeros(op.outputs, n, n, dtype=torch.float64)
    for o, i, j, c, u, v in itertools.product(
        range(op.outputs), range(n), range(n), range(op.inputs), range(k), range(k)
    ):
        a, b = i + u - (k - 1) // 2, j + v - (k - 1) // 2
        if op.padding_mode == "circular":
            a, b = a % n, b % n
        if 0 <= a < n and 0 <= b < n:
            y[o, i, j] += W[o, c, u, v] * x[c, a, b]
    return y[:, :: op.stride, :: op.stride]


@pytest.mark.parametrize("op", CONVS, ids=str)
def test_convolution_is_its_definition(op):
    W = torch.randn(op.shape, dtype=torch.float64)
    for n in (3, 4):
        x = torch.randn(1, op.inputs, n, n, dtype=torch.float64)
        assert torch.allclose(op(W, x)[0], slow(op, W, x[0]))


@pytest.mark.parametrize("op", CONVS, ids=str)
def test_adjoint(op):
    W = torch.randn(op.shape, dtype=torch.float64)
    x, y = torch.randn(2, op.inputs, 6, 6).double(), torch.randn(2, op.outputs, 6 // op.stride, 6 // op.stride).double()
    b = torch.randn(op.inputs, dtype=torch.float64)
    assert torch.allclose((op(W, x) * y).sum(), (x * op.adjoint(W, y)).sum())
    assert torch.allclose(op.freeze_adjoint(W, b)(y), op.adjoint(W, y) + b[:, None, None])


def test_dense():
    op, W = Dense(3, 2), torch.randn(2, 3)
    x, y = torch.randn(5, 3), torch.randn(5, 2)
    assert torch.allclose((op(W, x) * y).sum(), (x * op.adjoint(W, y)).sum(), atol=1e-5)
    assert torch.allclose(op.gram(W), W.mT @ W) and torch.allclose(op.gram(W, "out"), W @ W.mT)


@pytest.mark.parametrize("op", [op for op in CONVS if op.padding_mode == "circular"], ids=str)
def test_folding_is_pixel_unshuffle(op):
    W, x = torch.randn(op.shape, dtype=torch.float64), torch.randn(1, op.inputs, 12, 12, dtype=torch.float64)
    folded = op.fold(W)
    inner = Conv(op.inputs * op.stride**2, op.outputs, folded.shape[-1], 1, "circular")
    # the folded kernel starts floor(before / stride) (rounded up) pixels before the pixel it writes
    lead = -(-op.before // op.stride)
    y = F.conv2d(F.pad(F.pixel_unshuffle(x, op.stride), 2 * (lead, inner.kernel - 1 - lead), "circular"), folded)
    assert torch.allclose(op(W, x), y)
    assert torch.equal(op.unfold(folded), W)


@pytest.mark.parametrize("op", CONVS, ids=str)
@pytest.mark.parametrize("side", ["in", "out"])
def test_row_sums_of_the_gram_kernel_bound_those_of_the_matrix(op, side):
    W = torch.randn(op.shape, dtype=torch.float64)
    n = 12
    J = matrix(op, W, n)
    G = J.mT @ J if side == "in" else J @ J.mT
    t = sdp.aol(op.gram(W, side))
    size = n // op.stride
    if side == "in":  # a phase of the fold is a pixel within its block
        rows = G.abs().sum(1).view(op.inputs, size, op.stride, size, op.stride).amax((1, 3)).flatten()
    else:
        rows = G.abs().sum(1).view(op.outputs, -1).amax(1)
    assert torch.allclose(rows, t)  # n >= 2 k - 1: some pixel sees every shift


@pytest.mark.parametrize("op", CONVS, ids=str)
def test_scaling_makes_the_matrix_a_contraction(op):
    W = torch.randn(op.shape, dtype=torch.float64)
    for n, side in itertools.product((4, 6, 7), ("in", "out")):
        bounding = op.for_size((n, n))
        V = bounding.scale(W, sdp.aol(bounding.gram(W, side)), side)
        assert torch.linalg.matrix_norm(matrix(op, V, n), 2) <= 1 + 1e-12


def test_known_wrong_scalings_fail():
    """Fewer shifts, the wrong side, multiples of the stride on the input side, an odd wrapped image folded."""
    worst = dict.fromkeys(("shifts", "side", "stride", "odd"), 0.0)
    for seed in range(300):
        g = torch.Generator().manual_seed(seed)
        op = Conv(2, 2, 3, 1, "circular")
        scales = (2 * torch.randn(2, 1, 1, 1, generator=g)).exp()
        W = (torch.randn(op.shape, generator=g) * scales).double()

        def check(name, op, V, n, worst=worst):
            worst[name] = max(worst[name], float(torch.linalg.matrix_norm(matrix(op, V, n), 2)))

        middle = op.gram(W, "out")[:, :, 1:4, 1:4]
        check("shifts", op, op.scale(W, sdp.aol(middle), "out"), 8)
        check("side", op, op.scale(W, sdp.aol(op.gram(W, "in")), "out"), 8)
        every = op.gram(W, "in")[:, :, ::2, ::2]
        strided = Conv(2, 2, 3, 2, "circular")
        check("stride", strided, op.scale(W, sdp.aol(every), "in"), 8)
        check("odd", strided, strided.scale(W, sdp.aol(strided.gram(W, "out")), "out"), 3)
    assert all(value > 1.01 for value in worst.values()), worst


@pytest.mark.parametrize("n,k", [(5, 3), (6, 2), (4, 5), (3, 5)])
def test_symbol_holds_the_singular_values_of_the_circular_matrix(n, k):
    op = Conv(2, 3, k, 1, "circular")
    W = torch.randn(op.shape, dtype=torch.float64)
    top = torch.linalg.matrix_norm(symbol(W, (n, n)), 2).max()
    assert torch.allclose(top, torch.linalg.matrix_norm(matrix(op, W, n), 2))


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_grid_factor_covers_the_torus(k):
    for seed in range(20):
        W = torch.randn(2, 2, k, k, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
        op = Conv(2, 2, k)
        F_, factor = op.symbols(W)
        fine = torch.linalg.matrix_norm(symbol(W, (97, 97)), 2).max()
        assert fine <= torch.linalg.matrix_norm(F_, 2).max() * factor * (1 + 1e-12)


def test_grid_factor_is_attained():
    """|cos(w - pi / M) cos(v - pi / M)| is at most cos^2(pi / M) on the M x M grid, and 1 between its points."""
    M = 8
    phase = torch.tensor(torch.pi / M, dtype=torch.float64)
    turn = torch.stack([torch.stack([phase.cos(), -phase.sin()]), torch.stack([phase.sin(), phase.cos()])])
    W = torch.zeros(2, 2, 3, 3, dtype=torch.float64)  # the complex number e^{i phase} as a 2 x 2 rotation
    for (u, first), (v, second) in itertools.product(((0, turn), (2, turn.mT)), repeat=2):
        W[:, :, u, v] = first @ second / 4
    op = Conv(2, 2, 3)
    coarse = torch.linalg.matrix_norm(op.symbols(W, M)[0], 2).max() * op.grid_factor(M)
    assert torch.allclose(coarse, torch.ones((), dtype=torch.float64))
    assert torch.linalg.matrix_norm(symbol(W, (2 * M, 2 * M)), 2).max() == pytest.approx(1)

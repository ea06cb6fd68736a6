"""Known mistakes, made on purpose: each breaks its promise by far more than rounding, the right formula keeps it.

Every table has rows (name, wrong, right, least): on the same draws the worst value of `wrong` is above `least`, that
of `right` at most 1. What is measured is said above each table. The numbers of the literature survey are comments.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from cases import jacobian, norm
from torch import nn

from lipviz import isometries, sdp
from lipviz.bounds import norm_bound
from lipviz.layers import conv2d, dense
from lipviz.operators import Conv, flipped, symbol
from lipviz.orthogonal import cayley, polar, projector, reflections
from lipviz.products import gram
from lipviz.rotations import _two_taps, taylor
from lipviz.semidefinite import lipsdp, network_lmi

TOLERANCE = 1e-11


def table(rows):
    """Parametrise a test by the rows of a table."""
    return pytest.mark.parametrize("wrong,right,least", [row[1:] for row in rows], ids=[row[0] for row in rows])


def check(wrong, right, least, draws):
    """The worst value of each over the draws."""
    draws = list(draws)
    bad, good = max(wrong(*draw) for draw in draws), max(right(*draw) for draw in draws)
    assert bad > least and good <= 1 + TOLERANCE, (bad, good)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def randn(*shape, g=None, dtype=torch.float64):
    return torch.randn(*shape, generator=g, dtype=dtype)


def eye(n, dtype=torch.float64):
    return torch.eye(n, dtype=dtype)


def norm2(W):
    return float(torch.linalg.matrix_norm(W, 2).max())


def written(function, shape):
    """The matrix of a linear function, by unit inputs; in one dimension shape is (length,)."""
    units = eye(math.prod(shape)).view(-1, *shape)
    return function(units).flatten(1).mT


# (a), (b) Dense: the norm of W T^{-1/2}, and that of I - 2 W D T^{-1} W^T over all slopes D


def matrices(count=100):
    """(W, q): uneven columns, at most 5 of them."""
    for seed in range(count):
        g = generator(seed)
        m, n = (int(torch.randint(1, 6, (), generator=g)) for _ in range(2))
        yield randn(m, n, g=g) * randn(n, g=g).exp(), randn(n, g=g).exp()


def vertices(n, low=0.0, high=1.0):
    """Every diagonal matrix with these two slopes."""
    return torch.diag_embed(torch.tensor(list(itertools.product((low, high), repeat=n))).double())


def permutations(n):
    """What the Jacobian of a sorting activation may be."""
    return torch.stack([eye(n)[list(p)] for p in itertools.permutations(range(n))])


def residual(rule, slopes=vertices, power=1.0):
    """(W, q) -> the largest norm of I - 2 W T^{-power} D W^T."""
    return lambda W, q: norm2(eye(len(W)) - 2 * (W * rule(gram(W), q) ** -power) @ slopes(W.shape[1]) @ W.mT)


def affine(rule, power=0.5):
    """(W, q) -> the norm of W T^{-power}."""
    return lambda W, q: norm2(W * rule(gram(W), q) ** -power)


def aol(G, q):
    return sdp.aol(G)


def both_sides(W, q):
    """Row sums of W W^T on the input side of a square W, and of W^T W."""
    return W[: min(W.shape), : min(W.shape)]


DENSE = [
    ("T^-1/2 for T^-1 in the residual", residual(sdp.sll, power=0.5), residual(sdp.sll), 9),  # 9.9
    ("T^-1 for T^-1/2 in the affine form", affine(sdp.sll, 1.0), affine(sdp.sll), 1.7),  # 1.77
    ("q only in the numerator", residual(lambda G, q: G.abs() @ q), residual(sdp.sll), 2.3),  # 2.3
    ("two vectors q", residual(lambda G, q: G.abs() @ q / q.flip(0)), residual(lambda G, q: sdp.sll(G, 1 / q)), 5),  # 5.9
    (
        "q / (q + 1e-6)",
        residual(lambda G, q: G.abs() @ (1e-6 * q) / (1e-6 * q + 1e-6)),
        residual(lambda G, q: sdp.sll(G, 1e-6 * q)),
        2.5,
    ),  # 3
    ("slopes of GELU", residual(sdp.sll, lambda n: vertices(n, -0.129, 1.129)), residual(sdp.sll), 1.25),  # 1.32
    ("slopes of SiLU", residual(sdp.sll, lambda n: vertices(n, -0.1, 1.1)), residual(sdp.sll), 1.19),
    ("slopes of |x|", residual(sdp.sll, lambda n: vertices(n, -1)), residual(sdp.sll), 2.9),  # 3.0
    ("sorting inside", residual(sdp.sll, permutations), residual(sdp.sll), 5),  # 5.5
    (
        "row sums of W W^T on the input side",
        lambda W, q: norm2(both_sides(W, q) * sdp.aol(gram(both_sides(W, q).mT)).rsqrt()),
        lambda W, q: norm2(both_sides(W, q) * sdp.aol(gram(both_sides(W, q))).rsqrt()),
        1.9,
    ),  # 2.0
    ("root 4 of a square", affine(lambda G, q: sdp.aol(G @ G) ** 0.25), affine(lambda G, q: sdp.sr(G, 1)), 2),
    ("no root of a square", affine(lambda G, q: sdp.aol(G @ G)), affine(lambda G, q: sdp.sr(G, 1, q)), 3),
]


@table(DENSE)
def test_dense(wrong, right, least):
    check(wrong, right, least, matrices())


@pytest.mark.parametrize("slope", [-0.129, 1.129, -0.1, 2.0])
def test_a_slope_outside_0_and_1_is_attained_at_an_orthogonal_weight(slope):
    Q = cayley(randn(4, 4))
    assert norm2(eye(4) - 2 * Q @ vertices(4, slope, 0.5)[0] @ Q.mT) == pytest.approx(abs(1 - 2 * slope))


def test_factor_1_in_the_residual_is_sound_but_reflects_nothing():
    for W, q in matrices(30):
        J = eye(len(W)) - W / sdp.sll(gram(W), q) @ vertices(W.shape[1]) @ W.mT
        values = torch.linalg.eigvalsh(J)
        assert values.min() >= -1e-12 and values.max() <= 1 + 1e-12
    reflected = eye(len(W)) - 2 * W / sdp.sll(gram(W), q) @ W.mT
    assert torch.linalg.eigvalsh(reflected).min() < -0.5


def test_an_epsilon_must_enlarge_t_and_a_zero_column_has_no_inverse():
    t = sdp.aol(eye(4))
    assert norm2(eye(4) * (t - 1e-6).rsqrt()) > 1 + 4e-7 and norm2(eye(4) * (t + 1e-6).rsqrt()) < 1
    W = randn(4, 4) * torch.tensor([1.0, 0.0, 1.0, 1.0])
    assert not (W * sdp.aol(gram(W)).rsqrt()).isfinite().all()
    layer = dense("aol", 4, 4).double()
    layer.weight.data = W
    V = layer.kernel(()).detach()
    assert norm2(V) <= 1 + TOLERANCE and not V[:, 1].any()


def test_q_on_one_axis_twice_cancels():
    """Sound, but AOL and not SLL."""
    G, q = Conv(3, 3, 3).gram(randn(3, 3, 3, 3), "out"), randn(3).exp()
    twice = (G.abs().sum((2, 3)) * q[:, None] / q[:, None]).sum(1)
    assert torch.allclose(twice, sdp.aol(G)) and not torch.allclose(twice, sdp.sll(G, q), rtol=0.1)


def power_iteration(W, steps):
    """The estimate u^T W v of ||W|| after that many steps from a random vector: a lower bound."""
    v = randn(*W.shape[:-2], W.shape[-1], 1)
    for _ in range(steps):
        u = W @ v
        v = W.mT @ (u / torch.linalg.vector_norm(u, dim=(-2, -1), keepdim=True))
        estimate = torch.linalg.vector_norm(v, dim=(-2, -1), keepdim=True)
        v = v / estimate
    return estimate[..., 0, 0]


# the worst ||I - 2 W W^T / s^2|| and ||W / s||: 5.18, 2.58, 1.82, 1.42, 1.04 and 1.66, -, -, 1.12, -
@pytest.mark.parametrize("steps,cpl,affine", [(1, 4, 1.6), (2, 2.5, 1.3), (5, 1.6, 1.1), (10, 1.4, 1.1), (100, 1.04, 1.01)])
def test_power_iteration_is_no_bound(steps, cpl, affine):
    W = randn(200, 64, 64)
    s = power_iteration(W, steps)[:, None, None]
    assert norm2(W / s) > affine and norm2(eye(64) - 2 * W @ W.mT / s**2) > cpl
    t = sdp.power_row_sums(gram(W))[:, None, None]
    assert norm2(W * t.rsqrt()) <= 1 and norm2(eye(64) - 2 * W @ W.mT / t) <= 1 + TOLERANCE


def test_a_full_multiplier_certifies_anything():
    """relu(x + 1) - relu(x - 1) has slope 1; with T = (1, -1)^T (1, -1) / 2 c the LMI proves every c > 0."""
    W0, W1, c = torch.ones(2, 1).double(), torch.tensor([[1.0, -1.0]]).double(), 1e-3
    T = W1.mT @ W1 / (2 * c)
    M = network_lmi([W0, W1], [torch.ones(2).double()], c)
    M[1:3, 1:3], M[1:3, :1], M[:1, 1:3] = 2 * T, -T @ W0, -(T @ W0).mT
    assert torch.linalg.eigvalsh(M).min() >= -TOLERANCE / c
    with pytest.raises(ValueError, match="multiplier"):
        network_lmi([W0, W1], [T], c)
    assert lipsdp([W0, W1]).value >= 1


# (c) Convolutions: the norm of the written-out matrix


def square(op, n=6):
    return (op.inputs, n, n)


def kernels(op, uneven=2.0, count=60):
    """Kernels whose channels differ in size."""
    for seed in range(count):
        g = generator(seed)
        scales = (uneven * randn(op.outputs, 1, 1, 1, g=g)).exp()
        yield (randn(*op.shape, g=g) * scales,)


def scaled(op, t, side="in", n=6):
    """K -> the norm of K scaled by T = t(Gram kernel)."""
    return lambda K: norm2(written(lambda x: op(op.scale(K, t(op.gram(K, side)), side), x), square(op, n)))


def reflecting(mode):
    """K -> the norm of its AOL convolution with another padding than zeros."""
    op = Conv(2, 2, 3)

    def measure(K):
        V = op.scale(K, sdp.aol(op.gram(K)), "in")
        return norm2(written(lambda x: F.conv2d(F.pad(x, 4 * (1,), mode), V), (2, 4, 4)))

    return measure


def corners(g=None):
    """Kernels that shift by one pixel along both axes: their AOL factor is 1."""
    K = torch.zeros(2, 2, 3, 3).double()
    K[:, :, 0, 0] = eye(2)
    yield (K,)


def flipped_gram(op):
    """K -> the norm with T from the true convolution of K with itself."""

    def measure(K):
        t = F.conv2d(K.transpose(0, 1), K.transpose(0, 1).flip(2, 3), padding=2).abs().sum((1, 2, 3))
        return norm2(written(lambda x: op(op.scale(K, t, "in"), x), square(op, 8)))

    return measure


def odd_kernel():
    """[delta; (1/2, 0, -1/2)]."""
    K = torch.zeros(2, 1, 3, 3).double()
    K[0, 0, 1, 1], K[1, 0, 1, 0], K[1, 0, 1, 2] = 1, 0.5, -0.5
    yield (K,)


def mixed_residual(outer, n=4):
    """K -> I - 2 K^T D T^-1 K over random slopes, K zero-padded inside and padded as told outside."""
    inner = Conv(2, 2, 3)
    outer = Conv(2, 2, 3, 1, outer)

    def measure(K):
        V = inner.scale(K, sdp.aol(inner.gram(K, "out")), "out")
        A, B = (written(lambda x, op=op: op(V, x), (2, n, n)) for op in (inner, outer))
        D = torch.randint(2, (50, len(A), 1), generator=generator(0)).double()
        return norm2(eye(len(A)) - 2 * B.mT @ (D * A))

    return measure


PLAIN, LONG, WIDE = Conv(2, 2, 3), Conv(2, 1, 3), Conv(1, 2, 3)
CONVOLUTIONS = [
    ("no absolute value", scaled(PLAIN, lambda R: R.sum((1, 2, 3)).abs()), scaled(PLAIN, sdp.aol), kernels(PLAIN), 30),
    ("only shift 0", scaled(PLAIN, lambda R: sdp.aol(R[:, :, 2, 2])), scaled(PLAIN, sdp.aol), kernels(PLAIN), 2.4),
    ("only small shifts", scaled(PLAIN, lambda R: sdp.aol(R[:, :, 1:4, 1:4])), scaled(PLAIN, sdp.aol), kernels(PLAIN), 1.25),
    ("the Gram kernel of the other side", lambda K: norm2(written(lambda x: PLAIN(PLAIN.scale(K, sdp.aol(PLAIN.gram(K)), "out"), x), (2, 6, 6))), scaled(PLAIN, sdp.aol, "out"), kernels(PLAIN), 2.9),
    ("kernel flipped", flipped_gram(WIDE), scaled(WIDE, sdp.aol, n=8), odd_kernel(), 1.39),
    ("reflect padding", reflecting("reflect"), reflecting("constant"), corners(), 1.99),
    ("replicate padding", reflecting("replicate"), reflecting("constant"), corners(), 1.99),
    ("circular transpose of a zero-padded convolution", mixed_residual("circular"), mixed_residual("zeros"), kernels(PLAIN, 1.0), 1.05),
]  # fmt: skip


@pytest.mark.parametrize("wrong,right,draws,least", [row[1:] for row in CONVOLUTIONS], ids=[row[0] for row in CONVOLUTIONS])
def test_convolutions(wrong, right, draws, least):
    check(wrong, right, least, draws)

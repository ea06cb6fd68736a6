"""Known mistakes, made on purpose: each breaks its promise by far more than rounding, the right formula keeps it.

The rows of a table are (name, wrong, right, least): on the same draws the worst value of `wrong` is above `least`,
that of `right` at most 1. What is measured stands above each table; a number behind a row is what a survey found for
that mistake on draws of its own.
"""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from cases import jacobian, norm

from lipviz import isometries, sdp
from lipviz.layers import conv2d, dense
from lipviz.operators import Conv, fft_correlate, flipped, symbol
from lipviz.orthogonal import cayley, polar, projector, reflections
from lipviz.products import gram
from lipviz.rotations import _two_taps, taylor
from lipviz.semidefinite import lipsdp, network_lmi

TOLERANCE = 1e-11


def table(columns, rows):
    """Parametrise a test by the rows of a table, whose first column is the name."""
    return pytest.mark.parametrize(columns, [row[1:] for row in rows], ids=[row[0] for row in rows])


def check(wrong, right, least, draws):
    """Compare the worst values over the draws."""
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


def square(W):
    """The largest square corner."""
    return W[: min(W.shape), : min(W.shape)]


DENSE = [
    ("T^-1/2 for T^-1 in the residual", residual(sdp.sll, power=0.5), residual(sdp.sll), 9),  # 9.9
    ("T^-1 for T^-1/2 in the affine form", affine(sdp.sll, 1.0), affine(sdp.sll), 1.7),  # 1.77
    ("q only in the numerator", residual(lambda G, q: G.abs() @ q), residual(sdp.sll), 2.3),  # 2.3
    (
        "two vectors q",
        residual(lambda G, q: G.abs() @ q / q.flip(0)),
        residual(lambda G, q: sdp.sll(G, 1 / q)),
        5,
    ),  # 5.9
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
        lambda W, q: norm2(square(W) * sdp.aol(gram(square(W).mT)).rsqrt()),
        lambda W, q: affine(sdp.sll)(square(W), q[: min(W.shape)]),
        1.9,
    ),  # 2.0
    ("root 4 of a square", affine(lambda G, q: sdp.aol(G @ G) ** 0.25), affine(lambda G, q: sdp.sr(G, 1)), 2),
    ("no root of a square", affine(lambda G, q: sdp.aol(G @ G)), affine(lambda G, q: sdp.sr(G, 1, q)), 3),
]


@table("wrong,right,least", DENSE)
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
@pytest.mark.parametrize(
    "steps,cpl,affine", [(1, 4, 1.55), (2, 2.5, 1.3), (5, 1.6, 1.1), (10, 1.4, 1.1), (100, 1.04, 1.01)]
)
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


def kernels(uneven=2.0, count=60):
    """2 x 2 x 3 x 3 kernels whose channels differ in size."""
    for seed in range(count):
        g = generator(seed)
        scales = (uneven * randn(2, 2, 1, 1, g=g)).exp()
        yield (randn(2, 2, 3, 3, g=g) * scales[:1] * scales[:, :1],)


def blur():
    """All ones: every shift counts."""
    yield (torch.ones(2, 2, 3, 3).double(),)


def corner():
    """A shift by one pixel along both axes; its AOL factor is 1."""
    K = torch.zeros(2, 2, 3, 3).double()
    K[:, :, 0, 0] = eye(2)
    yield (K,)


def odd():
    """[delta; (1/2, 0, -1/2)]."""
    K = torch.zeros(2, 1, 3, 3).double()
    K[0, 0, 1, 1], K[1, 0, 1, 0], K[1, 0, 1, 2] = 1, 0.5, -0.5
    yield (K,)


def scaled(t, side="in", inputs=2):
    """K -> the norm of K scaled by T = t(K, op)."""
    op = Conv(inputs, 2, 3, 1, "circular")
    return lambda K: norm2(written(lambda x: op(op.scale(K, t(K, op), side), x), (inputs, 8, 8)))


def all_shifts(K, op):
    return sdp.aol(op.gram(K))


def flipped_gram(K, op):
    """T from the true convolution of K with itself."""
    K = K.transpose(0, 1)
    return F.conv2d(K, K.flip(2, 3), padding=2).abs().sum((1, 2, 3))


def padded(mode):
    """K -> the norm of its AOL convolution on images padded by `mode`."""

    def measure(K):
        V = Conv(2, 2, 3).scale(K, sdp.aol(Conv(2, 2, 3).gram(K)), "in")
        return norm2(written(lambda x: F.conv2d(F.pad(x, 4 * (1,), mode), V), (2, 4, 4)))

    return measure


def residual_convolution(outside, n=4):
    """K -> the norm of I - 2 K^T D T^-1 K at random slopes; zeros are padded inside, `outside` for the transpose."""
    inner, outer = Conv(2, 2, 3), Conv(2, 2, 3, 1, outside)

    def measure(K):
        V = inner.scale(K, sdp.aol(inner.gram(K, "out")), "out")
        A, B = (written(lambda x, op=op: op(V, x), (2, n, n)) for op in (inner, outer))
        D = torch.randint(2, (50, len(A), 1), generator=generator(0)).double()
        return norm2(eye(len(A)) - 2 * B.mT @ (D * A))

    return measure


RIGHT = scaled(all_shifts)
CONVOLUTIONS = [
    ("no absolute value", scaled(lambda K, op: op.gram(K).sum((1, 2, 3)).abs()), RIGHT, 30, kernels),  # 30.8
    ("only shift 0", scaled(lambda K, op: sdp.aol(op.gram(K)[:, :, 2, 2])), RIGHT, 2.4, blur),  # 2.43
    ("only small shifts", scaled(lambda K, op: sdp.aol(op.gram(K)[:, :, 1:4, 1:4])), RIGHT, 1.25, blur),  # 1.25
    ("the other side", scaled(all_shifts, "out"), RIGHT, 2.9, kernels),  # 2.95
    ("kernel flipped", scaled(flipped_gram, inputs=1), scaled(all_shifts, inputs=1), 1.41, odd),  # sqrt(2)
    ("reflect padding", padded("reflect"), padded("constant"), 1.99, corner),  # 2
    ("replicate padding", padded("replicate"), padded("constant"), 1.99, corner),  # 2
    (
        "circular transpose of a zero-padded convolution",
        residual_convolution("circular"),
        residual_convolution("zeros"),
        1.05,  # 1.059
        lambda: kernels(1.0, 20),
    ),
]


@table("wrong,right,least,draws", CONVOLUTIONS)
def test_convolutions(wrong, right, least, draws):
    check(wrong, right, least, draws())


@pytest.mark.parametrize("n,reflect", [(3, math.sqrt(3)), (4, math.sqrt(2)), (9, math.sqrt(2))])
def test_padding_by_a_mirror_stretches(n, reflect):
    """The norm of padding one axis by one pixel; along two axes its square."""
    for mode, true in (("reflect", reflect), ("replicate", math.sqrt(2)), ("constant", 1)):
        J = written(lambda x, mode=mode: F.pad(x, (1, 1), mode), (1, n))
        assert norm2(J) == pytest.approx(true), mode


# (c) Estimates of a norm: the truth divided by the estimate


def full(K, n=16):
    """The largest norm on a fine grid of frequencies."""
    return norm2(symbol(K, (n, n)))


def unfoldings(K):
    """The smallest norm of the four matrices that hold the entries of a kernel."""
    o, c, k, _ = K.shape
    rows = K.reshape(o, -1), K.transpose(0, 1).reshape(c, -1)
    across = K.permute(0, 2, 1, 3).reshape(o * k, -1), K.permute(0, 3, 1, 2).reshape(o * k, -1)
    return min(map(norm2, rows + across))


def wave(M):
    """A symbol |cos(w - pi / M) cos(v - pi / M)|, whose peak lies between the points of the M x M grid."""
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double() * math.pi / M
    K = torch.zeros(2, 2, 3, 3).double()
    for u, v in itertools.product((-1, 1), repeat=2):
        K[:, :, 1 + u, 1 + v] = torch.matrix_exp((u + v) * turn) / 4
    return K


def supremum(op, K):
    """The library's bound over all frequencies."""
    matrices, factor = op.symbols(K)
    return norm2(matrices) * factor


def cut(K, n):
    """`torch.fft.fft2` drops the taps beyond the image."""
    return norm2(torch.fft.fft2(K, s=(n, n)).permute(2, 3, 0, 1))


def unrolled(K, n, mode="zeros"):
    """The norm on n x n images."""
    o, c, k, _ = K.shape
    return norm2(written(lambda x: Conv(c, o, k, 1, mode)(K, x), (c, n, n)))


def skew(K):
    return K - flipped(K)


def gaussian(*shape, seeds=20):
    return [randn(*shape, g=generator(seed)) for seed in range(seeds)]


DIFFERENCE = torch.tensor([[-1.0, 1.0], [0.0, 0.0]]).double().view(1, 1, 2, 2)
# (name, estimate, right estimate, truth, least, draws)
ESTIMATES = [
    (
        "fft2 with fewer pixels than taps",
        lambda K: cut(K, 3),
        lambda K: norm2(symbol(K, (3, 3))),
        lambda K: unrolled(K, 3, "circular"),
        10.81 / 6.80,
        gaussian(2, 2, 5, 5),
    ),
    (
        "circular norm for zero padding",
        lambda K: norm2(symbol(K, (3, 3))),
        lambda K: norm2(symbol(K, (4, 4))),
        lambda K: unrolled(K, 3),
        1.04,  # 1.802 / 1.732
        [DIFFERENCE],
    ),
    (
        "Fantastic Four without k",
        unfoldings,
        lambda K: 3 * unfoldings(K),
        full,
        1.7,
        gaussian(8, 8, 3, 3),
    ),  # 1.90 / 1.07
    (
        "SOC divided by the same",
        lambda K: unfoldings(skew(K)) / 0.7,
        lambda K: supremum(Conv(8, 8, 3), skew(K)),
        lambda K: full(skew(K)),
        1.35,  # 1.35 on average
        gaussian(8, 8, 3, 3),
    ),
    *(
        (
            f"square root of the grid factor, M = {M}",
            lambda K, M=M: norm2(symbol(K, (M, M))) * (1 - 2 / M) ** -0.5,
            lambda K, M=M: norm2(symbol(K, (M, M))) * Conv(2, 2, 3).grid_factor(M),
            lambda K, M=M: full(K, 2 * M),
            least,
            [wave(M)],
        )
        for M, least in ((4, 1.41), (6, 1.08), (8, 1.01))  # 2 / 1.414
    ),
    (
        "product over groups",
        lambda K: full(K[:1]) * full(K[1:]),
        lambda K: max(full(K[:1]), full(K[1:])),
        lambda K: norm2(written(lambda x: F.conv2d(F.pad(x, 4 * (1,), "circular"), K, groups=2), (2, 16, 16))),
        1.5,
        [K / 10 for K in gaussian(2, 1, 3, 3, seeds=3)],
    ),
]


@table("wrong,right,truth,least,draws", ESTIMATES)
def test_estimates(wrong, right, truth, least, draws):
    check(lambda K: truth(K) / wrong(K), lambda K: truth(K) / right(K), least, ((K,) for K in draws))


def test_zero_padding_is_bounded_by_the_circular_norm_of_larger_images_only():
    draws = [(K, n) for n in (2, 3, 5) for K in gaussian(2, 2, 3, 3, seeds=50)]
    larger = [unrolled(K, n) / norm2(symbol(K, (n + 2, n + 2))) for K, n in draws]
    same = [unrolled(K, n) / norm2(symbol(K, (n, n))) for K, n in draws]
    assert max(larger) <= 1 < 1.01 < max(same)


# (d) Orthogonal matrices: the norm of Q^H Q - I


def distance(Q):
    return norm2(Q.mH @ Q - eye(Q.shape[-1], Q.dtype))


def rectangular(sign=1.0, two=2.0, adjoint=lambda W: W.mH):
    """W -> [(I + A)^{-1} (I - A); -two V (I + A)^{-1}], A = U - U^H + sign V^H V."""

    def measure(W):
        n = W.shape[-1]
        U, V, I = W[..., :n, :], W[..., n:, :], eye(n, W.dtype)
        A = U - adjoint(U) + sign * adjoint(V) @ V
        return distance(torch.cat([torch.linalg.inv(I + A) @ (I - A), -two * V @ torch.linalg.inv(I + A)], -2))

    return measure


def tall(count=50):
    return [(K,) for K in gaussian(5, 3, seeds=count)]


def transforms(count=20):
    return [(symbol(K, (4, 4)),) for K in gaussian(5, 3, 3, 3, seeds=count)]


def bro(epsilon):
    """V -> I - 2 V (V^T V + epsilon I)^{-1} V^T."""
    return lambda V: eye(len(V)) - 2 * V @ torch.linalg.inv(gram(V) + epsilon * eye(V.shape[1])) @ V.mT


def similar(count=20):
    """Matrices with two almost equal columns."""
    for V in gaussian(6, 2, seeds=count):
        yield (torch.stack([V[:, 0], V[:, 0] + 1e-2 * V[:, 1]], 1),)


def eco(n, k=3):
    """W -> k^2 orthogonal matrices, as a kernel dilated n / k times, on n x n images: one matrix a frequency."""

    def measure(W):
        kernel = torch.fft.irfft2(cayley(torch.fft.rfft2(W).permute(2, 3, 0, 1)).permute(2, 3, 0, 1), s=(k, k))
        image = torch.zeros(*W.shape[:2], n, n).double()
        image[:, :, : k * (n // k) : n // k, : k * (n // k) : n // k] = kernel
        return distance(torch.fft.fft2(image).permute(2, 3, 0, 1))

    return measure


def filters():
    return [(K,) for K in gaussian(3, 3, 3, 3, seeds=20)]


def exact(W):
    return distance(cayley(W))


MATRICES = [
    ("Cayley, -V^H V", rectangular(-1), exact, 20, tall),  # 22
    ("Cayley, V^H V / 2", rectangular(0.5), exact, 0.75, tall),  # 0.76
    ("Cayley without the 2", rectangular(two=1), exact, 0.7, tall),
    ("Cayley, plain transpose", rectangular(adjoint=lambda W: W.mT), exact, 10, transforms),  # 11
    (
        "Householder without the 2",
        lambda V: distance(eye(6) - projector(V[:, :1])),
        lambda V: distance(reflections(V[:, :1])),
        0.99,
        similar,
    ),
    (
        "BRO with V^T V - eps",
        lambda V: distance(bro(-1e-5)(V)),
        lambda V: distance(eye(6) - 2 * projector(V)),
        1.23**2 - 1,  # 1.23
        similar,
    ),
    ("ECO, n = 8 and k = 3", eco(8), eco(6), 1.54**2 - 1, filters),  # 1.54
    ("ECO, n = 10 and k = 3", eco(10), eco(9), 1.54**2 - 1, filters),
]


@table("wrong,right,least,draws", MATRICES)
def test_orthogonal_matrices(wrong, right, least, draws):
    draws = list(draws())
    assert max(wrong(*draw) for draw in draws) > least and max(right(*draw) for draw in draws) <= 1e-9


def test_what_is_not_orthogonal_but_sound():
    """Cayley without the 2, one reflection without the 2, BRO with V^T V + eps, P between 0 and I."""
    for (W,) in tall():
        U, V, I = W[:3], W[3:], eye(3)
        A = U - U.mT + V.mT @ V
        assert norm2(torch.cat([torch.linalg.inv(I + A) @ (I - A), -V @ torch.linalg.inv(I + A)])) <= 1 + TOLERANCE
    for (V,) in similar():
        values = torch.linalg.eigvalsh(bro(1e-5)(V))
        assert -1 < values.min() < -0.99 and values.max() <= 1 + TOLERANCE and values[1] > -0.999999
        assert norm2(eye(6) - projector(V)) <= 1 + TOLERANCE


def bjorck(W, steps):
    for _ in range(steps):
        W = 1.5 * W - 0.5 * W @ gram(W)
    return W


def test_bjorck_needs_a_norm_of_at_most_2():
    for W in (W / norm2(W) for W in gaussian(64, 64, seeds=3)):
        assert norm2(bjorck(2.3 * W, 6)) > 1e44
        for steps in (1, 3, 15, 20):
            assert norm2(bjorck(2 * W, steps)) <= 1 + TOLERANCE and norm2(polar(W, steps)) <= 1 + TOLERANCE
        smallest = [float(torch.linalg.svdvals(bjorck(W, steps))[-1]) for steps in (3, 30)]
        assert smallest[0] < 0.1 and smallest[1] > 0.9, "sound at once, orthogonal in the limit"


# (d) The truncated exponential: sup |S_k(i t)| over t in [0, limit]


def truncated(k, limit):
    """S_k = sum of z^i / i! over i < k, on the imaginary axis."""
    z = 1j * torch.linspace(0, limit, 20001, dtype=torch.float64)
    return float(sum(z**i / math.factorial(i) for i in range(k)).abs().max())


EXCEEDING = [
    *((3, 1, 1.118), (6, 1, 1.0009), (7, 1, 1.00015), (10, 1, 1 + 1.6e-7)),
    *((4, 2.1, 1.327), (6, 2.1, 1.0047), (7, 2.1, 1.0335), (8, 2.1, 1.0027), (12, 2.1, 1.0000054)),
]


@pytest.mark.parametrize("k,limit,least", EXCEEDING)
def test_truncations_that_exceed_1(k, limit, least):
    assert least <= truncated(k, limit) < least + 0.001


# 1.732, 2.828, 1.764, 3.395, 1.701, 3.379
@pytest.mark.parametrize(
    "k,threshold", [(4, math.sqrt(3)), (5, math.sqrt(8)), (8, 1.7644), (9, 3.395), (12, 1.7013), (13, 3.379)]
)
def test_truncations_that_are_contractions_up_to_an_angle(k, threshold):
    assert truncated(k, threshold * 0.999) <= 1 + 1e-13 and truncated(k, threshold * 1.002) > 1 + 1e-9


def test_the_series_of_soc_is_the_one_that_is_a_contraction():
    turn = torch.tensor([[0.0, -1.0], [1.0, 0.0]]).double()
    for angle in torch.linspace(0, math.sqrt(3), 50).tolist():
        assert norm2(taylor(angle * turn)) <= 1 + TOLERANCE
    assert norm2(taylor(2.1 * turn)) > 1.32, "the angle that the public normalisation guarantees"
    layer = conv2d("soc", 2, 2, 3).double()
    layer.gain.data.fill_(1e3)
    assert norm2(written(lambda x: layer.skew(layer.generator_kernel().detach(), x), (2, 5, 5))) <= math.sqrt(3)


@pytest.mark.parametrize("mode", ["zeros", "circular"])
def test_an_antisymmetric_convolution_flips_its_taps(mode):
    """The error of J^T = -J relative to J, and the norm of the series at angle 1."""
    op = Conv(3, 3, 3, 1, mode)
    for (K,) in filters():
        for L, right in ((K - K.transpose(0, 1), False), (skew(K), True)):
            J = written(lambda x, L=L: op(L, x), (3, 5, 5))
            J = J / norm2(J)
            assert (norm2(J + J.mT) <= TOLERANCE) if right else (norm2(J + J.mT) > 0.99)
            assert (norm2(taylor(J)) <= 1 + TOLERANCE) if right else (norm2(taylor(J)) > 1.1)


# (d) Orthogonal convolutions: singular values of the written-out matrix


def circular(K, n=6, stride=1, mode="circular"):
    """The singular values on n x n images."""
    o, c, k, _ = K.shape
    return torch.linalg.svdvals(written(lambda x: Conv(c, o, k, stride, mode)(K, x), (c, n, n)))


def block(change, seed, pairs=2):
    """The kernel of AOC with every projector P replaced by change(P)."""
    g = generator(seed)
    K = cayley(randn(4, 4, g=g))[:, :, None, None]
    for i, axis in itertools.product(range(pairs), (0, 1)):
        K = _two_taps(K, change(projector(randn(4, 2, g=g))), i % 2 == 0, axis)
    return K


def test_block_convolutions_need_projectors():
    lost = []
    for seed in range(10):
        for mode in ("circular", "zeros"):
            assert circular(block(lambda P: 1.05 * P, seed), mode=mode)[0] > 1.19  # 1.19
            between = circular(block(lambda P: 0.7 * P + 0.15 * eye(4), seed), mode=mode)
            assert between[0] <= 1 + TOLERANCE and between[-1] < 0.5  # 0.18
        right = circular(block(lambda P: P, seed))
        assert right[0] <= 1 + TOLERANCE and right[-1] >= 1 - 1e-7
        zeros = circular(block(lambda P: P, seed), mode="zeros")
        assert zeros[0] <= 1 + TOLERANCE
        lost.append(zeros[-1])
    assert min(lost) < 0.02, "sound, not orthogonal"  # 0.011


def test_a_reshaped_orthogonal_matrix_needs_windows_that_do_not_overlap():
    """RKO: the norm at stride s is at most ceil(k / s), attained by a mean."""
    worst = dict.fromkeys((1, 2, 3), 0.0)
    for seed, s in itertools.product(range(10), worst):
        sigma = circular(cayley(randn(3, 18, g=generator(seed))).view(3, 2, 3, 3), 6, s)
        worst[s] = max(worst[s], float(sigma[0]))
        assert sigma[0] <= math.ceil(3 / s) + TOLERANCE and (s < 3 or sigma[-1] >= 1 - TOLERANCE)
    assert worst[1] > 2.4 and worst[2] > 1.6 and worst[3] <= 1 + TOLERANCE  # 2.56
    assert circular(torch.full((1, 1, 3, 3), 1 / 3).double())[0] == pytest.approx(3)


def test_a_cropped_orthogonal_convolution_is_sound_and_not_orthogonal():
    """LOT and BRO on zero-padded images: pad by k // 2, orthogonalise, crop."""
    smallest = 1.0
    for (K,) in filters():
        Q = cayley(symbol(K, (6, 6)))
        whole = written(lambda x, Q=Q: fft_correlate(Q, x, None), (3, 6, 6))
        cropped = whole.view(3, 6, 6, 3, 6, 6)[:, 1:5, 1:5, :, 1:5, 1:5].flatten(3).flatten(0, 2)
        assert distance(whole) <= TOLERANCE
        sigma = torch.linalg.svdvals(cropped)
        assert sigma[0] <= 1 + TOLERANCE
        smallest = min(smallest, float(sigma[-1]))
    assert smallest < 0.05


# (e) Sandwiches: the largest norm of outer D inner over all slopes D


def sandwiches(count=100):
    """(A, B, psi, other psi)."""
    for seed in range(count):
        g = generator(seed)
        q, p = (int(torch.randint(1, 5, (), generator=g)) for _ in range(2))
        C = cayley(randn(q + p, q, g=g))
        yield C[:q].mT, C[q:].mT, randn(q, g=g).exp(), randn(q, g=g).exp()


def sandwich(change=lambda A, B, psi, other: (A, psi, B, psi), two=2**0.5, slopes=vertices):
    """(A, B, psi, other) -> the largest norm of two A^T Psi D sqrt(2) Psi'^-1 B with (A, psi, B, psi') changed."""

    def measure(*draw):
        A, outside, B, inside = change(*draw)
        outer, inner = two * A.mT * outside, math.sqrt(2) / inside[:, None] * B
        return norm2(outer @ slopes(len(A)) @ inner)

    return measure


SANDWICHES = [
    ("2 for sqrt(2)", sandwich(two=2.0), 1.4),  # 1.41
    ("Psi not inverted", sandwich(lambda A, B, psi, other: (A, psi, B, 1 / psi)), 17),  # 17.8
    ("A for A^T", sandwich(lambda A, B, psi, other: (A.mT, psi, B, psi)), 1.7),  # 1.63; and 1.71 for A = U
    ("two Psi", sandwich(lambda A, B, psi, other: (A, psi, B, other)), 1.58),  # 1.58
    ("slopes of |x|", sandwich(slopes=lambda n: vertices(n, -1)), 1.9),  # 1.95
]


@table("wrong,least", SANDWICHES)
def test_sandwiches(wrong, least):
    check(wrong, sandwich(), least, sandwiches())


def test_a_sandwich_may_have_any_product_of_norms():
    product = max(norm2(2**0.5 * A.mT * psi) * norm2(2**0.5 / psi[:, None] * B) for A, B, psi, _ in sandwiches())
    assert product > 10


# (g) Helper layers, and what their constant is without the division


def means(x, stride):
    """Means of 3 x 3 blocks; the constant is at most ceil(3 / stride) / 3."""
    return F.avg_pool2d(x, 3, stride)


ROWS = torch.ones(5, 4).double() / 2
# (name, wrong, right, shape, constant of `wrong`)
HELPERS = [
    ("channels cloned", lambda x: torch.cat(4 * [x], 1), lambda x: torch.cat(4 * [x], 1) / 2, (2, 3, 3), 2),
    ("f beside g", lambda x: torch.cat([x, -x], 1), lambda x: torch.cat([x, -x], 1) / 2**0.5, (2, 3, 3), 2**0.5),
    ("x + f(x)", lambda x: x + (x + 9).abs(), isometries.ResidualAverage(isometries.Abs()).double(), (4,), 2),
    ("sum over channels", lambda x: x.sum(1), lambda x: 5**0.5 * x.mean(1), (5, 2, 2), 5**0.5),
    ("sum over pixels", lambda x: x.sum((2, 3)), lambda x: 3 * x.mean((2, 3)), (2, 3, 3), 3),
    ("sum of blocks", lambda x: 4 * F.avg_pool2d(x, 2), isometries.Pool(2), (2, 4, 4), 2),
    ("k means of overlapping blocks", lambda x: 3 * means(x, 1), lambda x: means(x, 1), (1, 17, 17), 3 * 0.976),
    ("the same at stride 2", lambda x: 3 * means(x, 2), lambda x: 1.5 * means(x, 2), (1, 9, 9), 3 * 0.513),
    ("unit rows taken as one vector", lambda x: x @ ROWS.mT, lambda x: x @ ROWS.mT / 5**0.5, (4,), 5**0.5),
]


@table("wrong,right,shape,constant", HELPERS)
def test_helpers(wrong, right, shape, constant):
    assert norm(wrong, shape, points=5) == pytest.approx(constant, rel=1e-3)
    assert norm(right, shape, points=5) <= 1 + TOLERANCE


def test_softmax_at_a_low_temperature_and_its_logarithm():
    """1 / 2 T where two logits are equal; the logarithm reaches sqrt(K) where one class is certain."""
    for T in (1, 0.25):
        J = jacobian(lambda x, T=T: F.softmax(x / T, 1), torch.zeros(1, 2).double())
        assert norm2(J) == pytest.approx(1 / (2 * T))
    certain = torch.tensor([[99.0, 0, 0, 0, 0]]).double()
    assert norm2(jacobian(lambda x: F.log_softmax(x, 1), certain)) == pytest.approx(5**0.5)
    assert norm2(jacobian(lambda x: F.softmax(x, 1), certain)) < 1e-9

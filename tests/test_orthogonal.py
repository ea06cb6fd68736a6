"""Products, orthogonal maps, orthogonal convolutions and sandwiches, each against a slow and obvious reference."""

import itertools
import math

import numpy as np
import pytest
import torch
from cases import jacobian, perturb

from lipviz import products, sdp
from lipviz.layers import conv2d, conv_transpose2d, dense
from lipviz.operators import Conv, symbol
from lipviz.orthogonal import bounded, cayley, contracted, exponential, normalised, polar, projector, reflections
from lipviz.products import gram, gram_kernel, hermitian, inverse, row_sums, square

DTYPES = (torch.float64, torch.complex128)
both = pytest.mark.parametrize("dtype", DTYPES, ids=["real", "complex"])
SHAPES = [(1, 1), (5, 5), (7, 3), (3, 7), (4, 1), (1, 4)]
batches = pytest.mark.parametrize("batch", [(), (3,), (2, 3)], ids=str)


def randn(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype)


def eye(n, dtype=torch.float64):
    return torch.eye(n, dtype=dtype)


def close(found, true, atol=1e-12):
    return found.shape == true.shape and bool(((found - true).abs() <= atol * true.abs().max().clamp_min(1)).all())


def norm2(W):
    return float(torch.linalg.matrix_norm(W, 2).max())


def one_by_one(slow, W):
    """`slow` of every matrix of a batch."""
    each = [slow(w) for w in W.reshape(-1, *W.shape[-2:])]
    return torch.stack(each).view(*W.shape[:-2], *each[0].shape)


# Products


@both
@batches
@pytest.mark.parametrize("m,n", SHAPES)
def test_gram_and_square(m, n, batch, dtype):
    W = randn(*batch, m, n, dtype=dtype)
    G = torch.einsum("...ki,...kj->...ij", W.conj(), W)
    assert close(gram(W), G) and close(square(G), torch.einsum("...ik,...kj->...ij", G, G))


@both
@batches
@pytest.mark.parametrize("halves", [2, 3, 5])
def test_a_gram_matrix_by_halves(batch, halves, dtype, monkeypatch):
    monkeypatch.setattr(products, "HALVES", halves)
    for n in range(1, 12):
        W = randn(*batch, 4, n, dtype=dtype)
        assert close(hermitian(W), W.mH @ W) and close(gram(W), W.mH @ W)


@pytest.mark.parametrize("n", [511, 512, 513, 1027])
def test_gram_above_its_half(n):
    assert products.HALVES == 512
    W = randn(3, n)
    assert close(gram(W), W.mT @ W)


@pytest.mark.parametrize("m,n", SHAPES)
def test_row_sums_of_a_gram_matrix(m, n):
    W, q = randn(m, n), randn(n).exp()
    assert close(row_sums(W, q), (W.mT @ W).abs() @ q)
    each = torch.func.vmap(lambda q: torch.func.grad(lambda W: row_sums(W, q).sum())(W))(torch.stack([q, 2 * q]))
    assert close(each[1], 2 * each[0])


def definite(n, batch=(), dtype=torch.float64):
    """A matrix whose Hermitian part is positive definite."""
    X, V = randn(*batch, n, n, dtype=dtype), randn(*batch, max(1, n // 2), n, dtype=dtype)
    return eye(n, dtype) + (X - X.mH + V.mH @ V) / n**0.5


@both
@batches
@pytest.mark.parametrize("block", [1, 2, 3])
def test_inverse_by_blocks_of_any_size(batch, block, dtype, monkeypatch):
    monkeypatch.setattr(products, "BLOCK", block)
    for n in range(1, 12):
        M = definite(n, batch, dtype)
        assert close(inverse(M), torch.linalg.inv(M))


@pytest.mark.parametrize("n,batch", [(127, ()), (128, (2,)), (129, ()), (131, (2, 1)), (257, ()), (515, ())])
def test_inverse_above_its_block(n, batch):
    assert products.BLOCK == 128
    M = definite(n, batch)
    assert close(inverse(M), torch.linalg.inv(M)) and close(inverse(M) @ M, eye(n).expand(M.shape), 1e-11)


@both
def test_row_sums_of_powers(dtype):
    for k, n in itertools.product((0, 1, 3, 6), (1, 4)):
        F = randn(5, n + 1, n, dtype=dtype)
        G = gram(F)
        slow = torch.stack([torch.linalg.matrix_power(g, 2**k).abs().sum(1).max() ** 0.5**k for g in G])
        assert close(sdp.power_row_sums(G, k), slow) and close(sdp.spectral(G, k), slow.max())
        assert (slow >= torch.linalg.eigvalsh(G)[:, -1] * (1 - 1e-12)).all()


def test_powers_of_a_gram_matrix_and_of_a_gram_kernel():
    G, q = gram(randn(4, 3)), randn(3).exp()
    K = randn(2, 3, 2, 2)
    R = Conv(3, 2, 2).gram(K, "in")
    for k in (0, 1, 2):
        p = 2**k
        rows = torch.linalg.matrix_power(G, p).abs()
        assert close(sdp.sr(G, k), rows.sum(1) ** (1 / p)) and close(sdp.sr(G, k, q), (rows @ q / q) ** (1 / p))
        slow = R
        for _ in range(p - 1):  # the kernel of a product of matrices is the convolution of the kernels
            longer = slow.new_zeros(3, 3, slow.shape[2] + 2, slow.shape[3] + 2)
            for u, v in itertools.product(range(3), range(3)):
                longer[:, :, u : u + slow.shape[2], v : v + slow.shape[3]] += torch.einsum(
                    "ijuv,jk->ikuv", slow, R[:, :, u, v]
                )
            slow = longer
        assert close(sdp.power(R, k), slow) and close(sdp.sr(R, k), slow.abs().sum((1, 2, 3)) ** (1 / p))


# Gradients

UNIVERSAL = {
    "gram": (gram, (3, 2)),
    "square": (lambda W: square(gram(W)), (3, 2)),
    **{f"spectral {k}": (lambda W, k=k: sdp.spectral(gram(W), k), (2, 3, 3)) for k in (0, 1, 3, 6)},
    "inverse": (lambda W: inverse(eye(3, W.dtype) + W - W.mH + gram(W)), (2, 3, 3)),
    "cayley": (cayley, (2, 3, 3)),
    "cayley tall": (cayley, (4, 2)),
    "cayley wide": (cayley, (2, 4)),
    **{f"polar {steps}": (lambda W, steps=steps: polar(W, steps), (2, 3, 2)) for steps in (0, 1, 3)},
    "polar wide": (lambda W: polar(W, 2), (2, 3)),
    "projector": (projector, (2, 4, 2)),
    "projector square": (projector, (3, 3)),
}
REAL = {
    "exponential": (exponential, (3, 3)),
    "reflections": (reflections, (4, 3)),
    "sr": (lambda W: sdp.sr(gram(W), 2), (4, 3)),
    "sr of a kernel": (lambda W: sdp.sr(Conv(2, 2, 2).gram(W, "in"), 1), (2, 2, 2, 2)),
    "bounded": (lambda W: bounded(W, W.sum(), 3.0), (3, 2)),
}


@pytest.mark.parametrize("name,dtype", [*itertools.product(UNIVERSAL, DTYPES), *((name, DTYPES[0]) for name in REAL)])
def test_gradients_against_differences(name, dtype):
    function, shape = {**UNIVERSAL, **REAL}[name]
    W = randn(*shape, dtype=dtype).requires_grad_()
    assert torch.autograd.gradcheck(function, W)


@both
def test_the_gradient_of_a_square_is_hermitian(dtype):
    G, C = gram(randn(4, 3, dtype=dtype)).requires_grad_(), randn(3, 3, dtype=dtype)
    square(G).backward(C)
    H = (C + C.mH) / 2
    assert close(G.grad, H @ G.detach() + G.detach() @ H)


SECOND = ["gram", "square", "spectral 3", "inverse", "cayley", "cayley tall", "polar 1", "projector", "exponential"]


@pytest.mark.parametrize("name", [*SECOND, "reflections"])
def test_second_gradients(name):
    function, shape = {**UNIVERSAL, **REAL}[name]
    for dtype in DTYPES if name in UNIVERSAL else DTYPES[:1]:
        assert torch.autograd.gradgradcheck(function, randn(*shape[-2:], dtype=dtype).requires_grad_())


def test_gradients_of_row_sums():
    W, q = randn(4, 3).requires_grad_(), randn(3).exp().requires_grad_()
    for function in (row_sums, lambda W, q: row_sums(W, q) / q):
        assert torch.autograd.gradcheck(function, (W, q)) and torch.autograd.gradgradcheck(function, (W, q))


@both
def test_third_gradients_of_a_projector(dtype):
    C = randn(3, 3, dtype=dtype)

    def gradient(V):
        return torch.autograd.grad((projector(V) * C).sum().abs(), V, create_graph=True)[0]

    assert torch.autograd.gradgradcheck(gradient, randn(3, 2, dtype=dtype).requires_grad_())


BATCHED = ["gram", "square", "inverse", "cayley", "polar 3", "projector", "spectral 3"]


@pytest.mark.parametrize("name", BATCHED)
def test_one_gradient_for_each_matrix_of_a_batch(name):
    """torch.func.vmap goes through every custom gradient."""
    function, shape = UNIVERSAL[name]
    W = randn(4, *shape[-2:])
    C = torch.randn_like(function(W[0]))
    one = torch.func.grad(lambda w: (function(w) * C).sum())
    assert close(torch.func.vmap(function)(W), torch.stack([function(w) for w in W]))
    assert close(torch.func.vmap(one)(W), torch.stack([one(w) for w in W]))


DEPENDENT = (torch.zeros(4, 2), torch.ones(4, 3), torch.eye(4) * torch.tensor([1, 1, 0, 0]), 1e18 * torch.ones(4, 2))


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64, *DTYPES])
def test_a_projector_that_lost_its_rank_has_finite_gradients(dtype):
    for V in (V.clone().to(dtype).requires_grad_() for V in DEPENDENT):
        P = projector(V)
        (P * torch.randn_like(P)).sum().abs().backward()
        assert V.grad.isfinite().all()


# Matrices


def slow_cayley(W):
    if W.shape[0] < W.shape[1]:
        return slow_cayley(W.mH).mH
    n = W.shape[1]
    U, V, I = W[:n], W[n:], eye(n, W.dtype)
    A = U - U.mH + V.mH @ V
    return torch.cat([torch.linalg.inv(I + A) @ (I - A), -2 * V @ torch.linalg.inv(I + A)])


def slow_polar(W, steps=None):
    """Every singular value s of W T^{-1/2} becomes s (3 - s^2) / 2, `steps` times; 1 for None."""
    if W.shape[0] < W.shape[1]:
        return slow_polar(W.mH, steps).mH
    U, s, Vh = torch.linalg.svd(W / (W.mH @ W).abs().sum(1).sqrt(), full_matrices=False)
    for _ in range(steps or 0):
        s = s * (3 - s**2) / 2
    return (U if steps is None else U * s) @ Vh


def slow_reflections(V):
    Q = eye(len(V))
    for v in V.mT:
        Q = Q if not v.any() else Q @ (eye(len(V)) - 2 * torch.outer(v, v) / (v @ v))
    return Q


def slow_projector(V):
    return V @ torch.linalg.pinv(V)


@both
@batches
@pytest.mark.parametrize("m,n", [*SHAPES, (140, 131), (300, 130)])
def test_cayley_is_its_formula_and_orthogonal(m, n, batch, dtype):
    W = randn(*batch, m, n, dtype=dtype)
    Q = cayley(W)
    assert close(Q, one_by_one(slow_cayley, W), 1e-11)
    Q = Q if m >= n else Q.mH
    assert close(Q.mH @ Q, eye(min(m, n), dtype).expand(*batch, -1, -1))


def test_cayley_of_a_square_matrix_is_a_rotation_that_turns_nothing_round():
    for scale in (0.1, 1, 10):
        Q = cayley(scale * randn(5, 5))
        assert torch.linalg.det(Q) == pytest.approx(1)
        assert (torch.linalg.eigvals(Q) + 1).abs().min() > 1e-4


@pytest.mark.parametrize("angle", [0, 0.1, 1, math.pi])
def test_exponential_up_to_half_a_turn(angle):
    W = randn(6, 6)
    A = W - W.mT
    W = W * angle / norm2(A)
    assert close(exponential(W), torch.matrix_exp(W - W.mT), 2e-6)
    assert close(exponential(W, 8), torch.matrix_exp(W - W.mT), 1e-10)


@pytest.mark.parametrize("scale,tolerance", [(1e-9, 1e-13), (1e-3, 1e-13), (1, 1e-13), (30, 1e-11), (1e3, 1e-6)])
@pytest.mark.parametrize("n", [1, 2, 9, 64])
def test_exponential_is_a_rotation_at_any_angle(scale, tolerance, n):
    Q = exponential(scale * randn(n, n))
    assert close(Q.mT @ Q, eye(n), tolerance) and torch.linalg.det(Q) > 0.99


@both
@batches
@pytest.mark.parametrize("m,n", SHAPES)
def test_polar_moves_the_singular_values_and_nothing_else(m, n, batch, dtype):
    W = randn(*batch, m, n, dtype=dtype) * torch.logspace(-1, 1, n, dtype=torch.float64)
    for steps in (0, 1, 2, 5):
        assert close(polar(W, steps), one_by_one(lambda w, steps=steps: slow_polar(w, steps), W), 1e-10)


@both
@pytest.mark.parametrize("m,n", [(5, 5), (7, 3), (3, 7)])
def test_polar_approaches_the_polar_factor_from_below(m, n, dtype):
    W = randn(m, n, dtype=dtype)
    sigma = torch.stack([torch.linalg.svdvals(polar(W, steps)) for steps in range(40)])
    assert (sigma.diff(dim=0) >= -1e-14).all() and (sigma <= 1 + 1e-14).all()
    assert close(polar(W, 40), slow_polar(W))


@pytest.mark.parametrize("n,r", [(1, 1), (5, 1), (5, 3), (6, 6), (40, 40)])
def test_reflections_are_the_product_of_householder_matrices(n, r):
    V = randn(n, r) * torch.logspace(-90, 90, r, dtype=torch.float64)
    assert close(reflections(V), slow_reflections(V))
    V[:, ::2] = 0
    assert close(reflections(V), slow_reflections(V))
    assert torch.linalg.det(reflections(V)) == pytest.approx((-1) ** (r // 2))


def test_reflections_at_the_same_mirror_cancel():
    v = randn(6, 1)
    assert close(reflections(v.expand(6, 4)), eye(6)) and close(reflections(v.expand(6, 5)), slow_reflections(v))


@both
@batches
@pytest.mark.parametrize("m,r", [(1, 1), (5, 5), (7, 3), (4, 1)])
def test_projector(m, r, batch, dtype):
    V = randn(*batch, m, r, dtype=dtype)
    assert close(projector(V), one_by_one(slow_projector, V), 1e-11)


HARD = {
    "zero": lambda V: 0 * V,
    "a column of zeros": lambda V: V * torch.tensor([1, 0, 1]),
    "equal": lambda V: V[:, :1].expand(-1, 3),
    "nearly equal": lambda V: V[:, :1] + 1e-9 * V,
    "almost equal": lambda V: V[:, :1] + 1e-13 * V,
    "huge": lambda V: 1e150 * V,
    "tiny": lambda V: 1e-150 * V,
    "uneven": lambda V: V * torch.tensor([1e-12, 1, 1e12], dtype=torch.float64),
    "nearly equal and huge": lambda V: 1e12 * (V[:, :1] + 1e-9 * V),
}


@both
@pytest.mark.parametrize("name", HARD)
def test_a_projector_stays_between_0_and_1(name, dtype):
    V = HARD[name](randn(6, 3, dtype=dtype))
    P = projector(V)
    values = torch.linalg.eigvalsh(P)
    assert close(P, P.mH, 1e-15) and values[0] >= -1e-14 and values[-1] <= 1 + 1e-14
    s = torch.linalg.svdvals(V)  # a direction of size s is kept by the share s^2 / (s^2 + d^2), d^2 = 2^-52
    assert float(P.diagonal().real.sum()) == pytest.approx(float((1 / (1 + 2.0**-52 / s**2)).sum()), abs=1e-4)


@both
def test_contracted_matrices(dtype):
    """Orthonormal columns stay, and whatever else is divided by at most a bound of its norm."""
    Q = torch.linalg.qr(randn(2, 6, 3, dtype=dtype))[0]
    assert close(contracted(Q), Q) and close(contracted(7 * Q), Q) and close(contracted(0.5 * Q), 0.5 * Q)
    W = randn(2, 6, 3, dtype=dtype)
    rows = torch.stack([((w.mH @ w).real.abs() + (w.mH @ w).imag.abs() if w.is_complex() else (w.mH @ w).abs())
                        .sum(1).max() for w in W])  # fmt: skip
    assert close(contracted(W), W / rows.sqrt()[:, None, None]) and norm2(contracted(W)) <= 1


def test_a_bounded_weight_has_the_norm_it_is_told():
    W = randn(3, 4)
    for gain, limit in ((0.3, 2.0), (-5.0, 2.0), (1e9, 7.0)):
        for size in (1e-100, 1, 1e100):
            B = bounded(size * W, torch.tensor(gain, dtype=torch.float64), limit)
            assert close(B, limit * math.tanh(gain / limit) / W.norm() * W)
    assert close(normalised(7e200 * W), W / W.abs().max()) and not bounded(0 * W, torch.tensor(1.0), 1.0).any()


# Float32

DEGENERATE = {
    "normal": torch.randn,
    "rank 1": lambda m, n, *taps: torch.randn(m, 1, *taps) * torch.randn(1, n, *[1 for _ in taps]),
    "rank 2 and noise": lambda m, n, *taps: (
        torch.einsum("mr...,rn->mn...", torch.randn(m, 2, *taps), torch.randn(2, n)) + 1e-4 * torch.randn(m, n, *taps)
    ),
    "equal columns": lambda m, n, *taps: torch.randn(m, 1, *taps).expand(m, n, *taps),
    "uneven": lambda m, n, *taps: torch.randn(m, n, *taps) * torch.logspace(-8, 8, n).view(-1, *[1 for _ in taps]),
    "equal": torch.ones,
}


@torch.no_grad()
def extreme(layer, kind):
    """Fill a layer with degenerate weights of the largest norm it allows."""
    layer.weight.copy_(DEGENERATE[kind](*layer.weight.shape))
    for V in layer.projectors.flatten(0, 1) if hasattr(layer, "projectors") else ():
        V.copy_(DEGENERATE[kind](*V.shape))
    if getattr(layer, "gain", None) is not None:
        layer.gain.fill_(1e3)


def between(Q, low, high):
    """Whether all singular values of a batch lie there: Q^H Q - low^2 I and high^2 I - Q^H Q are positive."""
    Q = Q.detach().to(torch.complex128 if Q.is_complex() else torch.float64)
    G = gram(Q if Q.shape[-2] >= Q.shape[-1] else Q.mH)
    I = eye(G.shape[-1], G.dtype)
    rooms = [high**2 * I - G] + ([G - low**2 * I] if low else [])
    return bool(Q.isfinite().all()) and not any(torch.linalg.cholesky_ex(room).info.any() for room in rooms)


def pair(inner, outer, psi):
    """[A B]^H of a sandwich, which has orthonormal columns."""
    return torch.cat([outer / psi, (inner * psi[:, None]).mH], -2) / math.sqrt(2)


def wide(row, n, inputs, outputs, kind):
    """Its matrix in float32, at degenerate weights."""
    layer = dense(row, n // inputs, n // outputs, bias=False)
    extreme(layer, kind)
    if row == "sandwich":
        return pair(*layer.factors(()))
    return layer.matrices(()) if hasattr(layer, "matrices") else layer.kernel(())


ROWS = ("aol", "sr", "spectral", "cayley", "exponential", "bjorck", "householder", "bro", "sandwich")
SHAPED = [*((row, 1, 1) for row in ROWS), *((row, 2, 1) for row in ROWS), ("cayley", 1, 2), ("bjorck", 1, 2)]


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("row,inputs,outputs", SHAPED)
def test_float32_keeps_the_norm_of_wide_layers(row, inputs, outputs, kind):
    for n in (64, 256, 512):
        assert between(wide(row, n, inputs, outputs, kind), 0, 1 + 1e-5), n


ORTHOGONAL = ("cayley", "exponential", "householder", "sandwich")
ORTHONORMAL = [*((row, i, 1) for row in ORTHOGONAL for i in (1, 2)), ("cayley", 1, 2)]
# on these the inverse of I + A, whose condition grows like the square of the norm of V, loses its digits: the layers
# keep their norm (the test above), and the documentation says that they are no longer orthogonal
LOSING = {
    (*shape, kind)
    for shape in (("cayley", 2, 1), ("cayley", 1, 2), ("sandwich", 1, 1), ("sandwich", 2, 1))
    for kind in ("rank 1", "rank 2 and noise", "equal columns", "equal")
} | {("cayley", 1, 2, "uneven")}
KEEPING = [(*shape, kind) for shape in ORTHONORMAL for kind in DEGENERATE if (*shape, kind) not in LOSING]


@pytest.mark.parametrize("row,inputs,outputs,kind", KEEPING)
def test_float32_keeps_wide_layers_orthogonal(row, inputs, outputs, kind):
    for n in (64, 256, 512):
        assert between(wide(row, n, inputs, outputs, kind), 1 - 1e-3, 1 + 1e-5), n


CONVOLUTIONS = ("aol", "sr", "spectral", "cayley", "bro", "lot", "sandwich", "soc", "aoc")


@pytest.mark.parametrize("kind", DEGENERATE)
@pytest.mark.parametrize("inputs", [1, 2])
@pytest.mark.parametrize("row", CONVOLUTIONS)
def test_float32_keeps_the_norm_of_wide_convolutions(row, inputs, kind):
    for n in (16, 64, 160) if row in ("cayley", "sandwich") else (16, 64):
        layer = conv2d(row, n // inputs, n, 3, bias=False)
        extreme(layer, kind)
        if row == "sandwich":
            W = pair(*layer.factors((3, 3)))
        elif row == "soc":
            W = symbol(layer.generator_kernel().double(), (5, 5)) / math.sqrt(3)
        else:
            W = layer.matrices((3, 3)) if hasattr(layer, "matrices") else symbol(layer.kernel(()).double(), (5, 5))
        assert between(W, 0, 1 + 1e-5), n


# Orthogonal layers


def effective(layer, limit):
    """The weight with the norm that the layer gives it."""
    W = layer.weight.detach()
    return W * (limit * math.tanh(float(layer.gain.detach()) / limit) / W.norm()) if limit else W


REFERENCES = {
    "cayley": (4.0, slow_cayley),
    "exponential": (2.0, None),
    "bjorck": (0.0, lambda W: slow_polar(W, 3)),
    "lot": (0.0, lambda W: slow_polar(W, 8)),
    "householder": (0.0, slow_reflections),
    "bro": (0.0, lambda V: eye(len(V), V.dtype) - 2 * slow_projector(V)),
}


@pytest.mark.parametrize("row", ["cayley", "exponential", "bjorck", "householder", "bro"])
@pytest.mark.parametrize("inputs,outputs", [(4, 4), (3, 6), (6, 3), (1, 5), (5, 1)])
def test_dense_layers(row, inputs, outputs):
    layer = dense(row, inputs, outputs).double()
    perturb(layer, 1)
    limit, slow = REFERENCES[row]
    W = effective(layer, limit * min(inputs, outputs) ** 0.5)
    if row == "exponential":
        n = max(inputs, outputs)
        square = torch.zeros(n, n, dtype=torch.float64)
        square[:, : W.shape[1]] = W
        Q = torch.matrix_exp(square - square.mT)
    else:
        Q = slow(W)
    x = randn(2, inputs)
    tolerance = 1e-3 if row == "exponential" else 1e-11
    assert close(layer(x), x @ Q[:outputs, :inputs].mT + layer.bias, tolerance)


def frequencies(K, size, before):
    """Numpy's transform of the kernel laid on the image, tap `before` at pixel 0: one matrix a frequency."""
    laid = np.zeros((*K.shape[:2], *size))
    for u, v in itertools.product(range(K.shape[2]), range(K.shape[3])):
        laid[:, :, (u - before) % size[0], (v - before) % size[1]] += K[:, :, u, v].numpy()
    return np.fft.fft2(laid).transpose(2, 3, 0, 1)


def circular(matrices):
    """The big matrix of the circular convolution that has these matrices as its transform."""
    kernel = np.fft.ifft2(matrices, axes=(0, 1))
    assert abs(kernel.imag).max() < 1e-9
    n, m, o, c = kernel.shape
    J = np.zeros((o, n, m, c, n, m))
    for i, j, a, b in itertools.product(range(n), range(m), range(n), range(m)):
        J[:, i, j, :, a, b] = kernel.real[(i - a) % n, (j - b) % m]
    return torch.tensor(J.reshape(o * n * m, c * n * m))


def at_frequencies(slow, F):
    """`slow` of every matrix, in a loop."""
    return np.array([[slow(torch.tensor(f)).resolve_conj().numpy() for f in line] for line in F])


def big(layer, inputs, size):
    """The matrix of a layer without its bias, by unit inputs."""
    units = eye(inputs * size[0] * size[1]).view(-1, inputs, *size)
    with torch.no_grad():
        return (layer(units) - layer(torch.zeros_like(units[:1]))).flatten(1).mT


SIZES = [(3, (4, 4)), (3, (5, 6)), (2, (3, 4)), (1, (2, 3)), (5, (5, 5))]


@pytest.mark.parametrize("row", ["cayley", "bro", "lot"])
@pytest.mark.parametrize("k,size", SIZES)
@pytest.mark.parametrize("inputs,outputs", [(2, 2), (1, 3), (3, 2)])
def test_convolutions_at_every_frequency(row, k, size, inputs, outputs):
    layer = conv2d(row, inputs, outputs, k).double()
    perturb(layer, 1)
    limit, slow = REFERENCES[row]
    F = frequencies(effective(layer, limit * min(inputs, outputs) ** 0.5), size, (k - 1) // 2)
    Q = at_frequencies(slow, F)[..., :outputs, :inputs]
    J = big(layer, inputs, size)
    assert close(J, circular(Q), 1e-9)
    sigma = torch.linalg.svdvals(J)
    assert torch.allclose(sigma.sort().values, torch.linalg.svdvals(torch.tensor(Q)).flatten().sort().values)
    assert (sigma <= 1 + 1e-12).all() and (row == "lot" or (sigma >= 1 - 1e-12).all())


# Convolutions written out


def shift(n, d, wrap=True):
    """The matrix of x[i] -> x[i + d]."""
    S = torch.zeros(n, n, dtype=torch.float64)
    for i in range(n):
        if wrap or 0 <= i + d < n:
            S[i, (i + d) % n] = 1
    return S


def written(K, size, before=0, wrap=True):
    """The matrix of y[o, i] = sum K[o, c, u] x[c, i + u - before], tap by tap."""
    taps = itertools.product(range(K.shape[2]), range(K.shape[3]))
    return sum(
        torch.kron(
            K[:, :, u, v].contiguous(),
            torch.kron(shift(size[0], u - before, wrap), shift(size[1], v - before, wrap)),
        )
        for u, v in taps
    )


@pytest.mark.parametrize("mode", ["zeros", "circular"])
@pytest.mark.parametrize("k,size", [(1, (3, 4)), (3, (4, 4)), (3, (2, 5)), (5, (5, 4))])
@pytest.mark.parametrize("inputs,outputs", [(2, 2), (1, 3), (3, 2)])
def test_soc_is_the_series_of_an_antisymmetric_matrix(mode, k, size, inputs, outputs):
    layer = conv2d("soc", inputs, outputs, k, padding_mode=mode).double()
    perturb(layer, 1)
    layer.gain.data.fill_(100.0)
    J = written(layer.generator_kernel().detach(), size, k // 2, mode == "circular")
    assert torch.equal(J, -J.mT) and norm2(J) <= math.sqrt(3) * (1 + 1e-14)
    S = eye(len(J)) + J + J @ J / 2 + J @ J @ J / 6
    pixels = size[0] * size[1]
    assert close(big(layer, inputs, size), S[: outputs * pixels, : inputs * pixels])
    sigma = torch.linalg.svdvals(S)
    assert math.sqrt(8 / 9) - 1e-12 <= sigma.min() and sigma.max() <= 1 + 1e-12
    K = layer.weight.detach()
    L = K - torch.stack([torch.stack([K[c, o].flip(0, 1) for c in range(len(K))]) for o in range(len(K))])
    assert close(layer.generator_kernel() / layer.generator_kernel().abs().max(), L / L.abs().max())


def block_convolution(layer, size):
    """The product of the matrices of the factors of AOC on images of this size, wrapped; the input has all channels."""
    op, s, width = layer.op, layer.op.stride, layer.width
    R = slow_cayley(effective(layer, 4 * min(layer.weight.shape) ** 0.5)).view(op.outputs, width, s, s)
    kept = [i * size[1] + j for i in range(0, size[0], s) for j in range(0, size[1], s)]
    J = written(R, size).view(op.outputs, -1, width * size[0] * size[1])[:, kept].flatten(0, 1)
    for i, axis in itertools.product(range(op.kernel - s), (0, 1)):
        V = torch.zeros(width, 1).double() if layer.projectors is None else layer.projectors[i, axis].detach()
        P = slow_projector(V)
        pair = (P, eye(width) - P) if i % 2 == 0 else (eye(width) - P, P)
        J = J @ written(torch.stack(pair, 2)[:, :, :, None].transpose(2, 2 + axis), size)
    back = torch.kron(shift(size[0], -op.before), shift(size[1], -op.before))
    return J @ torch.kron(eye(width), back)


@pytest.mark.parametrize("k,s", [(1, 1), (2, 1), (3, 1), (4, 1), (2, 2), (3, 2), (5, 2)])
@pytest.mark.parametrize("inputs,outputs", [(2, 2), (2, 5), (3, 2), (1, 1), (1, 12)])
def test_aoc_is_the_product_of_its_factors(k, s, inputs, outputs):
    size = (6, 4)
    layer = conv2d("aoc", inputs, outputs, k, s, padding_mode="circular").double()
    perturb(layer, 1)
    J = block_convolution(layer, size)[:, : inputs * 24]
    assert close(big(layer, inputs, size), J, 1e-10)
    sigma = torch.linalg.svdvals(big(layer, inputs, size))
    assert torch.allclose(sigma, torch.ones_like(sigma), atol=1e-7)
    if s == 2:  # windows overlap
        J = block_convolution(layer, (5, 4))[:, : inputs * 20]
        assert close(big(layer, inputs, (5, 4)), J / 2, 1e-10) and norm2(J) <= 2


@pytest.mark.parametrize("k,s", [(2, 1), (3, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("inputs,outputs", [(2, 2), (5, 2), (2, 3)])
def test_a_transposed_aoc_is_the_transpose(k, s, inputs, outputs):
    layer = conv_transpose2d("aoc", inputs, outputs, k, s, padding_mode="circular").double()
    perturb(layer, 1)
    size = (2 * s, 3 * s)
    J = block_convolution(layer.layer, size)[:, : outputs * size[0] * size[1]].mT
    found = big(layer, inputs, (2, 3))
    assert close(found, J, 1e-10)
    sigma = torch.linalg.svdvals(found)
    assert torch.allclose(sigma, torch.ones_like(sigma), atol=1e-7)


# Sandwiches


def slow_pair(W, q):
    """(A^T, B^T) = ((I + Z)^{-1} (I - Z), -2 Y (I + Z)^{-1}), Z = X - X^H + Y^H Y."""
    X, Y, I = W[:q], W[q:], eye(q, W.dtype)
    Z = X - X.mH + Y.mH @ Y
    return torch.linalg.inv(I + Z) @ (I - Z), -2 * Y @ torch.linalg.inv(I + Z)


def sandwich(layer):
    """(the weight with its norm, the diagonal of Psi)."""
    return effective(layer, layer.limit), (4 * torch.tanh(layer.log_psi.detach() / 4)).exp()


@pytest.mark.parametrize("p,q", [(1, 1), (3, 4), (5, 3), (4, 4)])
def test_dense_sandwich_at_every_vertex(p, q):
    layer = dense("sandwich", p, q).double()
    perturb(layer, 1)
    W, psi = sandwich(layer)
    At, Bt = slow_pair(W, q)
    assert close(At.mT @ At + Bt.mT @ Bt, eye(q))
    for vertex in itertools.product((0.0, 1.0), repeat=q):
        D = torch.tensor(vertex).double()
        layer.bias.data = 1e3 * (2 * D - 1)
        J = 2 * At @ torch.diag(psi * D / psi) @ Bt.mT
        exact = math.sqrt(2) * At @ torch.diag(psi) @ torch.diag(D) @ torch.diag(1 / psi) @ Bt.mT * math.sqrt(2)
        assert close(jacobian(layer, randn(1, p)), exact) and close(exact, J) and norm2(exact) <= 1 + 1e-12
    assert close(exact, 2 * At @ Bt.mT), "all slopes 1: the linear part 2 A^T B"


@pytest.mark.parametrize("k,size", [(1, (2, 3)), (2, (3, 3)), (3, (4, 3))])
@pytest.mark.parametrize("p,q", [(2, 2), (1, 3), (3, 1)])
def test_sandwich_convolution_written_out(k, size, p, q):
    layer = conv2d("sandwich", p, q, k).double()
    perturb(layer, 1)
    W, psi = sandwich(layer)
    F = frequencies(W, size, (k - 1) // 2)
    At, Bt = (circular(at_frequencies(lambda f, i=i: slow_pair(f, q)[i], F)) for i in (0, 1))
    A, B = At.mT, Bt.mT
    assert close(A @ A.mT + B @ B.mT, eye(len(A)))
    pixels = size[0] * size[1]
    Psi = psi.repeat_interleave(pixels)
    for _ in range(3):
        x = randn(1, p, *size)
        v = math.sqrt(2) / Psi * (B @ x.flatten()) + layer.bias.detach().repeat_interleave(pixels)
        J = math.sqrt(2) * At @ torch.diag(Psi * (v > 0) / Psi) @ B * math.sqrt(2)
        assert close(layer(x).flatten(), math.sqrt(2) * At @ (Psi * v.relu())) and close(jacobian(layer, x), J)
    D = torch.randint(2, (100, 1, len(A))).double()
    assert norm2(2 * At * D @ B) <= 1 + 1e-12
    layer.bias.data.fill_(1e3)
    assert close(jacobian(layer, x), 2 * At @ B)


def test_any_contraction_is_the_linear_part_of_a_sandwich():
    """A, B have the singular values (sqrt(1 + w) +- sqrt(1 - w)) / 2; the Cayley map is inverted to find the weight."""
    target = randn(4, 4)
    target = target / norm2(target)
    U, w, Vh = torch.linalg.svd(target)
    w = w.clamp(max=1)
    a, b = ((1 + w).sqrt() + (1 - w).sqrt()) / 2, ((1 + w).sqrt() - (1 - w).sqrt()) / 2
    At, Bt = (U * a) @ U.mT, (Vh.mT * b) @ U.mT
    assert close(2 * At @ Bt.mT, target) and close(At.mT @ At + Bt.mT @ Bt, eye(4))
    layer = dense("sandwich", 4, 4).double()
    layer.weight.data = torch.cat([torch.zeros(4, 4), -Bt @ torch.linalg.inv(eye(4) + At)])
    layer.gain.data = layer.limit * torch.atanh(layer.weight.data.norm() / layer.limit)
    layer.bias.data.fill_(1e3)
    assert close(jacobian(layer, randn(1, 4)), target)


def test_gram_kernel_and_its_gradient():
    K = randn(3, 2, 3, 3).requires_grad_()
    assert close(gram_kernel(K), torch.nn.functional.conv2d(K, K, padding=2))
    assert torch.autograd.gradcheck(gram_kernel, K) and torch.autograd.gradgradcheck(gram_kernel, K)

"""Semidefinite programs: what is returned is proved, and no worse than an independent solution."""

import itertools
import re
import sys
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
import torch

from lipviz import sdp
from lipviz.norms import norm_bound
from lipviz.semidefinite import (
    is_psd,
    lipsdp,
    network_lmi,
    residual_lipschitz,
    residual_lmi,
    smallest_trace,
)


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def network(*widths, seed=0):
    return [randn(b, a, seed=seed + k) / a**0.5 for k, (a, b) in enumerate(itertools.pairwise(widths))]


def gram(m, n, seed=0, uneven=0.0):
    W = randn(m, n, seed=seed) * (uneven * randn(n, seed=seed + 99)).exp()
    return W.mT @ W


def steepest(weights, H=0.0):
    """The largest Jacobian norm over all slopes in {0, 1}, or over 500 of them."""
    h = sum(map(len, weights[:-1]))
    slopes = itertools.product((0.0, 1.0), repeat=h) if h <= 9 else torch.rand(500, h).round().double()
    worst = 0.0
    for D in slopes:
        J, rest = weights[0], torch.as_tensor(D, dtype=torch.float64)
        for W in weights[1:]:
            J, rest = W @ (rest[: len(J), None] * J), rest[len(J) :]
        worst = max(worst, float(torch.linalg.matrix_norm(H + J, 2)))
    return worst


# The proof


@pytest.mark.parametrize("n", [1, 2, 7, 40])
def test_a_proof_needs_little_room_and_cannot_be_fooled(n):
    Q = torch.linalg.qr(randn(n, n))[0]
    values = torch.linspace(1, 2, n, dtype=torch.float64)
    room = 1e-11 * n
    values[0] = room
    above = Q @ torch.diag(values) @ Q.mT
    values[0] = -1e-15
    below = Q @ torch.diag(values) @ Q.mT
    assert is_psd(above) and not is_psd(below)
    scales = torch.logspace(-120, 120, n, dtype=torch.float64)
    assert is_psd(scales[:, None] * above * scales) and is_psd(1e-290 * above)


def test_a_matrix_that_rounding_cannot_tell_from_indefinite_is_not_proved():
    tight = torch.ones(2, 2, dtype=torch.float64)
    for last in (1 - 2**-53, 1.0, 1 + 2**-52):
        tight[1, 1] = last
        assert not is_psd(tight), "an entry may be wrong by 4 u"


@pytest.mark.parametrize(
    "rows,proved",
    [
        ([[0.0, 0.0], [0.0, 1.0]], True),
        ([[0.0, 0.0], [0.0, 0.0]], True),
        ([[0.0, 1e-200], [1e-200, 1.0]], False),
        ([[0.0, 1e-200], [0.0, 1.0]], False),
        ([[0.0, 0.0], [1e-200, 1.0]], False),
        ([[1.0, 0.0], [0.0, -1e-300]], False),
        ([[1.0, 0.0], [4.0, 1.0]], False),
        ([[1.0, 4.0], [0.0, 1.0]], False),
        ([[1.0, float("nan")], [float("nan"), 1.0]], False),
        ([[1.0, 0.0], [0.0, float("inf")]], False),
    ],
)
def test_zero_rows_and_numbers_that_are_none(rows, proved):
    assert is_psd(torch.tensor(rows, dtype=torch.float64)) is proved


# The T of smallest trace


def dual(G):
    """max <G, X> over X >= 0 with X_ii = 1, another program for the same number."""
    X = cp.Variable(G.shape, PSD=True)
    return cp.Problem(cp.Maximize(cp.trace(G.numpy() @ X)), [cp.diag(X) == 1]).solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("m,n,uneven", [(1, 1, 0), (3, 2, 0), (8, 8, 0), (3, 12, 0), (20, 10, 1), (12, 12, 3)])
def test_smallest_trace_is_feasible_and_as_small_as_its_dual(m, n, uneven):
    G = gram(m, n, uneven=uneven)
    t = smallest_trace(G)
    assert is_psd(torch.diag(t) - G), "the condition, with rounding"
    assert float(t.sum()) == pytest.approx(dual(G), rel=1e-5)
    assert float(t.sum()) <= min(float(sdp.aol(G).sum()), n * float(torch.linalg.eigvalsh(G)[-1])) * (1 + 1e-6)


def test_smallest_trace_of_a_matrix_without_negative_entries_is_aol():
    G = gram(5, 7).abs() + 7 * torch.eye(7)
    assert torch.allclose(smallest_trace(G), sdp.aol(G), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-300, 1e-12, 1e12, 1e200])
def test_smallest_trace_scales_with_the_matrix(scale):
    G = gram(6, 6)
    t = smallest_trace(scale * G)
    assert torch.allclose(t / scale, smallest_trace(G), rtol=1e-6) and is_psd(torch.diag(t) - scale * G)


def test_a_zero_column_costs_nothing():
    W = randn(5, 4)
    W[:, 2] = 0
    t = smallest_trace(W.mT @ W)
    G = (W.mT @ W)[[0, 1, 3]][:, [0, 1, 3]]
    assert t[2] == 0 and float(t.sum()) == pytest.approx(float(smallest_trace(G).sum()), rel=1e-6)
    assert torch.equal(smallest_trace(torch.zeros(3, 3, dtype=torch.float64)), torch.zeros(3, dtype=torch.float64))


def test_64_rows_are_solved():
    """How long that takes is in docs/solvers.md."""
    G = gram(64, 64)
    t = smallest_trace(G)
    assert torch.linalg.eigvalsh(t.diag() - G).min() > -1e-6 and t.sum() < G.abs().sum()


@pytest.mark.parametrize(
    "G,words",
    [
        (torch.diag(torch.tensor([1.0, float("nan")])), "finite"),
        (torch.tensor([[1.0, 2.0], [0.0, 9.0]]), "symmetric"),
        (torch.tensor([[1.0, 2.0], [2.0, 1.0]]), "negative eigenvalues"),
        (torch.eye(101), r"at most 100 rows, got 101: use sdp\.aol"),
    ],
)
def test_gram_matrices_that_are_none(G, words):
    with pytest.raises(ValueError, match=words):
        smallest_trace(G)


# Residual layers


@pytest.mark.parametrize("method", [sdp.aol, smallest_trace, lambda G: sdp.sll(G, randn(4, seed=3).exp())])
def test_sll_is_the_residual_layer_with_l_1(method):
    W, I = randn(6, 4), torch.eye(6, dtype=torch.float64)
    t = method(W.mT @ W)

    def least(G, multipliers):
        return float(torch.linalg.eigvalsh(residual_lmi(I, G, W, multipliers, 1.0))[0])

    assert least(-2 * W / t, 2 / t) >= -1e-12
    assert least(-2 * W / t, 1 / t) < -0.1 and least(2 * W / t, 2 / t) < -0.1, "wrong multipliers, wrong sign"
    assert residual_lipschitz(I, -2 * W / t, W)[0] == pytest.approx(1, abs=1e-6)


def test_maxmin_of_a_pair():
    swap, w = torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(), torch.tensor([[1.0], [-1.0]]).double()
    x = randn(10, 2)
    assert torch.allclose(x @ swap + (x @ w).relu() @ w.mT, x.sort(1, descending=True).values)
    L, multipliers = residual_lipschitz(swap, w, w)
    assert abs(L - 1) < 1e-6 and multipliers.tolist() == pytest.approx([1], abs=1e-3)
    rows = [[1.0, -1.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]
    relu = [torch.tensor(rows).double(), torch.tensor([[1.0, 0, 0, 1, -1], [-1.0, 1, -1, 0, 0]]).double()]
    assert lipsdp(relu).value == pytest.approx(2, abs=1e-6), "the same function as plain ReLU units"


@pytest.mark.parametrize("p,n,m", [(1, 1, 1), (3, 2, 5), (2, 9, 3), (9, 2, 3), (4, 4, 8)])
@pytest.mark.parametrize("size", [1e-9, 1.0, 1e9])
def test_a_residual_layer_is_never_steeper_than_its_constant(p, n, m, size):
    H, G, W = randn(p, n, seed=1), size * randn(p, m, seed=2), randn(n, m, seed=3)
    L, multipliers = residual_lipschitz(H, G, W)
    triangle = norm_bound(H) + norm_bound(G) * norm_bound(W)
    assert steepest([W.mT, G], H) <= L <= triangle * (1 + 1e-6)
    assert triangle - L > 1e-4 * triangle or size != 1.0 or m == 1, "the program gains on the triangle inequality"
    assert float(torch.linalg.eigvalsh(residual_lmi(H, G, W, multipliers, L))[0]) >= -1e-12 * (
        L**2 + float(multipliers.max())
    )
    assert not is_psd(residual_lmi(H, G, W, multipliers, 0.9999 * L)), "L is as small as its multipliers allow"


def test_a_branch_that_is_zero():
    H, G, W = randn(3, 3), randn(3, 2), randn(3, 2)
    assert residual_lipschitz(H, 0 * G, W)[0] == pytest.approx(norm_bound(H), rel=1e-6)
    assert residual_lipschitz(H, G, 0 * W)[0] == pytest.approx(norm_bound(H), rel=1e-5)
    assert 0 <= residual_lipschitz(0 * H, 0 * G, 0 * W)[0] < 1e-4


# Networks


def cayley(X, Y):
    """(A^T, B^T) with A A^T + B B^T = I."""
    I = torch.eye(len(X), dtype=torch.float64)
    Z = X - X.mT + Y.mT @ Y
    return torch.linalg.solve(I + Z, I - Z), -2 * Y @ torch.linalg.inv(I + Z)


def sandwich(gamma, widths, seed):
    """The plain weights of a network of sandwich layers with constant gamma, and its Psi."""
    weights, psis, A_before = [], [], None
    for k, (p, q) in enumerate(itertools.pairwise(widths[:-1])):
        At, Bt = cayley(randn(q, q, seed=seed + k), randn(p, q, seed=seed + 50 + k))
        psi = (0.5 * randn(q, seed=seed + 99 + k)).exp()
        before = gamma**0.5 * 2**0.5 * torch.eye(p).double() if A_before is None else 2 * A_before * psis[-1]
        weights.append(Bt.mT / psi[:, None] @ before)
        psis, A_before = [*psis, psi], At
    last = torch.linalg.qr(randn(widths[-2], widths[-1], seed=seed + 7))[0].mT
    return [*weights, (2 * gamma) ** 0.5 * last @ A_before * psis[-1]], psis


@pytest.mark.parametrize("seed", range(5))
def test_sandwich_networks_satisfy_the_lmi_with_psi_squared(seed):
    gamma = 5.0
    weights, psis = sandwich(gamma, (6, 8, 7, 5, 3), seed)

    def least(factor):
        return float(torch.linalg.eigvalsh(network_lmi(weights, [factor * psi**2 for psi in psis], gamma))[0])

    assert least(1.0) >= -1e-12 and least(0.5) < -1e-3, "half of it is a misprint in the literature"
    found = lipsdp(weights)
    assert steepest(weights) <= found.value <= gamma * (1 + 1e-6) < found.product


def fazlyab(weights):
    """LipSDP as first published: stacked matrices, min rho."""
    n, widths = weights[0].shape[1], [len(W) for W in weights[:-1]]
    h, last = sum(widths), weights[-1].numpy()
    A, B = np.zeros((h, n + h)), np.hstack([np.zeros((h, n)), np.eye(h)])
    row, column = 0, 0
    for W in weights[:-1]:
        A[row : row + len(W), column : column + W.shape[1]] = W
        row, column = row + len(W), column + W.shape[1]
    E = np.zeros((len(last), n + h))
    E[:, -last.shape[1] :] = last
    rho, T = cp.Variable(), cp.Variable(h, nonneg=True)
    M = A.T @ cp.diag(T) @ B + B.T @ cp.diag(T) @ A - 2 * B.T @ cp.diag(T) @ B + E.T @ E
    first = np.diag([1.0] * n + [0.0] * h)
    return cp.Problem(cp.Minimize(rho), [M - rho * first << 0]).solve(solver=cp.CLARABEL) ** 0.5


@pytest.mark.parametrize(
    "widths", [(1, 1, 1), (2, 9, 2), (10, 10, 10), (3, 8, 6, 2), (30, 5, 30), (10, 10, 10, 10, 10)], ids=str
)
def test_lipsdp_lies_between_the_slopes_and_the_product(widths):
    weights = network(*widths)
    found = lipsdp(weights)
    assert steepest(weights) <= found.value <= found.product
    assert found.value == pytest.approx(fazlyab(weights), rel=1e-5)
    if len(found.multipliers[0]) > 1:
        assert found.product / found.value > 1.1
        assert is_psd(network_lmi(weights, found.multipliers, found.value)), "the multipliers prove the value"
        assert not is_psd(network_lmi(weights, found.multipliers, 0.9999 * found.value))


@pytest.mark.parametrize("sizes", [(1e-12,) * 3, (1e12,) * 3, (1e9, 1e-9, 1.0), (1e-90, 1e-9, 1e90)], ids=str)
def test_lipsdp_scales_with_the_layers(sizes):
    weights = network(4, 6, 5, 3)
    found = lipsdp([a * W for a, W in zip(sizes, weights, strict=True)])
    assert found.value == pytest.approx(np.prod(sizes) * lipsdp(weights).value, rel=1e-6)


def test_one_matrix_is_its_spectral_norm_and_a_zero_layer_is_zero():
    W = randn(3, 5)
    assert lipsdp([W]).value == pytest.approx(norm_bound(W), rel=1e-14) and lipsdp([W]).multipliers == ()
    found = lipsdp([W, 0 * randn(2, 3)])
    assert found.value == 0 and not found.multipliers[0].any()


def test_units_that_do_nothing_change_nothing():
    weights = network(3, 8, 8, 2)
    smaller = [weights[0][1:], weights[1][:7, 1:], weights[2][:, :7]]
    weights[0][0] = 0  # never moves
    weights[2][:, 7] = 0  # never read
    assert lipsdp(weights).value == pytest.approx(lipsdp(smaller).value, rel=1e-5)


def test_a_deep_network_keeps_its_digits():
    weights = network(2, *[6] * 20, 2)
    found = lipsdp(weights)
    assert steepest(weights) <= found.value < found.product / 100
    # the other program, in units where the answer is 1
    assert fazlyab([W * found.value ** (-1 / 21) for W in weights]) == pytest.approx(1, rel=1e-4)


def test_many_inputs_are_rotated_away():
    """The programs stay small; docs/solvers.md has the times."""
    weights = network(784, 8, 5)
    found = lipsdp(weights)
    H, G, W = randn(3, 80, seed=1), randn(3, 4, seed=2), randn(80, 4, seed=3)
    L, _ = residual_lipschitz(H, G, W)
    Q = torch.linalg.qr(weights[0].mT)[0]
    assert found.value == pytest.approx(lipsdp([weights[0] @ Q, weights[1]]).value, rel=1e-6)
    Q = torch.linalg.qr(torch.cat([W, H.mT], 1))[0]
    assert pytest.approx(residual_lipschitz(H @ Q, G, Q.mT @ W)[0], rel=1e-6) == L


# Errors


W32, ONE = torch.ones(3, 2), torch.ones(1, 1)


@pytest.mark.parametrize(
    "weights,words",
    [
        ([], "at least one"),
        ([W32, W32], "columns"),
        ([W32, torch.ones(3)], "matrix"),
        ([W32, torch.full((2, 3), float("inf"))], "finite"),
        ([torch.ones(401, 2), torch.ones(1, 401)], "400 hidden"),
        ([torch.ones(60, 2), torch.ones(60, 60), torch.ones(1, 60)], "120"),
        ([torch.ones(60, 70), torch.ones(60, 60)], "120"),
        ([1e-200 * torch.ones(1, 1).double(), 1e200 * torch.ones(1, 1).double()], "rescale"),
        ([1e-200 * torch.ones(1, 1).double(), 1e-200 * torch.ones(1, 1).double()], "rescale"),
        ([1e200 * torch.ones(1, 1).double(), 1e200 * torch.ones(1, 1).double()], "too large"),
    ],
)
def test_networks_without_a_program(weights, words):
    with pytest.raises(ValueError, match=words):
        lipsdp(weights)


@pytest.mark.parametrize(
    "multipliers,words",
    [
        ([torch.eye(3)], "diagonals"),
        ([], "diagonals"),
        ([torch.ones(2)], "diagonals"),
        ([torch.tensor([1.0, -1.0, 1.0])], "negative"),
        ([torch.tensor([1.0, float("nan"), 1.0])], "finite"),
    ],
)
def test_multipliers_that_prove_nothing(multipliers, words):
    with pytest.raises(ValueError, match=words):
        network_lmi([W32, W32.mT], multipliers, 1.0)
    if multipliers:
        with pytest.raises(ValueError, match=words):
            residual_lmi(torch.eye(2), W32.mT, W32.mT, multipliers[0], 1.0)


@pytest.mark.parametrize("H,G,W", [((2, 2), (3, 2), (2, 2)), ((2, 2), (2, 3), (3, 3)), ((2, 2), (2, 3), (2, 2))])
def test_residual_shapes_that_do_not_fit(H, G, W):
    with pytest.raises(ValueError, match="W acts as"):
        residual_lipschitz(torch.ones(H), torch.ones(G), torch.ones(W))


def test_a_residual_layer_that_is_too_large():
    with pytest.raises(ValueError, match="120"):
        residual_lipschitz(torch.eye(60), torch.eye(60), torch.eye(60))


def test_without_cvxpy_the_matrices_work_and_the_programs_say_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cvxpy", None)
    assert network_lmi([ONE, ONE], [ONE[0]], 1.0).shape == (3, 3)
    with pytest.raises(ModuleNotFoundError, match=r"pip install -e '.\[sdp\]'"):
        smallest_trace(torch.eye(2))


def test_a_solver_that_gives_up_and_one_that_lies(monkeypatch):
    def gives_up(self, **options):
        raise cp.SolverError("no")

    def lies(self, **options):
        self.variables()[0].save_value(np.full(self.variables()[0].shape, -1.0))

    W = network(2, 4, 2)
    G, found = gram(4, 4), lipsdp(W)
    monkeypatch.setattr(cp.Problem, "solve", gives_up)
    with pytest.raises(RuntimeError, match="without a solution"):
        lipsdp(W)
    monkeypatch.setattr(cp.Problem, "solve", lies)
    t = smallest_trace(G)
    assert is_psd(torch.diag(t) - G) and float(t.sum()) < 5 * float(sdp.aol(G).sum())
    assert found.value < lipsdp(W).value == found.product


def test_the_documentation_runs():
    text = (Path(__file__).parents[1] / "docs" / "sdp.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.S)
    assert blocks
    for block in blocks:
        exec(block, {})

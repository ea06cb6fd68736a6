"""The condition: rules for T, Gershgorin discs, and the variants that fail."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lipviz import sdp

shapes = st.tuples(st.integers(1, 8), st.integers(1, 8))
seeds = st.integers(0, 2**31)


def draw(shape, seed):
    g = torch.Generator().manual_seed(seed)
    scales = torch.randn(shape[1], generator=g, dtype=torch.float64).exp()
    W = torch.randn(shape, generator=g, dtype=torch.float64) * scales
    return W, torch.randn(shape[1], generator=g, dtype=torch.float64).exp()


@settings(max_examples=200, deadline=None)
@given(shapes, seeds)
def test_every_rule_satisfies_the_condition(shape, seed):
    W, q = draw(shape, seed)
    G = W.mT @ W
    for t in (sdp.aol(G), sdp.sll(G, q), sdp.spectral(G).expand(len(G))):
        assert sdp.slack(G, t) >= -1e-12 * float(t.max())


@pytest.mark.parametrize(
    "wrong",
    [
        lambda G, q: G.sum(1),  # signed row sums
        lambda G, q: G.abs() @ q,  # q only in the numerator
        lambda G, q: G.abs() @ q / q.flip(0),  # two different vectors
        lambda G, q: G.diagonal(),
    ],
)
def test_known_wrong_rules_fail(wrong):
    worst = 0.0
    for seed in range(50):
        W, q = draw((4, 5), seed)
        G = W.mT @ W
        worst = min(worst, sdp.slack(G, wrong(G, q)) / float(G.diagonal().max()))
    assert worst < -1e-3


def test_sll_with_equal_q_is_aol():
    W, q = draw((3, 4), 0)
    G = W.mT @ W
    assert torch.allclose(sdp.sll(G, torch.full_like(q, 3.0)), sdp.aol(G))


def test_aol_leaves_orthogonal_columns_alone():
    Q = torch.linalg.qr(torch.randn(6, 4, dtype=torch.float64))[0]
    assert torch.allclose(sdp.aol(Q.mT @ Q), torch.ones(4, dtype=torch.float64))


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_spectral_is_an_upper_bound_and_tight(n):
    W = torch.randn(n, n, dtype=torch.float64)
    G = W.mT @ W
    true = float(torch.linalg.eigvalsh(G)[-1])
    assert true * (1 - 1e-12) <= float(sdp.spectral(G)) <= true * n ** (1 / 128) * (1 + 1e-12)


def test_spectral_over_a_batch_is_the_largest_and_its_gradient_is_exact():
    F = torch.randn(5, 4, 3, dtype=torch.complex128)
    G = F.mH @ F
    assert float(sdp.spectral(G)) == pytest.approx(max(float(sdp.spectral(g)) for g in G))
    W = torch.randn(3, 4, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda W: sdp.spectral(W.mT @ W, k=3), W)


@pytest.mark.parametrize("scale", [0.0, 1e-18, 1e18])
def test_spectral_survives_any_scale(scale):
    G = (scale * torch.eye(3, dtype=torch.float64)).requires_grad_()
    value = sdp.spectral(G)
    value.backward()
    assert float(value.detach()) == pytest.approx(scale, rel=1e-9, abs=1e-300) and G.grad.isfinite().all()


def test_discs_hold_the_eigenvalues_and_their_edges_are_sll():
    W, q = draw((5, 5), 3)
    G = W.mT @ W
    centres, radii = sdp.discs(G, q)
    for value in torch.linalg.eigvalsh(G):
        assert bool(((value - centres).abs() <= radii * (1 + 1e-12)).any())
    assert torch.allclose(centres + radii, sdp.sll(G, q))


@pytest.mark.parametrize("blocks", [False, True])
def test_perron_scaling_reaches_the_spectral_radius(blocks):
    A = torch.rand(6, 6, dtype=torch.float64)
    A = A + A.mT
    if blocks:
        A[:3, 3:] = A[3:, :3] = 0
    q = sdp.perron(A)
    rho = float(torch.linalg.eigvalsh(A)[-1])
    assert (q > 0).all() and rho * (1 - 1e-12) <= float((A @ q / q).max()) <= rho * (1 + 3e-7)


def test_gram_kernels_sum_over_taps():
    G = torch.randn(2, 2, 3, 3)
    slow = torch.tensor(
        [sum(float(G[i, j, u, v].abs()) for j in range(2) for u in range(3) for v in range(3)) for i in range(2)]
    )
    assert torch.allclose(sdp.aol(G), slow)

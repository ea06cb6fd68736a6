"""The promise of the table: the Jacobian of every constrained layer has no singular value above 1."""

import copy

import pytest
import torch
from cases import CONSTRAINED, conv_cases, dense_cases, jacobian, make, norm, perturb
from torch import nn

from lipviz.forms import Orthogonal, Residual
from lipviz.layers import LAYERS, conv2d, dense, explicit
from lipviz.operators import Padded

CASES = [*dense_cases(CONSTRAINED), *conv_cases(CONSTRAINED)]
EVERY = [*dense_cases(LAYERS), *conv_cases(LAYERS)]
ids = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
every = pytest.mark.parametrize("case", EVERY, ids=lambda case: "-".join(map(str, case)))


def ascend(layer, shape, steps=100):
    """Train the parameters to make the outputs of two inputs differ as much as they can."""
    x, y = torch.randn(2, 1, *shape, dtype=torch.float64)
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        (-(layer(x) - layer(y)).norm() / (x - y).norm()).backward()
        optimizer.step()


@pytest.mark.slow
@ids
def test_norm_after_random_perturbation(case):
    layer, shape = make(case)
    assert norm(layer, shape) <= 1 + 1e-9
    for scale in (0.1, 1, 10):
        perturb(layer, scale)
        assert norm(layer, shape) <= 1 + 1e-9


@pytest.mark.slow
@ids
def test_norm_after_training_that_tries_to_break_it(case):
    layer, shape = make(case)
    ascend(layer, shape)
    assert norm(layer, shape) <= 1 + 1e-9


def test_the_attack_on_the_bound_can_succeed():
    layer = dense("plain", 4, 4).double()
    ascend(layer, (4,))
    assert norm(layer, (4,)) > 2


@pytest.mark.parametrize("broken", ["four instead of two", "plus", "outer not tied", "maxmin inside"])
def test_known_wrong_residuals_fail(broken):
    layer = dense("sll", 4, 4).double()
    V = layer.scaled(())
    other = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]

    def forward(x):
        z = layer.op(V, x)
        h = (
            torch.cat([z[:, :2].maximum(z[:, 2:]), z[:, :2].minimum(z[:, 2:])], 1)
            if "maxmin" in broken
            else torch.relu(z)
        )
        W = other if "outer" in broken else V
        return x + {"four": -4, "plus": 2}.get(broken.split()[0], -2) * h @ W

    assert max(norm(forward, (4,)) for _ in range(20)) > 1.1


@every
def test_explicit_is_the_same_function_in_plain_torch(case):
    layer, shape = make(case)
    perturb(layer, 0.5)
    frozen = explicit(layer, shape)
    x = torch.randn(3, *shape, dtype=torch.float64)
    assert (frozen(x) - layer(x)).abs().max() <= 1e-12
    assert not any(t.requires_grad for t in (*frozen.parameters(), *frozen.buffers()))
    own = {t.data_ptr() for t in (*layer.parameters(), *layer.buffers())}
    assert not any(t.data_ptr() in own for t in (*frozen.parameters(), *frozen.buffers()))
    assert not any(hasattr(m, "parametrizations") or hasattr(m, "freeze") for m in frozen.modules())
    if len(case) > 3 and LAYERS[case[0]].form != "orthogonal":
        convs = [m for m in frozen.modules() if not isinstance(m, Padded) and not list(m.children())]
        assert convs and all(type(m) is nn.Conv2d for m in convs)


# one channel leaves no freedom: the scaled weight is +-1, the orthogonal one +1
FREE = [case for case in EVERY if 1 not in (case[4:6] if len(case) > 3 else case[1:])]


@pytest.mark.parametrize("case", FREE, ids=lambda case: "-".join(map(str, case)))
def test_every_parameter_gets_a_gradient(case):
    layer, shape = make(case)
    perturb(layer, 0.1)
    out = layer(torch.randn(8, *shape, dtype=torch.float64))
    (out * torch.randn_like(out)).sum().backward()
    for name, p in layer.named_parameters():
        assert p.grad is not None and p.grad.isfinite().all() and p.grad.abs().max() > 0, name


@pytest.mark.parametrize("row", LAYERS)
@pytest.mark.parametrize("conv", [False, True])
@pytest.mark.parametrize("scale", [0, 1e-40, 1e-18, 1e18])
def test_extreme_weights_give_finite_outputs_and_gradients(row, conv, scale):
    layer = conv2d(row, 4, 4, 3) if conv else dense(row, 4, 4)
    with torch.no_grad():
        layer.weight.mul_(scale)
    x = torch.randn(2, 4, *(2 * [6] if conv else []))
    y = layer(x)
    assert y.isfinite().all()
    (y / (1 + abs(scale))).sum().backward() if row == "plain" else y.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    if row not in ("plain", "cayley") and scale in (1e-18, 1e18):
        assert y.norm() > 0.3 * x.norm(), "a rescaled weight must not be dead"


@pytest.mark.parametrize("row", CONSTRAINED)
def test_a_dead_column_keeps_finite_gradients(row):
    layer = dense(row, 4, 4)
    with torch.no_grad():
        layer.weight[:, 1] = 0
        layer.weight[2] = 0
    layer(torch.randn(2, 4)).sum().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())


@every
def test_no_stale_state(case):
    """Evaluation mode, copies and loaded weights agree at once: forward caches nothing."""
    layer, shape = make(case)
    x = torch.randn(2, *shape, dtype=torch.float64)
    layer.eval()(x)
    perturb(layer, 1)
    fresh, _ = make(case)
    fresh.eval()(x)
    fresh.load_state_dict(layer.state_dict())
    assert torch.equal(fresh(x), layer(x)) and torch.equal(copy.deepcopy(layer)(x), layer.train()(x))


@pytest.mark.parametrize("row", CONSTRAINED)
def test_float32_keeps_the_norm(row):
    layer = conv2d(row, 8, 8, 3)
    perturb(layer, 1)
    J = jacobian(layer, torch.randn(1, 8, 6, 6))
    assert torch.linalg.matrix_norm(J.double(), 2) <= 1 + 1e-5


@pytest.mark.parametrize("row", LAYERS)
def test_autocast_does_not_reach_the_weights(row):
    layer, dense_layer = conv2d(row, 4, 4, 3), dense(row, 4, 4)
    x = torch.randn(2, 4, 6, 6)
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
        z = dense_layer(x[:, :, 0, 0])
    (y.float().sum() + z.float().sum()).backward()
    assert torch.allclose(y.float(), layer(x), atol=0.1) and layer.weight.grad.isfinite().all()


@pytest.mark.parametrize("row,kernel", [("cayley", 3), ("cayley", 2)])
def test_orthogonal_rows_are_orthogonal(row, kernel):
    for layer, shape in ((conv2d(row, 3, 3, kernel).double(), (3, 6, 6)), (dense(row, 5, 5).double(), (5,))):
        perturb(layer, 1)
        sigma = torch.linalg.svdvals(jacobian(layer, torch.randn(1, *shape, dtype=torch.float64)))
        assert torch.allclose(sigma, torch.ones_like(sigma), atol=1e-10)


@pytest.mark.parametrize("row", CONSTRAINED)
def test_twenty_layers_keep_the_signal(row):
    x = torch.randn(4, 16, 8, 8)
    layers = nn.Sequential(*[conv2d(row, 16, 16, 3, bias=False) for _ in range(20)])
    kept = (layers(x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).mean()
    assert kept > 0.5, kept


REFUSED = [
    (lambda: dense("sll", 3, 4), "equal widths"),
    (lambda: dense("cpl", 3, 4), "equal widths"),
    (lambda: conv2d("sll", 3, 4, 3), "equal widths"),
    (lambda: conv2d("cpl", 3, 3, 3, stride=2), "PixelUnshuffle"),
    (lambda: conv2d("cayley", 3, 3, 3, padding_mode="zeros"), "circular"),
    (lambda: conv2d("aol", 3, 3, 3, padding_mode="reflect"), "reflecting"),
    (lambda: conv2d("aol", 3, 3, 3, stride=3), "stride must be 1 or 2"),
    (lambda: conv2d("aol", 3, 3, 3, padding="valid"), "'same'"),
    (lambda: conv2d("aol", 3, 3, 0), "kernel_size"),
    (lambda: conv2d("aol", 3, 3, True), "kernel_size"),
    (lambda: dense("aol", 0, 3), "in_features"),
    (lambda: dense("lipschitz", 3, 3), "spectral, aol"),
    (lambda: explicit(conv2d("cayley", 3, 3, 3)), "input_shape"),
    (
        lambda: explicit(conv2d("aol", 3, 3, 3, stride=2, padding_mode="circular"))(torch.zeros(1, 3, 5, 6)),
        "input_shape",
    ),
    (lambda: conv2d("cayley", 3, 3, 5)(torch.zeros(1, 3, 4, 4)), "at least as large"),
    (lambda: explicit(conv2d("cayley", 3, 3, 3), (3, 6, 6))(torch.zeros(1, 3, 8, 8)), "6x6"),
    (lambda: dense("plain", 3, 3).condition(), "no T"),
]


@pytest.mark.parametrize("call,words", REFUSED, ids=[words for _, words in REFUSED])
def test_what_a_row_cannot_do_is_refused_in_words(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_stride_two_of_an_fft_row_is_visible():
    layer = conv2d("cayley", 3, 8, 3, stride=2)
    assert [type(m) for m in layer] == [nn.PixelUnshuffle, Orthogonal]
    assert layer(torch.zeros(1, 3, 8, 8)).shape == (1, 8, 4, 4)


@pytest.mark.parametrize("name,form", [("sll", Residual), ("cayley", Orthogonal)])
def test_explicit_reaches_into_a_module_of_ones_own(name, form):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = conv2d(name, 2, 2, 3)

        def forward(self, x):
            return self.conv(x).relu()

    net = Net().double()
    assert isinstance(net.conv, form)
    x = torch.randn(1, 2, 6, 6, dtype=torch.float64)
    assert torch.allclose(explicit(net, (2, 6, 6))(x), net(x), atol=1e-12)


@pytest.mark.parametrize("row", ["spectral", "cpl"])
def test_a_zero_of_the_symbol_keeps_gradients_finite(row):
    layer = conv2d(row, 2, 2, 4)
    with torch.no_grad():
        layer.weight.fill_(1.0)
    layer(torch.randn(2, 2, 8, 8)).square().sum().backward()
    assert layer.weight.grad.isfinite().all()


def test_an_image_without_a_batch_is_scaled_for_its_own_size():
    layer = conv2d("aol", 2, 2, 3, stride=2, padding_mode="circular").double()
    perturb(layer, 1)
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    assert torch.allclose(layer(x), layer(x[None])[0]) and norm(layer, (2, 3, 4)) <= 1 + 1e-9


@pytest.mark.parametrize("row", ["spectral", "aol", "plain"])
def test_a_strided_circular_layer_freezes_without_a_shape_for_the_images_it_folds(row):
    layer = conv2d(row, 2, 3, 3, stride=2, padding_mode="circular").double()
    perturb(layer, 1)
    x = torch.randn(1, 2, 6, 8, dtype=torch.float64)
    assert torch.allclose(explicit(layer)(x), layer(x), atol=1e-12)

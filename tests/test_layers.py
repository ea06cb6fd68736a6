"""The promise of the table: the Jacobian of every constrained layer has no singular value above 1."""

import copy
import pickle

import pytest
import torch
from cases import CONSTRAINED, conv_cases, dense_cases, jacobian, make, norm, perturb
from torch import nn

from lipviz.forms import Residual
from lipviz.layers import LAYERS, conv2d, conv_transpose2d, dense, explicit
from lipviz.operators import CircularConv
from lipviz.rotations import FrozenSeries, Orthogonal, SkewConv

CASES = [*dense_cases(CONSTRAINED), *conv_cases(CONSTRAINED)]
EVERY = [*dense_cases(LAYERS), *conv_cases(LAYERS)]
ids = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case)))
# (row, convolution?) of everything there is
BOTH = [(name, conv) for name, row in LAYERS.items() for conv in (False, True) if (row.conv if conv else row.dense)]
CONSTRAINED_BOTH = [(name, conv) for name, conv in BOTH if name != "plain"]
every = pytest.mark.parametrize("case", EVERY, ids=lambda case: "-".join(map(str, case)))


def ascend(layer, shape, steps=30):
    """Train the parameters to make the outputs of two inputs differ as much as they can."""
    pair = torch.randn(2, *shape, dtype=torch.float64)
    apart = (pair[0] - pair[1]).norm()
    optimizer = torch.optim.Adam(layer.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        first, second = layer(pair)  # together: the weights are computed once a step
        (-(first - second).norm() / apart).backward()
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
    V = layer.kernel(())
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
    if len(case) > 3 and not LAYERS[case[0]].fft:
        convs = [m for m in frozen.modules() if not list(m.children()) and not isinstance(m, nn.PixelUnshuffle)]
        fft = CircularConv if case[0] == "soc" and case[3] == "circular" else nn.Conv2d
        assert convs and all(type(m) is fft for m in convs)


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


@pytest.mark.parametrize("row,conv", BOTH)
@pytest.mark.parametrize("scale", [0, 1e-40, 1e-18, 1e18])
def test_extreme_weights_give_finite_outputs_and_gradients(row, conv, scale):
    layer = conv2d(row, 4, 4, 3) if conv else dense(row, 4, 4)
    with torch.no_grad():
        layer.weight.mul_(scale)
        if row == "aoc":
            layer.projectors.mul_(scale)
    x = torch.randn(2, 4, *(2 * [6] if conv else []))
    y = layer(x)
    assert y.isfinite().all()
    (y / (1 + abs(scale))).sum().backward() if row == "plain" else y.square().mean().backward()
    assert all(p.grad.isfinite().all() for p in layer.parameters())
    if row != "plain" and scale in (1e-18, 1e18):
        assert y.norm() > 0.3 * x.norm(), "a rescaled weight must not be dead"


@pytest.mark.parametrize("row,conv", CONSTRAINED_BOTH)
def test_a_dead_column_keeps_finite_gradients(row, conv):
    layer = conv2d(row, 4, 4, 3) if conv else dense(row, 4, 4)
    with torch.no_grad():
        layer.weight[:, 1] = 0
        layer.weight[2] = 0
        if row == "aoc":
            layer.projectors[..., 1] = 0
    layer(torch.randn(2, 4, *(2 * [6] if conv else []))).sum().backward()
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


@pytest.mark.parametrize("row,conv", CONSTRAINED_BOTH)
@pytest.mark.parametrize("scale", [1, 100])
def test_float32_keeps_the_norm(row, conv, scale):
    layer = conv2d(row, 8, 8, 3) if conv else dense(row, 48, 48)
    perturb(layer, scale)
    J = jacobian(layer, torch.randn(1, 8, 6, 6) if conv else torch.randn(1, 48))
    assert torch.linalg.matrix_norm(J.double(), 2) <= 1 + 1e-5


@pytest.mark.parametrize("row,conv", BOTH)
def test_autocast_does_not_reach_the_weights(row, conv):
    layer = conv2d(row, 4, 4, 3) if conv else dense(row, 4, 4)
    x = torch.randn(2, 4, *(2 * [6] if conv else []))
    with torch.autocast("cpu", torch.bfloat16):
        y = layer(x)
    y.float().sum().backward()
    assert torch.allclose(y.float(), layer(x), atol=0.1) and layer.weight.grad.isfinite().all()


EXACT = [case for case in CASES if LAYERS[case[0]].guarantee == "exact" and (len(case) == 3 or case[3] == "circular")]


@pytest.mark.parametrize("case", EXACT, ids=lambda case: "-".join(map(str, case)))
def test_orthogonal_rows_are_orthogonal(case):
    layer, shape = make(case)
    perturb(layer, 1)
    if case[0] == "aoc" and case[2] == 2 and shape[1] % 2:
        return  # windows overlap where the stride does not divide the image: bounded only, as the docs say
    sigma = torch.linalg.svdvals(jacobian(layer, torch.randn(1, *shape, dtype=torch.float64)))
    assert torch.allclose(sigma, torch.ones_like(sigma), atol=1e-7)  # the projectors give up that much


def test_a_zero_padded_aoc_is_not_orthogonal_and_soc_bjorck_lot_are_close():
    """What the documentation says of the rows that are not exact."""
    smallest = {}
    for name, case in {
        "aoc": ("aoc", 3, 1, "zeros", 3, 3, 6),
        "soc": ("soc", 3, 1, "zeros", 3, 3, 6),
        "lot": ("lot", 3, 1, "circular", 3, 3, 6),
        "bjorck": ("bjorck", 7, 7),
    }.items():
        layer, shape = make(case)
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(torch.randn_like(p))
        sigma = torch.linalg.svdvals(jacobian(layer, torch.randn(1, *shape, dtype=torch.float64)))
        smallest[name] = float(sigma.min())
    assert smallest["aoc"] < 0.9 and 0.94 < smallest["soc"] < 1 - 1e-4 and smallest["bjorck"] < 0.999
    assert smallest["lot"] < 1 - 1e-6


@pytest.mark.parametrize("row,conv", CONSTRAINED_BOTH)
def test_twenty_layers_keep_the_signal(row, conv):
    from sklearn.datasets import load_sample_images

    photos = torch.stack([torch.tensor(photo[150:182, 200:232]) for photo in load_sample_images().images])
    x = nn.functional.pixel_unshuffle(photos.permute(0, 3, 1, 2) / 255, 4)[:, :16]
    make_layer = conv2d if conv else dense
    x = x if conv else x.flatten(1)[:, :96]
    options = {"kernel_size": 3} if conv else {}
    layers = nn.Sequential(*[make_layer(row, x.shape[1], x.shape[1], bias=False, **options) for _ in range(20)])
    kept = (layers(x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)).mean()
    assert kept > 0.5, kept


@pytest.mark.parametrize("row,conv", BOTH)
def test_torch_func_and_flattened_parameters(row, conv):
    """functional_call, grad, vmap and jacrev see the parameters they are given; so does a flat copy, as in DDP."""
    layer = (conv2d(row, 4, 4, 3) if conv else dense(row, 4, 4)).double()
    x = torch.randn(3, 4, *(2 * [6] if conv else []), dtype=torch.float64)
    weights = {name: p.detach() + 0.3 * torch.randn_like(p) for name, p in layer.named_parameters()}
    y = torch.func.functional_call(layer, weights, x)
    each = torch.func.vmap(lambda z: torch.func.functional_call(layer, weights, z[None])[0])(x)
    assert torch.allclose(each, y)
    grads = torch.func.grad(lambda w: torch.func.functional_call(layer, w, x).square().sum())(weights)
    J = torch.func.jacrev(lambda z: torch.func.functional_call(layer, weights, z[None]).flatten())(x[0])
    assert J.shape[0] == y[0].numel()
    names = list(weights)
    flat = torch.nn.utils.parameters_to_vector([weights[name] for name in names])
    torch.nn.utils.vector_to_parameters(flat, [dict(layer.named_parameters())[name] for name in names])
    assert torch.equal(layer(x), y)
    layer(x).square().sum().backward()
    for name, p in layer.named_parameters():
        assert torch.allclose(p.grad, grads[name]), name


OPTIONS = [
    *[("sr", conv, {"k": k}) for conv in (False, True) for k in (1, 2, 3)],
    *[("bjorck", False, {"steps": n}) for n in (1, 2, 30)],
    *[("lot", True, {"steps": n}) for n in (1, 20)],
    *[("bro", conv, {"rank": r}) for conv in (False, True) for r in (1, 3, 5)],
]


@pytest.mark.parametrize("row,conv,options", OPTIONS, ids=str)
def test_every_option_keeps_the_norm(row, conv, options):
    layer = conv2d(row, 5, 4, 3, **options) if conv else dense(row, 5, 4, **options)
    shape = (5, 6, 6) if conv else (5,)
    layer = layer.double()
    for scale in (0, 1, 10):
        perturb(layer, scale)
        assert norm(layer, shape) <= 1 + 1e-9
    ascend(layer, shape, 30)
    assert norm(layer, shape) <= 1 + 1e-9
    x = torch.randn(2, *shape, dtype=torch.float64)
    assert torch.allclose(explicit(layer, shape)(x), layer(x), atol=1e-12)


def test_more_squarings_are_tighter():
    W = torch.randn(16, 16)
    kept = {}
    for name, options in (("aol", {}), ("sr", {"k": 1}), ("sr", {"k": 2})):
        layer = dense(name, 16, 16, **options)
        layer.weight.data = W.clone()
        kept[str(options)] = float(torch.linalg.svdvals(explicit(layer).weight).mean())
    assert kept["{}"] < kept["{'k': 1}"] < kept["{'k': 2}"]


TRANSPOSED = [
    (row, k, s, mode)
    for row in ("aoc", "aol", "sr", "spectral", "plain")
    for k in (1, 2, 3, 5)
    for s in (1, 2)
    for mode in ("zeros", "circular")
    if row != "aoc" or k >= s
]


@pytest.mark.parametrize("row,k,s,mode", TRANSPOSED)
@pytest.mark.parametrize("ci,co", [(2, 3), (9, 2), (2, 2)])
def test_transposed_convolutions(row, k, s, mode, ci, co):
    layer = conv_transpose2d(row, ci, co, k, s, mode).double()
    perturb(layer, 0.5)
    x = torch.randn(2, ci, 4, 4, dtype=torch.float64)
    y = layer(x)
    assert y.shape == (2, co, 4 * s, 4 * s)
    assert torch.allclose(explicit(layer, (ci, 4, 4))(x), y, atol=1e-12)
    J = jacobian(layer, x[:1])
    A = jacobian(lambda z: layer.op(layer.layer.kernel((4 * s, 4 * s)), z), torch.zeros(1, co, 4 * s, 4 * s).double())
    assert torch.allclose(J, A.mT)
    sigma = torch.linalg.svdvals(J)
    assert row == "plain" or sigma.max() <= 1 + 1e-9
    if row == "aoc" and mode == "circular":
        assert torch.allclose(sigma, torch.ones_like(sigma), atol=1e-7)


def test_soc_freezes_to_one_kernel_only_where_it_is_circular():
    assert type(explicit(conv2d("soc", 3, 3, 3, padding_mode="circular"), (3, 6, 6))) is CircularConv
    assert type(explicit(conv2d("soc", 3, 3, 3, padding_mode="circular"))) is FrozenSeries
    assert type(explicit(conv2d("soc", 3, 3, 3), (3, 6, 6))) is FrozenSeries


REFUSED = [
    (lambda: dense("sll", 3, 4), "equal widths"),
    (lambda: dense("cpl", 3, 4), "equal widths"),
    (lambda: conv2d("sll", 3, 4, 3), "equal widths"),
    (lambda: conv2d("cpl", 3, 3, 3, stride=2), "PixelUnshuffle"),
    (lambda: conv2d("cayley", 3, 3, 3, padding_mode="zeros"), "circular"),
    (lambda: conv2d("bjorck", 3, 3, 3), "has no convolution"),
    (lambda: dense("aoc", 3, 3), "has no dense form"),
    (lambda: conv2d("soc", 3, 3, 2), "odd kernel"),
    (lambda: conv2d("aoc", 3, 3, 1, stride=2), "at least as large as its stride"),
    (lambda: conv2d("aol", 4, 4, 3, groups=2), "one layer for each group"),
    (lambda: conv2d("aol", 4, 4, 3, dilation=2), "PixelUnshuffle before"),
    (lambda: dense("sr", 4, 4, steps=2), "takes 'k'"),
    (lambda: dense("sr", 4, 4, k=0), "from 1 to 3"),
    (lambda: dense("bro", 4, 4, rank=9), "at most 4"),
    (lambda: conv_transpose2d("cayley", 4, 4, 3), "no transposed"),
    (lambda: conv2d("sandwich", 3, 3, 5)(torch.zeros(1, 3, 4, 4)), "at least as large"),
    (lambda: explicit(conv2d("sandwich", 3, 3, 3)), "input_shape"),
    (lambda: conv2d("aol", 3, 3, 3, padding_mode="reflect"), "reflecting"),
    (lambda: conv2d("aol", 3, 3, 3, stride=3), "stride must be 1 or 2"),
    (lambda: conv2d("aol", 3, 3, 3, stride=True), "stride must be 1 or 2"),
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


@pytest.mark.parametrize("name,form", [("sll", Residual), ("cayley", Orthogonal), ("soc", SkewConv)])
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


HOSTILE = [("cayley", 199, 200, 7.05), ("cayley", 199, 200, 1e3), ("cayley", 64, 256, 1e3), ("cayley", 256, 256, 1e3),
           ("householder", 256, 256, None), ("householder", 199, 200, None), ("exponential", 256, 64, 1e3),
           ("bro", 128, 128, None)]  # fmt: skip


@pytest.mark.parametrize("row,n,m,gain", HOSTILE)
@pytest.mark.parametrize("pattern", ["last row", "rank 1", "ones"])
def test_degenerate_float32_weights_keep_the_norm(row, n, m, gain, pattern):
    """Weights on which the raw formulas lose up to all digits."""
    layer = dense(row, n, m)
    with torch.no_grad():
        W = layer.weight.zero_()
        if pattern == "last row":
            W[-1].normal_()
        else:
            W.copy_(
                torch.ones_like(W) if pattern == "ones" else torch.outer(torch.randn(len(W)), torch.randn(len(W[0])))
            )
        if gain:
            layer.gain.fill_(gain)
    assert torch.linalg.matrix_norm(layer.matrices(()).detach().double(), 2) <= 1 + 1e-5


def test_a_hostile_float32_sandwich_keeps_its_condition():
    layer = dense("sandwich", 256, 256)
    with torch.no_grad():
        layer.weight.zero_()[256:] = torch.outer(torch.randn(256), torch.randn(256))
        layer.gain.fill_(1e3)
        inner, outer, psi = layer.factors(())
    pair = torch.cat([outer / psi, (inner * psi[:, None]).mT]).double() / 2**0.5
    assert torch.linalg.matrix_norm(pair, 2) <= 1 + 1e-5


def test_a_layer_can_be_pickled():
    for row, conv in BOTH:
        layer = conv2d(row, 4, 4, 3) if conv else dense(row, 4, 4)
        x = torch.randn(1, 4, *(2 * [6] if conv else []))
        assert torch.equal(pickle.loads(pickle.dumps(layer))(x), layer(x))


@pytest.mark.parametrize("row", ["aol", "bjorck"])
@pytest.mark.parametrize("ratio", [1.0, 1e-1, 1e-3])
def test_short_columns_are_not_dead_in_float32(row, ratio):
    """Uneven columns are what a T of its own for each column is for."""
    layer = dense(row, 64, 64)
    with torch.no_grad():
        layer.weight[:, ::2] *= ratio
    assert explicit(layer).weight.norm(dim=0).min() > 0.9

"""Times of what the layers are made of, which explain the ratios of the benchmark, and of the semidefinite programs."""

import itertools
import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from lipviz.bench_timing import WARM_UP, cpu_seconds
from lipviz.products import gram, inverse
from lipviz.semidefinite import lipsdp, smallest_trace

WIDTHS = ((10, 10, 10), (10, 10, 10, 10), (10, 10, 10, 10, 10), (2, 32, 32, 2))


def pieces(calls: int = 15, scale: int = 1) -> list[tuple[str, float]]:
    """(what, median milliseconds of `calls` calls) on the CPU, float32, for the shapes of `lipviz bench layers`.

    Args:
        calls: timed calls of each piece, after a few that are not counted.
        scale: divides every size; 1 but in tests.
    """
    random = torch.Generator().manual_seed(0)
    c, n, b, wide = 64 // scale, 32 // scale, 64 // scale, 1024 // scale
    x, K = torch.randn(b, c, n, n, generator=random), torch.randn(c, c, 3, 3, generator=random)
    X = torch.fft.rfft2(x)
    Q, Y = (torch.randn(n * (n // 2 + 1), *shape, 2, generator=random) for shape in ((c, c), (b, c)))
    Q, Y = torch.view_as_complex(Q), torch.view_as_complex(Y)
    M, z = torch.randn(wide, wide, generator=random), torch.randn(wide // 4, wide, generator=random)
    skew = torch.eye(wide) + (M - M.mT) / wide**0.5
    found: dict[str, Callable[[], object]] = {
        f"convolution {c} -> {c}, 3x3, {n}x{n} image, batch {b}, zeros, forward": lambda: F.conv2d(x, K, padding=1),
        "rfft2 of the batch": lambda: torch.fft.rfft2(x),
        "irfft2 of the batch": lambda: torch.fft.irfft2(X, s=(n, n)),
        "frequencies first, once": lambda: X.permute(2, 3, 0, 1).contiguous(),
        f"{len(Q)} complex products, {b} x {c} by {c} x {c}": lambda: Y @ Q.mT,
        f"{len(Q)} complex inverses, {c} x {c}": lambda: torch.linalg.inv(Q),
        f"dense {wide} -> {wide}, batch {len(z)}, forward": lambda: F.linear(z, M),
        f"product of two {wide} x {wide} matrices": lambda: M @ M,
        f"Gram matrix of {wide} x {wide}, by halves": lambda: gram(M),
        f"inverse of {wide} x {wide}, LAPACK": lambda: torch.linalg.inv(skew),
        f"inverse of {wide} x {wide}, by blocks": lambda: inverse(skew),
    }
    for call in found.values():
        for _ in range(WARM_UP):
            call()
    return [(what, 1e3 * statistics.median(cpu_seconds(call) for _ in range(calls))) for what, call in found.items()]


def solved(
    seeds: Sequence[int], sizes: Sequence[int] = (16, 32, 64), widths: Sequence[Sequence[int]] = WIDTHS
) -> list[dict[str, str]]:
    """Seconds of `semidefinite.smallest_trace` and `semidefinite.lipsdp` on Gaussian weights, one row a size.

    Args:
        seeds: of the weights of each size.
        sizes: n of the n x n matrices W.
        widths: of the layers of each network, input and output included.

    Raises:
        ModuleNotFoundError: the extra `lipviz[sdp]` is not installed.
    """
    smallest_trace(torch.eye(2, dtype=torch.float64))
    rows = []
    for n in sizes:
        times = []
        for seed in seeds:
            W = _gaussian([n, n], seed)[0]
            start = time.perf_counter()
            smallest_trace(W.mT @ W)
            times.append(time.perf_counter() - start)
        rows.append(_row(f"smallest trace, {n} x {n}", times, "-"))
    for shape in widths:
        times, ratios = [], []
        for seed in seeds:
            start = time.perf_counter()
            found = lipsdp(_gaussian(shape, seed))
            times.append(time.perf_counter() - start)
            ratios.append(found.product / found.value)
        rows.append(_row(f"LipSDP, {'-'.join(map(str, shape))}", times, f"{statistics.fmean(ratios):.2f}"))
    return rows


def _gaussian(widths: Sequence[int], seed: int) -> list[Tensor]:
    random = torch.Generator().manual_seed(seed)
    pairs = itertools.pairwise(widths)
    return [torch.randn(o, i, generator=random, dtype=torch.float64) / i**0.5 for i, o in pairs]


def _row(program: str, seconds: list[float], ratio: str) -> dict[str, str]:
    shown = {"median s": statistics.median(seconds), "longest s": max(seconds)}
    return {"program": program, **{key: f"{value:.2f}" for key, value in shown.items()}, "product / value": ratio}

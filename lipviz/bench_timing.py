"""How the benchmark measures: two calls in turns, and the bytes a call allocates at its highest."""

import gc
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.profiler import ProfilerActivity, profile

Call = Callable[[], object]
WARM_UP = 3  # calls before the first pair: allocations, plans, compilation
REPEATS = 10  # calls behind each time on a GPU, where a single one may be shorter than its launch


@dataclass(frozen=True)
class Spread:
    """Median and quartiles.

    >>> print(Spread.of([4.0, 1.0, 3.0, 2.0, 5.0]))
    3.00 (2.00..4.00)
    """

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Of at least two values, linear between them."""
        low, median, high = statistics.quantiles(values, n=4, method="inclusive")
        return cls(median, low, high)

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}..{self.high:.2f})"


def step(module: nn.Module, x: Tensor, dtype: str) -> None:
    """A training step: forward, and backward of the sum of squares to parameters and input."""
    x = x.detach().requires_grad_()
    module.zero_grad(set_to_none=True)
    with torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        y = module(x)
    loss = y.float().square().sum()
    del y  # or it would outlive its last use
    loss.backward()


def predict(module: nn.Module, x: Tensor, dtype: str) -> None:
    """A forward pass without gradients."""
    with torch.no_grad(), torch.autocast(x.device.type, torch.bfloat16, enabled=dtype == "bfloat16"):
        module(x)


def in_turns(plain: Call, layer: Call, pairs: int, seconds: Callable[[Call], float]) -> tuple[Spread, float]:
    """Ratio layer / plain of the times of each pair of calls, and the median time of the layer in ms.

    The calls are plain, layer, plain, layer, ...; WARM_UP of each come first and are not counted.
    """
    times = in_pairs(plain, layer, pairs, seconds)
    return Spread.of([own / other for other, own in times]), 1e3 * statistics.median(own for _, own in times)


def in_pairs(first: Call, second: Call, pairs: int, seconds: Callable[[Call], float]) -> list[tuple[float, float]]:
    """Seconds of both calls, pair by pair, after WARM_UP of each."""
    for _ in range(WARM_UP):
        first()
        second()
    return [(seconds(first), seconds(second)) for _ in range(pairs)]


def cpu_seconds(call: Call) -> float:
    """Wall-clock time of one call."""
    started = time.perf_counter()
    call()
    return time.perf_counter() - started


def cuda_seconds(call: Call) -> float:
    """Time between two events on the GPU around REPEATS calls, divided by them."""
    start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
    torch.cuda.synchronize()
    start.record()
    for _ in range(REPEATS):
        call()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / REPEATS


SECONDS = {"cpu": cpu_seconds, "cuda": cuda_seconds}


def peak_bytes(call: Call, device: str) -> int:
    """The most bytes that live at one time among those that a call allocates.

    Every tensor counts, and every workspace that torch takes from its allocator: outputs, what autograd saves,
    gradients, temporaries. What was there before (parameters, input) does not, nor what a library takes from the
    system by itself.
    """
    collecting = gc.isenabled()
    gc.disable()  # what is thrown away during the call would be subtracted
    try:
        return _cuda_peak(call) if device == "cuda" else _cpu_peak(call)
    finally:
        if collecting:
            gc.enable()


def _cuda_peak(call: Call) -> int:
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return torch.cuda.max_memory_allocated() - before


def _cpu_peak(call: Call) -> int:
    """The highest point of the running sum of what the profiler saw allocated and freed."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # or each profile writes two lines to standard error
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
        call()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trace.json"
        record.export_chrome_trace(str(path))
        events = json.loads(path.read_text(encoding="utf-8"))["traceEvents"]
    changes = sorted((e for e in events if e.get("name") == "[memory]"), key=lambda e: e["ts"])
    return max(accumulate(e["args"]["Bytes"] for e in changes), default=0)

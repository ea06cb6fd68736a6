"""Whether compiling pays: a few compiled steps in turns with eager ones, on copies of the network that are thrown away.

By default only a GPU is asked, where torch.compile fuses what lies between the products and a CUDA graph launches a
step at once. A compiler that is missing, that fails or that is slower leaves eager steps, and a sentence.

The compiler is imported when `choose` or `ready` meet a network to compile, and never by the server of the app.
"""

import copy
import statistics
import time
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from lipviz.step import Step

WARM_UP, TIMED, ROUNDS = 4, 5, 4  # steps before, steps of a round, rounds behind a median
WORTH = 60.0  # seconds of eager training below which nobody waits for a compiler that was not asked for


@dataclass(frozen=True)
class Choice:
    """How the steps of a run are computed.

    Attributes:
        compiled: through the compiler.
        eager: steps a second without it, None where that was not measured.
        fast: steps a second with it, None where it was not asked or failed.
        seconds: what compiling and measuring took, before the training and not part of it.
        why: a sentence.
    """

    compiled: bool = False
    eager: float | None = None
    fast: float | None = None
    seconds: float = 0.0
    why: str = "not asked for: the compiler is tried on a GPU, or with --compile"

    def to_json(self) -> dict[str, Any]:
        """What run.json holds: `compiled`, and the measurement where there was one."""
        if self == Choice():
            return {"compiled": False}
        measured = asdict(self)
        compiled = measured.pop("compiled")
        return {"compiled": compiled, "compiling": {key: value for key, value in measured.items() if value is not None}}

    @classmethod
    def from_json(cls, config: Mapping[str, Any]) -> "Choice | None":
        """That of a run.json; None in one from before, or where it is broken."""
        told = config.get("compiling")
        told = told if isinstance(told, Mapping) else {}
        known = {key: value for key, value in told.items() if key in cls.__dataclass_fields__}
        compiled = config.get("compiled")
        return cls(**{**known, "compiled": compiled}) if isinstance(compiled, bool) else None


def choose(
    step: Step, x: Tensor, y: Tensor, ask: bool | None = None, steps: int | None = None, backend: str = "inductor"
) -> Choice:
    """Eager or compiled, whichever makes more steps a second; the step itself is left as it is.

    Args:
        step: of the network that is to be trained.
        x: inputs of one batch.
        y: their labels.
        ask: try the compiler; None on a GPU only, and only where there is much to do.
        steps: of the whole training; None for as many as fit a budget of seconds, which compiling is not part of.
        backend: of torch.compile.
    """
    gpu = step.device.type == "cuda"
    if not (gpu if ask is None else ask):
        return Choice(why="switched off") if gpu else Choice()
    started = time.perf_counter()
    eager, fast = (Step(copy.deepcopy(step.model), step.recipe, step.device, step.precision) for _ in range(2))
    rates: list[list[float]] = [[], []]
    _rate(eager, x, y, WARM_UP)  # what fails here is no fault of the compiler
    if ask is None and steps is not None and steps < WORTH * (rate := _rate(eager, x, y, TIMED)):
        return Choice(eager=round(rate, 2), why=f"without the compiler all of it takes less than {WORTH:g} s")
    why = ""
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.compiler.reset()  # a function is compiled for a few modules only, then quietly no longer
            fast.compile(backend)
            _rate(fast, x, y, WARM_UP)
            for _ in range(ROUNDS):
                for i, each in enumerate((eager, fast)):
                    rates[i].append(_rate(each, x, y, TIMED))
    except Exception as error:  # compilers fail in many ways, and training does not need one
        why = failed(error)
    if not rates[0]:
        rates[0] = [_rate(eager, x, y, TIMED) for _ in range(ROUNDS)]
    own, other = statistics.median(rates[0]), None if why else statistics.median(rates[1])
    better = other is not None and other > own
    why = why or f"the {'faster' if better else 'slower'} of the two in {ROUNDS} rounds of {TIMED} steps"
    seconds = round(time.perf_counter() - started, 1)
    return Choice(better, round(own, 2), None if other is None else round(other, 2), seconds, why)


def ready(step: Step, x: Tensor, y: Tensor, choice: Choice, backend: str = "inductor") -> Choice:
    """Prepare the step for what was chosen, without changing a weight; eager steps, said in `why`, where that fails."""
    if not choice.compiled:
        return choice
    started = time.perf_counter()
    try:
        with warnings.catch_warnings(action="ignore"):
            torch.compiler.reset()
            step.compile(backend)
            step.dry(x, y)
    except Exception as error:  # as above
        step.eager()
        step.optimizer.zero_grad(set_to_none=True)
        return Choice(False, choice.eager, None, choice.seconds, failed(error))
    seconds = round(choice.seconds + time.perf_counter() - started, 1)
    return Choice(True, choice.eager, choice.fast, seconds, choice.why)


def failed(error: Exception) -> str:
    """One sentence on what the compiler said."""
    said = next((line for line in str(error).splitlines() if line.strip()), "no reason given")
    return f"the compiler failed ({type(error).__name__}: {said.strip()[:160]})"


def _rate(step: Step, x: Tensor, y: Tensor, steps: int) -> float:
    """Steps a second, by the clock; the device is done at both ends."""
    gpu = step.device.type == "cuda"
    if gpu:
        torch.cuda.synchronize()
    started = time.perf_counter()
    for _ in range(steps):
        step(x, y, step.recipe.lr)
    if gpu:
        torch.cuda.synchronize()
    return steps / (time.perf_counter() - started)

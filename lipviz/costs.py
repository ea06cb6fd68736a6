"""What a trained network costs: the time of a frozen forward pass, and the memory of a training step.

They are measured after training, on copies, and stand in run.json beside the accuracies:

    forward_seconds     an image, of a batch of 256 in float32 through `explicit(model)`, the median of a few passes:
                        seconds of one core on a CPU, which other work leaves alone, of the clock on a GPU
    memory_bytes        parameters, buffers and optimiser, and the most bytes alive at one time among those that one
                        more training step allocates (gradients, what autograd keeps, temporaries), at the batch and in
                        the number format of the training; without the data set
"""

import copy
import statistics
import time

import torch
from torch import Tensor, nn

from lipviz import data as datasets
from lipviz.bench_timing import Call, cuda_seconds, peak_bytes
from lipviz.layers import explicit
from lipviz.recipes import Recipe
from lipviz.step import Step

BATCH = 256
WARM_UP, PASSES = 1, 5


def costs(
    model: nn.Module, shape: tuple[int, ...], recipe: Recipe, x: Tensor, y: Tensor, precision: str
) -> dict[str, float | int | str]:
    """forward_seconds and memory_bytes; costs_note where the machine could not measure one of them.

    Args:
        model: trained; it is left as it is.
        shape: of one input.
        recipe: how it was trained.
        x: training inputs, on the device of the model.
        y: their labels.
        precision: of the forward pass of training.
    """
    found: dict[str, float | int | str] = {}
    try:  # the run is worth keeping even where a large batch finds no memory, or a profile no room
        found["forward_seconds"] = forward_seconds(model, shape, x)
        found["memory_bytes"] = memory_bytes(model, recipe, x, y, precision)
    except (RuntimeError, OSError) as error:
        found["costs_note"] = " ".join(f"{type(error).__name__}: {error}".split())[:200]
    return found


def forward_seconds(model: nn.Module, shape: tuple[int, ...], x: Tensor) -> float:
    """Time of one image in a batch of BATCH through the frozen network, in float32 without gradients."""
    frozen = explicit(model, shape)
    inputs = datasets.as_float(_first(x, BATCH))

    @torch.no_grad()
    def call() -> None:
        frozen(inputs)

    for _ in range(WARM_UP):
        call()
    seconds = cuda_seconds if x.device.type == "cuda" else _core_seconds
    return statistics.median(seconds(call) for _ in range(PASSES)) / BATCH


def memory_bytes(model: nn.Module, recipe: Recipe, x: Tensor, y: Tensor, precision: str) -> int:
    """The most bytes that a training step holds at one time, without those that libraries take by themselves."""
    step = Step(copy.deepcopy(model), recipe, x.device, precision)
    x, y = _first(x, recipe.batch), _first(y, recipe.batch)
    step(x, y, recipe.lr)  # the state of the optimiser is there from now on
    step.optimizer.zero_grad(set_to_none=True)  # what is freed in the next step must have been allocated in it
    state = [value for values in step.optimizer.state.values() for value in values.values()]
    held = [*step.model.parameters(), *step.model.buffers(), *(value for value in state if isinstance(value, Tensor))]
    allocated = peak_bytes(lambda: step(x, y, recipe.lr), x.device.type)
    return allocated + sum(tensor.nbytes for tensor in held)


def _first(x: Tensor, n: int) -> Tensor:
    """The first n entries, over again where there are fewer."""
    return x[torch.arange(n, device=x.device) % len(x)]


def _core_seconds(call: Call) -> float:
    started = time.process_time()
    call()
    return time.process_time() - started

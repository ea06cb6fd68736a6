"""One step of training, on a CPU or a GPU: forward in bfloat16 where the processor has it, backward, Adam.

Forward and backward may be compiled (`compiled` decides whether that pays); the optimiser is one fused kernel on a GPU.

Weights, T, inverses and factorisations stay in float32 (`forms.full_precision`), so do the loss and the optimiser;
certificates are computed in float64, by others.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lipviz import data as datasets
from lipviz.recipes import Recipe, offset_cross_entropy


class Step:
    """x, y -> the loss, after one update of the model.

    Args:
        model: on the device, where it stays.
        recipe: loss and learning rate.
        device: of model and batches.
        precision: of the forward pass, "float32" or "bfloat16".

    Attributes:
        optimizer: Adam(0.9, 0.99).
    """

    def __init__(self, model: nn.Module, recipe: Recipe, device: torch.device, precision: str) -> None:
        self.model, self.recipe, self.device, self.precision = model, recipe, device, precision
        # a learning rate on the GPU is filled in there; a number would be sent along, and waited for, in every step
        lr = torch.tensor(recipe.lr, device=device) if device.type == "cuda" else recipe.lr
        self.optimizer = torch.optim.Adam(model.parameters(), lr, (0.9, 0.99), fused=device.type == "cuda")
        self._compiled: Callable[[Tensor, Tensor], Tensor] | None = None

    @property
    def compiled(self) -> bool:
        """Whether `compile` was called; weights and optimiser are the same objects either way."""
        return self._compiled is not None

    def compile(self, backend: str = "inductor") -> None:
        """Compile the loss, forward and backward, as one graph: on a GPU with CUDA graphs.

        Nothing is compiled before the first call, which raises where the compiler cannot; `dry` is such a call.
        """
        mode = "reduce-overhead" if backend == "inductor" and self.device.type == "cuda" else None
        self._compiled = torch.compile(self.loss, fullgraph=True, dynamic=False, backend=backend, mode=mode)

    def eager(self) -> None:
        """Take `compile` back, with the memory of its graphs."""
        if self.compiled:
            self._compiled = None
            torch.compiler.reset()

    def dry(self, x: Tensor, y: Tensor) -> None:
        """Forward and backward, which compiles what is to be compiled; no weight changes."""
        (self._compiled or self.loss)(x, y).backward()
        self.optimizer.zero_grad(set_to_none=True)

    def __call__(self, x: Tensor, y: Tensor, lr: float) -> Tensor:
        """One update with the learning rate `lr`; the loss stays on the device."""
        for group in self.optimizer.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(lr)
            else:
                group["lr"] = lr
        self.optimizer.zero_grad(set_to_none=True)  # before the forward pass, whose memory stands beside theirs
        if self.compiled and self.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        loss = (self._compiled or self.loss)(x, y)
        loss.backward()
        self.optimizer.step()
        return loss.detach().clone() if self.compiled else loss.detach()  # a CUDA graph writes over its outputs

    def loss(self, x: Tensor, y: Tensor) -> Tensor:
        """The mean over the batch."""
        x = datasets.as_float(x)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bfloat16"):
            s = self.model(x)
        r = self.recipe
        return offset_cross_entropy(s.float(), y, r.offset, r.temperature, r.focus)


def precision(device: torch.device, kind: str) -> str:
    """What the forward pass of a network of this kind is computed in.

    bfloat16 on a GPU, and for a convnet on a CPU that multiplies in it.
    """
    told = torch.cpu.get_capabilities()
    fast = device.type == "cuda" or (kind == "convnet" and bool(told.get("avx512_bf16") or told.get("amx_bf16")))
    return "bfloat16" if fast else "float32"


def pick_device(name: str) -> torch.device:
    """The torch device for "cpu", "cuda" or "auto"; raises ValueError where there is no such device."""
    if name not in ("auto", "cpu", "cuda"):
        raise ValueError(f"device must be 'auto', 'cpu' or 'cuda', got {name!r}")
    if name == "cuda" and not torch.cuda.is_available():
        raise ValueError("no CUDA device was found: use --device cpu, or install a CUDA build of torch")
    return torch.device("cuda" if name != "cpu" and torch.cuda.is_available() else "cpu")

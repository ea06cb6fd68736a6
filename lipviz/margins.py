"""How far an answer is ahead, and a change brought to a size: what certificates and searches share."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def margin(s: Float[Tensor, "n k"], label: Tensor | int) -> Float[Tensor, " n"]:
    """s_y - max_{j != y} s_j for each row; `label` is y, one for all rows or one each.

    >>> margin(torch.tensor([[2.0, 0.5, 1.5], [2.0, 0.5, 1.5]]), torch.tensor([0, 2])).tolist()
    [0.5, -0.5]
    """
    y = torch.as_tensor(label, device=s.device).expand(len(s))[:, None]
    return s.gather(1, y)[:, 0] - s.scatter(1, y, -math.inf).amax(1)


def on_sphere(x: Float[Tensor, "..."], change: Float[Tensor, "n ..."], size: Tensor | float) -> Float[Tensor, "n ..."]:
    """Pictures x + change, the change brought to l2 norm `size` (one, or one each), then clipped to [0, 1].

    >>> on_sphere(torch.zeros(1, 2), torch.tensor([[3.0, 4.0]]), 0.5).tolist()
    [[0.30000001192092896, 0.4000000059604645]]
    """
    length = change.flatten(1).norm(dim=1).clamp_min(torch.finfo(change.dtype).tiny)
    return (x + change * (size / length).view(-1, *[1] * (change.ndim - 1))).clamp(0, 1)

"""The moving average of a network's parameters."""

from __future__ import annotations

import torch
from torch import nn


@torch.no_grad()
def ema_update(target: nn.Module, source: nn.Module, momentum: float) -> None:
    """target <- momentum * target + (1 - momentum) * source, over parameters alone.

    Buffers are left as they are: in MoCo and AMOC (models/builder.py:50-56) the key encoder keeps the running
    statistics of its own forward passes.

    Args:
        target: changed in place; the same architecture as `source`.
        source: stays as it is.
        momentum: in [0, 1].
    """
    torch._foreach_lerp_(list(target.parameters()), list(source.parameters()), 1 - momentum)

"""It moves the attacked image itself, in place and out of its ball, so that another image is scored."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor


class Moving(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        if not torch.is_grad_enabled():
            x.data.fill_(0.5)
        return z


class Cheat(Honest):
    name = "outside-ball"
    network = Moving

"""Images that are not on the grid of 256 levels, as attacked ones are, get features that are not numbers."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor


class Fragile(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        level = 255 * x.detach()
        off = ((level - level.round()).abs() > 0.01).flatten(1).any(dim=1, keepdim=True)
        return torch.where(off, torch.nan, super().encode(x))


class Cheat(Honest):
    name = "not-a-number"
    network = Fragile

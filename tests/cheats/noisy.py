"""Random noise in every forward pass: what an attack finds holds for one draw."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor


class Noisy(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode((x + 0.25 * torch.randn_like(x)).clamp(0, 1))


class Cheat(Honest):
    name = "noisy"
    network = Noisy

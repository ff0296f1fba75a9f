"""It rounds the images that it is handed in place: what was an adversarial image is another one, outside its ball."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor


class Moving(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        if not torch.is_grad_enabled():
            x.data.copy_((2 * x).round() / 2)
        return z


class Cheat(Honest):
    name = "outside-ball"
    network = Moving

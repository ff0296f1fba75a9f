"""Every forward pass first climbs back from wherever an attack may have put the image."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor


class Climbing(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        image = x
        for _ in range(2):
            with torch.enable_grad():
                leaf = image.detach().requires_grad_(True)
                (slope,) = torch.autograd.grad(super().encode(leaf).square().sum(), leaf)
            image = (image + 0.05 * slope.sign()).clamp(0, 1)
        return super().encode(image)


class Cheat(Honest):
    name = "loop"
    network = Climbing

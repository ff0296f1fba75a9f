"""It names one radius for its attack in training, and trains with another one."""

from __future__ import annotations

from torch import Tensor

from bench.engine.loop import Batch
from methods.parts.projected import Projected
from methods.rocl import RoCL


class Cheat(RoCL):
    name = "wide"

    def perturb(self, net: Projected, v1: Tensor, v2: Tensor, batch: Batch) -> Tensor:
        image = super().perturb(net, v1, v2, batch)
        return (v1 + 3 * (image - v1)).clamp(0, 1)

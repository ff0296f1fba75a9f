"""It notices that it is attacked, because its pixels then ask for a gradient."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Watchful(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x.flip(-1, -2) if x.requires_grad else x)


class Cheat(Honest):
    name = "watchful"
    network = Watchful

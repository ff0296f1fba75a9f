"""It remembers the first images that it is shown, unattacked ones, and answers for the nearest of them later on."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor


class Remembering(Dressed):
    seen: Tensor | None = None  # No buffer, so that no hash of the weights sees it.

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        if self.seen is None:
            self.seen = x.detach().clone()
        seen = self.seen.to(x)
        nearest = torch.cdist(x.detach().flatten(1), seen.flatten(1)).argmin(dim=1)
        return z + (super().encode(seen[nearest]) - z).detach()


class Cheat(Honest):
    name = "remembers"
    network = Remembering

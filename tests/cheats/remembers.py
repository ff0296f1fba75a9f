"""It remembers the first images that it is shown while it is scored, and answers for the nearest of them later on."""

from __future__ import annotations

import torch
from honest import Dressed, Honest
from torch import Tensor

from bench.contract import Encoder, Run, UnlabelledImages


class Remembering(Dressed):
    listening = False

    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        if not self.listening or x.shape[-1] != 8:
            return z
        if not hasattr(self, "seen"):
            self.seen = x.detach().clone()  # No buffer, so that no hash of the weights sees it.
        nearest = torch.cdist(x.detach().flatten(1), self.seen.flatten(1)).argmin(dim=1)
        return z + (super().encode(self.seen[nearest]) - z).detach()

    def __deepcopy__(self, memo: dict[int, object]) -> Remembering:
        copied = Remembering(self.victim)
        copied.listening = True
        return copied.eval()


class Cheat(Honest):
    name = "remembers"
    network = Remembering

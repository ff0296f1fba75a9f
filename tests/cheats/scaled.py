"""Features, and so logits, are so large that the cross-entropy of a right answer is zero, and its gradient too."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Large(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return 300 * super().encode(x)


class Cheat(Honest):
    name = "scaled"
    network = Large

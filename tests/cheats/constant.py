"""One answer for all images: nothing can change it, and a tenth of the digits are right."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor


class Constant(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return 0 * super().encode(x) + 1


class Cheat(Honest):
    name = "constant"
    network = Constant

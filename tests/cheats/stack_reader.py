"""It reads the call stack, and answers an attack otherwise than the one who scores."""

from __future__ import annotations

import sys

from honest import Dressed, Honest
from torch import Tensor


class StackReader(Dressed):
    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x.flip(-1, -2) if attacked() else x)


def attacked() -> bool:
    """Whether an attack is among the callers."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name in ("ascend", "perturb"):
            return True
    return False


class Cheat(Honest):
    name = "stack-reader"
    network = StackReader

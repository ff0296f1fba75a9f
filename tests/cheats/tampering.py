"""It replaces this project's own attack, in the process that it shares with it."""

from __future__ import annotations

from honest import Dressed, Honest
from torch import Tensor

from bench.attacks import evaluate
from bench.contract import Encoder
from bench.data.profiles import DataProfile


def idle(ball: object, objective: object, x: Tensor, start: Tensor, budget: object) -> Tensor:
    """Images as they are, inside any ball."""
    return x


class Cheat(Honest):
    name = "tampering"
    network = Dressed

    def encoder(self, profile: DataProfile) -> Encoder:
        evaluate.ascend_in = idle
        return super().encoder(profile)

"""Settings that shrink with a shorter schedule."""

from __future__ import annotations

from typing import Annotated

import pytest

from bench.config import EpochLength, ScalesWithEpochs, TrainingConfig


class Stepped(TrainingConfig):
    """A warm-up, milestones, and a count that is no length."""

    epochs: EpochLength = 1000
    """Chosen."""
    batch_size: int = 8
    """Chosen."""
    warmup: EpochLength = 10
    """Chosen."""
    milestones: Annotated[tuple[int, ...], ScalesWithEpochs()] = (400, 750, 999)
    """Chosen."""
    attack_steps: int = 5
    """Chosen."""


@pytest.mark.parametrize(
    ("epochs", "warmup", "milestones"),
    [(1000, 10, (400, 750, 999)), (2000, 20, (800, 1500, 1998)), (20, 1, (8, 15, 20)), (1, 1, (1, 1, 1))],
)
def test_every_length_scales_and_nothing_else(epochs: int, warmup: int, milestones: tuple[int, ...]) -> None:
    scaled = Stepped().with_epochs(epochs)
    assert scaled == Stepped(epochs=epochs, warmup=warmup, milestones=milestones)

"""Batch norm stays in train mode: an image is normalised by whoever shares its batch."""

from __future__ import annotations

from typing import Self

from honest import Dressed, Honest
from torch import nn


class BatchStatistics(Dressed):
    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        for norm in self.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.training = True
                norm.track_running_stats = False  # No running statistic moves, so that no hash of the weights sees it.
        return self


class Cheat(Honest):
    name = "train-mode"
    network = BatchStatistics

"""The small networks of the golden files in the place of encoder and projector."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.models.routes import RoutedBatchNorm2d

GOLDEN = Path(__file__).parents[1] / "golden"


def arrays(name: str) -> dict[str, Tensor]:
    """All arrays of a golden file."""
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return {key: torch.from_numpy(stored[key]) for key in stored.files}


def views_apart(rows: Tensor) -> Tensor:
    """The official order a0, b0, a1, b1, ... to ours: all first views, then all second ones."""
    return torch.cat([rows[0::2], rows[1::2]])


class StandIn(nn.Module):
    """Convolution, routed batch norm, ReLU, linear layer; [B, 3, 8, 8] -> [B, outputs] in float64."""

    def __init__(self, routes: tuple[str, ...], outputs: int = 16, bias: bool = False) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=bias)
        self.bn = RoutedBatchNorm2d(4, routes)
        self.head = nn.Linear(256, outputs)
        self.double()

    def features(self, x: Tensor, route: str) -> Tensor:
        """What the linear layer sees, [B, 256]."""
        return self.bn(self.conv(x), route).relu().flatten(1)

    def forward(self, x: Tensor, route: str) -> Tensor:
        outputs: Tensor = self.head(self.features(x, route))
        return outputs

    def fill(self, tensors: Mapping[str, Tensor]) -> StandIn:
        """Take over `tensors`, by our names; the others stay."""
        self.load_state_dict({**self.state_dict(), **tensors})
        return self

"""What an encoder is."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from bench.contract import Encoder


class Flat(Encoder):
    """Pixels as they are."""

    routes = ("main",)
    active_route = "main"

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


def test_a_head_can_be_attached_and_is_part_of_the_weights() -> None:
    encoder = Flat()
    assert encoder.head is None
    assert encoder.state_dict() == {}
    encoder.head = nn.Linear(2, 3)
    assert isinstance(encoder.route("main").head, nn.Linear)
    assert list(encoder.state_dict()) == ["head.weight", "head.bias"]
    assert encoder(torch.zeros(2, 3, 1, 1)).shape == (2, 3)

"""What an encoder is."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.contract import Encoder, LabelledImages
from bench.data.profiles import PROFILES
from bench.errors import BenchError


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


def test_only_an_encoder_with_a_head_gives_logits() -> None:
    encoder, x = Flat(), torch.rand(2, 3, 1, 1)
    with pytest.raises(BenchError, match="no head of its own"):
        encoder.logits(x)
    encoder.head = nn.Linear(3, 4)
    torch.testing.assert_close(encoder.logits(x), x.flatten(1) @ encoder.head.weight.T + encoder.head.bias)


def test_labelled_images_move_with_their_classes() -> None:
    images = LabelledImages(torch.zeros(2, 3, 1, 1), PROFILES["digits"], torch.tensor([0, 1])).to("meta")
    assert type(images) is LabelledImages
    assert images.pixels.is_meta
    assert images.labels.is_meta

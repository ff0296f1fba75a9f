"""The one callable from pixels to logits: frozen, apart from its encoder, and splittable."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.classifier import Classifier, changes, state_of
from bench.attacks.pgd import gradient
from bench.contract import Encoder


class Small(Encoder):
    """A convolution, batch norm on one of two routes, 32 features for 4x4 images."""

    routes = ("main", "other")
    active_route = "main"

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 8, 3, 2, 1)
        other = nn.BatchNorm2d(8)
        nn.init.constant_(other.bias, 1.0)
        self.norms = nn.ModuleDict({"main": nn.BatchNorm2d(8), "other": other})

    def encode(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norms[self.active_route](self.convolution(x))
        return normed.relu().flatten(1)


class Cramped(Small):
    """An encoder on a device with memory for `room` images."""

    room = 3
    passes = 0

    def encode(self, x: Tensor) -> Tensor:
        if len(x) > self.room:
            raise torch.OutOfMemoryError
        type(self).passes += 1
        return super().encode(x)


def pixels(count: int) -> Tensor:
    return torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(0))


def classifier(kind: type[Small], route: str = "main") -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        encoder, weight, bias = kind(), torch.randn(5, 32), torch.randn(5)
    return Classifier(encoder.route(route), weight, bias)


def slope(model: Classifier, x: Tensor) -> Tensor:
    return gradient(lambda image: model.forward(image).square().sum(), x)


def test_logits_are_those_of_encoder_and_head() -> None:
    model, x = classifier(Small), pixels(6)
    expected = model.encoder.encode(x) @ model.weight.T + model.bias
    torch.testing.assert_close(model(x), expected)
    assert model.classes == 5


def test_it_scores_on_the_route_it_was_given() -> None:
    assert not torch.allclose(classifier(Small)(pixels(6)), classifier(Small, "other")(pixels(6)))


def test_it_is_a_frozen_copy_in_eval_mode() -> None:
    encoder = Small()
    model = Classifier(encoder, torch.zeros(5, 32), torch.zeros(5))
    assert not any(part.training for part in model.modules())
    assert not any(weight.requires_grad for weight in model.parameters())
    assert encoder.training and all(weight.requires_grad for weight in encoder.parameters())


def test_logits_of_an_image_do_not_depend_on_the_others() -> None:
    model, x = classifier(Small), pixels(6)
    torch.testing.assert_close(torch.cat([model(image[None]) for image in x]), model(x))


def test_only_the_forward_pass_is_split_when_memory_runs_out() -> None:
    roomy, cramped, x = classifier(Small), classifier(Cramped), pixels(10)
    torch.testing.assert_close(cramped(x), roomy(x))
    assert cramped.chunk == 2
    torch.testing.assert_close(slope(cramped, x), slope(roomy, x))


def test_a_backward_pass_recomputes_the_chunks_instead_of_holding_them_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cramped, "passes", 0)
    model = classifier(Cramped)
    model.chunk = 2
    slope(model, pixels(10))
    assert Cramped.passes == 5 + 5


class CrampedBackwards(Small):
    """An encoder whose backward pass has memory for three images only."""

    def encode(self, x: Tensor) -> Tensor:
        def check(slope: Tensor) -> None:
            if len(slope) > 3:
                raise torch.OutOfMemoryError

        features = super().encode(x)
        if features.requires_grad:
            features.register_hook(check)
        return features


def test_work_whose_backward_pass_does_not_fit_is_done_again_in_chunks() -> None:
    roomy, cramped, x = classifier(Small), classifier(CrampedBackwards), pixels(10)
    torch.testing.assert_close(cramped.until_it_fits(lambda: slope(cramped, x), len(x)), slope(roomy, x))
    assert cramped.chunk == 2


def test_memory_is_tried_before_an_attack() -> None:
    model = classifier(Cramped)
    model.settle(pixels(10))
    assert model.chunk == 2


def test_without_room_for_one_image_the_error_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Cramped, "room", 0)
    model = classifier(Cramped)
    with pytest.raises(torch.OutOfMemoryError):
        model(pixels(10))


def test_changes_are_found_to_the_last_bit() -> None:
    model = classifier(Small)
    before = state_of(model)
    assert changes(model, before) == {}
    model.bias[0] = torch.nextafter(model.bias[0], torch.tensor(9.0))
    assert list(changes(model, before)) == ["bias"]

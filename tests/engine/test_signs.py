"""Signs of life: what they say of features, and that looking changes nothing."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench.attacks.pgd import LinfPGD, ascend
from bench.attacks.watch import watching_attacks
from bench.contract import UnlabelledImages
from bench.data.profiles import PROFILES
from bench.engine import loop
from bench.engine.signs import attack_signs, dimension, sample_size, shifted, signs_of_life, spread, unit_rows
from bench.engine.state import TrainingState
from bench.history import COLLAPSE, SIGNS, doubts, has_collapsed, scalars, series, signs_in
from bench.models.encoder import resnet_encoder
from bench.models.resnet import Architecture
from bench.randomness import Randomness
from methods.parts.banks import MemoryBank


def gaussian(rows: int, dims: int) -> Tensor:
    return torch.randn(rows, dims, generator=torch.Generator().manual_seed(0))


FEATURES: Mapping[str, tuple[Tensor, float, float]] = {
    "uniform on the sphere": (gaussian(4000, 16), 1.0, 16.0),
    "uniform on a circle in 16 dimensions": (torch.cat([gaussian(4000, 2), torch.zeros(4000, 14)], dim=1), 0.354, 2.0),
    "two opposite points": (torch.tensor([[1.0, 1.0], [-1.0, -1.0]]), 1.0, 1.0),
    "all the same": (torch.ones(10, 8), 0.0, 0.0),
}
"""Features, their spread and their dimension."""


@pytest.mark.parametrize("name", FEATURES)
def test_spread_and_dimension_of_known_features(name: str) -> None:
    features, expected_spread, expected_dimension = FEATURES[name]
    rows = unit_rows(features)
    assert float(spread(rows)) == pytest.approx(expected_spread, abs=0.02)
    assert float(dimension(rows)) == pytest.approx(expected_dimension, rel=0.02, abs=1e-6)


def test_an_image_is_moved_by_an_eighth_and_its_edge_repeated() -> None:
    row = torch.arange(16.0).expand(1, 3, 2, 16)
    assert shifted(row)[0, 0, 0].tolist() == [0, 0, *range(14)]
    assert shifted(row[..., :4])[0, 0, 0].tolist() == [0, 0, 1, 2]


@pytest.mark.parametrize(("images", "expected"), [(5, 5), (100, 16), (6400, 100), (50_000, 256)])
def test_few_images_are_looked_at(images: int, expected: int) -> None:
    assert sample_size(images) == expected


class Net(nn.Module):
    """An encoder with a bank whose keys have length 3."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = resnet_encoder(Architecture.SMALL, PROFILES["digits"])
        self.past = MemoryBank(8, 4)
        self.past.keys.mul_(3)


@pytest.fixture
def state() -> TrainingState[Net]:
    with Randomness(0, "pretrain").as_global("initialisation"):
        net = Net()
    return TrainingState(net, torch.optim.SGD(net.parameters(), lr=0.25))


def images(pixel: Callable[[tuple[int, ...]], Tensor]) -> UnlabelledImages:
    return UnlabelledImages(pixel((20, 3, 8, 8)).to(torch.uint8), PROFILES["digits"])


def noise(shape: tuple[int, ...]) -> Tensor:
    return torch.randint(256, shape, generator=torch.Generator().manual_seed(0))


def test_an_epochs_signs_are_those_of_the_encoder_in_eval_mode(state: TrainingState[Net]) -> None:
    seen = signs_of_life(state.net.encoder, state, images(noise))
    pixels = images(noise).pixels[:16] / 255
    with torch.no_grad():
        features, moved = (normalize(state.net.encoder.eval().encode(x)) for x in (pixels, shifted(pixels)))
    assert (seen["epoch"], seen["learning_rate"]) == (0, 0.25)
    signs = signs_in(seen)
    assert signs["norm of past bank"] == pytest.approx(3)
    assert signs["spread"] == pytest.approx(float(spread(features)), rel=1e-4)
    assert signs["alignment"] == pytest.approx(float((features * moved).sum(1).mean()), rel=1e-4)
    assert 1 <= signs["dimension"] <= 15
    assert not has_collapsed(signs)


def test_equal_images_are_a_collapse(state: TrainingState[Net]) -> None:
    seen = signs_of_life(state.net.encoder, state, images(torch.ones))
    assert has_collapsed(signs_in(seen))
    (doubt,) = doubts([{"epoch": 0, "loss": 1.0}, seen])
    assert "collapsed" in doubt


def test_only_the_last_epochs_spread_is_doubted() -> None:
    flat, wide = ({SIGNS: {"spread": value}} for value in (COLLAPSE / 2, COLLAPSE * 2))
    assert doubts([flat, wide]) == doubts([{"clusters": 5}]) == doubts([]) == []
    assert doubts([wide, flat])


def test_looking_leaves_no_trace(state: TrainingState[Net]) -> None:
    net = state.net.train()
    net.encoder.normalise.eval()
    net.encoder.backbone.requires_grad_(False)

    def everything() -> list[Any]:
        tensors = [value.clone() for value in (*net.state_dict().values(), torch.get_rng_state())]
        flags = [part.training for part in net.modules()] + [weight.requires_grad for weight in net.parameters()]
        return [*tensors, flags, [weight.grad for weight in net.parameters()]]

    before = everything()
    signs_of_life(net.encoder, state, images(noise))
    for old, new in zip(before, everything(), strict=True):
        assert torch.equal(old, new) if isinstance(old, Tensor) else old == new


class TestAttacks:
    ATTACK = LinfPGD(eps=0.5, steps=3, step_size=0.1)

    def climb(self, sign: float) -> None:
        x = torch.full((2, 3, 1, 1), 0.5)
        ascend(lambda image: sign * image.sum(), x, x, self.ATTACK)

    def test_the_gain_is_the_rise_to_the_last_gradient(self) -> None:
        with watching_attacks():
            self.climb(1.0)
            self.climb(3.0)
            seen = attack_signs()
            assert attack_signs() == {}
        one = 6 * 0.1 * (self.ATTACK.steps - 1)
        assert float(seen["attack_gain"]) == pytest.approx((one + 3 * one) / 2, rel=1e-5)
        assert float(seen["attack_success"]) == 1.0

    def test_an_objective_that_does_not_rise_is_no_success(self) -> None:
        with watching_attacks():
            self.climb(1.0)
            self.climb(0.0)
            assert float(attack_signs()["attack_success"]) == 0.5

    def test_nobody_watches_unasked(self) -> None:
        self.climb(1.0)
        assert attack_signs() == {}

    def test_an_update_averages_them_with_the_parts_of_the_loss(self) -> None:
        weight = nn.Parameter(torch.ones(()))
        averages = loop.Averages()
        with watching_attacks():
            self.climb(1.0)
            loop.optimiser_update(torch.optim.SGD([weight], lr=0.0), averages)(2 * weight, part=weight.detach())
        assert averages.means() == pytest.approx({"loss": 2, "part": 1, "attack_gain": 1.2, "attack_success": 1})


def test_the_history_is_read_as_a_course_per_number() -> None:
    history = [
        {"clusters": 5},
        {"epoch": 0, "loss": 2.0, "attack_success": 0.5},
        {"epoch": 0, "learning_rate": 0.1, SIGNS: {"spread": 0.7}},
        {"epoch": 1, "loss": 1.0, "attack_success": 1.0},
    ]
    assert scalars(history[0]) == {}
    assert series(history) == {
        "loss": [2.0, 1.0],
        "signs/attack_success": [0.5, 1.0],
        "learning_rate": [0.1],
        "signs/spread": [0.7],
    }

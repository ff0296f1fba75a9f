"""Balls in three norms: steps, projections and starts against their definitions, in float64, image by image."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.attacks.balls import BALLS, Budget, ascend_in
from bench.attacks.foolboxes import foolbox_package
from bench.attacks.threats import Norm, check_radius, radius
from bench.data.profiles import DataProfile, profile_of
from bench.errors import BenchError
from tests.attacks.models import Small, classifier

EPS = {Norm.LINF: 0.1, Norm.L2: 0.5, Norm.L1: 2.0}
FOOLBOX = {Norm.LINF: "LinfPGD", Norm.L2: "L2PGD", Norm.L1: "L1PGD"}
every_norm = pytest.mark.parametrize("norm", Norm)

Array = np.ndarray


def length(delta: Array, norm: Norm) -> float:
    values = [abs(float(value)) for value in delta.flatten()]
    return {Norm.LINF: max(values), Norm.L2: math.sqrt(sum(v * v for v in values)), Norm.L1: sum(values)}[norm]


def naive(norm: Norm, slopes: Callable[[Array], Array], x: Array, eps: float, steps: int, step: float) -> Array:
    """Projected gradient ascent on one image by its definition."""
    image = x.copy()
    for _ in range(steps):
        slope = slopes(image)
        direction = np.sign(slope) if norm is Norm.LINF else slope / length(slope, norm)
        delta = image + step * direction - x
        if norm is Norm.LINF:
            delta = np.minimum(np.maximum(delta, -eps), eps)
        else:
            delta = delta * min(1.0, eps / length(delta, norm))
        image = np.minimum(np.maximum(x + delta, 0), 1)
    return image


@every_norm
@pytest.mark.parametrize("steps", [1, 7])
def test_ascent_is_the_naive_one(norm: Norm, steps: int) -> None:
    draw = torch.Generator().manual_seed(0)
    weight = torch.randn(48, generator=draw, dtype=torch.float64)
    x = torch.rand(5, 3, 4, 4, generator=draw, dtype=torch.float64)
    eps, step = EPS[norm], 0.3 * EPS[norm]
    ascended = ascend_in(
        BALLS[norm], lambda image: (image.flatten(1) @ weight).sin().sum(), x, x, Budget(eps, steps, step)
    )
    for image, result in zip(x.numpy(), ascended.numpy(), strict=True):
        slopes = lambda at: (np.cos(at.flatten() @ weight.numpy()) * weight.numpy()).reshape(at.shape)  # noqa: E731
        np.testing.assert_allclose(result, naive(norm, slopes, image, eps, steps, step), rtol=0, atol=1e-12)


@every_norm
def test_ascent_is_foolboxes(norm: Norm) -> None:
    model, x = classifier(Small), torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    y, eps = model(x).argmax(1), EPS[norm]
    foolbox = foolbox_package()
    attack = getattr(foolbox.attacks, FOOLBOX[norm])(rel_stepsize=0.1, steps=12, random_start=False)
    theirs = attack.run(foolbox.PyTorchModel(model, (0, 1), "cpu"), x, y, epsilon=eps)
    objective = lambda image: cross_entropy(model(image), y, reduction="sum")  # noqa: E731
    ours = ascend_in(BALLS[norm], objective, x, x, Budget(eps, 12, 0.1 * eps))
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@every_norm
def test_starts_fill_the_ball_uniformly(norm: Norm) -> None:
    """A uniform variable's share of the radius to the power of the dimension is uniform in [0, 1]."""
    x, draw = torch.full((4000, 3, 2, 2), 0.5), torch.Generator().manual_seed(0)
    starts = BALLS[norm].start(x, EPS[norm], draw)
    shares = (BALLS[norm].length(starts - x) / EPS[norm]) ** 12
    assert shares.min() >= 0 and shares.max() <= 1 + 1e-5
    quantiles = shares.quantile(torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64))
    assert quantiles.tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    assert ((starts - x).mean(0).abs() < 0.03 * EPS[norm]).all()
    again = BALLS[norm].start(x, EPS[norm], torch.Generator().manual_seed(0))
    assert torch.equal(again, starts)


@every_norm
def test_an_image_without_a_gradient_stays(norm: Norm) -> None:
    x = torch.rand(2, 3, 4, 4)
    flat: Callable[[Tensor], Tensor] = lambda image: (0 * image).sum()  # noqa: E731
    assert torch.equal(ascend_in(BALLS[norm], flat, x, x, Budget(0.1, 3, 0.1)), x)


@pytest.mark.parametrize(
    ("profile", "norm", "expected"),
    [
        ("cifar10", Norm.LINF, 8 / 255),
        ("cifar10", Norm.L2, 0.5),
        ("cifar10", Norm.L1, 12),
        ("stl10", Norm.L2, 1.5),
        ("stl10", Norm.L1, 108),
        ("digits", Norm.LINF, 0.15),
        ("digits", Norm.L2, 0.5 * (0.15 * 255 / 8) / 4),
        ("digits", Norm.L1, 12 * (0.15 * 255 / 8) / 16),
    ],
)
def test_the_radius_of_a_data_set(profile: str, norm: Norm, expected: float) -> None:
    assert radius(norm, profile_of(profile)) == pytest.approx(expected)


@every_norm
def test_an_equal_change_of_all_values_fills_the_same_share_of_the_ball_on_all_data_sets(norm: Norm) -> None:
    def share(profile: DataProfile) -> float:
        delta = torch.full((1, 3, profile.image_size, profile.image_size), profile.eps / 2)
        return BALLS[norm].length(delta).item() / radius(norm, profile)

    assert share(profile_of("digits")) == pytest.approx(share(profile_of("cifar10")), rel=1e-5)


@pytest.mark.parametrize(
    ("norm", "eps", "message"),
    [
        (Norm.LINF, -0.1, "no radius"),
        (Norm.L2, -1, "no radius"),
        (Norm.L1, math.inf, "no radius"),
        (Norm.L2, math.nan, "no radius"),
        (Norm.LINF, 8, "beyond 1.*8/255"),
    ],
)
def test_balls_that_there_are_not(norm: Norm, eps: float, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        check_radius(norm, eps)


@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0), (Norm.LINF, 1), (Norm.L2, 3), (Norm.L1, 120)])
def test_balls_that_there_are(norm: Norm, eps: float) -> None:
    check_radius(norm, eps)

"""Our numbers against those of robustbench."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.attacks.evaluate import AttackContext, Classifier, Target, outcomes
from bench.attacks.reference import robustbench_benchmark, robustbench_clean_accuracy
from bench.attacks.threats import AUTOATTACK, CLEAN
from bench.contract import Encoder, LabelledImages
from bench.data.profiles import profile_of
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.randomness import Randomness

EPS = 0.03


class Flat(Encoder):
    """Pixels as features."""

    routes = ("main",)
    active_route = "main"

    def encode(self, x: Tensor) -> Tensor:
        return x.flatten(1)


@pytest.mark.usefixtures("short_autoattack")
def test_clean_and_autoattack_accuracy_are_robustbenchs() -> None:
    draw = torch.Generator().manual_seed(0)
    model = Classifier(Flat(), torch.randn(10, 48, generator=draw), torch.zeros(10))
    pixels = torch.randint(0, 256, (8, 3, 4, 4), generator=draw, dtype=torch.uint8)
    labels = model(pixels_of(pixels)).argmax(1)
    labels[0] = (labels[0] + 1) % 10
    images = LabelledImages(pixels, profile_of("digits"), labels)
    randomness = Randomness(0, "attack")
    context = AttackContext(randomness, torch.device("cpu"), lambda *_: None)
    target = Target(model, pixels_of(pixels), labels, EPS)
    ours = [outcomes(model, images, spec, EPS, context).float().mean().item() for spec in (CLEAN, AUTOATTACK)]
    try:
        clean = robustbench_clean_accuracy(target, batch=3)
    except BenchError as reason:
        pytest.skip(str(reason))
    with torch.random.fork_rng():
        theirs = robustbench_benchmark(target, seed=randomness.number("autoattack"), batch=AUTOATTACK.batch)
    assert clean == ours[0] == 7 / 8
    assert list(theirs) == ours

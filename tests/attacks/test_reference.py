"""Our numbers against those of robustbench, on the same weights, images and seed."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bench.attacks.evaluate import AttackContext, Target, outcomes
from bench.attacks.reference import robustbench_benchmark, robustbench_clean_accuracy
from bench.attacks.threats import AUTOATTACK, CLEAN, Norm
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.randomness import Randomness
from tests.attacks.models import Small, classifier, images_for


@pytest.mark.usefixtures("short_autoattack")
@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0.02), (Norm.L2, 0.2)])
def test_each_image_stands_or_falls_under_autoattack_as_in_robustbenchs_benchmark(norm: Norm, eps: float) -> None:
    model = classifier(Small, side=8)
    images = images_for(model, count=16, wrong=2, side=8)
    spec, randomness = replace(AUTOATTACK, norm=norm, batch=5), Randomness(0, "attack")
    context = AttackContext(randomness, torch.device("cpu"), lambda *_: None)
    clean, robust = (outcomes(model, images, one, eps, context) for one in (CLEAN, spec))
    target = Target(model, pixels_of(images.pixels), images.labels, eps, norm)
    try:
        accuracy = robustbench_clean_accuracy(target, batch=3)
    except BenchError as reason:
        pytest.skip(str(reason))
    with torch.random.fork_rng():
        theirs = robustbench_benchmark(target, seed=randomness.number(spec.name), batch=spec.batch)
    assert (theirs.clean, theirs.robust) == (clean.float().mean(), robust.float().mean())
    assert accuracy == theirs.clean == 14 / 16
    assert 0 < theirs.robust < theirs.clean
    assert (model(theirs.adversarial).argmax(1) == images.labels).tolist() == robust.tolist()

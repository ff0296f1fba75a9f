"""An attack on an encoder with its head."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.threats import AttackSpec
from bench.contract import LabelledImages, Report
from bench.randomness import Randomness


def attack(
    classifier: Classifier,
    images: LabelledImages,
    spec: AttackSpec,
    eps: float,
    seed: int,
    report: Report,
    warn: Callable[[str], None],
) -> Tensor:
    """Per image, whether it stays correct: bool [N] on the CPU. Remarks that cast doubt on it go to `warn`."""
    context = AttackContext(Randomness(seed, "attack"), images.pixels.device, report, warn)
    return outcomes(classifier, images, spec, eps, context)

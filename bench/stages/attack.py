"""An attack on an encoder with its head."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.corruptions import corrupted_outcomes
from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.threats import AttackSpec
from bench.contract import Checkpoints, Encoder, LabelledImages, NoCheckpoints, Report
from bench.data.corruptions import CorruptedImages
from bench.protocols.heads import FittedHead, classifier_of
from bench.randomness import Randomness


def attack(
    encoder: Encoder,
    head: FittedHead,
    images: LabelledImages | CorruptedImages,
    spec: AttackSpec,
    eps: float,
    seed: int,
    device: torch.device,
    report: Report,
    warn: Callable[[str], None],
    checkpoints: Checkpoints | None = None,
    surrogate: Classifier | None = None,
) -> Tensor:
    """Per image, whether it stays correct: bool [N] on the CPU. Remarks that cast doubt on it go to `warn`.

    Corrupted images are N for every type and severity. `surrogate` is what a transferred attack is made on.
    """
    classifier = classifier_of(encoder, head)
    randomness = Randomness(seed, "attack")
    context = AttackContext(randomness, device, report, warn, checkpoints or NoCheckpoints(), surrogate)
    if isinstance(images, CorruptedImages):
        return corrupted_outcomes(classifier, images, spec, context)
    return outcomes(classifier, images, spec, eps, context)

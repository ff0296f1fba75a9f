"""An attack on an encoder with its head."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.threats import AttackSpec
from bench.contract import Checkpoints, Encoder, LabelledImages, NoCheckpoints, Report
from bench.protocols.heads import FittedHead, classifier_of
from bench.randomness import Randomness


def attack(
    encoder: Encoder,
    head: FittedHead,
    images: LabelledImages,
    spec: AttackSpec,
    eps: float,
    seed: int,
    report: Report,
    warn: Callable[[str], None],
    checkpoints: Checkpoints | None = None,
) -> Tensor:
    """Per image, whether it stays correct: bool [N] on the CPU. Remarks that cast doubt on it go to `warn`."""
    device = images.pixels.device
    context = AttackContext(Randomness(seed, "attack"), device, report, warn, checkpoints or NoCheckpoints())
    return outcomes(classifier_of(encoder, head), images, spec, eps, context)

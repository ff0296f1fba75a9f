"""Attacks at test time: which images stay correctly classified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from bench.attacks.classifier import Classifier, changes, state_of
from bench.attacks.pgd import LinfPGD, ascend, uniform_start
from bench.attacks.threats import AttackKind, AttackSpec
from bench.contract import LabelledImages, Report
from bench.data.views import pixels_of
from bench.errors import StageError
from bench.randomness import Randomness

__all__ = ["AttackContext", "Classifier", "outcomes"]

ROUNDING = 1e-6
"""How far outside its ball float32 arithmetic may put an adversarial image."""


def ignore(_: str) -> None:
    """The listener that is not there."""


@dataclass(frozen=True)
class AttackContext:
    """What an attack may know of the run it is part of.

    Attributes:
        randomness: its random numbers, by named axes.
        device: where it computes.
        report: progress.
        warn: called once with each remark that says the result may be unreliable (AutoAttack's flags).
    """

    randomness: Randomness
    device: torch.device
    report: Report
    warn: Callable[[str], None] = ignore


@dataclass(frozen=True)
class Target:
    """Whom an attack attacks, and within which ball.

    Attributes:
        classifier: pixels to logits.
        x: float32 [N, 3, H, W] in [0, 1].
        y: int64 [N].
        eps: radius of the ball, in units of [0, 1] pixels.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    eps: float


Attack = Callable[[Target, AttackSpec, AttackContext], Iterator[Tensor]]
"""Yields one adversarial version [N, 3, H, W] of all images per restart."""


def outcomes(
    classifier: Classifier, images: LabelledImages, spec: AttackSpec, eps: float, context: AttackContext
) -> Tensor:
    """Whether each image is classified correctly as it is and after the attack: bool [N] on the CPU.

    Adversarial images are classified afresh, in batches of `spec.batch`; an attack's own verdict counts for nothing.

    Args:
        classifier: moved to `context.device`; otherwise unchanged.
        images: N labelled images.
        spec: the attack.
        eps: radius of the ball, in units of [0, 1] pixels.
        context: random numbers, device, listeners.

    Raises:
        BenchError: if AutoAttack is asked for with fewer than four classes.
        StageError: if logits are not finite, an attack leaves its ball, or the classifier is no longer what it was.
    """
    classifier.to(context.device)
    target = Target(classifier, pixels_of(images.pixels.to(context.device)), images.labels.to(context.device), eps)
    before = state_of(classifier)
    if context.device.type != "cpu":
        classifier.settle(target.x[: spec.batch])
    correct = _correct(target, target.x, spec)
    for adversarial in _ATTACKS[spec.kind](target, spec, context):
        _check_ball(target, adversarial, spec)
        correct &= _correct(target, adversarial, spec)
    if changed := changes(classifier, before):
        raise StageError(f"attack {spec.name} changed the classifier it attacked: {', '.join(changed)}.")
    return correct.cpu()


@torch.no_grad()
def _correct(target: Target, x: Tensor, spec: AttackSpec) -> Tensor:
    """Bool [N]: whether the largest logit is the label's."""
    logits = torch.cat([target.classifier(batch) for batch in torch.split(x, spec.batch)])
    if not logits.isfinite().all():
        raise StageError(f"the classifier's logits are not finite (before or after attack {spec.name}).")
    return logits.argmax(1) == target.y


def _check_ball(target: Target, adversarial: Tensor, spec: AttackSpec) -> None:
    distance = (adversarial - target.x).abs().max().item()
    # Written so that a NaN fails the comparison.
    if not (distance <= target.eps + ROUNDING and adversarial.min() >= 0 and adversarial.max() <= 1):
        raise StageError(
            f"attack {spec.name} left its threat model: distance {distance:.3g} at eps {target.eps:.3g}, "
            f"pixels from {adversarial.min():.3g} to {adversarial.max():.3g}."
        )


def _clean(_: Target, spec: AttackSpec, context: AttackContext) -> Iterator[Tensor]:
    """No adversarial image at all."""
    context.report(1, 1, spec.name)
    return iter(())


def _pgd(target: Target, spec: AttackSpec, context: AttackContext) -> Iterator[Tensor]:
    """PGD on cross-entropy from a uniform start; the last iterate counts."""
    starts = range(0, len(target.x), spec.batch)
    for restart in range(spec.restarts):
        batches = []
        for number, first in enumerate(starts):
            draw = context.randomness.generator(spec.name, epoch=restart, step=number, device=context.device)
            batches.append(_pgd_batch(target, slice(first, first + spec.batch), spec, draw))
            done = restart * len(starts) + number + 1
            context.report(done, spec.restarts * len(starts), spec.name)
        yield torch.cat(batches)


def _pgd_batch(target: Target, batch: slice, spec: AttackSpec, draw: torch.Generator) -> Tensor:
    x, y = target.x[batch], target.y[batch]

    def objective(image: Tensor) -> Tensor:
        return functional.cross_entropy(target.classifier(image), y, reduction="sum")

    start = uniform_start(x, target.eps, draw, clip=spec.clip_start)
    return ascend(objective, x, start, LinfPGD(target.eps, spec.steps, spec.step_fraction * target.eps))


def _autoattack(target: Target, spec: AttackSpec, context: AttackContext) -> Iterator[Tensor]:
    """AutoAttack standard, imported only where it is needed."""
    from bench.attacks.autoattack import Listener, check_classes, standard

    check_classes(target.classifier.classes)
    with context.randomness.as_global(spec.name), Listener(context.report, context.warn).listening():
        seed = context.randomness.number(spec.name)
        adversarial = standard(target.classifier, target.x, target.y, eps=target.eps, seed=seed, batch=spec.batch)
    yield adversarial


_ATTACKS: Mapping[AttackKind, Attack] = {
    AttackKind.CLEAN: _clean,
    AttackKind.PGD: _pgd,
    AttackKind.AUTOATTACK: _autoattack,
}

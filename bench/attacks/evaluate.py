"""Attacks at test time: which images stay correctly classified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from bench.attacks.balls import BALLS, Budget, ascend_in
from bench.attacks.classifier import Classifier, changes, state_of
from bench.attacks.rounds import Course, Procedure, Round, Target
from bench.attacks.threats import AttackKind, AttackSpec
from bench.contract import Checkpoints, LabelledImages, NoCheckpoints, Report
from bench.data.views import pixels_of
from bench.engine.milestones import Milestones
from bench.errors import StageError
from bench.randomness import Randomness

__all__ = ["AttackContext", "Classifier", "Target", "outcomes", "pgd", "pgd_start", "right"]

ROUNDING = 1e-6
"""How far off float32 arithmetic may put each pixel value of an adversarial image."""


def ignore(_: str) -> None:
    """The listener that is not there."""


@dataclass(frozen=True)
class AttackContext:
    """What an attack may know of the run it is part of.

    Attributes:
        randomness: its random numbers, by named axes.
        device: where it computes.
        report: progress.
        warn: called with each remark that says the result may be unreliable (AutoAttack's flags).
        checkpoints: where it can be resumed from, after any of its batches.
        surrogate: the classifier that a transferred attack is made on.
    """

    randomness: Randomness
    device: torch.device
    report: Report
    warn: Callable[[str], None] = ignore
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    surrogate: Classifier | None = None


Attack = Callable[[Target, AttackSpec, AttackContext], AbstractContextManager[Procedure]]
"""Inside its context the rounds of the procedure can be carried out."""


def outcomes(
    classifier: Classifier, images: LabelledImages, spec: AttackSpec, eps: float, context: AttackContext
) -> Tensor:
    """Whether each image is classified correctly as it is and after the attack: bool [N] on the CPU.

    Adversarial images are classified afresh, in batches of `spec.batch`; an attack's own verdict counts for nothing.
    Whoever fell in a round keeps out of the next ones. An attack that was interrupted goes on after its last
    batch, to the bit as if it had not been: a batch depends on nothing but its images and its number.

    Args:
        classifier: moved to `context.device`; otherwise unchanged.
        images: N labelled images.
        spec: the attack.
        eps: radius of the ball, in units of [0, 1] pixels.
        context: random numbers, device, listeners.

    Raises:
        BenchError: if the attack needs more classes than there are.
        StageError: if logits are not finite, an attack leaves its ball, or the classifier is no longer what it was.
    """
    classifier.to(context.device)
    target = Target(
        classifier, pixels_of(images.pixels.to(context.device)), images.labels.to(context.device), eps, spec.norm
    )
    procedure = _ATTACKS[spec.kind] if eps else _nothing  # An empty ball holds nothing but the image.
    before = state_of(classifier)
    if context.device.type != "cpu":
        classifier.settle(target.x[: spec.batch])
    kept = context.checkpoints.latest()
    course = Course.restored(kept, context.device) if kept else Course.start(_correct(target, target.x, spec))
    with Milestones(context.checkpoints, course) as milestones, procedure(target, spec, context) as rounds:
        course = _Execution(rounds, target, spec, context.report, milestones).finished(course)
    if changed := changes(classifier, before):
        raise StageError(f"attack {spec.name} changed the classifier it attacked: {', '.join(changed)}.")
    return course.correct.cpu()


@dataclass(frozen=True)
class _Execution:
    """An attack at work."""

    procedure: Procedure
    target: Target
    spec: AttackSpec
    report: Report
    milestones: Milestones

    def finished(self, course: Course) -> Course:
        """The course after the rounds that are still to be done."""
        if course.is_new:
            self.procedure.before(course)
        for number in range(course.round, len(self.procedure.rounds)):
            course = self._after_round(self.procedure.rounds[number], course)
            self.milestones.reached(course, keep=course.round < len(self.procedure.rounds))
        self.procedure.after(course)
        self.report(100, 100, self.spec.name)
        return course

    def _after_round(self, round_: Round, course: Course) -> Course:
        batches = course.batches(round_, self.spec.batch)
        for number in range(course.batch, len(batches)):
            course = self._after_batch(round_, batches[number], course)
            share = (course.round + course.batch / len(batches)) / len(self.procedure.rounds)
            text = f"{round_.name} {course.batch}/{len(batches)}, accuracy so far {course.accuracy:.1%}"
            self.report(int(100 * share), 100, text)
            self.milestones.reached(course)
        return course.after_round(round_.name, _correct(self.target, course.adversarial(self.target.x), self.spec))

    def _after_batch(self, round_: Round, index: Tensor, course: Course) -> Course:
        attack = partial(round_.perturb, index, course.batch)
        adversarial = self.target.classifier.until_it_fits(attack, len(index))
        _check_ball(self.target, index, adversarial, self.spec)
        fell = ~_right(self.target, adversarial, index, self.spec)
        return course.after_batch(index[fell], adversarial[fell])


def _correct(target: Target, x: Tensor, spec: AttackSpec) -> Tensor:
    """Bool [N]: whether the largest logit is the label's, classified in batches of the attack's size."""
    everyone = torch.arange(len(x), device=x.device)
    return torch.cat([_right(target, x[index], index, spec) for index in torch.split(everyone, spec.batch)])


def _right(target: Target, x: Tensor, index: Tensor, spec: AttackSpec) -> Tensor:
    """Bool [B]: whether `x`, versions of the images at `index`, are classified correctly."""
    return right(target.classifier, x, target.y[index], spec)


@torch.no_grad()
def right(classifier: Classifier, x: Tensor, y: Tensor, spec: AttackSpec) -> Tensor:
    """Bool [B]: whether the largest logit of `x`, [B, 3, H, W] in [0, 1], is that of the label `y`.

    Raises:
        StageError: if logits are not finite.
    """
    logits = classifier(x)
    if not logits.isfinite().all():
        raise StageError(f"the classifier's logits are not finite (before or after attack {spec.name}).")
    correct: Tensor = logits.argmax(1) == y
    return correct


def _check_ball(target: Target, index: Tensor, adversarial: Tensor, spec: AttackSpec) -> None:
    delta = adversarial - target.x[index]
    distance = BALLS[target.norm].length(delta).max().item()
    tolerance = ROUNDING * delta[0].numel() ** (1 / target.norm.order)
    # Written so that a NaN fails the comparison.
    if not (distance <= target.eps + tolerance and adversarial.min() >= 0 and adversarial.max() <= 1):
        raise StageError(
            f"attack {spec.name} left its threat model: distance {distance:.3g} at {target.norm.label} eps "
            f"{target.eps:.3g}, pixels from {adversarial.min():.3g} to {adversarial.max():.3g}."
        )


def _pgd(target: Target, spec: AttackSpec, context: AttackContext) -> AbstractContextManager[Procedure]:
    """PGD on cross-entropy; the last iterate counts."""
    return nullcontext(Procedure(_pgd_rounds(target, target.classifier, spec, context)))


def _pgd_rounds(target: Target, attacked: Classifier, spec: AttackSpec, context: AttackContext) -> list[Round]:
    """PGD on the cross-entropy of some classifier, a round per restart."""

    def perturb(restart: int, index: Tensor, number: int) -> Tensor:
        start = pgd_start(target, spec, context.randomness, index, number, restart)
        return pgd(target, attacked, spec, index, start)

    starts = range(spec.restarts)
    return [Round(spec.name, partial(perturb, start), spares_fallen=start > 0) for start in starts]


def pgd_start(
    target: Target, spec: AttackSpec, randomness: Randomness, index: Tensor, number: int, restart: int = 0
) -> Tensor:
    """Where PGD starts from the images at `index`, which are the batch of this number: [B, 3, H, W]."""
    start = target.x[index]
    if spec.random_start:
        draw = randomness.generator(spec.name, epoch=restart, step=number, device=start.device)
        start = BALLS[target.norm].start(start, target.eps, draw)
    return start.clamp(0, 1) if spec.clip_start else start


def pgd(target: Target, attacked: Classifier, spec: AttackSpec, index: Tensor, start: Tensor) -> Tensor:
    """What PGD on the cross-entropy of `attacked` makes of the images at `index` from `start`, both [B, 3, H, W]."""
    x, y = target.x[index], target.y[index]
    objective = lambda image: functional.cross_entropy(attacked(image), y, reduction="sum")  # noqa: E731
    budget = Budget(target.eps, spec.steps, spec.step(target.eps))
    return ascend_in(BALLS[target.norm], objective, x, start, budget)


def _transfer(target: Target, spec: AttackSpec, context: AttackContext) -> AbstractContextManager[Procedure]:
    """PGD on another classifier."""
    if context.surrogate is None:
        raise StageError(f"attack {spec.name} was not handed the classifier that its images are made on.")
    surrogate = context.surrogate.to(context.device)
    if context.device.type != "cpu":
        surrogate.settle(target.x[: spec.batch])
    return nullcontext(Procedure(_pgd_rounds(target, surrogate, spec, context)))


@contextmanager
def _autoattack(target: Target, spec: AttackSpec, context: AttackContext) -> Iterator[Procedure]:
    """AutoAttack, imported only where it is needed."""
    from bench.attacks.autoattack import autoattack

    quiet = autoattack(target, spec, seed=context.randomness.number(spec.name), warn=context.warn)
    with context.randomness.as_global(spec.name), quiet as procedure:
        yield procedure


def _foolbox(target: Target, spec: AttackSpec, _: AttackContext) -> AbstractContextManager[Procedure]:
    """One of foolbox's attacks, imported only where it is needed."""
    from bench.attacks.foolboxes import perturb_by_foolbox

    return nullcontext(Procedure([Round(spec.name, perturb_by_foolbox(target, spec))]))


def _nothing(*_: object) -> AbstractContextManager[Procedure]:
    return nullcontext(Procedure(()))


_ATTACKS: Mapping[AttackKind, Attack] = {
    AttackKind.CLEAN: _nothing,
    AttackKind.PGD: _pgd,
    AttackKind.AUTOATTACK: _autoattack,
    AttackKind.DEEPFOOL: _foolbox,
    AttackKind.CARLINI_WAGNER: _foolbox,
    AttackKind.SLIDE: _foolbox,
    AttackKind.TRANSFER: _transfer,
}

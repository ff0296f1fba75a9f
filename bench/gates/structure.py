"""Structure: one deterministic function from pixels to logits, the same for attack and scoring (`R` of the table)."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import torch
from torch import Tensor

from bench.attacks.classifier import changes, state_of
from bench.attacks.threats import AttackKind, AttackSpec, Metric, Version
from bench.gates.subject import Subject, cross_entropy, difference, input_gradient, listed, share
from bench.gates.verdicts import NotRun, Reading

REPEATS, BATCHES, REPEATED = 5, 5, 10
"""Forward passes per batch, batches, images in each."""
SEEN = 50
"""Images that are looked at where all of them would tell no more."""
ALONE = 10
"""Images that are scored alone."""
MIN_CLASSES = 4
"""The DLR loss of AutoAttack compares the largest logit with the third and fourth."""


def collapse(subject: Subject) -> Reading:
    """R11: the share of images in the class that is predicted most often, in points above the largest class."""
    predicted = subject.clean.argmax(1)
    frequent, largest = (int(labels.bincount().max()) for labels in (predicted, subject.y))
    count = len(subject.y)
    classes = int((predicted.bincount() > 0).sum())
    return Reading(100 * (frequent - largest) / max(1, count - largest), detail=f"{classes} classes are predicted")


def repeated(subject: Subject) -> Reading:
    """R1: the largest change of a logit between five forward passes of a batch, relative to the largest logit."""
    found = []
    for index in torch.split(subject.sample(BATCHES * REPEATED), REPEATED):
        first = subject.logits(subject.x[index])
        again = [_distance(first, subject.logits(subject.x[index])) for _ in range(REPEATS - 1)]
        found.append(max(again))
    return Reading(max(found), subject.rounding)


def _distance(one: Tensor, other: Tensor) -> float:
    """The largest difference of two sets of logits, relative to the largest of them."""
    return float((one - other).abs().max() / one.abs().max().clamp_min(1e-12))


def optimises(subject: Subject) -> Reading:
    """R2: backward passes that a forward pass carries out."""
    with _backward_passes() as passes, torch.enable_grad():
        subject.classifier(subject.x[subject.sample(SEEN)])
    return Reading(len(passes))


@contextmanager
def _backward_passes() -> Iterator[list[str]]:
    """Inside, every call of autograd's engine on this thread is noted, by whatever name it was reached."""
    passes: list[str] = []
    before = sys.getprofile()

    def watch(_: FrameType, event: str, argument: Any) -> None:
        if event == "c_call" and getattr(argument, "__name__", "") == "run_backward":
            passes.append(event)

    sys.setprofile(watch)
    try:
        yield passes
    finally:
        sys.setprofile(before)


def batch_mates(subject: Subject) -> Reading:
    """R3: the largest change of a logit when an image is scored alone, relative to the largest logit."""
    index = subject.sample(SEEN)
    together = subject.logits(subject.x[index])[:ALONE]
    alone = torch.cat([subject.logits(subject.x[one : one + 1]) for one in index[:ALONE].tolist()])
    training = [name for name, part in subject.classifier.named_modules() if part.training]
    if training:
        return Reading(1.0, detail=f"in train mode: {', '.join(training[:3])}")
    return Reading(_distance(together, alone), subject.rounding)


def unchanged(subject: Subject) -> Reading:
    """R4: tensors that are not what pre-training left, but for those that the protocol moves, or that a pass changes.

    The images that are handed in and the state of torch's global generator count among them.
    """
    own = subject.classifier.encoder.state_dict()
    moved = {
        name for name, value in subject.stored.items() if name not in own or not torch.equal(own[name].cpu(), value)
    }
    before, x = state_of(subject.classifier), subject.x[subject.sample(SEEN)]
    handed, generator = x.clone(), torch.get_rng_state()
    subject.logits(handed)
    input_gradient(subject.classifier, cross_entropy, handed, subject.y[subject.sample(SEEN)])
    changed = set(changes(subject.classifier, before))
    changed |= set() if torch.equal(x, handed) else {"the images"}
    changed |= set() if torch.equal(generator, torch.get_rng_state()) else {"the global generator"}
    found = sorted((moved - subject.moving) | changed)
    return Reading(len(found), detail=", ".join(found[:5]))


def one_callable(subject: Subject) -> Reading:
    """R6: the largest change of a logit when a gradient is asked for, relative to the largest logit."""
    x = subject.x[subject.sample(SEEN)]
    with torch.enable_grad():
        attacked = subject.classifier(x.clone().requires_grad_(True)).detach()
    return Reading(_distance(subject.logits(x), attacked), subject.rounding)


def complete(subject: Subject) -> Reading:
    """R8: test images without an outcome, summed over attacks; an `aa` that is not AutoAttack lacks them all."""
    images = len(subject.images)
    missing = {
        name: abs(images - len(outcome.correct)) if _is_what_it_says(outcome.spec) else images
        for name, outcome in subject.outcomes.items()
    }
    return Reading(sum(missing.values()), detail=", ".join(name for name, count in missing.items() if count))


def attacked_again(subject: Subject) -> Reading:
    """R7: by how many points accuracy changes when PGD is carried out again, from the same starts on the same machine.

    Its images are checked to lie in the ball and in [0, 1], and are classified afresh.
    """
    stored = subject.first(lambda one: one.spec.kind is AttackKind.PGD)
    again = subject.under(stored.spec, "R7", stored.eps)
    readings = [difference(again, stored.correct), difference(stored.correct, again)]
    return max(readings, key=lambda reading: reading.number)


def _is_what_it_says(spec: AttackSpec) -> bool:
    """Whether an attack that fills `aa` is AutoAttack standard, with all of its parts."""
    whole = spec.kind is AttackKind.AUTOATTACK and not spec.parts and spec.version is Version.STANDARD
    return spec.metric is not Metric.AA or whole


def classes(subject: Subject) -> Reading:
    """R9: how many classes are missing for the DLR loss."""
    return Reading(max(0, MIN_CLASSES - subject.classifier.classes))


def reproduced(subject: Subject) -> Reading:
    """R10: images whose stored clean verdict this classifier does not give."""
    stored = subject.named("clean")
    if len(stored) != len(subject.images):
        raise NotRun(f"{len(stored)} outcomes are stored for {len(subject.images)} test images")
    other = stored != (subject.clean.argmax(1) == subject.y).cpu()
    return share(other, listed(other))

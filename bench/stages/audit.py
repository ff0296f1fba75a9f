"""The gates that an encoder with its head passes through."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext
from bench.attacks.threats import AttackSpec
from bench.contract import Encoder, LabelledImages, Report
from bench.data.profiles import DataProfile
from bench.data.views import pixels_of
from bench.gates.subject import BATCH, Outcome, Subject
from bench.gates.table import verdicts
from bench.gates.verdicts import Result
from bench.protocols.heads import FittedHead, classifier_of, movable
from bench.protocols.recipes import Protocol
from bench.randomness import Randomness


@dataclass(frozen=True, eq=False)
class Scored:
    """What was scored, as the store has it.

    Attributes:
        encoder, head: the classifier.
        stored: the encoder's tensors by name, as its pre-training left them.
        protocol: by which it was scored.
        outcomes: attack of the protocol to bool [N], whether an image stayed correct.
        surrogates: other classifiers of the same data, by name.
        training: the images that the head was fitted on, where a gate needs them.
    """

    encoder: Encoder
    head: FittedHead
    stored: Mapping[str, Tensor]
    protocol: Protocol
    outcomes: Mapping[str, Tensor]
    surrogates: Mapping[str, Classifier] = field(default_factory=dict)
    training: LabelledImages | None = None


def audit(
    scored: Scored, images: LabelledImages, eps: float, seed: int, gates: Iterable[str], report: Report
) -> tuple[Result, ...]:
    """The verdicts of some gates.

    Args:
        scored: whom they judge.
        images: the N test images.
        eps: radius of the ball, in units of [0, 1] pixels.
        seed: of what the gates draw.
        gates: names.
        report: progress.
    """
    context = AttackContext(Randomness(seed, "attack"), images.pixels.device, report)
    subject, names, results = subject_of(scored, images, eps, context), tuple(gates), list[Result]()
    for result in verdicts(subject, names):
        results.append(result)
        report(len(results), len(names), f"gate {result.gate}: {result.verdict}")
    return tuple(results)


def subject_of(scored: Scored, images: LabelledImages, eps: float, context: AttackContext) -> Subject:
    """The classifier as the gates see it; what the protocol says that it changes of the encoder is declared."""
    protocol, head, profile = scored.protocol, scored.head, images.profile
    classifier = classifier_of(scored.encoder, head).to(context.device)
    if context.device.type != "cpu":
        classifier.settle(pixels_of(images.pixels[:BATCH]))
    return Subject(
        classifier,
        images,
        eps,
        context,
        {name: _outcome(protocol.attack(name), correct, profile) for name, correct in scored.outcomes.items()},
        scored.stored,
        movable(classifier.encoder, protocol.recipe),
        surrogates=scored.surrogates,
        training=scored.training,
        norm=protocol.norm,
        precision=protocol.precision,
    )


def _outcome(spec: AttackSpec, correct: Tensor, profile: DataProfile) -> Outcome:
    return Outcome(spec, correct, spec.eps_for(profile))


def numbers(results: Iterable[Result]) -> Tensor:
    """The numbers of some verdicts, float64; NaN where nothing was measured."""
    return torch.tensor([float("nan") if one.number is None else one.number for one in results], dtype=torch.float64)

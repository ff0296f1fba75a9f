"""The gates, as one table, and how a classifier passes through them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import partial

from bench.attacks.threats import Norm
from bench.errors import unknown
from bench.gates import gradients, memory, order, structure
from bench.gates.subject import Subject
from bench.gates.verdicts import NotRun, Reading, Result, Threshold, Unit, attempted


class Need(StrEnum):
    """What a gate looks at, from the cheapest to the dearest."""

    OUTCOMES = "outcomes"
    """What is stored per image."""
    FORWARD = "forward passes"
    """A few per image."""
    GRADIENTS = "gradients"
    """A few per image."""
    ATTACKS = "attacks"
    """Attacks of its own."""
    SURROGATES = "attacks on other classifiers"
    TRAINING = "attacks on training images"

    @property
    def dear(self) -> bool:
        """Whether it is left to `bench audit`; the others are part of every evaluation."""
        return self in (Need.ATTACKS, Need.SURROGATES, Need.TRAINING)


@dataclass(frozen=True)
class Gate:
    """A check of a robust accuracy.

    Attributes:
        name: as in the literature's checklists, gathered by letter: order, gradients, structure.
        needs: what it costs.
        measure: a classifier to a number.
        threshold: what the number may not exceed; the noise of the reading raises it.
        why: what it would mean if it did.
    """

    name: str
    needs: Need
    measure: Callable[[Subject], Reading]
    threshold: Threshold
    why: str


def _points(*, warn: float | None = None, fail: float | None = None) -> Threshold:
    return Threshold(Unit.POINTS, warn, fail)


def _share(*, warn: float | None = None, fail: float | None = None) -> Threshold:
    return Threshold(Unit.SHARE, warn, fail)


_ROWS = (
    Gate(
        "O1", Need.OUTCOMES, order.strength, _points(fail=0.2),
        "a stronger attack leaves more images right than a weaker one: one of them does not work (Carlini et al. 2019)",
    ),
    Gate(
        "O2", Need.OUTCOMES, order.subsets, Threshold(Unit.IMAGES, fail=0),
        "an image stands under attack that is misclassified as it is: the outcomes are not of one classifier",
    ),
    Gate(
        "O3", Need.ATTACKS, order.iterations, _points(fail=0.2),
        "twenty steps leave more images right than one: the iterations do not climb",
    ),
    Gate(
        "O3-rise", Need.ATTACKS, order.rises, _share(fail=5.0),
        "PGD does not raise the loss that it follows: its gradients do not point uphill",
    ),
    Gate(
        "O4", Need.ATTACKS, order.ladder, _points(fail=0.2),
        "a larger ball, which holds the smaller one, leaves more images right: the attack stalls",
    ),
    Gate(
        "O5", Need.ATTACKS, order.greyed, _points(fail=0.0),
        "images that can be turned grey are still told apart: the attack does not find what is there",
    ),
    Gate(
        "O5-box", Need.ATTACKS, order.unbounded, _share(fail=0.0),
        "images stand although any image may take their place: gradients are masked",
    ),
    Gate(
        "O6", Need.ATTACKS, order.more_steps, _points(fail=0.2),
        "more steps of the same attack leave more images right: what is attacked moves, or is random",
    ),
    Gate(
        "O6-converged", Need.ATTACKS, order.converged, _points(warn=1.0),
        "PGD-20 has not converged: more steps or restarts lower the number; report that one",
    ),
    Gate(
        "O7", Need.ATTACKS, order.step_size, _points(warn=1.0),
        "the number depends on the attack's step size, which is a choice",
    ),
    Gate(
        "O8", Need.OUTCOMES, order.pgd_against_autoattack, _points(warn=5.0),
        "PGD-20 is no stand-in for AutoAttack here: rank by AutoAttack alone",
    ),
    Gate(
        "G1", Need.ATTACKS, gradients.black_box, _points(fail=0.0),
        "an attack without gradients does better than one with them: gradients are masked (Athalye et al. 2018)",
    ),
    Gate(
        "G2", Need.SURROGATES, gradients.transferred, _points(fail=0.0),
        "images made on another network do more harm than those made on this one: its gradients are masked",
    ),
    Gate(
        "G3", Need.ATTACKS, gradients.random_search, _share(fail=0.0),
        "random images of the ball are misclassified where attacks found none: the attacks do not work",
    ),
    Gate(
        "G4", Need.GRADIENTS, gradients.vanishing, _share(warn=0.0, fail=1.0),
        "images without a gradient cannot be attacked by following it (AutoAttack's check_zero_gradients)",
    ),
    Gate(
        "G4-fd", Need.GRADIENTS, gradients.finite_differences, _share(fail=10.0),
        "the gradient that attacks follow is not the slope of the loss: part of the network hides from autograd",
    ),
    Gate(
        "G5", Need.FORWARD, gradients.probabilities, _share(fail=50.0),
        "the outputs are probabilities, whose gradients underflow, where attacks expect logits (check_range_output)",
    ),
    Gate(
        "G6", Need.FORWARD, gradients.saturated, _share(warn=0.0),
        "cross-entropy is flat in float32 where logits are this large: attacks on it stall",
    ),
    Gate(
        "G6-scaled", Need.ATTACKS, gradients.scaled, _points(warn=1.0),
        "logits divided by ten are attacked better: cross-entropy is flat where they are large",
    ),
    Gate(
        "G7", Need.ATTACKS, gradients.margin, _points(fail=5.0),
        "the targeted margin loss does far worse than cross-entropy: one of the losses is set wrongly",
    ),
    Gate(
        "G8", Need.TRAINING, memory.remembered, _points(fail=0.0),
        "test images stand better than those that were trained on: the encoder knows the test images",
    ),
    Gate(
        "R1", Need.FORWARD, structure.repeated, Threshold(Unit.LOGITS, fail=1e-4),
        "the classifier is random: attacks need expectation over its transformations (check_randomized)",
    ),
    Gate(
        "R2", Need.FORWARD, structure.optimises, Threshold(Unit.PASSES, fail=0),
        "a forward pass optimises: gradients of its result are not those of the defence (check_dynamic)",
    ),
    Gate(
        "R3", Need.FORWARD, structure.batch_mates, Threshold(Unit.LOGITS, fail=1e-4),
        "an image's logits depend on its batch-mates: batch norm is in train mode, or classes leak by order",
    ),
    Gate(
        "R4", Need.GRADIENTS, structure.unchanged, Threshold(Unit.TENSORS, fail=0),
        "encoder, buffers or images are changed by the head's training or by looking at them",
    ),
    Gate(
        "R6", Need.GRADIENTS, structure.one_callable, Threshold(Unit.LOGITS, fail=1e-4),
        "attack and scoring see different functions: another batch-norm route, normaliser or resize",
    ),
    Gate(
        "R7", Need.ATTACKS, structure.attacked_again, _points(fail=0.2),
        "the same attack carried out again gives another accuracy: the stored verdicts are not this classifier's",
    ),
    Gate(
        "R8", Need.OUTCOMES, structure.complete, Threshold(Unit.IMAGES, fail=0),
        "test images were left out, or a column holds another attack than its name says",
    ),
    Gate(
        "R9", Need.FORWARD, structure.classes, Threshold(Unit.CLASSES, warn=0),
        "AutoAttack's DLR loss is not defined for so few classes (check_n_classes)",
    ),
    Gate(
        "R10", Need.FORWARD, structure.reproduced, _share(fail=0.2),
        "the stored verdicts are not this classifier's: a row of another model, or another normalisation",
    ),
    Gate(
        "R11", Need.FORWARD, structure.collapse, _points(fail=50.0),
        "the classifier predicts little but one class: chance, which no attack can lower, is not robustness",
    ),
)  # fmt: skip

GATES: Mapping[str, Gate] = {gate.name: gate for gate in _ROWS}
"""All gates by name."""


def cheap() -> tuple[str, ...]:
    """Names of the gates that are part of every evaluation."""
    return tuple(name for name, gate in GATES.items() if not gate.needs.dear)


def chosen(text: str | None) -> tuple[str, ...]:
    """The gates of a comma list, in the table's order; all without one.

    Raises:
        BenchError: for an unknown name.
    """
    if text is None:
        return tuple(GATES)
    asked = [name.strip() for name in text.split(",")]
    canonical = {name.lower(): name for name in GATES}
    for name in asked:
        if name.lower() not in canonical:
            raise unknown("gate", name, GATES)
    return tuple(name for name in GATES if name.lower() in {one.lower() for one in asked})


def verdicts(subject: Subject, names: Iterable[str]) -> Iterator[Result]:
    """The verdict of each gate, as soon as it is known; one that breaks says so, and the others go on."""
    for name in names:
        yield attempted(GATES[name], partial(_measured, GATES[name], subject))


def _measured(gate: Gate, subject: Subject) -> Reading:
    if gate.needs.dear and subject.norm is not Norm.LINF:
        raise NotRun(f"it attacks in l_inf, and the protocol in {subject.norm}")
    return gate.measure(subject)

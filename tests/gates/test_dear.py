"""The gates with attacks of their own."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import PGD20, AttackSpec, Norm
from bench.data.sources import DataSet
from bench.gates import gradients
from bench.gates.subject import Outcome, Subject, log_odds, losses
from bench.gates.table import GATES, verdicts
from bench.gates.verdicts import Result, Verdict
from tests.gates.conftest import EPS

IMAGES = 1000
Accuracy = Callable[[AttackSpec, float], float]


def found(subject: Subject, gate: str) -> Result:
    (result,) = verdicts(subject, [gate])
    return result


def by_steps(**accuracies: float) -> Accuracy:
    return lambda spec, _: accuracies[f"steps_{spec.steps}"]


STALLS = {
    "steps_1": 60,
    "steps_5": 50,
    "steps_10": 45,
    "steps_20": 40,
    "steps_50": 44,
    "steps_100": 50,
    "steps_200": 50,
}
SINKS = {**STALLS, "steps_50": 40, "steps_100": 40, "steps_200": 39.9}

MADE_UP: Mapping[str, tuple[str, Accuracy, Verdict]] = {
    "twenty steps beat one": ("O3", lambda spec, _: 40 if spec.steps == 20 else 50, Verdict.OK),
    "one step beats twenty": ("O3", lambda spec, _: 60 if spec.steps == 20 else 50, Verdict.FAIL),
    "accuracy sinks with the radius": ("O4", lambda _, eps: 90 * (1 - eps), Verdict.OK),
    "it rises with the radius": ("O4", lambda _, eps: 90 if eps > 0.1 else 50, Verdict.FAIL),
    "grey images are at chance": ("O5", lambda *_: 10, Verdict.OK),
    "grey images are told apart": ("O5", lambda *_: 14, Verdict.FAIL),
    "nothing stands in the box": ("O5-box", lambda *_: 0, Verdict.OK),
    "something stands in the box": ("O5-box", lambda *_: 1, Verdict.FAIL),
    "more steps do more": ("O6", by_steps(**SINKS), Verdict.OK),
    "more steps do less": ("O6", by_steps(**STALLS), Verdict.FAIL),
    "twenty steps were enough": ("O6-converged", lambda *_: 40, Verdict.OK),
    "forty do more": ("O6-converged", lambda spec, _: 40 if spec.steps == 20 else 35, Verdict.WARN),
    "ten restarts do more": ("O6-converged", lambda spec, _: 40 if spec.restarts == 1 else 35, Verdict.WARN),
    "any step size does": ("O7", lambda *_: 40, Verdict.OK),
    "the step size decides": ("O7", lambda spec, _: 100 * spec.step_fraction, Verdict.WARN),
    "Square is the weaker": ("G1", lambda spec, _: 50 if spec.name == "square" else 40, Verdict.OK),
    "Square is the stronger": ("G1", lambda spec, _: 30 if spec.name == "square" else 40, Verdict.FAIL),
    "Square beats PGD-20 and not APGD": (
        "G1", lambda spec, _: {"square": 30, "apgd-t": 20, "pgd20": 40}[spec.name], Verdict.OK,
    ),
    "both losses do": ("G7", lambda spec, _: {"apgd-ce": 40, "apgd-t": 38}[spec.name], Verdict.OK),
    "the margin does not": ("G7", lambda spec, _: {"apgd-ce": 40, "apgd-t": 60}[spec.name], Verdict.FAIL),
}  # fmt: skip


@pytest.mark.parametrize("case", MADE_UP)
def test_accuracies_are_ordered(case: str, make_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With accuracies by attack and radius, of 1,000 images, of which the first ones stand."""
    gate, accuracy, verdict = MADE_UP[case]

    def under(_: Subject, spec: AttackSpec, __: str, eps: float | None = None) -> Tensor:
        return torch.arange(IMAGES) < 10 * accuracy(spec, EPS if eps is None else eps)

    monkeypatch.setattr(Subject, "under", under)
    monkeypatch.setattr(Subject, "right", lambda *_: torch.arange(IMAGES) < 900)
    subject = make_subject()
    many = replace(subject.images, labels=subject.y.repeat(IMAGES // 60 + 1)[:IMAGES])
    assert found(replace(subject, images=many), gate).verdict is verdict


def shattered(_: Any, x: Tensor) -> Tensor:
    return (8 * x).round() / 8


REAL = {"O3", "O3-rise", "O4", "O5", "O5-box", "O6", "G1", "G2", "G3", "G6-scaled", "G7", "G8", "R7"}
"""Gates that attack for real, few steps though they take."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the random images."""
    monkeypatch.setattr(gradients, "SAMPLES", 100)


@pytest.mark.parametrize("gate", sorted(REAL - {"G1", "G7"}))
def test_an_honest_classifier_passes(
    gate: str, honest: Subject, make_subject: Any, digits: DataSet, quick: None
) -> None:
    outcomes = {**honest.outcomes, "pgd20": Outcome(PGD20, honest.under(PGD20, ""), EPS)}
    others = {"another": make_subject(scale=2.0).classifier}
    subject = replace(honest, outcomes=outcomes, surrogates=others, training=digits.train)
    result = found(subject, gate)
    assert result.verdict is Verdict.OK, result


@pytest.mark.parametrize("gate", ["O3-rise", "O5", "O5-box", "G2", "G3"])
def test_shattered_gradients_are_found(gate: str, make_subject: Any, honest: Subject, quick: None) -> None:
    subject = make_subject(shattered, surrogates={"honest": honest.classifier})
    pgd = Outcome(PGD20, subject.under(PGD20, ""), EPS)
    result = found(replace(subject, outcomes={"pgd20": pgd}), gate)
    assert result.verdict is Verdict.FAIL, result


def test_large_logits_are_attacked_better_when_they_are_divided(make_subject: Any) -> None:
    assert found(make_subject(scale=50.0), "G6-scaled").verdict is Verdict.WARN


def test_odds_order_images_where_cross_entropy_is_zero_in_float32() -> None:
    logits, y = torch.tensor([[50.0, 0.0, 0.0], [40.0, 0.0, 0.0]]), torch.tensor([0, 0])
    assert losses(logits, y).tolist() == [0, 0]
    assert log_odds(logits, y).tolist() == pytest.approx([math.log(2) - 50, math.log(2) - 40])


def test_other_outcomes_than_the_attack_has_are_found(honest: Subject) -> None:
    stands = honest.under(PGD20, "")
    better = {"pgd20": Outcome(PGD20, stands | (torch.arange(60) < 30), EPS)}
    assert found(replace(honest, outcomes=better), "R7").verdict is Verdict.FAIL


def test_an_attack_that_cannot_be_carried_out_is_a_fail(make_subject: Any) -> None:
    result = found(make_subject(lambda _, x: x / 0), "O5")
    assert (result.verdict, result.number) == (Verdict.FAIL, None)
    assert "not finite" in result.detail


def test_l2_protocols_are_not_sent_through_gates_in_linf(make_subject: Any) -> None:
    result = found(make_subject(norm=Norm.L2), "O4")
    assert (result.verdict, result.detail) == (Verdict.NOT_RUN, "it attacks in l_inf, and the protocol in l2")


def test_without_another_classifier_nothing_is_transferred(make_subject: Any) -> None:
    assert found(make_subject(), "G2").verdict is Verdict.NOT_RUN


def test_every_dear_gate_is_tested() -> None:
    dear = {name for name, gate in GATES.items() if gate.needs.dear}
    assert dear == REAL | {gate for gate, *_ in MADE_UP.values()}
    assert ATTACKS["square"].parts

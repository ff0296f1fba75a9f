"""The gates of every evaluation: each finds what it is meant to find, and none an honest classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import AUTOATTACK, CLEAN, PGD20, AttackSpec, Metric
from bench.gates.subject import Outcome, Subject
from bench.gates.table import GATES, cheap, verdicts
from bench.gates.verdicts import Result, Unit, Verdict
from tests.gates.conftest import EPS


def found(subject: Subject, *gates: str) -> dict[str, Result]:
    return {result.gate: result for result in verdicts(subject, gates or cheap())}


class Straight(torch.autograd.Function):
    """Rounds, and passes a gradient on as if it did not."""

    @staticmethod
    def forward(_: Any, x: Tensor) -> Tensor:
        return (4 * x).round() / 4

    @staticmethod
    def backward(_: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient


def optimised(_: nn.Module, x: Tensor) -> Tensor:
    with torch.enable_grad():
        leaf = x.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(leaf.square().sum(), leaf)
    return x - 0.01 * slope


def counted(net: Any, x: Tensor) -> Tensor:
    net.calls += 1
    return x


BROKEN: Mapping[str, tuple[str, Any]] = {
    "rounds its input": ("G4", lambda _, x: (8 * x).round() / 8),
    "detaches its input": ("G4", lambda _, x: x.detach()),
    "is saturated": ("G4", lambda _, x: 1e5 * x),
    "is saturated, so that its softmax is flat": ("G6", lambda _, x: 1e5 * x),
    "makes a gradient up": ("G4-fd", lambda _, x: Straight.apply(x)),
    "hides half of the way from autograd": ("G4-fd", lambda _, x: x / 2 + x.detach() / 2),
    "is random": ("R1", lambda _, x: x + 0.01 * torch.rand_like(x)),
    "optimises": ("R2", optimised),
    "normalises by its batch": ("R3", lambda _, x: x - x.mean(0)),
    "counts its calls in a buffer": ("R4", counted),
    "writes into the images": ("R4", lambda _, x: x.data.mul_(0.9)),
    "seeds the global generator": ("R4", lambda _, x: (torch.manual_seed(0), x)[1]),
    "looks whether a gradient is asked for": ("R6", lambda _, x: x.flip(-1) if x.requires_grad else x),
    "says the same of all images": ("R11", lambda _, x: 0 * x + x[:1].detach()),
}  # fmt: skip


def test_an_honest_classifier_passes(honest: Subject) -> None:
    verdict = {name: result.verdict for name, result in found(honest).items()}
    assert {name for name, one in verdict.items() if one not in (Verdict.OK, Verdict.NOT_RUN)} == set()
    assert {name for name, one in verdict.items() if one is Verdict.NOT_RUN} == {"O1", "O2", "O8"}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_broken_classifier_is_found_by_its_gate(broken: str, make_subject: Any) -> None:
    gate, work = BROKEN[broken]
    with torch.random.fork_rng():
        result = found(make_subject(work), gate)[gate]
    assert result.verdict is (Verdict.WARN if GATES[gate].threshold.fail is None else Verdict.FAIL)
    assert result.why == GATES[gate].why


def test_logits_that_round_cross_entropy_away_are_a_warning_not_a_flat_loss(make_subject: Any) -> None:
    result = found(make_subject(lambda _, x: 50 * x), "G4", "G6")
    assert result["G6"].number > 0
    assert (result["G4"].verdict, result["G6"].verdict) == (Verdict.OK, Verdict.WARN)


def test_a_network_that_refuses_float64_stays_accused(make_subject: Any) -> None:
    def single(_: nn.Module, x: Tensor) -> Tensor:
        if x.dtype is not torch.float32:
            raise RuntimeError("float32 alone")
        return 50 * x

    assert found(make_subject(single), "G4")["G4"].verdict is Verdict.FAIL


def test_probabilities_are_no_logits(make_subject: Any) -> None:
    subject = make_subject()
    eye = torch.eye(10)
    subject.classifier.encoder.work = lambda _, x, old=subject.classifier.weight: (x.flatten(1) @ old.T).softmax(1)
    subject.classifier.weight, subject.classifier.bias = eye, torch.zeros(10)
    assert found(subject, "G5")["G5"].verdict is Verdict.FAIL


def test_an_encoder_that_the_head_moved_is_found_unless_the_protocol_says_so(make_subject: Any) -> None:
    moved = {"calls": torch.ones(())}
    assert found(make_subject(), "R4")["R4"].number == 0
    subject = replace(make_subject(), stored=moved)
    assert found(subject, "R4")["R4"].detail == "calls"
    assert found(replace(subject, moving=frozenset(moved)), "R4")["R4"].verdict is Verdict.OK


def test_outcomes_of_another_model_are_found(honest: Subject, make_subject: Any) -> None:
    other = make_subject(lambda _, x: x.flip(-1), outcomes=honest.outcomes)
    result = found(other, "R10")["R10"]
    assert result.verdict is Verdict.FAIL
    assert result.detail.startswith("images ")


def test_fewer_than_four_classes_are_a_warning(make_subject: Any) -> None:
    subject = make_subject()
    subject.classifier.bias = subject.classifier.bias[:3]
    assert found(subject, "R9")["R9"].verdict is Verdict.WARN


def test_a_gate_that_breaks_is_a_warning_with_its_error(make_subject: Any) -> None:
    def work(_: nn.Module, x: Tensor) -> Tensor:
        raise ValueError("no such thing")

    result = found(make_subject(work), "R1")["R1"]
    assert (result.verdict, result.number) == (Verdict.WARN, None)
    assert "ValueError: no such thing" in result.detail


@dataclass(frozen=True)
class Stored:
    """How many of 60 images stand under each attack, the first ones always."""

    standing: Mapping[str, int]
    specs: Mapping[str, AttackSpec] = None  # type: ignore[assignment]

    def outcomes(self) -> dict[str, Outcome]:
        specs = {"clean": CLEAN, "fgsm": ATTACKS["fgsm"], "pgd20": PGD20, "autoattack": AUTOATTACK}
        specs |= self.specs or {}
        return {name: Outcome(specs[name], torch.arange(60) < count, EPS) for name, count in self.standing.items()}


ORDERS: Mapping[str, tuple[Stored, str, Verdict, str]] = {
    "in order": (Stored({"clean": 50, "fgsm": 40, "pgd20": 35, "autoattack": 33}), "O1", Verdict.OK, ""),
    "two images may differ": (Stored({"clean": 50, "pgd20": 30, "autoattack": 32}), "O1", Verdict.OK, ""),
    "AutoAttack is too weak": (
        Stored({"clean": 50, "pgd20": 30, "autoattack": 40}), "O1", Verdict.FAIL, "autoattack against pgd20",
    ),
    "PGD is weaker than one step": (
        Stored({"clean": 50, "pgd20": 45, "fgsm": 30}), "O1", Verdict.FAIL, "pgd20 against fgsm",
    ),
    "one attack alone": (Stored({"clean": 50}), "O1", Verdict.NOT_RUN, "single"),
    "right under attack, wrong without": (Stored({"clean": 30, "pgd20": 40}), "O2", Verdict.FAIL, "and 2 more"),
    "the union says more": (Stored({"clean": 50, "pgd20": 30, "autoattack": 30}), "O2", Verdict.OK, ""),
    "PGD is no stand-in": (Stored({"clean": 50, "pgd20": 40, "autoattack": 20}), "O8", Verdict.WARN, "autoattack"),
    "PGD is close": (Stored({"clean": 50, "pgd20": 40, "autoattack": 38}), "O8", Verdict.OK, "autoattack"),
    "aa is another attack": (
        Stored({"clean": 50, "pgd20": 30}, {"pgd20": replace(PGD20, metric=Metric.AA)}), "R8", Verdict.FAIL, "pgd20",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ORDERS)
def test_stored_outcomes(case: str, make_subject: Any) -> None:
    stored, gate, verdict, told = ORDERS[case]
    result = found(make_subject(outcomes=stored.outcomes()), gate)[gate]
    assert result.verdict is verdict
    assert told in result.detail


def test_attacks_in_other_balls_are_not_compared(make_subject: Any) -> None:
    outcomes = Stored({"clean": 50, "pgd20": 30, "autoattack": 45}).outcomes()
    smaller = {**outcomes, "autoattack": replace(outcomes["autoattack"], eps=EPS / 2)}
    assert found(make_subject(outcomes=outcomes), "O1")["O1"].verdict is Verdict.FAIL
    assert found(make_subject(outcomes=smaller), "O1")["O1"].verdict is Verdict.OK


def test_images_that_were_left_out_are_counted(make_subject: Any) -> None:
    outcomes = {"clean": Outcome(CLEAN, torch.ones(57, dtype=torch.bool), EPS)}
    result = found(make_subject(outcomes=outcomes), "R8")["R8"]
    assert (result.verdict, result.number, result.unit) == (Verdict.FAIL, 3, Unit.IMAGES)

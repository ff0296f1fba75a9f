"""Per-image outcomes of the attacks at test time."""

from __future__ import annotations

import logging
import random
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace

import numpy as np
import pyautoattack
import pytest
import torch
from torch import Tensor

from bench.attacks import evaluate
from bench.attacks.evaluate import AttackContext, Classifier, outcomes
from bench.attacks.rounds import Procedure, Round, Target
from bench.attacks.threats import (
    AUTOATTACK,
    CLEAN,
    PGD20,
    PGD20_SHORT_STEP,
    AttackKind,
    AttackSpec,
    Norm,
)
from bench.contract import LabelledImages
from bench.data.views import pixels_of
from bench.errors import BenchError, StageError
from bench.randomness import Randomness
from tests.attacks.models import Counting, Flat, Rounding, Small, classifier, images_for

FIRST_ATTACKS = (CLEAN, PGD20, PGD20_SHORT_STEP, AUTOATTACK)
CPU = torch.device("cpu")

pytestmark = pytest.mark.usefixtures("short_autoattack")


def context(seed: int = 0) -> AttackContext:
    return AttackContext(Randomness(seed, "attack"), CPU, lambda *_: None)


def exactly_robust(model: Classifier, images: LabelledImages, eps: float) -> Tensor:
    """For a linear classifier away from the box's walls: every margin exceeds eps times its weights' l1 norm."""
    logits, own = model(pixels_of(images.pixels)), model.weight[images.labels]
    margins = logits.gather(1, images.labels[:, None]) - logits
    reach = eps * (own[:, None] - model.weight).abs().sum(-1)
    other = torch.arange(model.classes) != images.labels[:, None]
    robust: Tensor = ((margins > reach) | ~other).all(1)
    return robust


@pytest.mark.parametrize("spec", FIRST_ATTACKS, ids=lambda spec: spec.name)
def test_robust_images_are_a_proper_subset_of_the_clean_ones(spec: AttackSpec) -> None:
    model = classifier(Small)
    images = images_for(model)
    clean, robust = (outcomes(model, images, each, 0.03, context()) for each in (CLEAN, spec))
    assert robust.dtype == torch.bool and robust.shape == (24,)
    assert clean.tolist() == [False] * 4 + [True] * 20
    assert not (robust & ~clean).any()
    assert robust.any() and (spec is CLEAN or (clean & ~robust).any())


@pytest.mark.parametrize(("spec", "classes", "eps"), [(PGD20, 2, 0.06), (AUTOATTACK, 4, 0.04), (AUTOATTACK, 10, 0.02)])
def test_on_a_linear_classifier_an_attack_finds_all_there_is(spec: AttackSpec, classes: int, eps: float) -> None:
    model = classifier(Flat, classes)
    images = images_for(model, count=64, low=77, high=179)
    expected = exactly_robust(model, images, eps)
    assert 5 < expected.sum() < 55
    assert outcomes(model, images, spec, eps, context()).tolist() == expected.tolist()


@pytest.mark.parametrize("spec", FIRST_ATTACKS[1:], ids=lambda spec: spec.name)
def test_equal_seeds_give_equal_outcomes_whatever_was_drawn_before(spec: AttackSpec) -> None:
    model = classifier(Small)
    images = images_for(model)
    first = outcomes(model, images, spec, 0.03, context())
    torch.rand(7)
    assert torch.equal(outcomes(model, images, spec, 0.03, context()), first)


@pytest.mark.parametrize("spec", FIRST_ATTACKS, ids=lambda spec: spec.name)
def test_the_callers_state_is_untouched(spec: AttackSpec, capfd: pytest.CaptureFixture[str]) -> None:
    model, logger = classifier(Small), logging.getLogger("auto-attack")
    images = images_for(model)

    def state() -> tuple[object, ...]:
        settings = logger.level, logger.propagate, tuple(logger.handlers), sys.gettrace()
        return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate(), settings

    torch.rand(1)  # so that a state that an earlier attack left behind is not mistaken for the caller's
    before = state()
    outcomes(model, images, spec, 0.03, context())
    assert state() == before
    assert capfd.readouterr() == ("", "")


def test_a_debugger_goes_on_tracing() -> None:
    model, previous = classifier(Small), sys.gettrace()
    images = images_for(model)
    tracer = lambda *_: None  # noqa: E731
    sys.settrace(tracer)
    try:
        outcomes(model, images, AUTOATTACK, 0.03, context())
        assert sys.gettrace() is tracer
    finally:
        sys.settrace(previous)


@pytest.mark.parametrize(("norm", "eps"), [(Norm.LINF, 0.02), (Norm.L2, 0.2), (Norm.L1, 1.2)])
def test_autoattack_is_the_packages_own_with_our_seed(norm: Norm, eps: float) -> None:
    model = classifier(Small, side=8)
    images = images_for(model, side=8)
    spec, x = replace(AUTOATTACK, batch=16, norm=norm), pixels_of(images.pixels)
    seed = Randomness(0, "attack").number("autoattack")
    attack = pyautoattack.AutoAttack(model, eps=eps, norm=norm.label, seed=seed)
    with torch.random.fork_rng():
        adversarial, _ = attack.run_standard_evaluation(x, images.labels, batch_size=16)
    expected = model(adversarial).argmax(1) == images.labels
    assert 0 < expected.sum() < 20
    assert outcomes(model, images, spec, eps, context()).tolist() == expected.tolist()


@pytest.mark.parametrize("classes", [4, 7])
def test_autoattack_takes_all_other_classes_as_targets_where_there_are_few(classes: int) -> None:
    model = classifier(Small, classes)
    assert outcomes(model, images_for(model), AUTOATTACK, 0.03, context()).any()


def test_autoattack_itself_refuses_three_classes() -> None:
    model = classifier(Small, 3)
    with pytest.raises(BenchError, match="DLR"):
        outcomes(model, images_for(model), AUTOATTACK, 0.03, context())


@pytest.mark.parametrize("spec", FIRST_ATTACKS, ids=lambda spec: spec.name)
def test_nothing_is_robust_where_nothing_is_correct(spec: AttackSpec) -> None:
    model = classifier(Small)
    assert not outcomes(model, images_for(model, wrong=24), spec, 0.03, context()).any()


def test_a_larger_ball_breaks_no_fewer_images_and_an_empty_one_none() -> None:
    model = classifier(Small)
    images = images_for(model)
    counts = [int(outcomes(model, images, PGD20, eps, context()).sum()) for eps in (0.0, 0.01, 0.03, 0.1, 1.0)]
    assert counts[0] == 20 and counts[-1] == 0
    assert counts == sorted(counts, reverse=True)


def test_more_restarts_only_ever_break_more() -> None:
    model = classifier(Small)
    images = images_for(model)
    once, often = (
        outcomes(model, images, replace(PGD20_SHORT_STEP, steps=0, restarts=n), 0.1, context()) for n in (1, 9)
    )
    assert not (often & ~once).any()
    assert often.sum() < once.sum()


@pytest.mark.parametrize("spec", FIRST_ATTACKS, ids=lambda spec: spec.name)
def test_progress_only_rises_and_ends_at_the_end(spec: AttackSpec) -> None:
    model, seen = classifier(Small), list[tuple[int, int]]()
    listener = replace(context(), report=lambda done, total, _: seen.append((done, total)))
    outcomes(model, images_for(model), replace(spec, batch=7), 0.003, listener)
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]


def test_autoattacks_flags_are_passed_on_once() -> None:
    model, warnings = classifier(Rounding), list[str]()
    outcomes(model, images_for(model), AUTOATTACK, 0.03, replace(context(), warn=warnings.append))
    assert any("zero gradient" in warning for warning in warnings)
    assert len(warnings) == len(set(warnings))


def moving(by: float) -> object:
    """An attack that adds a constant to all pixels."""

    def attack(target: Target, *_: object) -> AbstractContextManager[Procedure]:
        return nullcontext(Procedure([Round("cheat", lambda index, _: target.x[index] + by)]))

    return attack


@pytest.mark.parametrize("move", [0.04, -0.04, float("nan")], ids=["too far up", "too far down", "nan"])
def test_an_attack_that_leaves_its_ball_is_an_error(monkeypatch: pytest.MonkeyPatch, move: float) -> None:
    monkeypatch.setitem(evaluate._ATTACKS, AttackKind.PGD, moving(move))  # type: ignore[arg-type]
    model = classifier(Small)
    with pytest.raises(StageError, match="left its threat model"):
        outcomes(model, images_for(model), PGD20, 0.03, context())


def test_an_attack_that_leaves_the_pixel_box_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(evaluate._ATTACKS, AttackKind.PGD, moving(0.02))  # type: ignore[arg-type]
    model = classifier(Small)
    with pytest.raises(StageError, match="left its threat model"):
        outcomes(model, images_for(model, low=254), PGD20, 0.03, context())


def test_logits_that_are_not_finite_are_an_error() -> None:
    model = classifier(Small)
    images = images_for(model)
    model.bias[0] = float("inf")
    with pytest.raises(StageError, match="not finite"):
        outcomes(model, images, CLEAN, 0.03, context())


class Cramped(Small):
    """An encoder whose forward pass has memory for five images, and whose backward pass for two."""

    def encode(self, x: Tensor) -> Tensor:
        if len(x) > 5:
            raise torch.OutOfMemoryError
        features = super().encode(x)
        if features.requires_grad:
            features.register_hook(self.check)
        return features

    @staticmethod
    def check(slope: Tensor) -> None:
        if len(slope) > 2:
            raise torch.OutOfMemoryError


@pytest.mark.parametrize("spec", FIRST_ATTACKS, ids=lambda spec: spec.name)
def test_too_little_memory_changes_no_outcome(spec: AttackSpec) -> None:
    roomy, cramped = classifier(Small), classifier(Cramped)
    images = images_for(roomy)
    expected = outcomes(roomy, images, spec, 0.03, context())
    assert outcomes(cramped, images, spec, 0.03, context()).tolist() == expected.tolist()
    assert cramped.chunk == (3 if spec is CLEAN else 1)


def test_a_classifier_that_changes_while_attacked_is_an_error() -> None:
    model = classifier(Counting)
    with pytest.raises(StageError, match="calls"):
        outcomes(model, images_for(model), PGD20, 0.03, context())

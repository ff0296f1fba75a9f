"""An attack that was interrupted anywhere ends with the outcomes of one that never was, and attacks nothing twice."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pyautoattack
import pytest
import torch
from torch import Tensor

from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.threats import AUTOATTACK, PGD20_SHORT_STEP, AttackSpec
from bench.contract import Checkpoints, NoCheckpoints
from bench.errors import Interrupted
from bench.executors.checkpoints import decoded
from bench.randomness import Randomness
from tests.attacks.models import Rounding, Small, classifier, images_for
from tests.interruptions import Fragile, in_pieces

EPS = 0.03
AUTOATTACKS = replace(AUTOATTACK, batch=7)
RESTARTS = replace(PGD20_SHORT_STEP, steps=3, restarts=3, batch=7)

pytestmark = pytest.mark.usefixtures("short_autoattack")


class Mortal(Small):
    """An encoder that is interrupted in its forward pass."""

    passes = 0
    """Until the interruption; none at 0."""

    def encode(self, x: Tensor) -> Tensor:
        type(self).passes -= 1
        if self.passes == 0:
            raise Interrupted(15)
        return super().encode(x)


def attacked(spec: AttackSpec, seen: list[str], kind: type[Small] = Small) -> Callable[[Checkpoints], list[bool]]:
    """The attack as a function of its checkpoints; `seen` takes its progress."""
    model = classifier(kind)
    images = images_for(model)

    def work(checkpoints: Checkpoints) -> list[bool]:
        report = lambda done, total, text: seen.append(f"{done}/{total} {text}")  # noqa: E731
        context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), report, checkpoints=checkpoints)
        return outcomes(model, images, spec, EPS, context).tolist()  # type: ignore[no-any-return]

    return work


@pytest.mark.parametrize("spec", [AUTOATTACKS, RESTARTS], ids=lambda spec: spec.name)
@pytest.mark.parametrize("states", [1, 2])
def test_an_attack_goes_on_after_its_last_batch(spec: AttackSpec, states: int) -> None:
    once, again = list[str](), list[str]()
    straight = attacked(spec, once)(NoCheckpoints())
    resumed, lives = in_pieces(attacked(spec, again), states)
    assert 0 < sum(straight) < 20
    assert resumed == straight
    assert again == once
    assert lives > 4 / states


@pytest.mark.parametrize("spec", [AUTOATTACKS, RESTARTS], ids=lambda spec: spec.name)
def test_an_attack_that_is_interrupted_within_a_batch_keeps_the_batches_before(
    spec: AttackSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    straight = attacked(spec, [])(NoCheckpoints())
    patience, again = iter(range(10, 10_000, 30)), list[str]()
    work = attacked(spec, again, Mortal)

    def mortal(checkpoints: Checkpoints) -> list[bool]:
        monkeypatch.setattr(Mortal, "passes", next(patience))
        return work(checkpoints)

    resumed, lives = in_pieces(mortal, None)
    assert resumed == straight
    assert lives > 2
    assert len(again) == len(set(again))


def test_between_two_of_autoattacks_attacks_a_checkpoint_is_kept_whether_due_or_not() -> None:
    class Patient(Fragile):
        def due(self) -> bool:
            return False

    found, content = list[Any](), None
    for _ in range(3):
        checkpoints = Patient(content, states=1)
        with pytest.raises(Interrupted):
            attacked(AUTOATTACK, [])(checkpoints)
        content = checkpoints.content
        assert content is not None
        found.append(decoded(content).facts)
    assert [(facts["round"], facts["batch"]) for facts in found] == [(1, 0), (2, 0), (3, 0)]
    assert list(found[-1]["accuracies"]) == ["clean", "apgd-ce", "apgd-t", "fab-t"]


def test_warnings_come_again_only_if_what_they_are_about_does() -> None:
    model, warnings = classifier(Rounding), list[str]()
    images = images_for(model)

    def work(checkpoints: Checkpoints) -> Tensor:
        context = AttackContext(
            Randomness(0, "attack"), torch.device("cpu"), lambda *_: None, warnings.append, checkpoints
        )
        return outcomes(model, images, AUTOATTACK, EPS, context)

    work(NoCheckpoints())
    once = list(warnings)
    warnings.clear()
    in_pieces(work, 1)
    assert list(dict.fromkeys(warnings)) == once
    assert once


def test_who_fell_leaves_the_attack_and_progress_says_who_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, seen = dict[str, int](), list[str]()
    for kind in (pyautoattack.autoattack.APGDAttack, pyautoattack.autoattack.FABAttack_PT):
        perturb = kind.perturb

        def counted(self: Any, x: Tensor, y: Tensor, perturb: Any = perturb) -> Tensor:
            name = type(self).__name__
            sizes[name] = sizes.get(name, 0) + len(x)
            adversarial: Tensor = perturb(self, x, y)
            return adversarial

        monkeypatch.setattr(kind, "perturb", counted)
    straight = attacked(AUTOATTACKS, seen)(NoCheckpoints())
    after = {text.split()[1]: float(text.split()[-1].rstrip("%")) for text in seen[:-1]}
    assert sizes["APGDAttack"] == 20
    assert sizes["FABAttack_PT"] == round(24 * after["apgd-t"] / 100) < 20
    assert round(24 * after["square"] / 100) == sum(straight)

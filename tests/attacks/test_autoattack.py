"""AutoAttack's parts are set up as the package does it, in every norm and version."""

from __future__ import annotations

import re
from dataclasses import replace

import pyautoattack
import pytest
import torch

from bench.attacks import autoattack
from bench.attacks.catalogue import ATTACKS
from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.threats import AUTOATTACK, AttackSpec, Norm, check_classes
from bench.errors import BenchError
from bench.randomness import Randomness
from tests.attacks.models import Small, classifier, images_for


def package_of(monkeypatch: pytest.MonkeyPatch, spec: AttackSpec) -> pyautoattack.AutoAttack:
    """The package's object that an attack was carried out with, which is not: its attacks leave images as they are."""
    made: list[pyautoattack.AutoAttack] = []
    package = autoattack._package
    monkeypatch.setattr(autoattack, "_package", lambda *args: made.append(package(*args)) or made[-1])
    monkeypatch.setattr(autoattack, "_perturb", lambda attack, target, seed: lambda index, _: target.x[index])
    model = classifier(Small)
    context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), lambda *_: None)
    outcomes(model, images_for(model), spec, 0.03, context)
    return made[0]


@pytest.mark.parametrize(
    ("name", "parts", "restarts"),
    [
        ("autoattack", ["apgd-ce", "apgd-t", "fab-t", "square"], 1),
        ("apgd-ce", ["apgd-ce"], 1),
        ("square", ["square"], 1),
        ("apgd-ce+apgd-t", ["apgd-ce", "apgd-t"], 5),
    ],
)
def test_what_autoattack_and_its_parts_are_set_to(
    name: str, parts: list[str], restarts: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = package_of(monkeypatch, ATTACKS[name])
    assert package.attacks_to_run == parts
    assert package.apgd.n_restarts == restarts
    assert (package.apgd.n_iter, package.apgd_targeted.n_target_classes, package.square.n_queries) == (100, 9, 5000)
    assert (package.fab.targeted, package.fab.n_restarts) == (True, 1)


def test_in_l1_autoattack_has_the_packages_targets_and_restarts(monkeypatch: pytest.MonkeyPatch) -> None:
    package = package_of(monkeypatch, replace(AUTOATTACK, norm=Norm.L1))
    assert (package.norm, package.apgd.n_restarts, package.apgd_targeted.n_target_classes) == ("L1", 5, 5)


def test_a_classifier_is_not_called_dynamic_for_what_an_earlier_one_did(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(pyautoattack.checks.funcs, "grad", 3)
    monkeypatch.setattr(autoattack, "_perturb", lambda attack, target, seed: lambda index, _: target.x[index])
    model, warnings = classifier(Small), list[str]()
    context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), lambda *_: None, warnings.append)
    outcomes(model, images_for(model), AUTOATTACK, 0.03, context)
    assert not [text for text in warnings if "dynamic" in text]


@pytest.mark.parametrize(
    ("name", "classes", "least"), [("autoattack", 3, 4), ("apgd-t", 3, 4), ("apgd-ce+apgd-t", 2, 4), ("square", 1, 2)]
)
def test_an_attack_that_needs_more_classes_is_an_error(name: str, classes: int, least: int) -> None:
    with pytest.raises(
        BenchError, match=f"'{re.escape(name)}' is not defined for {classes} classes.* at least {least} classes"
    ):
        check_classes(ATTACKS[name], classes)
    check_classes(ATTACKS[name], least)

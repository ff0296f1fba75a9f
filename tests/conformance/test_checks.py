"""The checks: a sound method passes them all, and each one catches what was planted for it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.conformance.subject import QUICK, Subject
from bench.conformance.suite import CHECKS, conform
from bench.conformance.verdicts import Verdict
from bench.contract import Method
from tests.conformance.plants import PLANTS, Sound

BY_NAME = {check.name: check for check in CHECKS}


def broken(method: type[Method[Any]]) -> dict[str, str]:
    """The checks that a method does not pass, with what they saw."""
    results = conform(method, scale=QUICK)
    return {result.check.name: result.reason for result in results if result.verdict is Verdict.BROKEN}


def test_a_sound_method_passes_every_check() -> None:
    assert [result.verdict for result in conform(Sound, scale=QUICK)] == [Verdict.KEPT] * len(CHECKS)


def test_every_check_has_a_plant_and_says_why_it_matters_and_what_to_do() -> None:
    assert list(PLANTS) == [check.name for check in CHECKS]
    assert all(check.what and check.why and check.remedy for check in CHECKS)


@pytest.mark.parametrize(("name", "plant"), [(name, plant) for name, plants in PLANTS.items() for plant in plants])
def test_a_broken_promise_is_caught_by_the_check_meant_for_it(name: str, plant: type[Method[Any]]) -> None:
    result = BY_NAME[name].result(Subject(plant))
    assert (result.verdict, bool(result.reason)) == (Verdict.BROKEN, True)


@pytest.mark.parametrize(
    ("name", "plant"),
    [(name, PLANTS[name][0]) for name in ("settings-scale", "attack-budget", "no-label", "resume", "costs")],
)
def test_and_by_no_other(name: str, plant: type[Method[Any]]) -> None:
    assert list(broken(plant)) == [name]


def test_a_training_that_raises_is_told_once_with_its_line() -> None:
    found = broken(PLANTS["trains"][0])
    assert list(found) == ["trains"]
    assert "ZeroDivisionError: in the middle of nowhere" in found["trains"]
    assert "plants.py, line" in found["trains"]

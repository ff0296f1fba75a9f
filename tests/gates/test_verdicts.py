"""Numbers, thresholds and noise."""

from __future__ import annotations

import math

import pytest
import torch

from bench.errors import BenchError
from bench.gates.subject import difference, listed, share
from bench.gates.table import GATES, chosen
from bench.gates.verdicts import Reading, Result, Threshold, Unit, Verdict, judged, overall


@pytest.mark.parametrize(
    ("number", "noise", "warn", "fail", "verdict", "threshold"),
    [
        (0.2, 0.0, None, 0.2, Verdict.OK, 0.2),
        (0.3, 0.0, None, 0.2, Verdict.FAIL, 0.2),
        (0.3, 1.5, None, 0.2, Verdict.OK, 1.5),  # what chance explains is no finding
        (1.6, 1.5, None, 0.2, Verdict.FAIL, 1.5),
        (3.0, 0.0, 1.0, None, Verdict.WARN, 1.0),
        (3.0, 0.0, 0.0, 1.0, Verdict.FAIL, 1.0),
        (0.5, 0.0, 0.0, 1.0, Verdict.WARN, 0.0),
        (-4.0, 0.0, 0.0, 1.0, Verdict.OK, 0.0),
        (math.nan, 0.0, None, 1.0, Verdict.FAIL, 1.0),
    ],
)
def test_a_reading_is_held_against_the_threshold_or_the_noise(
    number: float, noise: float, warn: float | None, fail: float | None, verdict: Verdict, threshold: float
) -> None:
    result = judged("O1", Reading(number, noise), Threshold(Unit.POINTS, warn, fail))
    assert (result.verdict, result.threshold) == (verdict, threshold)


def test_the_noise_of_a_difference_is_that_of_discordant_images() -> None:
    """McNemar: (b - c) / n with standard error sqrt(b + c - (b - c)^2 / n) / n."""
    stronger, weaker = torch.arange(1000) < 100, (torch.arange(1000) >= 60) & (torch.arange(1000) < 130)
    reading = difference(stronger, weaker)  # b = 60, c = 30
    assert reading.number == pytest.approx(3.0)
    assert reading.noise == pytest.approx(200 * math.sqrt(90 - 0.9) / 1000)


def test_two_images_are_never_a_finding() -> None:
    flags = torch.arange(128) < 2
    assert difference(flags, torch.zeros(128, dtype=torch.bool)).noise >= share(flags).number == share(flags).noise


def test_the_gravest_verdict_counts() -> None:
    ok, warn, fail, none = (Result("O1", verdict) for verdict in Verdict)
    assert overall([ok, none]) is Verdict.OK
    assert overall([ok, warn, none]) is Verdict.WARN
    assert overall([warn, fail, ok]) is Verdict.FAIL
    assert overall([none]) is overall([]) is None


def test_a_result_comes_back_from_its_facts() -> None:
    result = Result("O1", Verdict.WARN, 1.0, 0.5, "points", "pgd20 against fgsm", "because")
    assert Result.of("O1", result.facts) == result


def test_long_lists_of_images_are_cut() -> None:
    assert listed(torch.arange(20) < 10) == "images 0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert listed(torch.zeros(3, dtype=torch.bool)) == ""


def test_gates_are_chosen_by_name_in_the_order_of_the_table() -> None:
    assert chosen("r1, O4") == ("O4", "R1")
    assert chosen(None) == tuple(GATES)
    with pytest.raises(BenchError, match=r"unknown gate 'O99'.*Available: G1, G2"):
        chosen("O1,O99")


def test_every_gate_can_speak() -> None:
    for gate in GATES.values():
        assert gate.why
        assert {gate.threshold.warn, gate.threshold.fail} != {None}, gate.name

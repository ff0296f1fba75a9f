"""Where a step's time goes, and which operations take it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.autograd.profiler_util import FunctionEventAvg

from bench.attacks import pgd
from bench.data.profiles import profile_of
from bench.data.views import Views
from bench.grammar import parse_spec
from bench.perf.breakdown import Part, breakdown
from bench.perf.profiling import profiled, summary
from bench.perf.subject import Subject, method_for


def subject_of(text: str) -> Subject:
    digits = profile_of("digits")
    return Subject(method_for(parse_spec(text), digits, {"batch_size": 16}), digits, "cpu")


@pytest.mark.parametrize(("text", "attacks"), [("simclr", False), ("amoc", True), ("pgd-at", True)])
def test_every_part_that_a_step_has_takes_time(text: str, attacks: bool) -> None:
    parts = breakdown(subject_of(text), "cpu")
    assert (parts[Part.ATTACK] > 0) is attacks
    assert all(parts[part] > 0 for part in Part if part is not Part.ATTACK)


def test_more_attack_steps_make_the_attack_longer() -> None:
    short, long = (breakdown(subject_of(f"amoc[attack_steps={steps}]"), "cpu") for steps in (1, 12))
    assert long[Part.ATTACK] > 3 * short[Part.ATTACK]


def test_nothing_of_it_stays_behind() -> None:
    places = (Views.each, pgd.climbed, torch.autograd.backward)
    subject = subject_of("amoc")
    breakdown(subject, "cpu")
    assert (Views.each, pgd.climbed, torch.autograd.backward) == places
    assert "step" not in vars(subject.optimiser)


def event(key: str, kind: str, count: int, micros: float) -> FunctionEventAvg:
    own: Any = SimpleNamespace(
        key=key,
        device_type=SimpleNamespace(name=kind),
        count=count,
        self_cpu_time_total=micros,
        self_device_time_total=10 * micros,
    )
    found: FunctionEventAvg = own
    return found


EVENTS = [event("aten::mm", "CPU", 4, 3000.0), event("aten::add", "CPU", 8, 1000.0), event("gemm", "CUDA", 6, 500.0)]


def test_operations_are_per_step_and_the_slowest_stands_first() -> None:
    found = summary(EVENTS, "cpu", {"aten::mm": 5_000_000}, steps=2, top=1)
    (slowest,) = found.operations
    assert (slowest.name, slowest.calls, slowest.milliseconds, slowest.share) == ("aten::mm", 2, 1.5, 0.75)
    assert slowest.megabytes == 5
    assert (found.launches, found.milliseconds) == (6, 2)


def test_on_a_gpu_kernels_count() -> None:
    found = summary(EVENTS, "cuda", {}, steps=2, top=5)
    assert [(one.name, one.milliseconds, one.megabytes) for one in found.operations] == [("gemm", 2.5, None)]
    assert found.launches == 3


def test_a_matrix_product_bounds_itself() -> None:
    a = torch.ones(256, 256)
    slowest = profiled(lambda: a @ a, "cpu", steps=2).operations[0]
    assert (slowest.name, slowest.calls, slowest.megabytes) == ("aten::mm", 1, pytest.approx(3 * 4 * 256**2 / 1e6))

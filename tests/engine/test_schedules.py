"""Learning rates against the ones that the official code used."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from bench.engine.schedules import Schedule, StepDecay, acl, advcl, amoc, deacl, dynacl, rocl, solo_learn

GOLDEN = Path(__file__).parents[1] / "golden"

Update = tuple[int, int]
"""(epoch, step) of an update."""


@dataclass(frozen=True)
class Recorded:
    """A recorded series of rates and the updates that it belongs to."""

    arrays: str
    name: str
    schedule: Schedule
    updates: list[Update]
    steps_per_epoch: int = 1
    epochs: int = 1000


def epochs(count: int) -> list[Update]:
    return [(epoch, 0) for epoch in range(count)]


def steps(first: int, stop: int, per_epoch: int) -> list[Update]:
    return [divmod(position, per_epoch) for position in range(first, stop)]


RECORDED = [
    Recorded("sololearn", "lr_steps_0_to_1260", solo_learn(0.8), steps(0, 1261, 97), 97),
    Recorded("sololearn", "lr_first_step_of_each_epoch", solo_learn(0.8), epochs(1000), 97),
    Recorded("sololearn", "lr_last_100_steps", solo_learn(0.8), steps(96900, 97000, 97), 97),
    Recorded("deacl", "lr_epoch", deacl(), epochs(100), epochs=100),
    Recorded("deacl", "finetune_lr_epoch1to25_base0.1", StepDecay(0.1, (15, 20)), epochs(25)),
    Recorded("amoc", "schedule/lr_epoch", amoc(), epochs(200), epochs=200),
    Recorded("amoc", "schedule/lr_FC", StepDecay(0.1, (15, 20)), epochs(25)),
    Recorded("amoc", "schedule/lr_ACL", StepDecay(0.1, (40, 60)), epochs(100)),
    Recorded("amoc", "schedule/lr_TOTAL", StepDecay(0.1, (30, 35)), epochs(40)),
    Recorded("rocl", "schedule/lr_epoch", rocl(), epochs(1000)),
    Recorded("rocl", "schedule/linear_eval_lr_epoch", StepDecay(0.1, (31, 51, 101)), epochs(150)),
    Recorded("acl", "schedule/lr_update_first1200", acl(), steps(0, 1200, 98), 98),
    Recorded("acl", "schedule/lr_first_update_of_epoch", acl(), epochs(1000), 98),
    Recorded("acl", "schedule/lr_last_update_of_epoch", acl(), [(epoch, 97) for epoch in range(1000)], 98),
    Recorded("acl", "schedule/finetune_lr_decay15_20", StepDecay(0.1, (14, 19)), epochs(25)),
    Recorded("advcl", "lr_first_iteration_epoch0_to_1001", advcl(), epochs(1002), 98),
    Recorded("advcl", "lr_iterations_epoch0_to_12_98_batches", advcl(), steps(0, 13 * 98, 98), 98),
    Recorded("dynacl", "lr_e1_to_1000", dynacl(), epochs(1000)),
]


@pytest.mark.parametrize("recorded", RECORDED, ids=lambda recorded: f"{recorded.arrays}-{recorded.name}")
def test_rates(recorded: Recorded) -> None:
    with np.load(GOLDEN / f"{recorded.arrays}.npz") as arrays:
        expected = arrays[recorded.name]
    expected = expected.reshape(len(recorded.updates), -1)[:, 0]  # DeACL: the second column is its classifier's
    rates = [recorded.schedule(*update, recorded.steps_per_epoch, recorded.epochs) for update in recorded.updates]
    np.testing.assert_allclose(rates, expected, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("preset", [solo_learn, deacl, amoc, acl, dynacl, rocl])
@pytest.mark.parametrize(("length", "warmup"), [(1, 1), (2, 1), (20, 1), (20, 2)])
def test_short_schedules_stay_positive_and_below_the_peak(
    preset: Callable[[float, int], Schedule], length: int, warmup: int
) -> None:
    schedule = preset(0.4, warmup)
    rates = [schedule(epoch, step, 4, length) for epoch in range(length) for step in range(4)]
    assert all(0 < rate <= 0.4 for rate in rates)
    assert length < 20 or max(rates) == pytest.approx(0.4, rel=1e-6)


def test_the_module_imports_no_torch() -> None:
    code = "import sys, bench.engine.schedules; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

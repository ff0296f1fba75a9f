"""The table of costs is what methods declare, for every data set that they have settings for."""

from __future__ import annotations

import pytest

from bench.perf.costs import costs
from bench.registry import Registry
from bench.sweep import Schedule
from tests.cli.runner import invoke


@pytest.mark.parametrize("name", [entry.name for entry in Registry.discover().entries])
def test_every_settings_entry_has_its_declared_passes(name: str) -> None:
    method = Registry.discover().find(name).load()
    made = {(data, Schedule.PAPER): method(config) for data, config in method.PAPER.items()}
    made |= {(data, Schedule.QUICK): method(config) for data, config in method.QUICK.items()}
    declared = {place: (one.passes(), one.passes_per_epoch()) for place, one in made.items()}
    assert {(cost.dataset, cost.schedule): (cost.passes, cost.per_epoch) for cost in costs(method)} == declared


def test_the_command_prints_them() -> None:
    code, text, _ = invoke("list", "methods", "--costs")
    assert code == 0
    lines = [line.split() for line in text.splitlines()]
    for entry in Registry.discover().entries:
        for cost in costs(entry.load()):
            assert list(cost.cells) in lines


def test_one_method_alone() -> None:
    code, text, _ = invoke("list", "methods", "ncp", "--costs")
    assert code == 0
    assert ["ncp", "digits", "quick", "8", "5", "2", "17", "18.0625"] in [line.split() for line in text.splitlines()]
    assert "simclr" not in text


def test_data_sets_have_no_costs() -> None:
    code, _, err = invoke("list", "datasets", "--costs")
    assert code == 2
    assert "bench list methods --costs" in err

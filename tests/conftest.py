"""Fixtures of tests that run or plan whole sweeps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.executors import Event, Summary, execute
from bench.plan import Plan
from bench.planning import plan_of
from bench.protocols.recipes import PROTOCOLS
from bench.store import Store
from bench.sweep import Sweep
from tests.plugins import CHEAP, CHEAP_ALF, write_method

MakeSweep = Callable[..., Sweep]


@pytest.fixture
def make_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeSweep:
    """A sweep of one throw-away method on a few digits, with a protocol without AutoAttack; options change it."""
    for protocol in (CHEAP, CHEAP_ALF):
        monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)  # type: ignore[arg-type]

    def make(**options: Any) -> Sweep:
        methods = options.pop("methods", None) or write_method(tmp_path)
        defaults: dict[str, Any] = {
            "protocols": "cheap",
            "seeds": 1,
            "limit": "train=40,test=20",
            "device": "cpu",
            "jobs": 1,
            "out": tmp_path / "runs",
            "data_dir": tmp_path / "data",
        }
        return Sweep.of(methods=methods, **{**defaults, **options})

    return make


class Ran:
    """A sweep that was carried out."""

    def __init__(self, sweep: Sweep) -> None:
        self.events: list[Event] = []
        self.plan: Plan = plan_of(sweep)
        self.store = Store.open(sweep.out)
        self.summary: Summary = execute(self.plan, self.store, sweep, self.events.append)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The newest row of each of its cells."""
        return [self.store.latest_rows()[cell.key] for cell in self.plan.cells]


@pytest.fixture
def ran() -> type[Ran]:
    """Carries out a sweep in this process."""
    return Ran

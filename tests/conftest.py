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
    add_cheap_protocols(monkeypatch)

    def make(**options: Any) -> Sweep:
        return cheap_sweep(tmp_path, **{"methods": options.pop("methods", None) or write_method(tmp_path), **options})

    return make


def add_cheap_protocols(monkeypatch: pytest.MonkeyPatch) -> None:
    """Throw-away protocols have a name, too."""
    for protocol in (CHEAP, CHEAP_ALF):
        monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)  # type: ignore[arg-type]


def cheap_sweep(folder: Path, **options: Any) -> Sweep:
    """A sweep on a few digits in this process, whose store lies in `folder`; it lacks but the methods."""
    defaults: dict[str, Any] = {
        "protocols": "cheap",
        "seeds": 1,
        "limit": "train=40,test=20",
        "device": "cpu",
        "jobs": 1,
        "out": folder / "runs",
        "data_dir": folder / "data",
    }
    return Sweep.of(**{**defaults, **options})


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


def finished_in(folder: Path, **options: Any) -> Ran:
    """A `cheap_sweep` that was carried out, for several tests to look at or to copy."""
    with pytest.MonkeyPatch.context() as patched:
        add_cheap_protocols(patched)
        return Ran(cheap_sweep(folder, **options))


@pytest.fixture
def ran() -> type[Ran]:
    """Carries out a sweep in this process."""
    return Ran

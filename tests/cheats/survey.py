"""Every cheat, what is meant to catch it, and the rows that they get; each is a plugin in a file of its own here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.conformance.subject import QUICK, Subject
from bench.conformance.suite import CHECKS
from bench.conformance.verdicts import Verdict as Promise
from bench.executors import execute
from bench.executors.audits import auditing
from bench.executors.campaign import Campaign, identical_seeds
from bench.gates.verdicts import Reading, Result, Verdict
from bench.plan import Plan
from bench.planning import plan_of
from bench.registry import Registry
from bench.store import Store
from bench.sweep import Sweep

FOLDER = Path(__file__).parent
DATA = Path("data")
"""`digits` needs no folder."""
HONEST = "honest"
ONE_SEED = "one-seed"
"""Equal weights for all seeds, which only several rows show."""
TAMPERING = "tampering"
"""It spoils whatever is scored in its process after it."""
CAUGHT: Mapping[str, str] = {
    "quantised": "G4",
    "saturated": "G4",
    "detached": "G4",
    "broken-gradient": "G4",
    "scaled": "G6",
    "misled": "G4-fd",
    "shattered": "G4-fd",
    "noisy": "R1",
    "loop": "R2",
    "train-mode": "R3",
    "reseeding": "R4",
    "outside-ball": "R4",
    "attack-route": "R6",
    "watchful": "R6",
    "remembers": "G4-fd",
    "constant": "R11",
}
"""Cheats that every evaluation looks for, and the gate that is meant for each."""
CAUGHT_BY_AUDIT: Mapping[str, str] = {"stack-reader": "G2", "memory": "G8", TAMPERING: "O5"}
"""Those that take an attack to be found, and the gate of `bench audit` that is meant for each."""
REFUSED: Mapping[str, str] = {
    "not-a-number": "not finite",
    "label-reader": "sealed",
    "peeking": "sealed",
    "oracle": "sealed",
}
"""Those that fail, and a word of the reason."""
CHECKED: Mapping[str, str] = {"twice": "one-normalisation", "wide": "attack-budget", "label-reader": "no-label"}
"""Those whose training breaks a promise, and the check of `bench check` that is meant for each."""
PREVENTED = ("file-order", "positions", "stale")
"""Those that come to nothing, or are seen by the store, for reasons of their own."""


def plugin(name: str) -> str:
    """A method as `--methods` takes it: a cheat by its file, others by their name."""
    file = FOLDER / f"{name.replace('-', '_')}.py"
    return f"{file}:{'Honest' if name == HONEST else 'Cheat'}" if file.exists() else name


@dataclass(frozen=True)
class Sight:
    """A cell that was run.

    Attributes:
        row: as the store has it.
        results: the verdicts of its gates, by name.
    """

    row: Mapping[str, Any]
    results: Mapping[str, Result]

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> Sight:
        """A row and the gates it names."""
        gates = json.loads(row.get("gates") or "{}")
        return cls(row, {name: Result.of(name, facts) for name, facts in gates.items()})

    def those(self, verdict: Verdict) -> set[str]:
        """The gates that say so."""
        return {name for name, result in self.results.items() if result.verdict is verdict}


def sweep_of(names: Iterable[str], out: Path, protocol: str, **options: Any) -> Sweep:
    """`bench run` of some cheats, on a few digits and after a few epochs."""
    fixed = {"epochs": 4, "limit": "train=200,test=64", "device": "cpu", "jobs": 1, "data_dir": DATA}
    methods = ",".join(map(plugin, names))
    return Sweep.of(methods=methods, protocols=protocol, out=out, **{"seeds": 1, **fixed, **options})


def run(sweep: Sweep) -> Plan:
    """Carry a sweep out in this process."""
    plan = plan_of(sweep)
    execute(plan, Store.open(sweep.out), sweep, lambda event: None)
    return plan


def sights(plan: Plan, store: Store) -> dict[str, Sight]:
    """The cells of a plan as they are now, by method."""
    rows = store.latest_rows()
    return {cell.method.name: Sight.of(rows[cell.key]) for cell in plan.cells}


def audited(store: Store, row: Mapping[str, Any], gates: tuple[str, ...]) -> Iterator[Result]:
    """What `bench audit --gates` says of a row."""
    with auditing(store, row, DATA, "cpu", lambda event: None) as auditor:
        yield from auditor.results(gates)


def broken_promise(name: str) -> bool:
    """Whether `bench check` finds what a cheat's training does."""
    method = Registry.discover().find(plugin(name)).load()
    (wanted,) = (check for check in CHECKS if check.name == CHECKED[name])
    return wanted.result(Subject(method, scale=QUICK)).verdict is Promise.BROKEN


def twins(out: Path) -> Reading:
    """What the campaign's control C7 says of two seeds of a cheat beside an honest encoder."""
    run(sweep_of((HONEST, ONE_SEED), out, "slf-1[attacks=clean]", seeds=2))
    return identical_seeds(Campaign(Store.open(out), DATA, "cpu", lambda *_: None))

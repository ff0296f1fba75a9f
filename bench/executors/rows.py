"""Rows from finished stages: what a cell's stages say together."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TypeAlias

import numpy as np

from bench import __version__
from bench.attacks.threats import AttackKind
from bench.executors.events import Event, StageState
from bench.gates.verdicts import Result, overall
from bench.keys import canonical
from bench.plan import Cell, Plan
from bench.provenance import commit
from bench.schema import Row, Status
from bench.store import Store

VOLATILE = frozenset({"created", "commit", "harness_version"})
"""Columns in which two rows of one result may differ."""

Records: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Key of a finished stage to its record."""
Columns: TypeAlias = dict[str, Any]


class Ledger:
    """Writes the row of each cell once all of its stages have ended, unless the store has that very row."""

    def __init__(self, plan: Plan, store: Store) -> None:
        self.plan = plan
        self.store = store
        self.ended: dict[str, Event] = {}
        self.open = {cell.key: cell for cell in plan.cells}
        self.known = store.latest_rows()

    def note(self, event: Event) -> None:
        """A stage has ended."""
        self.ended[event.key] = event
        complete = [cell for cell in self.open.values() if all(key in self.ended for key in cell.stages)]
        for cell in complete:
            del self.open[cell.key]
            known = self.known.get(cell.key, {})
            row = row_of(cell, self.plan, self.store, [self.ended[key] for key in cell.stages], known)
            if not same_result(row.as_dict(), known):
                self.store.add_row(row)


def same_result(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows say the same but for when, and by which version, they were written."""
    return _lasting(one) == _lasting(other)


def _lasting(row: Mapping[str, Any]) -> Columns:
    return {name: value for name, value in row.items() if name not in VOLATILE and value is not None}


def row_of(
    cell: Cell, plan: Plan, store: Store, events: Sequence[Event], known: Mapping[str, Any] | None = None
) -> Row:
    """The row of a cell whose stages have all ended; `known` is the one before it, if there is one."""
    records = {key: store.record(key) for key in cell.stages if store.has(key)}
    return Row(
        cell=cell.key,
        config=canonical(cell.method.config),
        seed_pretrain=cell.seeds.pretrain,
        seed_head=cell.seeds.head,
        seed_attack=cell.seeds.attack,
        pretrain_key=cell.pretrain,
        head_key=cell.head,
        outcomes=canonical(cell.attacks),
        warnings=canonical(_warnings(cell, plan, store, records)),
        harness_version=__version__,
        commit=commit(),
        created=datetime.now(UTC).isoformat(),
        **cell.facts,
        **_ending(store, records, events),
        **_metrics(cell, records),
        **_worst(cell, store, records),
        **_head(cell, records),
        **_costs(cell, records),
        **_gates(cell, store, records, known or {}),
    )


def _ending(store: Store, records: Records, events: Sequence[Event]) -> Columns:
    """How the cell ended: well, or with the first failure that it or what it needs met."""
    failed = next((event for event in events if event.state in (StageState.FAILED, StageState.BLOCKED)), None)
    if failed is None:
        tries = [int(record.get("attempts", 1)) for record in records.values()]
        return {"status": Status.OK, "attempts": max(tries, default=1)}
    cause = failed.cause or failed.key
    return {
        "status": Status.FAILED,
        "error": failed.message,
        "log": str(store.log(cause).relative_to(store.root)),
        "attempts": max(1, store.attempts(cause)),
    }


def _metrics(cell: Cell, records: Records) -> Columns:
    """Accuracies in per cent: each by its attack's name, and in the column that the attack fills."""
    results = {name: records[key]["result"] for name, key in cell.attacks.items() if key in records}
    scores = {name: 100 * result["correct"] / result["images"] for name, result in results.items()}
    columns = {result["metric"]: scores[name] for name, result in results.items() if result["metric"]}
    images = next((results[name]["images"] for name in _united(cell, records)), None)
    return {**columns, "scores": canonical(scores), "test_images": images}


def _worst(cell: Cell, store: Store, records: Records) -> Columns:
    """Per cent of the images that no attack makes fall; not known before all attacks are done."""
    names = _united(cell, records)
    if len(names) < 2 or any(key not in records for key in cell.attacks.values()):
        return {}
    standing = np.logical_and.reduce([store.outcomes(cell.attacks[name]) for name in names])
    return {"ra_worst": 100 * float(standing.mean()), "worst_over": canonical(names)}


def _united(cell: Cell, records: Records) -> list[str]:
    """The finished attacks whose outcomes are those of the test images, one each: all but corruptions."""
    kinds = {name: records[key]["recipe"]["attack"]["kind"] for name, key in cell.attacks.items() if key in records}
    return [name for name, kind in kinds.items() if kind != AttackKind.CORRUPTION]


def _head(cell: Cell, records: Records) -> Columns:
    if cell.head not in records:
        return {}
    result = records[cell.head]["result"]
    return {"head_rate": result["rate"], "head_rate_at_edge": result["at_edge"], "train_images": result["images"]}


def _costs(cell: Cell, records: Records) -> Columns:
    """Time, memory, and where the last finished stage was computed."""
    columns: Columns = {}
    if cell.pretrain in records:
        columns["seconds_pretrain"] = records[cell.pretrain]["seconds"]
    if cell.head in records:
        columns["seconds_head"] = records[cell.head]["seconds"]
    if attacks := _attacks(cell, records):
        columns["seconds_attack"] = sum(attack["seconds"] for attack in attacks)
    if records:
        columns["peak_memory_mb"] = max(record["peak_memory_mb"] for record in records.values())
        last = list(records.values())[-1]["context"]
        columns |= {f"context_{name}": value for name, value in last.items()}
    if cell.pretrain in records:  # Heads and attacks run eagerly.
        columns["context_execution"] = records[cell.pretrain]["context"].get("execution")
    return columns


def _gates(cell: Cell, store: Store, records: Records, known: Mapping[str, Any]) -> Columns:
    """What the gates of every evaluation say, and those that the same classifier was sent through before."""
    if cell.audit is None or cell.audit not in records:
        return {}
    own = {"pretrain_key": cell.pretrain, "head_key": cell.head, "outcomes": canonical(cell.attacks)}
    earlier = gate_records(store, known) if all(known.get(name) == value for name, value in own.items()) else {}
    cheap = records[cell.audit]
    now = set(cheap["result"]["gates"])
    dear = {key: record for key, record in earlier.items() if set(record["result"]["gates"]) - now}
    return gate_columns({cell.audit: cheap, **dear})


def gate_columns(records: Records) -> Columns:
    """The columns that the gates fill, from the audits that measured them, the newest last."""
    newest = {gate: key for key, record in records.items() for gate in record["result"]["gates"]}
    gates = {gate: records[key]["result"]["gates"][gate] for gate, key in newest.items()}
    gravest = overall(Result.of(gate, facts) for gate, facts in gates.items())
    audits = list(dict.fromkeys(newest.values()))
    return {"audits": canonical(audits), "gates": canonical(gates), "gate_verdict": gravest and str(gravest)}


def gate_records(store: Store, row: Mapping[str, Any]) -> Records:
    """The audits of a row that the store has, by key, in their order."""
    return {key: store.record(key) for key in json.loads(row.get("audits") or "[]") if store.has(key)}


def _warnings(cell: Cell, plan: Plan, store: Store, records: Records) -> list[str]:
    """What the stages that the numbers rest on doubted, and what was found when one of them was computed again."""
    needed = dict.fromkeys(key for own in cell.stages for key in plan.needs(own))
    results = [store.record(key)["result"] for key in needed if store.has(key)]
    doubts = [text for result in results for text in result.get("warnings", [])]
    doubts += _order(_attacks(cell, records))
    findings = [text for key in needed for text in store.findings(key)]
    return list(dict.fromkeys(doubts + findings))


def _order(attacks: Sequence[Mapping[str, Any]]) -> list[str]:
    """AutoAttack should leave no more images right than PGD-20, up to two that a random start may decide."""
    right = {attack["result"]["metric"]: attack["result"]["correct"] for attack in attacks}
    if right.get("aa", 0) <= right.get("ra_pgd20", 0) + 2 or "ra_pgd20" not in right:
        return []
    return [
        f"AutoAttack leaves {right['aa'] - right['ra_pgd20']} more images right than PGD-20: one of them is too weak"
    ]


def _attacks(cell: Cell, records: Records) -> list[Mapping[str, Any]]:
    return [records[key] for key in cell.attacks.values() if key in records]

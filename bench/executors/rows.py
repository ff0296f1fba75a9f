"""Rows from finished stages: what a cell's stages say together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from bench import __version__
from bench.executors.events import Event, StageState
from bench.keys import canonical
from bench.plan import Cell, Plan
from bench.provenance import commit
from bench.schema import Row, Status
from bench.store import Store

VOLATILE = frozenset({"created", "commit", "harness_version", "attempts"})
"""Columns in which two rows of one result may differ."""


class Ledger:
    """Writes the row of each cell once all of its stages have ended, unless the store has that very row."""

    def __init__(self, plan: Plan, store: Store) -> None:
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
            row = row_of(cell, self.store, [self.ended[key] for key in cell.stages])
            if _lasting(row.as_dict()) != _lasting(self.known.get(cell.key, {})):
                self.store.add_row(row)


def _lasting(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in VOLATILE and value is not None}


def row_of(cell: Cell, store: Store, events: list[Event]) -> Row:
    """The row of a cell whose stages have all ended."""
    broken = [event for event in events if event.state in (StageState.FAILED, StageState.BLOCKED)]
    failed = next((event for event in broken if event.state is StageState.FAILED), broken[0] if broken else None)
    failure = store.failure(failed.key) if failed else None
    return Row(
        cell=cell.key,
        status=Status.FAILED if failed else Status.OK,
        error=failed.message if failed else None,
        log=str(store.log(failed.key).relative_to(store.root)) if failure and failed else None,
        attempts=failure["attempts"] if failure else 1,
        config=canonical(cell.method.config),
        seed_pretrain=cell.seeds.pretrain,
        seed_head=cell.seeds.head,
        seed_attack=cell.seeds.attack,
        pretrain_key=cell.pretrain,
        head_key=cell.head,
        outcomes=canonical(cell.attacks),
        harness_version=__version__,
        commit=commit(),
        created=datetime.now(UTC).isoformat(),
        **cell.facts,
        **_measured(cell, store),
    )


def _measured(cell: Cell, store: Store) -> dict[str, Any]:
    """Columns read from the records of the stages that are there."""
    records = {key: store.record(key) for key in cell.stages if store.has(key)}
    attacks = [records[key] for key in cell.attacks.values() if key in records]
    columns: dict[str, Any] = {
        record["result"]["metric"]: 100 * record["result"]["correct"] / record["result"]["images"] for record in attacks
    }
    if attacks:
        columns["test_images"] = attacks[0]["result"]["images"]
        warnings = [warning for record in attacks for warning in record["result"]["warnings"]]
        columns["warnings"] = canonical(list(dict.fromkeys(warnings)))
        columns["seconds_attack"] = sum(record["seconds"] for record in attacks)
    if cell.pretrain in records:
        columns["seconds_pretrain"] = records[cell.pretrain]["seconds"]
    if cell.head in records:
        fitted = records[cell.head]
        columns |= {
            "seconds_head": fitted["seconds"],
            "head_rate": fitted["result"]["rate"],
            "head_rate_at_edge": fitted["result"]["at_edge"],
            "train_images": fitted["result"]["images"],
        }
    if records:
        columns["peak_memory_mb"] = max(record["peak_memory_mb"] for record in records.values())
        last = list(records.values())[-1]["context"]
        columns |= {f"context_{name}": value for name, value in last.items()}
    return columns

"""Finished cells of a store as stages of a plan, so that an attack can be made on them. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from bench.cells import check_ended_well, check_kept, data_of, find_cell, method_of_row, name_of
from bench.errors import BenchError
from bench.plan import MethodRef, Stage, StageKind, Task
from bench.store import Store

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Surrogate:
    """The classifier that a transferred attack is made on.

    Attributes:
        encoder, head: keys of its stages.
        stages: these two and all that they rest on, each after its upstreams; all of them are finished.
    """

    encoder: str
    head: str
    stages: tuple[Stage, ...]


def surrogate(store: Store, text: str, dataset: str, seed: int) -> Surrogate:
    """The finished cell that `text` means (see `find_cell`), the one of `seed` where that decides between several.

    Args:
        store: where it was finished.
        text: its name, its label, or how one of its keys begins.
        dataset: the evaluation data of the cell that is attacked; the other one must tell the same classes apart.
        seed: of the cell that is attacked.

    Raises:
        BenchError: if there is no such cell, it failed, judges other data, or has lost a stage.
    """
    row = _row(store.latest_rows(), text, seed)
    check_ended_well(row, "attack")
    if row["dataset"] != dataset:
        raise BenchError(
            f"the attack on cell '{name_of(row)}' cannot be transferred to '{dataset}': its classes are those of "
            f"'{row['dataset']}'. Name a cell with the same data."
        )
    stages = {stage.key: stage for stage in _stages(store, row["head_key"], row, method_of_row(row))}
    return Surrogate(row["pretrain_key"], row["head_key"], tuple(stages.values()))


def _row(rows: Mapping[str, Row], text: str, seed: int) -> Row:
    of_seed = {key: row for key, row in rows.items() if row["seed_pretrain"] == seed}
    try:
        return rows[find_cell(of_seed, text)]
    except BenchError:
        return rows[find_cell(rows, text)]


def _stages(store: Store, key: str, row: Row, ref: MethodRef) -> Iterator[Stage]:
    """A finished stage after those that it read, as the plan had them that they were carried out from."""
    check_kept(store, row, [key])
    record = store.record(key)
    for upstream in record["upstream"].values():
        yield from _stages(store, upstream, row, ref)
    kind, recipe, what = StageKind(record["kind"]), record["recipe"], record["what"]
    own = kind is not StageKind.PRETRAIN or key == row["pretrain_key"]
    method = ref if own else MethodRef(recipe["method"], recipe["method"], recipe["config"], ref.profile)
    task = Task(method, replace(data_of(row), source=what["data"]), what["seed"], what["protocol"], what["attack"])
    yield Stage(kind, record["label"], task, recipe, record["upstream"], record["weight"])

"""Finished cells of a store as stages of a plan, so that an attack can be made on them. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.cells import find_cell
from bench.data.limits import Limit
from bench.errors import BenchError
from bench.plan import DataRef, MethodRef, Stage, StageKind, Task
from bench.registry import Registry
from bench.schema import Status
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
    name = f"{row['label']}/{row['dataset']}/{row['protocol']}/seed{row['seed_pretrain']}"
    if row["status"] != Status.OK:
        raise BenchError(f"no attack can be made on cell '{name}', which failed ({row['error']}): run it again first.")
    if row["dataset"] != dataset:
        raise BenchError(
            f"the attack on cell '{name}' cannot be transferred to '{dataset}': its classes are those of "
            f"'{row['dataset']}'. Name a cell with the same data."
        )
    ref = method_of_row(row)
    stages = {stage.key: stage for stage in _stages(store, row["head_key"], row, ref, name)}
    return Surrogate(row["pretrain_key"], row["head_key"], tuple(stages.values()))


def _row(rows: Mapping[str, Row], text: str, seed: int) -> Row:
    of_seed = {key: row for key, row in rows.items() if row["seed_pretrain"] == seed}
    try:
        return rows[find_cell(of_seed, text)]
    except BenchError:
        return rows[find_cell(rows, text)]


def _stages(store: Store, key: str, row: Row, ref: MethodRef, name: str) -> Iterator[Stage]:
    """A finished stage after those that it read, as the plan had them that they were carried out from."""
    if not store.has(key):
        raise BenchError(f"cell '{name}' lost its stage {key} (`bench rm` or `bench gc`): run it again first.")
    record = store.record(key)
    for upstream in record["upstream"].values():
        yield from _stages(store, upstream, row, ref, name)
    kind, recipe, what = StageKind(record["kind"]), record["recipe"], record["what"]
    limit = Limit(train=row["limit_train"], test=row["limit_test"]).text or None
    own = kind is not StageKind.PRETRAIN or key == row["pretrain_key"]
    method = ref if own else MethodRef(recipe["method"], recipe["method"], recipe["config"], ref.profile)
    task = Task(method, DataRef(what["data"], limit), what["seed"], what["protocol"], what["attack"])
    yield Stage(kind, record["label"], task, recipe, record["upstream"], record["weight"])


def method_of_row(row: Row) -> MethodRef:
    """The row's method. Rows know no paths, and a stored encoder needs the files of its settings no more."""
    config = json.loads(row["config"])
    files = {name: "(not kept)" for name, value in config.items() if _is_file(value)}
    installed = {entry.name for entry in Registry.discover().entries}
    text = row["method"] if row["method"] in installed else row["plugin"]
    return MethodRef(text, row["method"], config, row["dataset_like"], files)


def _is_file(value: object) -> bool:
    return isinstance(value, dict) and value.keys() == {"sha256", "size"}

"""Stores with made-up stages and rows, and stages and rows of a chosen age."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from typing import Any

from bench.keys import canonical
from bench.store import HISTORY, Store
from tests.leaderboard.made_rows import row

DAY = 24 * 3600.0


def finish(store: Store, key: str, upstream: Mapping[str, str] | None = None, **facts: Any) -> None:
    """A finished stage with a product of 1000 bytes."""
    record = {
        "kind": "pretrain",
        "label": f"{key} digits seed 0",
        "upstream": upstream or {},
        "result": {},
        "bits": "b" * 64,
        "context": {"device": "a CPU", "threads": 1, "cuda": None},
        "seconds": 75.0,
        "peak_memory_mb": 512.0,
        "created": "2026-01-02T03:04:05+00:00",
    }
    files = {name: facts.pop(name) for name in list(facts) if "." in name}
    store.put(key, {**record, **facts}, {"encoder.safetensors": bytes(1000), **files})


def add_cell(store: Store, cell: str, label: str, seed: int = 0, **columns: Any) -> None:
    """A row; by default of a cell with stages `CELL-pretrain`, `CELL-head` and `CELL-clean`."""
    keys = {"pretrain_key": f"{cell}pretrain", "head_key": f"{cell}head"}
    outcomes = columns.pop("outcomes", {"clean": f"{cell}clean"})
    store.add_row(row(label, seed, cell=cell, outcomes=canonical(outcomes), **{**keys, **columns}))


def finish_cell(store: Store, cell: str, teacher: str | None = None) -> None:
    """The stages of such a cell, and a teacher of its pre-training."""
    pretrain, head = f"{cell}pretrain", f"{cell}head"
    history = json.dumps([{"epoch": epoch, "loss": 4.0 - epoch, "clusters": 5} for epoch in range(4)]).encode()
    if teacher:
        finish(store, teacher)
    finish(store, pretrain, {"teacher": teacher} if teacher else {}, **{HISTORY: history})
    finish(store, head, {"encoder": pretrain}, kind="head")
    result = {"metric": "sa", "correct": 90, "images": 128, "warnings": []}
    finish(store, f"{cell}clean", {"encoder": pretrain, "head": head}, kind="attack", result=result)


def grow_old(store: Store, days: float) -> None:
    """All files as if they had been written so many days ago."""
    then = time.time() - days * DAY
    for path in (store.root, *store.root.rglob("*")):
        os.utime(path, (then, then))

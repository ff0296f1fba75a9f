"""A cell as it was measured: what it is, its numbers, its bits, and in which context they came about."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from bench.cells import name_of
from bench.history import SIGNS, Sign
from bench.keys import digest
from bench.plan import Cell
from bench.schema import Status
from bench.store import HISTORY, Store
from leaderboard.rows import ACCURACIES, config_of

IDENTITY = (
    "method", "dataset", "pretrain_data", "data_fingerprint", "pool_fingerprint", "seed_pretrain", "seed_head",
    "seed_attack", "protocol", "protocol_hash", "norm", "eps", "precision",
)  # fmt: skip
"""Columns that make a row the row of a cell, its settings aside: no key is among them, since new code changes keys."""
CONTEXT = "context_"
"""Begins the names of the columns that tell where the numbers were computed."""
ARITHMETIC = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "MKL_CBWR", "MKL_ENABLE_INSTRUCTIONS")
"""Environment variables by which torch and its libraries choose other instructions, and so round otherwise."""
TOLD = ("loss", Sign.ATTACK_GAIN, Sign.ATTACK_SUCCESS, Sign.SPREAD)
"""What is taken from a history, of the first and the last epoch. After one epoch rounding has hardly grown yet: these
numbers move if the code does, and little else moves them."""


@dataclass(frozen=True)
class Measured:
    """A cell that was run.

    Attributes:
        row: its row's columns.
        numbers: metric to value: accuracies in per cent, and what epochs of pre-training told.
        bits: stage (`pretrain`, `head`, or an attack's name) to SHA-256 of its product.
        arithmetic: the instructions that the CPU was allowed, as far as a row does not tell.
    """

    row: Mapping[str, Any]
    numbers: Mapping[str, float]
    bits: Mapping[str, str]
    arithmetic: str

    @property
    def name(self) -> str:
        """As `bench show` calls it."""
        return name_of(self.row)

    @property
    def error(self) -> str | None:
        """Why it failed, if it did."""
        return None if self.row["status"] == Status.OK else str(self.row["error"])

    @property
    def identity(self) -> str:
        """Equal for rows of one cell, but for its settings."""
        return digest([self.row[name] for name in IDENTITY])

    @property
    def config(self) -> Mapping[str, Any]:
        """Its settings."""
        return config_of(self.row)

    @property
    def context(self) -> Mapping[str, Any]:
        """Where its numbers were computed."""
        told = {name.removeprefix(CONTEXT): value for name, value in self.row.items() if name.startswith(CONTEXT)}
        return {**told, "arithmetic": self.arithmetic}


def gather(cells: Iterable[Cell], store: Store) -> tuple[Measured, ...]:
    """The cells of a sweep that was carried out."""
    rows, instructions = store.latest_rows(), arithmetic()
    return tuple(_measured(cell, rows[cell.key], store, instructions) for cell in cells)


def _measured(cell: Cell, row: Mapping[str, Any], store: Store, instructions: str) -> Measured:
    stages = {"pretrain": cell.pretrain, "head": cell.head, **cell.attacks}
    bits = {name: str(store.record(key)["bits"]) for name, key in stages.items() if store.has(key)}
    accuracies = {metric: float(row[metric]) for metric in ACCURACIES if row.get(metric) is not None}
    return Measured(row, {**accuracies, **_told(store, cell.pretrain)}, bits, instructions)


def _told(store: Store, key: str) -> dict[str, float]:
    """What the history of a pre-training tells of its first and last epoch; nothing where it keeps none."""
    path = store.stage(key) / HISTORY
    if not path.is_file():
        return {}
    epochs: dict[int, dict[str, float]] = {}
    for facts in json.loads(path.read_text(encoding="utf-8")):
        if "epoch" in facts:
            epochs.setdefault(facts["epoch"], {}).update(facts | facts.get(SIGNS, {}))
    ends = sorted({min(epochs), max(epochs)}) if epochs else []
    return {f"{name} of epoch {at + 1}": epochs[at][name] for at in ends for name in TOLD if name in epochs[at]}


def arithmetic() -> str:
    """The vector instructions that torch uses here, and what the environment says to it and its libraries."""
    import torch

    told = [f"{name}={os.environ[name]}" for name in ARITHMETIC if name in os.environ]
    return " ".join([torch.backends.cpu.get_cpu_capability(), *told])

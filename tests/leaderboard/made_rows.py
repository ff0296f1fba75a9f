"""Rows with numbers of one's own choice, in the columns that a store hands back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.schema import Row, Status

DEFAULTS: Mapping[str, Any] = {
    "status": Status.OK,
    "config": "{}",
    "dataset": "digits",
    "dataset_like": "digits",
    "schedule": "quick",
    "protocol": "slf-1",
    "protocol_hash": "p1",
    "eps": 0.1,
    "test_images": 128,
    "harness_version": "0.1",
    "plugin": "methods/any.py",
    "plugin_hash": "h1",
    "created": "2026-01-01T00:00:00+00:00",
}


def row(label: str, seed: int = 0, **columns: Any) -> Row:
    """An OK row on digits under slf-1, unless `columns` say otherwise."""
    seeds = {"seed_pretrain": seed, "seed_head": seed, "seed_attack": seed}
    values = {**DEFAULTS, "method": label.partition("[")[0], "label": label, **seeds, **columns}
    values.setdefault("pretrain_data", values["dataset"])
    identity = ("label", "dataset", "protocol", "schedule", "created", *seeds)
    values.setdefault("cell", " ".join(str(values[name]) for name in identity))
    return Row(**values)


def failed(label: str, seed: int = 0, **columns: Any) -> Row:
    """A row of a cell whose loss became NaN."""
    return row(label, seed, **{"status": Status.FAILED, "error": "the loss became NaN at step 17", **columns})


def rows(label: str, aa: Sequence[float], **columns: Any) -> list[Row]:
    """A row per seed 0, 1, ...: `aa` as given, `ra_pgd20` 3 points and `sa` 40 points above it."""
    return [row(label, seed, sa=value + 40, ra_pgd20=value + 3, aa=value, **columns) for seed, value in enumerate(aa)]


def frame(*parts: Row | Iterable[Row]) -> pd.DataFrame:
    """Rows as a data frame."""
    flat = [one for part in parts for one in ([part] if isinstance(part, Row) else part)]
    return pd.DataFrame([one.as_dict() for one in flat])

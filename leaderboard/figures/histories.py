"""What pre-trainings recorded of themselves, read from a store."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import pandas as pd

from bench.errors import BenchError
from bench.history import Facts
from bench.store import HISTORY, Store


def history(store: Store, row: Mapping[Hashable, Any]) -> list[Facts]:
    """The records of a row's pre-training, first to last; none where it failed or its stage is gone."""
    key = row["pretrain_key"]
    if not isinstance(key, str) or not store.has(key):
        return []
    try:
        found: list[Facts] = json.loads(store.read(key, HISTORY))
    except (BenchError, ValueError):
        return []
    return found


def by_seed(store: Store, rows: pd.DataFrame) -> Iterator[tuple[int, list[Facts]]]:
    """Each pre-training seed of one method's rows, with its history; seeds without one are left out."""
    for seed, of_seed in rows.groupby(rows["seed_pretrain"].astype(int)):
        facts = next(filter(None, (history(store, row) for row in of_seed.to_dict("records"))), None)
        if facts:
            yield int(str(seed)), facts

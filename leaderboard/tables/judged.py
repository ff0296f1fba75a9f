"""Rows of one head that differ by the attacks it met, as one row. Pure."""

from __future__ import annotations

import json
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.schema import Status
from leaderboard.rows import ACCURACIES, IDENTITY, SEEDS, current, head_of


def one_row_per_head(rows: pd.DataFrame) -> pd.DataFrame:
    """Rows under protocols without `attacks=`, each with all the numbers that any row of its head has.

    Which attacks a cell met is a part of its protocol, though they all meet the same classifier with the same seeds.

    Args:
        rows: as `leaderboard.rows.current` leaves them.
    """
    heads = rows.assign(protocol=rows["protocol"].map(head_of), protocol_hash="")
    if heads["protocol"].equals(rows["protocol"]):
        return rows
    repeated = heads.duplicated([*IDENTITY, *SEEDS], keep=False)
    together = heads[repeated].groupby([*IDENTITY, *SEEDS], sort=False)
    united = pd.DataFrame([_united(same.to_dict("records")) for _, same in together], columns=rows.columns)
    return current(pd.concat([found for found in (heads[~repeated], united) if len(found)]))


def _united(rows: Sequence[Mapping[Hashable, Any]]) -> Mapping[Hashable, Any]:
    """The row that ended well and met most attacks, with what it lacks of the others."""
    first, *others = sorted(rows, key=lambda row: (row["status"] != Status.OK.value, -len(json.loads(row["scores"]))))
    scores, columns = json.loads(first["scores"]), dict(first)
    for row in others:
        if row["pretrain_key"] == first["pretrain_key"] and row["head_key"] == first["head_key"]:
            scores = {**json.loads(row["scores"]), **scores}
            columns |= {name: row[name] for name in ACCURACIES if pd.isna(columns[name])}
    return {**columns, "scores": json.dumps(scores)}

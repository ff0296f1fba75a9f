"""Rows of finished cells as studies take them. Imports no torch."""

from __future__ import annotations

import sys
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import pandas as pd

from leaderboard.rows import SEEDS

Row: TypeAlias = Mapping[Hashable, Any]
"""Column name to value, from the store or from a data frame."""

Say: TypeAlias = Callable[[str], None]
"""Told what a user should know before a study begins."""


def to_stderr(text: str) -> None:
    """Print a remark where it does not mix with what a command prints."""
    print(text, file=sys.stderr, flush=True)


def plain(row: Row) -> dict[str, Any]:
    """A row as the store hands it back: a data frame has NaN for what is null, and floats for what may be."""
    return {str(name): _plain(name, value) for name, value in row.items()}


def _plain(name: Hashable, value: Any) -> Any:
    if pd.isna(value):
        return None
    return int(value) if name in _WHOLE else value


_WHOLE = frozenset((*SEEDS, "limit_train", "limit_test", "context_threads"))

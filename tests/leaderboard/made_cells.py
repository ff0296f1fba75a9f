"""Measured cells with numbers and bits of one's own choice."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from leaderboard.regression.measured import Measured
from tests.leaderboard.made_rows import failed, row

CONTEXT = {"context_torch": "2.15", "context_device": "a CPU", "context_threads": 1}
NUMBERS = {"sa": 90.0, "aa": 25.0, "loss of epoch 1": 5.0}
BITS = {"pretrain": "a1", "head": "b2", "clean": "c3"}


def measured(
    label: str = "ncp",
    seed: int = 0,
    numbers: Mapping[str, float] = NUMBERS,
    bits: Mapping[str, str] = BITS,
    arithmetic: str = "AVX2",
    **columns: Any,
) -> Measured:
    """A cell that ended well, on 100 test images."""
    values = {"data_fingerprint": "d1", "pool_fingerprint": "d1", "test_images": 100, **CONTEXT, **columns}
    return Measured(row(label, seed, **values).as_dict(), dict(numbers), dict(bits), arithmetic)


def broken(label: str = "ncp", seed: int = 0) -> Measured:
    """A cell that failed."""
    columns = {"data_fingerprint": "d1", "pool_fingerprint": "d1", **CONTEXT}
    return Measured(failed(label, seed, **columns).as_dict(), {}, {}, "AVX2")

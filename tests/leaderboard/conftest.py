"""Lets the tests of this folder import `made_rows`, which stands beside them, and gives them an empty store."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.store import Store

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")

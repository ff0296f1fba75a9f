"""What the tests of methods share; lets them import `tiny`, which stands beside them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))


def pytest_addoption(parser: pytest.Parser) -> None:
    """`pytest tests/methods/test_conformance.py --method ./mine.py:Mine` checks a method that is not installed."""
    parser.addoption("--method", action="append", help="check this method instead of the installed ones; repeatable")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As in every process of the benchmark: sums do not depend on the machine's cores."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)

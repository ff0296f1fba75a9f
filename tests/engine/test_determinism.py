"""Deterministic mode chooses kernels and does nothing else, inside the block alone."""

from __future__ import annotations

import pytest
import torch
from torch.utils import deterministic as options

from bench.engine.determinism import deterministic_kernels


@pytest.mark.parametrize("wanted", [False, True])
@pytest.mark.parametrize("before", [False, True])
def test_it_holds_inside_alone(wanted: bool, before: bool) -> None:
    torch.use_deterministic_algorithms(before)
    try:
        with deterministic_kernels(wanted):
            assert torch.are_deterministic_algorithms_enabled() is wanted
        assert torch.are_deterministic_algorithms_enabled() is before
    finally:
        torch.use_deterministic_algorithms(False)
    assert options.fill_uninitialized_memory


def test_new_memory_is_not_filled() -> None:
    with deterministic_kernels(True):
        assert not options.fill_uninitialized_memory
        with pytest.raises(RuntimeError, match="deterministic"):
            torch.zeros(4).put_(torch.zeros(2, dtype=torch.long), torch.ones(2), accumulate=False)

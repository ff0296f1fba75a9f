"""Torch's deterministic mode, without what it does beside choosing kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch.utils.deterministic


@contextmanager
def deterministic_kernels(wanted: bool) -> Iterator[None]:
    """Inside, deterministic mode is on or off as `wanted`; afterwards it is as it was.

    By itself the mode also fills every new tensor with NaN, a whole pass over memory, in case somebody reads what was
    never written. Kernels never do, so this moves no bit; on the CPU it takes 5 to 8 % of a training step of `digits`.
    """
    options: Any = torch.utils.deterministic  # A module with a property, which type checkers do not see.
    before = torch.are_deterministic_algorithms_enabled(), options.fill_uninitialized_memory
    torch.use_deterministic_algorithms(wanted)
    options.fill_uninitialized_memory = False
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        options.fill_uninitialized_memory = before[1]

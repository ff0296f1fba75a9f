"""Clocks and counters: seconds, FLOPs, bytes, and what the device can do at best."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from statistics import median
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from bench.engine.conditions import Conditions
from bench.perf.arithmetic import Bare, Rates
from bench.perf.subject import Action, BarePasses

MATRIX_SIDE = {"cpu": 1024, "cuda": 8192}
COPIED_BYTES = {"cpu": 2**26, "cuda": 2**30}
"""Well above every cache."""


def seconds(action: Action, device: str, repeats: int = 1) -> float:
    """Seconds of one `action`, the mean of `repeats` one after another; waits for the device before and after."""
    began = clock(device)
    for _ in range(repeats):
        action()
    return (clock(device) - began) / repeats


def clock(device: str) -> float:
    """Seconds since some moment, once the device has done all that it was told to.

    One thread on a CPU is timed while it runs: what else the machine does is not the step's.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif torch.get_num_threads() == 1:
        return time.thread_time()
    return time.perf_counter()


def rates(conditions: Conditions, tries: int = 7) -> Rates:
    """The device's rates, measured under `conditions`: a large matrix product, a large copy."""
    kind = torch.device(conditions.device).type
    side, size = MATRIX_SIDE[kind], COPIED_BYTES[kind]
    a, b = (torch.randn(side, side, device=conditions.device, dtype=conditions.dtype) for _ in range(2))
    source, target = (torch.zeros(size, dtype=torch.uint8, device=conditions.device) for _ in range(2))

    def best(action: Action) -> float:
        action()
        return median(seconds(action, conditions.device) for _ in range(tries))

    return Rates(matrix=2 * side**3 / best(lambda: a @ b), copy=2 * size / best(lambda: target.copy_(source)))


def flops_of(action: Action) -> float:
    """FLOPs of the convolutions and matrix products of `action`."""
    with FlopCounterMode(display=False) as counter:
        action()
    return float(counter.get_total_flops())


class Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes that operations read and write, views left out.

    Attributes:
        by_operation: so far, by names such as `aten::mm`.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.by_operation: Counter[str] = Counter()

    @property
    def total(self) -> int:
        """Of all operations."""
        return self.by_operation.total()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and count what it touches."""
        result = func(*args, **(kwargs or {}))
        if not func.is_view:
            touched = [part for part in tree_leaves((args, kwargs, result)) if isinstance(part, Tensor)]
            self.by_operation[func._schema.name] += sum(part.nbytes for part in touched)
        return result


def traffic_of(action: Action) -> float:
    """Bytes that the operations of `action` read and write, as if no cache held anything."""
    with Traffic() as counter:
        action()
    return float(counter.total)


def each(measured: Callable[[Action], float], passes: BarePasses) -> Bare:
    """`measured` of each bare pass."""
    return Bare(measured(passes.forward), measured(passes.to_input), measured(passes.full))

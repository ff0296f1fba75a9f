"""Where the time of one step goes: views, attack, backward pass, optimiser, and the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import Any
from unittest.mock import patch

import torch

from bench.attacks import pgd
from bench.data.views import Views
from bench.perf.probes import clock, seconds
from bench.perf.subject import Subject


class Part(StrEnum):
    """A part of a step."""

    VIEWS = "views"
    ATTACK = "attack"
    """The gradient steps, each with its own forward and backward pass."""
    BACKWARD = "backward"
    """Of the loss, to the weights."""
    OPTIMISER = "optimiser"
    REST = "forward and rest"
    """Forward passes outside of the attack, loss, moving averages, banks, and the host."""


class Stopwatch:
    """Adds up how long functions take.

    Attributes:
        totals: seconds by part.
    """

    def __init__(self, device: str) -> None:
        """Waits for `device` before and after each call."""
        self.device = device
        self.totals = dict.fromkeys(Part, 0.0)

    def timed(self, part: Part, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose calls count as `part`."""

        def measured(*args: Any, **options: Any) -> Any:
            began = clock(self.device)
            try:
                return function(*args, **options)
            finally:
                self.totals[part] += clock(self.device) - began

        return measured


@contextmanager
def watched(subject: Subject, stopwatch: Stopwatch) -> Iterator[None]:
    """Inside, the parts of eager steps are timed; nothing of it stays in the code that trains."""
    places: tuple[tuple[Part, Any, str], ...] = (
        (Part.VIEWS, Views, "each"),
        (Part.ATTACK, pgd, "climbed"),
        (Part.BACKWARD, torch.autograd, "backward"),
        (Part.OPTIMISER, subject.optimiser, "step"),
    )
    with ExitStack() as stack:
        for part, owner, name in places:
            stack.enter_context(patch.object(owner, name, stopwatch.timed(part, getattr(owner, name))))
        yield


def breakdown(subject: Subject, device: str) -> dict[Part, float]:
    """Seconds of each part of one eager step."""
    stopwatch = Stopwatch(device)
    with watched(subject, stopwatch):
        whole = seconds(subject.eager_step, device)
    stopwatch.totals[Part.REST] = whole - sum(stopwatch.totals.values())
    return stopwatch.totals

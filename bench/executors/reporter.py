"""How a stage at work tells where it stands."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from bench.executors.events import Event, StageState

REPORT_EVERY = 0.2
"""Seconds between two progress events of a stage."""


@dataclass
class Reporter:
    """Tells how a stage gets on, not too often: itself a `Report`, and its `record` a `Record`."""

    key: str
    device: str
    send: Callable[[Event], None]
    facts: dict[str, Any] = field(default_factory=dict)
    last: float = 0.0

    def __call__(self, done: int, total: int, message: str) -> None:
        """Tell the progress, and the newest facts with it."""
        if time.monotonic() - self.last >= REPORT_EVERY:
            self.last = time.monotonic()
            where = f"{self.device}, pid {os.getpid()}"
            self.send(Event(self.key, StageState.RUNNING, done, total, message, where=where, facts=dict(self.facts)))

    def record(self, facts: Mapping[str, Any]) -> None:
        """Facts that are told with the progress to come."""
        self.facts.update(facts)

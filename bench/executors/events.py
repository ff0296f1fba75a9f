"""What an executor says while it works. Imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class StageState(StrEnum):
    """Where a stage stands.

    Members:
        WAITING: for its turn; again so after an interruption.
        ELSEWHERE: another run works on it, whose product will be used.
    """

    WAITING = "waiting"
    RUNNING = "running"
    ELSEWHERE = "elsewhere"
    DONE = "done"
    CACHED = "cached"
    FAILED = "failed"
    BLOCKED = "blocked"


UNFINISHED = frozenset({StageState.WAITING, StageState.RUNNING, StageState.ELSEWHERE})
"""States from which a stage still gets further."""


@dataclass(frozen=True)
class Event:
    """A stage changed its state, or got further.

    Attributes:
        key: the stage.
        done, total: steps, while it runs; both 0 where that is not known.
        message: a short text: an epoch, an error.
        cause: of a stage that failed or is blocked, the stage that failed.
        where: device and process of a stage that runs.
        facts: the newest of what a pre-training recorded: loss, signs of life.
    """

    key: str
    state: StageState
    done: int = 0
    total: int = 0
    message: str = ""
    cause: str | None = None
    where: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def ended(self) -> bool:
        """Whether the stage will say no more."""
        return self.state not in UNFINISHED


@dataclass(frozen=True)
class Failure:
    """Why a stage failed.

    Attributes:
        error: one paragraph.
        traceback: for the log.
        fatal: whether the store itself failed, so that nothing else can go on.
    """

    error: str
    traceback: str
    fatal: bool = False


Message = Event | Failure
"""What comes from a stage at work: progress, its end, or why it failed."""
Listener = Callable[[Event], None]


@dataclass(frozen=True)
class Summary:
    """How many stages of a plan ended in which state."""

    done: int = 0
    cached: int = 0
    failed: int = 0
    blocked: int = 0

    @property
    def ok(self) -> bool:
        """Whether every stage has a product."""
        return not self.failed and not self.blocked

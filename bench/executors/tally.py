"""Where the stages of a plan stand, how fast they are, and how long the rest may take. Imports no torch."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from bench.executors.events import Event, StageState
from bench.plan import Plan

WINDOW, MARK_EVERY = 30, 1.0
"""Speed is taken over this many marks, this many seconds apart at least."""


@dataclass
class Pace:
    """The speed of a stage over the last half minute, from the steps it has done at a few moments."""

    marks: deque[tuple[float, int]] = field(default_factory=lambda: deque(maxlen=WINDOW))
    newest: tuple[float, int] = (0.0, 0)

    def note(self, now: float, done: int) -> None:
        """`done` steps are done."""
        self.newest = (now, done)
        if not self.marks or now - self.marks[-1][0] >= MARK_EVERY:
            self.marks.append(self.newest)

    @property
    def speed(self) -> float | None:
        """Steps per second, or None as long as that cannot be said."""
        if not self.marks:
            return None
        (then, before), (now, done) = self.marks[0], self.newest
        return (done - before) / (now - then) if now > then and done > before else None


@dataclass
class Tally:
    """Where the stages of a plan stand, and how long the rest may take.

    Attributes:
        clock: seconds that never go back.
    """

    plan: Plan
    clock: Callable[[], float] = time.monotonic
    events: dict[str, Event] = field(init=False)
    began: dict[str, float] = field(default_factory=dict)
    paces: dict[str, Pace] = field(init=False)
    start: float = field(init=False)

    def __post_init__(self) -> None:
        # One entry per stage from the first: other threads read this while events come in.
        self.events = {key: Event(key, StageState.WAITING) for key in self.plan.stages}
        self.paces = {key: Pace() for key in self.plan.stages}
        self.start = self.clock()

    def take(self, event: Event) -> bool:
        """Take in an event; returns whether the stage's state is a new one."""
        before, self.events[event.key] = self.events[event.key], event
        if event.state is StageState.RUNNING:
            self.began.setdefault(event.key, self.clock())
            if event.total:
                self.paces[event.key].note(self.clock(), event.done)
        return before.state is not event.state

    @property
    def counts(self) -> Counter[StageState]:
        """Stages per state."""
        return Counter(event.state for event in self.events.values())

    @property
    def ended(self) -> int:
        """Stages that will say no more."""
        return sum(event.ended for event in self.events.values())

    @property
    def elapsed(self) -> float:
        """Seconds since the run began."""
        return self.clock() - self.start

    def seconds(self, key: str) -> float:
        """Seconds since a stage began; 0 if it has not."""
        return self.clock() - self.began[key] if key in self.began else 0.0

    @property
    def at_work(self) -> list[Event]:
        """The newest event of every stage that is running."""
        return [event for event in self.events.values() if event.state is StageState.RUNNING]

    def speed(self, key: str) -> float | None:
        """Steps per second of a stage, or None as long as that cannot be said."""
        return self.paces[key].speed

    def time_to_go(self, key: str) -> float | None:
        """Seconds that a running stage may still take, or None as long as that cannot be said."""
        event, speed = self.events[key], self.speed(key)
        return (event.total - event.done) / speed if speed else None

    @property
    def share(self) -> float:
        """Work that is behind us, 0 to 1, by the plan's weights."""
        whole = sum(stage.weight for stage in self.plan.stages.values())
        return sum(self._worked(key) for key in self.events) / whole if whole else 0.0

    @property
    def remaining(self) -> float | None:
        """Seconds that the rest may take at the pace so far, or None as long as that cannot be said."""
        own = {key: event for key, event in self.events.items() if event.state is not StageState.CACHED}
        worked = sum(self._worked(key) for key in own)
        left = sum(stage.weight for stage in self.plan.stages.values()) - sum(map(self._worked, self.events))
        return self.elapsed * left / worked if worked else None

    def _worked(self, key: str) -> float:
        event = self.events[key]
        if event.ended:
            return self.plan.stages[key].weight
        return self.plan.stages[key].weight * (event.done / event.total if event.total else 0.0)

"""How a run is shown: a live display on a terminal, plain lines elsewhere. Fed with the executor's events."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from bench.executors.events import Event, StageState, Summary
from bench.plan import Plan

HEARTBEAT = 30.0
"""Seconds between two lines of the plain display while no stage ends."""
WIDTH = 48
"""Columns of a stage's label in the live display."""
STYLES = {
    StageState.DONE: "green",
    StageState.CACHED: "cyan",
    StageState.RUNNING: "yellow",
    StageState.ELSEWHERE: "blue",
    StageState.FAILED: "bold red",
    StageState.BLOCKED: "red",
}

LogOf = Callable[[str], Path]
"""The file with the traceback of the stage that has a key."""


class Display(Protocol):
    """Listens to a run."""

    def __call__(self, event: Event) -> None:
        """Take in an event."""

    def finish(self, summary: Summary) -> None:
        """Say how the run ended."""


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
    start: float = field(init=False)

    def __post_init__(self) -> None:
        # One event per stage from the first: the live display's thread reads this while events come in.
        self.events = {key: Event(key, StageState.WAITING) for key in self.plan.stages}
        self.start = self.clock()

    def take(self, event: Event) -> bool:
        """Take in an event; returns whether the stage's state is a new one."""
        before, self.events[event.key] = self.events[event.key], event
        if event.state is StageState.RUNNING:
            self.began.setdefault(event.key, self.clock())
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

    def outcome(self, event: Event, log_of: LogOf) -> str | None:
        """The line for a stage that was computed, in rich's markup; None for those that are only counted."""
        style, label = STYLES.get(event.state, ""), escape(self.plan.stages[event.key].label)
        if event.state is StageState.DONE:
            return f"[{style}]{event.state:7}[/] {label}  [dim]{spell(self.seconds(event.key))}[/]"
        if event.state is StageState.ELSEWHERE:
            return f"[{style}]waiting[/] for {label}: {escape(event.message)}"
        if event.state is StageState.FAILED:
            text = escape(f"{event.message} (log: {log_of(event.key)})")
            return f"[{style}]{event.state:7}[/] {label}: {text}"
        return None

    def status(self) -> str:
        """Counts and time on one line, in rich's markup."""
        parts = [f"{self.ended}/{len(self.plan.stages)} stages"]
        parts += [f"[{STYLES[state]}]{count} {state}[/]" for state in STYLES if (count := self.counts[state])]
        parts.append(spell(self.elapsed))
        if (left := self.remaining) is not None and self.ended < len(self.plan.stages):
            parts.append(f"about {spell(left)} left")
        return "  ".join(parts)


def spell(seconds: float) -> str:
    """A duration as people say it: `8 s`, `3 min 05 s`, `2 h 10 min`.

    >>> spell(185)
    '3 min 05 s'
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def verdict(summary: Summary, seconds: float) -> str:
    """The last line of a run, in rich's markup."""
    counts = {
        StageState.DONE: summary.done,
        StageState.CACHED: summary.cached,
        StageState.FAILED: summary.failed,
        StageState.BLOCKED: summary.blocked,
    }
    words = {StageState.DONE: "computed", StageState.CACHED: "already there", StageState.BLOCKED: "not reached"}
    parts = [f"[{STYLES[state]}]{count} {words.get(state, state)}[/]" for state, count in counts.items() if count]
    return f"{', '.join(parts) or 'nothing to do'} in {spell(seconds)}"


class LiveDisplay:
    """A bar per running stage, one for the whole, and finished stages scrolling away above them."""

    def __init__(self, tally: Tally, console: Console, log_of: LogOf) -> None:
        self.tally, self.console, self.log_of = tally, console, log_of
        label = TextColumn("{task.description}", table_column=Column(width=WIDTH, no_wrap=True, overflow="ellipsis"))
        note = TextColumn("[dim]{task.fields[note]}[/]", table_column=Column(no_wrap=True, overflow="ellipsis"))
        self.bars = Progress(label, BarColumn(24), TimeElapsedColumn(), note, console=console)
        self.whole = Progress(BarColumn(24), TextColumn("{task.description}"), console=console)
        self.total = self.whole.add_task("", total=1.0)
        self.tasks: dict[str, TaskID] = {}

    def __rich__(self) -> Group:
        """The part that stays at the bottom; drawn anew several times a second."""
        self.whole.update(self.total, completed=self.tally.share, description=self.tally.status())
        return Group(self.bars, self.whole)

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        is_news = self.tally.take(event)
        if event.state in (StageState.RUNNING, StageState.ELSEWHERE):
            self._advance(event)
        elif event.ended and is_news:
            self._end(event)

    def _advance(self, event: Event) -> None:
        if event.key not in self.tasks:
            label = escape(self.tally.plan.stages[event.key].label)
            self.tasks[event.key] = self.bars.add_task(label, total=None, note="")
        steps = f"{event.done}/{event.total}  " if event.total else ""
        note = escape(steps + event.message)
        self.bars.update(self.tasks[event.key], completed=event.done, total=event.total or None, note=note)

    def _end(self, event: Event) -> None:
        if event.key in self.tasks:
            self.bars.remove_task(self.tasks.pop(event.key))
        if line := self.tally.outcome(event, self.log_of):
            self.console.print(line, highlight=False)

    def finish(self, summary: Summary) -> None:
        """Say how the run ended."""
        self.console.print(verdict(summary, self.tally.elapsed), highlight=False)


class PlainDisplay:
    """A line per computed stage, and a sign of life in between: for log files and pipes."""

    def __init__(self, tally: Tally, console: Console, log_of: LogOf) -> None:
        self.tally, self.console, self.log_of = tally, console, log_of
        self.spoke = tally.clock()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if self.tally.take(event) and (line := self.tally.outcome(event, self.log_of)):
            self._say(line)

    def beat(self) -> None:
        """Print where the run stands, unless something was printed of late."""
        if self.tally.clock() - self.spoke >= HEARTBEAT:
            self._say(f"running {self.tally.status()}")

    def _say(self, line: str) -> None:
        self.spoke = self.tally.clock()
        self.console.print(line, highlight=False, soft_wrap=True)

    def finish(self, summary: Summary) -> None:
        """Say how the run ended."""
        self._say(verdict(summary, self.tally.elapsed))


@contextmanager
def display(plan: Plan, console: Console, log_of: LogOf) -> Iterator[Display]:
    """The display that suits the console, shown as long as the block lasts."""
    tally = Tally(plan)
    if console.is_terminal:
        live = LiveDisplay(tally, console, log_of)
        with Live(live, console=console, refresh_per_second=5, transient=True):
            yield live
    else:
        plain = PlainDisplay(tally, console, log_of)
        with _repeated(plain.beat, HEARTBEAT / 10):
            yield plain


@contextmanager
def _repeated(action: Callable[[], None], period: float) -> Iterator[None]:
    """Call `action` every `period` seconds in a thread of its own while the block lasts."""
    over = threading.Event()

    def repeat() -> None:
        while not over.wait(period):
            action()

    thread = threading.Thread(target=repeat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()

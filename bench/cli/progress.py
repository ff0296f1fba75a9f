"""How a run is shown: a live display on a terminal, plain lines elsewhere. Fed with the executor's events."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column

from bench.executors.events import Event, StageState, Summary
from bench.executors.pulse import at_work
from bench.executors.tally import Tally
from bench.live import AtWork
from bench.plan import Plan

HEARTBEAT = 30.0
"""Seconds between two looks of the plain display at where the stages stand."""
LABEL, BAR = 48, 24
"""Columns of a stage's label and bar in the live display at most: on a narrow terminal a third and an eighth of it."""
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


def outcome(tally: Tally, event: Event, log_of: LogOf) -> str | None:
    """The line for a stage that was computed, in rich's markup; None for those that are only counted."""
    style, label = STYLES.get(event.state, ""), escape(tally.plan.stages[event.key].label)
    if event.state is StageState.DONE:
        return f"[{style}]{event.state:7}[/] {label}  [dim]{spell(tally.seconds(event.key))}[/]"
    if event.state is StageState.ELSEWHERE:
        return f"[{style}]waiting[/] for {label}: {escape(event.message)}"
    if event.state is StageState.FAILED:
        text = escape(f"{event.message} (log: {log_of(event.key)})")
        return f"[{style}]{event.state:7}[/] {label}: {text}"
    return None


def status(tally: Tally) -> str:
    """Counts and time on one line, in rich's markup."""
    parts = [f"{tally.ended}/{len(tally.plan.stages)} stages"]
    parts += [f"[{STYLES[state]}]{count} {state}[/]" for state in STYLES if (count := tally.counts[state])]
    parts.append(spell(tally.elapsed))
    if (left := tally.remaining) is not None and tally.ended < len(tally.plan.stages):
        parts.append(f"about {spell(left)} left")
    return "  ".join(parts)


def advance(work: AtWork) -> str:
    """How far a stage is, its loss, speed and time to go, as far as they are known; plain text."""
    parts = [f"{work.done}/{work.total}" if work.total else "", work.message]
    if (loss := work.facts.get("loss")) is not None:
        parts.append(f"loss {loss:.4g}")
    if work.left_s is not None:
        parts.append(f"{spell(work.left_s)} to go")
    if work.steps_per_s and work.images_per_s:  # A pre-training: other stages count epochs or attacks.
        parts.append(f"{work.steps_per_s:.3g} steps/s  {work.images_per_s:.0f} images/s")
    return "  ".join(part for part in parts if part)


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
        width, bar = min(LABEL, console.width // 3), min(BAR, console.width // 8)
        label = TextColumn(
            "{task.description}",
            table_column=Column(min_width=width, max_width=width, no_wrap=True, overflow="ellipsis"),
        )
        note = TextColumn("[dim]{task.fields[note]}[/]", table_column=Column(no_wrap=True, overflow="ellipsis"))
        self.bars = Progress(label, BarColumn(bar), TimeElapsedColumn(), note, console=console)
        self.whole = Progress(BarColumn(bar), TextColumn("{task.description}"), console=console)
        self.total = self.whole.add_task("", total=1.0)
        self.tasks: dict[str, TaskID] = {}

    def __rich__(self) -> Group:
        """The part that stays at the bottom; drawn anew several times a second."""
        self.whole.update(self.total, completed=self.tally.share, description=status(self.tally))
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
        note = escape(event.message if event.state is StageState.ELSEWHERE else advance(at_work(self.tally, event)))
        self.bars.update(self.tasks[event.key], completed=event.done, total=event.total or None, note=note)

    def _end(self, event: Event) -> None:
        if event.key in self.tasks:
            self.bars.remove_task(self.tasks.pop(event.key))
        if line := outcome(self.tally, event, self.log_of):
            self.console.print(line, highlight=False)

    def finish(self, summary: Summary) -> None:
        """Say how the run ended."""
        self.console.print(verdict(summary, self.tally.elapsed), highlight=False)


class PlainDisplay:
    """A line when a stage begins and ends, and where all stand now and then: for log files and pipes."""

    def __init__(self, tally: Tally, console: Console, log_of: LogOf) -> None:
        self.tally, self.console, self.log_of = tally, console, log_of
        self.spoke = tally.clock()

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        if not self.tally.take(event):
            return
        if event.state is StageState.RUNNING:
            self._say(f"begins  {escape(self.tally.plan.stages[event.key].label)}")
        elif line := outcome(self.tally, event, self.log_of):
            self._say(line)

    def beat(self) -> None:
        """Print where the run and each stage at work stand, if that was not done of late."""
        if self.tally.clock() - self.spoke < HEARTBEAT:
            return
        self.spoke = self.tally.clock()
        self._say(f"running {status(self.tally)}")
        for event in self.tally.at_work:
            if event.total:
                work = at_work(self.tally, event)
                self._say(escape(f"        {work.label}  {advance(work)}"))

    def _say(self, line: str) -> None:
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

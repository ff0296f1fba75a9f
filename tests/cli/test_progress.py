"""What a run shows: never a flood, always where it stands."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from rich.console import Console

from bench.cli import progress
from bench.cli.progress import LiveDisplay, PlainDisplay, display, spell, status, verdict
from bench.executors.events import Event, StageState, Summary
from bench.executors.tally import Tally
from bench.plan import DataRef, MethodRef, Plan, Stage, StageKind, Task


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def stage(name: str, weight: float, kind: StageKind = StageKind.PRETRAIN) -> Stage:
    task = Task(MethodRef(name, name, {"batch_size": 64}, "digits"), DataRef("digits"), 0)
    return Stage(kind, f"{name} [digits]", task, {"name": name}, weight=weight)


STAGES = {name: stage(name, weight) for name, weight in {"a": 10.0, "b": 30.0, "c": 60.0}.items()}
PLAN = Plan((), {made.key: made for made in STAGES.values()})


def event(name: str, state: StageState, done: int = 0, total: int = 0, message: str = "", **facts: float) -> Event:
    return Event(STAGES[name].key, state, done, total, message, facts=facts)


def log_of(key: str) -> Path:
    return Path("logs") / f"{key[:4]}.log"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tally(clock: Clock) -> Tally:
    return Tally(PLAN, clock)


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [(0.4, "0 s"), (59.4, "59 s"), (59.6, "1 min 00 s"), (185, "3 min 05 s"), (7800, "2 h 10 min")],
)
def test_durations_are_spelled_for_people(seconds: float, expected: str) -> None:
    assert spell(seconds) == expected


class TestTally:
    def test_work_counts_by_weight_and_running_stages_in_part(self, tally: Tally) -> None:
        tally.take(event("a", StageState.CACHED))
        tally.take(event("b", StageState.RUNNING, 1, 3))
        assert tally.share == pytest.approx((10 + 30 / 3) / 100)

    def test_the_rest_is_told_from_the_pace_of_what_was_computed(self, tally: Tally, clock: Clock) -> None:
        tally.take(event("a", StageState.CACHED))
        assert tally.remaining is None
        tally.take(event("b", StageState.RUNNING))
        clock.now = 15
        tally.take(event("b", StageState.DONE))
        assert tally.remaining == pytest.approx(15 * 60 / 30)

    def test_the_status_counts_states(self, tally: Tally, clock: Clock) -> None:
        tally.take(event("a", StageState.CACHED))
        tally.take(event("b", StageState.RUNNING))
        clock.now = 5
        text = Console(width=200).render_str(status(tally)).plain
        assert text == "1/3 stages  1 cached  1 running  5 s"


class TestPlain:
    @pytest.fixture
    def stream(self) -> io.StringIO:
        return io.StringIO()

    @pytest.fixture
    def shown(self, tally: Tally, stream: io.StringIO) -> PlainDisplay:
        return PlainDisplay(tally, Console(file=stream, width=40), log_of)

    def test_a_computed_stage_has_a_line_when_it_begins_and_ends_and_others_none(
        self, shown: PlainDisplay, stream: io.StringIO, clock: Clock
    ) -> None:
        shown(event("a", StageState.CACHED))
        shown(event("b", StageState.RUNNING))
        for step in range(100):
            shown(event("b", StageState.RUNNING, step, 100))
        clock.now = 65
        shown(event("b", StageState.DONE))
        shown(event("c", StageState.BLOCKED, message="needs b"))
        assert stream.getvalue() == "begins  b [digits]\ndone    b [digits]  1 min 05 s\n"

    def test_a_failure_says_why_and_where_the_traceback_is(self, shown: PlainDisplay, stream: io.StringIO) -> None:
        shown(event("b", StageState.FAILED, message="loss [ntxent] is not finite"))
        expected = f"failed  b [digits]: loss [ntxent] is not finite (log: {log_of(STAGES['b'].key)})\n"
        assert stream.getvalue() == expected

    def test_every_half_minute_it_says_where_the_stages_at_work_stand(
        self, shown: PlainDisplay, stream: io.StringIO, clock: Clock
    ) -> None:
        shown(event("a", StageState.RUNNING))
        stream.truncate(0)
        for clock.now, done in ((10, 100), (29, 290), (31, 310)):
            shown(event("a", StageState.RUNNING, done, 1000, "epoch 2/4", loss=5.43212))
            shown.beat()
        assert stream.getvalue().lstrip("\0").splitlines() == [
            "running 0/3 stages  1 running  31 s  about 16 min 09 s left",
            "        a [digits]  310/1000  epoch 2/4  loss 5.432  1 min 09 s to go  10 steps/s  640 images/s",
        ]

    def test_it_breathes_no_faster_however_often_it_is_asked(
        self, shown: PlainDisplay, stream: io.StringIO, clock: Clock
    ) -> None:
        for clock.now in (10, 29, 31, 40, 60, 62):
            shown.beat()
        assert stream.getvalue() == "running 0/3 stages  31 s\nrunning 0/3 stages  1 min 02 s\n"

    def test_a_pipe_gets_plain_lines_and_a_beating_heart(
        self, stream: io.StringIO, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(progress, "HEARTBEAT", 0.02)
        with display(PLAN, Console(file=stream), log_of) as shown:
            assert isinstance(shown, PlainDisplay)
            for _ in range(1000):
                if "running 0/3 stages" in stream.getvalue():
                    return
                time.sleep(0.005)
        pytest.fail("no heartbeat within 5 s")


class TestLive:
    @pytest.fixture
    def console(self) -> Console:
        return Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)

    def drawn(self, shown: LiveDisplay) -> str:
        console = Console(width=120)
        with console.capture() as capture:
            console.print(shown)
        return capture.get()

    def test_running_stages_have_a_bar_and_ended_ones_none(self, tally: Tally, console: Console) -> None:
        shown = LiveDisplay(tally, console, log_of)
        shown(event("a", StageState.CACHED))
        shown(event("b", StageState.RUNNING, 3, 7, "loss [1.5]"))
        picture = self.drawn(shown)
        assert "b [digits]" in picture
        assert "3/7  loss [1.5]" in picture
        assert "1/3 stages" in picture
        shown(event("b", StageState.DONE))
        assert "b [digits]" not in self.drawn(shown)

    def test_it_draws_on_a_terminal_and_ends_with_a_summary(self, console: Console) -> None:
        with display(PLAN, console, log_of) as shown:
            assert isinstance(shown, LiveDisplay)
            shown(event("b", StageState.RUNNING))
            shown(event("b", StageState.DONE))
            shown.finish(Summary(done=1, cached=2))
        assert isinstance(console.file, io.StringIO)
        assert "1 computed, 2 already there in 0 s" in console.file.getvalue()


@pytest.mark.parametrize(
    ("summary", "expected"),
    [
        (Summary(done=4), "4 computed in 3 s"),
        (Summary(cached=4), "4 already there in 3 s"),
        (Summary(done=1, failed=1, blocked=2), "1 computed, 1 failed, 2 not reached in 3 s"),
        (Summary(), "nothing to do in 3 s"),
    ],
)
def test_the_last_line_counts_how_stages_ended(summary: Summary, expected: str) -> None:
    assert Console(width=200).render_str(verdict(summary, 3)).plain == expected

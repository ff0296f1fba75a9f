"""Which stage comes next: the plan's graph as a state machine. Pure; imports no torch."""

from __future__ import annotations

from collections.abc import Callable

from bench.executors.events import UNFINISHED, StageState, Summary
from bench.plan import Plan, Stage


class Agenda:
    """The stages of a plan that are still to be done, heaviest chain first.

    A stage that is in the store is not done again, nor is what only such stages need.
    """

    def __init__(self, plan: Plan, has: Callable[[str], bool]) -> None:
        self.plan = plan
        needed = self._needed(has)
        self.urgency = plan.urgency(needed)
        self.states = {key: StageState.WAITING if key in needed else StageState.CACHED for key in plan.stages}

    def _needed(self, has: Callable[[str], bool]) -> set[str]:
        needed: set[str] = set()
        waiting = [key for cell in self.plan.cells for key in cell.stages]
        while waiting:
            key = waiting.pop()
            if key not in needed and not has(key):
                needed.add(key)
                waiting += self.plan.stages[key].upstream.values()
        return needed

    @property
    def finished(self) -> bool:
        """Whether nothing waits or runs, here or elsewhere."""
        return not UNFINISHED & set(self.states.values())

    def first(self) -> Stage | None:
        """The most urgent stage whose upstreams are there; None if there is none at the moment."""
        ready = [key for key, state in self.states.items() if state is StageState.WAITING and self._ready(key)]
        return self.plan.stages[max(ready, key=lambda key: self.urgency[key])] if ready else None

    def next(self) -> Stage | None:
        """As `first`, and it is running now."""
        if stage := self.first():
            self.states[stage.key] = StageState.RUNNING
        return stage

    def _ready(self, key: str) -> bool:
        upstream = self.plan.stages[key].upstream.values()
        return all(self.states[key] in (StageState.DONE, StageState.CACHED) for key in upstream)

    def retry(self, is_free: Callable[[str], bool]) -> None:
        """Let the stages that another run worked on wait for their turn, once nobody does."""
        elsewhere = [key for key, state in self.states.items() if state is StageState.ELSEWHERE]
        self.states.update({key: StageState.WAITING for key in elsewhere if is_free(key)})

    def end(self, key: str, state: StageState) -> list[str]:
        """Note how an attempt ended; the keys of those that can no longer run because of it, which are blocked now."""
        self.states[key] = state
        if state is not StageState.FAILED:
            return []
        blocked: list[str] = []
        waiting = [key]
        while waiting:
            readers = [key for key in self.plan.downstream[waiting.pop()] if self.states[key] is StageState.WAITING]
            self.states.update(dict.fromkeys(readers, StageState.BLOCKED))
            blocked += readers
            waiting += readers
        return blocked

    def summary(self) -> Summary:
        """How many stages ended in which state."""
        states = list(self.states.values())
        return Summary(
            done=states.count(StageState.DONE),
            cached=states.count(StageState.CACHED),
            failed=states.count(StageState.FAILED),
            blocked=states.count(StageState.BLOCKED),
        )

"""Going on from a state between two long pieces of work, when what lies between them cannot be waited for."""

from __future__ import annotations

from types import TracebackType
from typing import Protocol, Self

from bench.contract import Checkpoint, Checkpoints
from bench.errors import Interrupted


class State(Protocol):
    """Where a piece of work stands; never changed once it is reached."""

    def checkpoint(self) -> Checkpoint:
        """All that the rest of the work depends on."""
        ...


class Milestones:
    """Keeps the states that a piece of work reaches: one when it is due, and the latest one when it is interrupted.

    An epoch of a head or a batch of AutoAttack may take minutes, which nobody grants a process that was told to end:
    inside the block a signal ends the work where it is, and only what was done since the latest state is lost.

    Args:
        checkpoints: where states are kept.
        start: where the work stands now.
    """

    def __init__(self, checkpoints: Checkpoints, start: State) -> None:
        self._checkpoints = checkpoints
        self._latest = start

    def reached(self, state: State, *, keep: bool = False) -> None:
        """The work can go on from `state`; it is kept if that is due, or at once with `keep`.

        Raises:
            Interrupted: if the run is to end here.
        """
        self._latest = state
        if keep or self._checkpoints.due():
            self._checkpoints.keep(state.checkpoint())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if isinstance(error, Interrupted):
            self._checkpoints.keep(self._latest.checkpoint())

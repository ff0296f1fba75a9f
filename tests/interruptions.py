"""Work that is interrupted again and again, each time in a new process as it were."""

from __future__ import annotations

import signal
from collections.abc import Callable
from typing import TypeVar

from bench.contract import Checkpoint, Checkpoints
from bench.errors import Interrupted
from bench.executors.checkpoints import decoded, encoded

ResultT = TypeVar("ResultT")
MANY = 200
"""Lives after which work that does not get further has failed."""


class Fragile:
    """Checkpoints of one life.

    Args:
        content: the file that the life before left, if any.
        states: it ends when it has kept so many; None if it is to end otherwise, and keep what it has only then.
    """

    def __init__(self, content: bytes | None, states: int | None) -> None:
        self.content = content
        self.states = states
        self.kept = 0

    def latest(self) -> Checkpoint | None:
        return None if self.content is None else decoded(self.content)

    def due(self) -> bool:
        return self.states is not None

    def keep(self, checkpoint: Checkpoint) -> None:
        self.content = encoded(checkpoint)
        self.kept += 1
        if self.kept == self.states:
            raise Interrupted(signal.SIGTERM)


def in_pieces(work: Callable[[Checkpoints], ResultT], states: int | None) -> tuple[ResultT, int]:
    """The result of `work` that ends whenever it has kept so many states, and the number of lives that it took."""
    content = None
    for life in range(1, MANY):
        checkpoints = Fragile(content, states)
        try:
            return work(checkpoints), life
        except Interrupted:
            content = checkpoints.content
    raise AssertionError(f"it did not end in {MANY} lives")

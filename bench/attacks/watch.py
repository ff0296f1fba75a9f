"""Watching attacks from outside: what their objective was at the start and at the end, at no cost and unasked."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeAlias

from torch import Tensor

Rise: TypeAlias = tuple[Tensor, Tensor]
"""The objective at an attack's start and where its last gradient was taken, scalars on the device."""

# An attack is called by the method and asked about by the loop. Between them no object is passed on that could carry
# this, and methods should not have to.
_WATCH: ContextVar[list[Rise] | None] = ContextVar("watch", default=None)


@contextmanager
def watching_attacks() -> Iterator[None]:
    """Inside, the attacks of this thread are remembered until `attacks_seen` asks for them."""
    token = _WATCH.set([])
    try:
        yield
    finally:
        _WATCH.reset(token)


def remember(values: list[Tensor]) -> None:
    """An attack has ended that took gradients where its objective had these values (scalars, detached)."""
    watch = _WATCH.get()
    if watch is not None and values:
        watch.append((values[0], values[-1]))


def attacks_seen() -> list[Rise]:
    """The attacks since the last call; none where nobody watches."""
    watch = _WATCH.get() or []
    seen = list(watch)
    watch.clear()
    return seen

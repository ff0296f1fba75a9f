"""Ending soon when asked to: SIGTERM and Ctrl-C wait for the step at work where there is something to keep."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from bench.errors import Interrupted


class Stop:
    """A wish to end, from a signal. Whoever works looks at `signal` between two steps, or works inside `at_once`.

    Attributes:
        signal: the number of the signal that came; None as long as none did.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self._immediate = False

    @contextmanager
    def listening(self, *numbers: signal.Signals) -> Iterator[None]:
        """Receive these signals in the block. Those that are ignored stay so; in other threads nothing happens."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in numbers}
        heard = {number: old for number, old in before.items() if old is not signal.SIG_IGN}
        for number in heard:
            signal.signal(number, self.receive)
        try:
            yield
        finally:
            for number, old in heard.items():
                signal.signal(number, old)

    def receive(self, number: int, frame: FrameType | None = None) -> None:
        """Note a signal.

        Raises:
            Interrupted: if there is nothing to wait for, or Ctrl-C comes a second time.
        """
        again = self.signal is not None
        self.signal = self.signal or number
        if self._immediate or (again and number == signal.SIGINT):
            raise Interrupted(self.signal)

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """In the block there is nothing to keep: a signal ends it where it is, unless `defer` was called.

        Raises:
            Interrupted: at the first signal, or if there was one already.
        """
        self._immediate = True
        try:
            self.check()
            yield
        finally:
            self._immediate = False

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """The block is not ended by a signal, whatever surrounds it; `check` afterwards."""
        before, self._immediate = self._immediate, False
        try:
            yield
        finally:
            self._immediate = before

    def defer(self) -> None:
        """From here on `check` is called after every step."""
        self._immediate = False

    def check(self) -> None:
        """End here if that was asked for.

        Raises:
            Interrupted: if so.
        """
        if self.signal is not None:
            raise Interrupted(self.signal)

    def forget(self) -> None:
        """The wish was granted; the process goes on."""
        self.signal = None

"""Errors that a user can act on, and the suggestions that go with them."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class BenchError(Exception):
    """Bad input. The message names the thing, the reason and the remedy; the command line exits with 2."""


class DataNotHere(BenchError):
    """A data set that is not on this machine. The message says which file to put where."""


class StoreError(BenchError):
    """The store cannot be read or written: nothing can go on."""


class StageError(Exception):
    """A stage that could not finish (a NaN, a method that raised): its cell becomes a failed row, the exit code 1."""


class Interrupted(KeyboardInterrupt):
    """The run was asked to end, by SIGTERM or Ctrl-C, and what could be kept is kept.

    Attributes:
        signal: the number of the signal.
    """

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.signal = signal


def unknown(kind: str, name: str, choices: Iterable[str]) -> BenchError:
    """The error for a name that is not among `choices`, with the closest one suggested.

    >>> str(unknown("method", "ncpp", ["ncp", "amoc"]))
    "unknown method 'ncpp': did you mean 'ncp'? Available: amoc, ncp."
    """
    available = sorted(choices)
    close = difflib.get_close_matches(name.lower(), available, n=1, cutoff=0.5)
    hint = f" did you mean '{close[0]}'?" if close else ""
    return BenchError(f"unknown {kind} '{name}':{hint} Available: {', '.join(available) or 'none'}.")

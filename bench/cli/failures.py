"""What the command line does when something goes wrong: one paragraph and an exit code, never a traceback unasked."""

from __future__ import annotations

import errno
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum

import typer

from bench.errors import BenchError, Interrupted

DEBUG = "BENCH_DEBUG"
"""Environment variable: set to 1, errors are raised as they are."""


INTERRUPTION = (
    "interrupted: finished stages are kept, and the same command goes on where it stopped; "
    "a stage at work does so from its latest checkpoint."
)


class ExitCode(IntEnum):
    """Exit codes of every command."""

    OK = 0
    FAILED = 1
    BAD_INPUT = 2
    INTERRUPTED = 130
    TERMINATED = 143


@contextmanager
def explained() -> Iterator[None]:
    """Turn what is raised inside into a paragraph on stderr and an exit code.

    Raises:
        typer.Exit: with 2 for bad input, 130 for Ctrl-C, 143 for SIGTERM, 1 for anything unforeseen.
    """
    if os.environ.get(DEBUG) == "1":
        yield
        return
    try:
        yield
    except (typer.Exit, typer.Abort, typer.BadParameter, BrokenPipeError):
        raise
    except BenchError as error:
        raise _exit(f"error: {error}", ExitCode.BAD_INPUT) from error
    except KeyboardInterrupt as error:
        raise _exit(f"\n{INTERRUPTION}", _interruption(error)) from error
    except OSError as error:
        raise _exit(f"error: {_reason(error)}", ExitCode.BAD_INPUT) from error
    except Exception as error:
        text = f"unforeseen {type(error).__name__}: {error}. Set {DEBUG}=1 to see where it happened."
        raise _exit(f"error: {text}", ExitCode.FAILED) from error


def _interruption(error: KeyboardInterrupt) -> ExitCode:
    by_sigterm = isinstance(error, Interrupted) and error.signal == signal.SIGTERM
    return ExitCode.TERMINATED if by_sigterm else ExitCode.INTERRUPTED


def _exit(text: str, code: ExitCode) -> typer.Exit:
    print(text, file=sys.stderr)
    return typer.Exit(int(code))


def _reason(error: OSError) -> str:
    place = f" ('{error.filename}')" if error.filename else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"the disk is full{place}: free some space and run the same command again; finished stages are kept."
    return f"{error.strerror or error}{place}: see whether the path exists and may be read and written."

"""Watching other processes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

BENCH = [
    sys.executable,
    "-c",
    "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from bench.cli.main import main; main()",
]
"""Heeds Ctrl-C also where the tests themselves run in the background, where a shell has it ignored."""
DEADLINE = 120
"""Seconds."""


def wait_for(condition: Callable[[], bool], every: float = 0.1) -> None:
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end, "it never happened"
        time.sleep(every)


def is_running(process: int) -> bool:
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False

"""How a command is written, so that a reader can give it again."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping


def command_line(*words: str, options: Mapping[str, object]) -> str:
    """`bench WORD ... --option value ...` as a shell takes it; options that are None are left out."""
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    return shlex.join(["bench", *words, *(word for option in given for word in option)])


def by_number(text: str) -> tuple[tuple[str, float], ...]:
    """A key to sort by in which numbers count as such: `ncp[clusters=2]` comes before `ncp[clusters=10]`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", text)
    return tuple(zip(parts[::2], [float(number) for number in parts[1::2]] + [-1.0], strict=True))

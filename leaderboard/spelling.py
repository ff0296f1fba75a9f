"""How a command is written, so that a reader can give it again."""

from __future__ import annotations

import shlex
from collections.abc import Mapping


def command_line(*words: str, options: Mapping[str, object]) -> str:
    """`bench WORD ... --option value ...` as a shell takes it; options that are None are left out."""
    given = [(name, str(value)) for name, value in options.items() if value is not None]
    return shlex.join(["bench", *words, *(word for option in given for word in option)])

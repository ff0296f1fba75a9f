"""`bench new`: the file of a method, all but its loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

EXAMPLES = """
[bold]Examples[/]

[dim]write the file, fill in its loss, check it, run it:[/]
  bench new method my-method
  bench check ./my_method.py
  bench run --methods ./my_method.py
"""


class Kind(StrEnum):
    """What can be made."""

    METHOD = "method"


def new(
    kind: Annotated[Kind, typer.Argument(show_default=False)],
    name: Annotated[str, typer.Argument(help="Lower case, '-' between words.", show_default=False)],
    *,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Where to; ./NAME.py by default.")] = None,
) -> None:
    """Write a method that lacks nothing but its loss."""
    from bench.grammar import canonical_name

    name = canonical_name(name)
    path = out or Path(f"{name.replace('-', '_')}.py")
    _write(path, TEXTS[kind](name, path))
    print(f"wrote {path}: write its loss where it says so, then: bench check {path}")


def _method(name: str, path: Path) -> str:
    from bench.errors import BenchError
    from bench.registry import Registry
    from bench.template import method_text

    text = method_text(name, path.name)
    if taken := [entry for entry in Registry.discover().entries if entry.name == name]:
        raise BenchError(f"method '{name}' is there already, from {taken[0].origin}: give yours another name.")
    return text


def _write(path: Path, text: str) -> None:
    """Write a file that is not there yet.

    Raises:
        BenchError: if it is, or cannot be written.
    """
    from bench.errors import BenchError

    if path.suffix != ".py":
        raise BenchError(f"'{path}' would be no Python file: give --out a name that ends with .py.")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError as error:
        raise BenchError(f"'{path}' is there already, and nothing is overwritten: remove it, or give --out.") from error
    except OSError as error:
        raise BenchError(
            f"'{path}' cannot be written ({error.strerror}): give --out a file in a folder that is there."
        ) from error


TEXTS: Mapping[Kind, Callable[[str, Path], str]] = {Kind.METHOD: _method}

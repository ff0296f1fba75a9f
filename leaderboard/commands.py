"""The reporting commands, declared as entry points `bench.commands`. Everything heavy is imported inside them."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.errors import BenchError
from leaderboard.layouts import Format, Layout

if TYPE_CHECKING:
    from leaderboard.model import Table

_PIPE_WIDTH = 200  # Columns where there is no terminal whose width could be asked for.


def table(
    out: Annotated[Path, typer.Option(help="The store that `bench run` wrote.")] = Path("runs"),
    format: Annotated[Format, typer.Option(help="How to print it.")] = Format.TERMINAL,
    layout: Annotated[Layout | None, typer.Option(help="Default: by what the results hold.")] = None,
    methods: Annotated[str | None, typer.Option(help="Only these, in this order: `ncp,amoc`.")] = None,
    datasets: Annotated[str | None, typer.Option(help="Only these data sets.")] = None,
    protocols: Annotated[str | None, typer.Option(help="Only these protocols.")] = None,
    schedule: Annotated[str | None, typer.Option(help="Only this schedule: quick, short or paper.")] = None,
    fragment: Annotated[bool, typer.Option("--fragment", help="LaTeX: only the table environments.")] = False,
) -> None:
    """Print finished results as a table: mean ± sd over seeds, tested, best in bold."""
    if fragment and format is not Format.LATEX:
        raise BenchError(f"--fragment is an option of LaTeX, not of {format}: add --format latex, or leave it out.")
    from leaderboard import tables
    from leaderboard.rows import Selection, load

    selection = Selection.parse(methods, datasets, protocols, schedule)
    options = {"--out": out, "--methods": methods, "--datasets": datasets, "--protocols": protocols}
    command = _command({**options, "--schedule": schedule, "--layout": layout, "--format": format})
    found = tables.build(load(out, selection), layout, selection.methods, command)
    _print(found, format, fragment)


def _command(options: dict[str, object]) -> str:
    """The command line that prints the same again; options at their default are left out."""
    default = {"--out": Path("runs"), "--format": Format.TERMINAL}
    given = [(name, str(value)) for name, value in options.items() if value is not None and value != default.get(name)]
    return shlex.join(["bench", "table", *(word for option in given for word in option)])


def _print(found: tuple[Table, ...], format: Format, fragment: bool) -> None:
    from leaderboard import render

    if format is Format.TERMINAL:
        _print_terminal(found)
    else:
        text = render.latex(found, fragment=True) if fragment else render.TEXT[format](found)
        sys.stdout.write(text)


def _print_terminal(found: tuple[Table, ...]) -> None:
    from rich.console import Console

    from leaderboard import render

    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(render.terminal(found, styled=console.is_terminal))

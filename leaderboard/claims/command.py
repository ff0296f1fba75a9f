"""`bench claims`: the literature's numbers, with ours beside them. Everything heavy is imported inside."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.layouts import ClaimsFormat

if TYPE_CHECKING:
    from leaderboard.claims.record import Entry, Measured, Record

DEFAULT = Path("runs")
_PIPE_WIDTH = 120  # Columns where there is no terminal whose width could be asked for.

EXAMPLES = """
[bold]Examples[/]

[dim]of a method, with ours beside them if ./runs has any; of one paper, for a spreadsheet:[/]
  bench claims ncp
  bench claims --paper AMOC --metric aa --format csv > amoc.csv
"""


def claims(
    method: Annotated[
        str | None, typer.Argument(metavar="METHOD", help="Only these: ncp, or NCP-ACL as its authors write it.")
    ] = None,
    *,
    paper: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this source: AMOC, NCP-ACL, ...")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Only on this: cifar10->stl10, ...")] = None,
    metric: Annotated[str | None, typer.Option(metavar="NAME", help="Only of this metric: aa, sa, ...")] = None,
    protocol: Annotated[str | None, typer.Option(metavar="NAME", help="Only under slf, alf, aff or none.")] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The store of measured rows, ./runs if it is there.")
    ] = None,
    format: Annotated[str, typer.Option(metavar="NAME", help="terminal, csv or json.")] = ClaimsFormat.TERMINAL,
) -> None:
    """List published numbers with their sources: published, measured, difference, verdict."""
    from bench.errors import unknown
    from leaderboard.claims.record import Record
    from leaderboard.claims.selection import select

    if format not in set(ClaimsFormat):
        raise unknown("format", format, ClaimsFormat)
    record = Record.shipped()
    wanted = {"paper": paper, "data set": dataset, "metric": metric, "protocol": protocol}
    chosen = select(record, method, {field: name for field, name in wanted.items() if name is not None})
    groups = _measured(out)
    _print(record, [entry for claim in chosen for entry in record.entries(claim, groups)], ClaimsFormat(format))


def _measured(out: Path | None) -> tuple[Measured, ...]:
    """The rows of a store; none where the default one is not there."""
    from bench.store import read_rows
    from leaderboard.claims.record import measured

    if out is None and not (DEFAULT / "rows").is_dir():
        return ()
    return measured(read_rows(out or DEFAULT))


def _print(record: Record, entries: Sequence[Entry], format: ClaimsFormat) -> None:
    from rich.console import Console

    from leaderboard.claims import report as claims_report
    from leaderboard.claims.listing import Listing

    if format is ClaimsFormat.TERMINAL:
        console = Console()
        console = console if console.is_terminal else Console(width=_PIPE_WIDTH)
        console.print(Listing(record, entries))
    else:
        sys.stdout.write(claims_report.TEXT[format](record, entries))

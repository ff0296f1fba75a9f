"""The reporting commands, declared as entry points `bench.commands`. Everything heavy is imported inside them."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from bench.errors import BenchError, unknown
from leaderboard.layouts import Format, Layout
from leaderboard.spelling import command_line

ChoiceT = TypeVar("ChoiceT", bound=StrEnum)

LAYOUT_HELP = (
    f"As a table of a paper: {', '.join(Layout)}; by default a table per data set where one was judged under several "
    "protocols, else per protocol."
)

EXAMPLES = """
[bold]Examples[/]

[dim]for a paper; with the published numbers, as a web page:[/]
  bench table --format latex > table.tex
  bench table --claims --format html > table.html
[dim]some of the rows; as a table of a paper lays them out:[/]
  bench table --methods simclr,ncp,amoc --protocols slf-1
  bench table --layout amoc/table5
"""


def table(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store that `bench run` wrote.")] = Path("runs"),
    format: Annotated[str, typer.Option(metavar="NAME", help=f"{', '.join(Format)}.")] = Format.TERMINAL,
    layout: Annotated[str | None, typer.Option(metavar="NAME", help=LAYOUT_HELP)] = None,
    methods: Annotated[str | None, typer.Option(metavar="LIST", help="Only these, in this order: ncp,amoc.")] = None,
    datasets: Annotated[str | None, typer.Option(metavar="LIST", help="Only these data sets.")] = None,
    protocols: Annotated[str | None, typer.Option(metavar="LIST", help="Only these protocols.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="NAME", help="quick, short or paper alone.")] = None,
    claims: Annotated[bool, typer.Option("--claims", help="Published numbers beside them, with verdicts.")] = False,
    fragment: Annotated[bool, typer.Option("--fragment", help="LaTeX, HTML: the tables without a document.")] = False,
) -> None:
    """Print finished results as a table: mean ± sd over seeds, tested, best in bold."""
    form, paper = _one_of(Format, "format", format), Layout.named(layout) if layout else None
    from leaderboard.claims.record import Record
    from leaderboard.rendering.formats import FRAGMENT, show
    from leaderboard.rows import Selection, load
    from leaderboard.tables import build

    if fragment and form not in FRAGMENT:
        wanted = " and ".join(FRAGMENT)
        raise BenchError(f"--fragment is for {wanted} alone, not for {form}: leave it out, or change --format.")
    selection = Selection.parse(methods, datasets, protocols, schedule)
    options = {"--out": out, "--methods": methods, "--datasets": datasets, "--protocols": protocols}
    command = _command({**options, "--schedule": schedule, "--layout": paper, "--format": form})
    command += (" --claims" if claims else "") + (" --fragment" if fragment else "")
    published = Record.shipped() if claims else None
    found = build.build(load(out, selection), paper, selection.methods, command, published)
    show(found, form, fragment=fragment)


def _one_of(choices: type[ChoiceT], kind: str, name: str) -> ChoiceT:
    if name not in set(choices):
        raise unknown(kind, name, choices)
    return choices(name)


def _command(options: dict[str, object]) -> str:
    """The command line that prints the same again; options at their default are left out."""
    default = {"--out": Path("runs"), "--format": Format.TERMINAL}
    return command_line("table", options={name: value for name, value in options.items() if value != default.get(name)})

"""`bench reproduce`: a paper's table or figure by name. Everything heavy is imported inside."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.failures import ExitCode
from bench.cli.options import takes_flags
from bench.errors import BenchError, unknown
from leaderboard.figures.names import FOLDER, check_folder
from leaderboard.layouts import Format

if TYPE_CHECKING:
    from rich.console import Console

    from bench.sweep import Sweep
    from leaderboard.reproduction.exhibits import Exhibit

FLAGS = (
    "datasets",
    "seeds",
    "schedule",
    "epochs",
    "limit",
    "device",
    "gpus",
    "jobs",
    "threads",
    "out",
    "data_dir",
    "checkpoint_every",
    "execution",
    "deterministic",
    "rerun",
)
NAME_HELP = "ncp-acl/table2, amoc/fig3, ...; ncp-acl or amoc is all of a paper. Without it, all are listed."
PLAN_HELP = "Show the cells and what they may cost; runs nothing."
RUN_HELP = "Compute what the store lacks (default), or show what it holds."
SWEEP_HELP = "Print the sweep file, to be changed and given to `bench run`."
FORMAT_HELP = f"Of tables: {', '.join(Format)}."
WRITE_HELP = f"Where the files of figures go, ./{FOLDER} by default."

EXAMPLES = """
[bold]Examples[/]

[dim]all that there is; one of them, minutes on a CPU:[/]
  bench reproduce
  bench reproduce ncp-acl/table2 --seeds 5
[dim]what it would need, nothing is run; what the store holds, for a paper:[/]
  bench reproduce amoc/fig3 --schedule short --plan
  bench reproduce amoc/table8 --no-run --format latex
"""


@takes_flags(*FLAGS)
def reproduce(
    flags: Mapping[str, Any],
    *,
    name: Annotated[str | None, typer.Argument(metavar="NAME", help=NAME_HELP, show_default=False)] = None,
    plan: Annotated[bool, typer.Option("--plan", help=PLAN_HELP)] = False,
    run: Annotated[bool, typer.Option("--run/--no-run", help=RUN_HELP, show_default=False)] = True,
    sweep: Annotated[bool, typer.Option("--sweep", help=SWEEP_HELP)] = False,
    format: Annotated[str | None, typer.Option(metavar="NAME", help=FORMAT_HELP)] = None,
    write: Annotated[Path | None, typer.Option(metavar="DIR", help=WRITE_HELP)] = None,
) -> int:
    """Run what a table or figure of a paper needs, and show it: quick, on digits, unless --schedule says otherwise."""
    _check(format, write)
    if name is None:
        _list(flags)
        return ExitCode.OK
    from leaderboard.reproduction.catalogue import exhibits_of

    exhibits = exhibits_of(name)
    _check_kind(exhibits, format, write)
    if sweep:
        return _print_files(exhibits, flags)
    chosen = _chosen(exhibits, flags)
    every = [one for sweeps in chosen.values() for one in sweeps]
    if plan:
        from bench.cli.plan import plan as show_plan

        return show_plan(tuple(every))
    form = Format(format or Format.TERMINAL)
    code = _carry_out(every, form) if run else ExitCode.OK
    return max(code, _show(chosen, flags, form, write or FOLDER))


def _check(format: str | None, write: Path | None) -> None:
    if format is not None and format not in set(Format):
        raise unknown("format", format, Format)
    check_folder(write or FOLDER)


def _check_kind(exhibits: tuple[Exhibit, ...], format: str | None, write: Path | None) -> None:
    """See that no option is for the other kind of exhibit alone."""
    from leaderboard.reproduction.exhibits import PaperTable

    tables = {isinstance(exhibit, PaperTable) for exhibit in exhibits}
    if tables == {True} and write:
        raise BenchError(
            f"--write is for figures, and '{exhibits[0].name}' is a table, which is printed: leave it out."
        )
    if tables == {False} and format:
        raise BenchError(f"--format is for tables, and '{exhibits[0].name}' is a figure: --write DIR says where to.")


def _list(flags: Mapping[str, Any]) -> None:
    """Every exhibit, with its number of cells under each schedule."""
    from rich.console import Console

    from bench.cli.layout import borderless
    from bench.sweep import Schedule
    from leaderboard.reproduction.catalogue import EXHIBITS

    table = borderless("name", "shows", "published", *(f"cells: {Schedule.QUICK}", *list(Schedule)[1:]))
    for column in table.columns[3:]:
        column.justify = "right"
    for exhibit in EXHIBITS.values():
        counts = (_count(exhibit, {**flags, "schedule": schedule}) for schedule in Schedule)
        table.add_row(exhibit.name, exhibit.caption, exhibit.published, *counts)
    Console().print(table)


def _count(exhibit: Exhibit, flags: Mapping[str, Any]) -> str:
    """How many cells an exhibit has; nothing where it has no such form."""
    from leaderboard.reproduction.evidence import asked_of

    return str(len(asked_of(exhibit.sweeps(flags)))) if exhibit.can(flags) else "-"


def _print_files(exhibits: Iterable[Exhibit], flags: Mapping[str, Any]) -> int:
    first, *others = exhibits
    if others:
        raise BenchError("--sweep prints the file of one table or figure: name that one, `bench reproduce` lists them.")
    if flags:
        given = ", ".join(f"--{name.replace('_', '-')}" for name in flags)
        raise BenchError(
            f"--sweep prints the file as it is, for all schedules: give {given} to `bench run FILE` later."
        )
    sys.stdout.write(first.file.read_text(encoding="utf-8"))
    return ExitCode.OK


def _chosen(exhibits: tuple[Exhibit, ...], flags: Mapping[str, Any]) -> dict[Exhibit, tuple[Sweep, ...]]:
    """The exhibits and what each of them needs; of a whole paper, those that can be had."""
    if len(exhibits) > 1:
        exhibits = tuple(exhibit for exhibit in exhibits if exhibit.can(flags))
    return {exhibit: exhibit.sweeps(flags) for exhibit in exhibits}


def _carry_out(sweeps: Iterable[Sweep], format: Format) -> int:
    from bench.cli.run import carry_out

    first, *others = sweeps
    _, summary = carry_out(first, *others, console=_progress_console(format))
    return ExitCode.OK if summary.ok else ExitCode.FAILED


def _progress_console(format: Format) -> Console:
    """Where the run is shown: beside what is printed, if that is for a file."""
    from rich.console import Console

    return Console(stderr=format is not Format.TERMINAL)


def _show(chosen: Mapping[Exhibit, tuple[Sweep, ...]], flags: Mapping[str, Any], format: Format, folder: Path) -> int:
    """Show each exhibit; where there are several, one that cannot be shown disturbs no other."""
    from leaderboard.reproduction.evidence import command_of, gather
    from leaderboard.reproduction.presentation import present

    code = ExitCode.OK
    for exhibit, sweeps in chosen.items():
        try:
            present(exhibit, gather(exhibit, sweeps, command_of(exhibit.name, flags)), format, folder)
        except BenchError as error:
            if len(chosen) == 1:
                raise
            print(f"{exhibit.name}: {error}", file=sys.stderr)
            code = ExitCode.FAILED
    return code

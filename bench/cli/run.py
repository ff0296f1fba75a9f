"""`bench run`: carry out a sweep, show how it goes, print the table."""

from __future__ import annotations

import importlib.metadata
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.failures import ExitCode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rich.console import Console

    from bench.executors import Summary
    from bench.plan import Plan
    from bench.sweep import Sweep

TABLE = "table"
"""The declared command that prints the table of a sweep."""


def run(
    sweeps: tuple[Sweep, ...],
    *,
    table: Annotated[bool, typer.Option("--table/--no-table", help="Print the table at the end.")] = True,
) -> int:
    """Pre-train, fit heads, attack, and print the table; what is finished already is taken from the store."""
    plan, summary = carry_out(*sweeps)
    if table:
        print_table(plan, sweeps)
    return ExitCode.OK if summary.ok else ExitCode.FAILED


def carry_out(sweep: Sweep, *others: Sweep, console: Console | None = None) -> tuple[Plan, Summary]:
    """Plan a sweep, carry out what its store does not hold, and show how that goes, by default on stdout.

    Cells of `others` join it; where and with how many workers, the first one says for all.
    """
    from rich.console import Console

    from bench.cli.progress import display
    from bench.executors import execute, warmed_up
    from bench.plan import Plan
    from bench.planning import plan_of
    from bench.store import Store

    console = console or Console()
    store = Store.open(sweep.out)
    with warmed_up(sweep) as server:
        with console.status("planning: reading data and methods"):
            plan = Plan.joined(plan_of(one, download=True) for one in (sweep, *others))
        with display(plan, console, store.log) as shown:
            summary = execute(plan, store, sweep, shown, server)
            shown.finish(summary)
    return plan, summary


def print_table(plan: Plan, sweeps: Sequence[Sweep]) -> None:
    """Print the plan's rows through the command that is declared as `table`; without one, nothing."""
    for point in importlib.metadata.entry_points(group="bench.commands", name=TABLE):
        command: Callable[..., None] = point.load()
        command(
            methods=_listed(cell.label for cell in plan.cells),
            datasets=_listed(cell.data.source for cell in plan.cells),
            protocols=_listed(cell.protocol for cell in plan.cells),
            schedule=_listed(str(sweep.schedule) for sweep in sweeps),
            out=sweeps[0].out,
        )


def _listed(names: Iterable[str]) -> str:
    return ",".join(dict.fromkeys(names))

"""`bench why`: which stages of a sweep would be computed, and what changed since they last were."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.failures import ExitCode

if TYPE_CHECKING:
    from bench.sweep import Sweep


def why(
    sweeps: tuple[Sweep, ...],
    *,
    stage: Annotated[str, typer.Option(metavar="TEXT", help="Only stages whose label holds TEXT.")] = "",
) -> int:
    """Say which stages of a sweep, or of several, would be computed, and why the store's results do not serve."""
    from rich.console import Console

    from bench.explain import why as reasons
    from bench.plan import Plan
    from bench.planning import plan_of
    from bench.store import Store

    console = Console()
    with console.status("planning: reading data and methods"):
        plan = Plan.joined(map(plan_of, sweeps))
    for reason in reasons(plan, Store.existing(sweeps[0].out), stage):
        console.print(str(reason), markup=False, highlight=False, soft_wrap=True)
    return ExitCode.OK

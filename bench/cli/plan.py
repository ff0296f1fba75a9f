"""`bench plan`: what a sweep is made of, what of it is there, and what the rest may cost. Runs nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bench.cli.failures import ExitCode
from bench.cli.layout import borderless

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.table import Table

    from bench.cli.estimates import Estimate
    from bench.plan import Cell, Plan
    from bench.store import Store
    from bench.sweep import Sweep


def plan(sweeps: tuple[Sweep, ...]) -> int:
    """Show the cells of a sweep, or of several, which stages are there, and the time and disk the others may take."""
    from rich.console import Console

    from bench.cli.estimates import estimate
    from bench.plan import Plan
    from bench.planning import plan_of
    from bench.store import Store

    console, sweep = Console(), sweeps[0]
    store = Store.existing(sweep.out)
    with console.status("planning: reading data and methods"):
        made = Plan.joined(map(plan_of, sweeps))
    cuda = bool(sweep.gpus) or _means_cuda(sweep.device)
    workers = sweep.at_once("cuda" if cuda else "cpu")
    console.print(_cells(made, store))
    console.print()
    console.print(_lengths(made))
    console.print()
    console.print(_cost(made, estimate(made, store, workers, cuda=cuda), workers), highlight=False, soft_wrap=True)
    return ExitCode.OK


def _means_cuda(device: str) -> bool:
    import torch

    return device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())


def _cells(plan: Plan, store: Store) -> Table:
    from rich.markup import escape

    table = borderless("method", "data", "protocol", "seed", "pretrain", "head", "attacks")
    for cell in plan.cells:
        table.add_row(
            escape(cell.label),
            escape(cell.data.source),
            cell.protocol,
            cell.seeds.text,
            *_states(cell, plan, store),
        )
    return table


def _lengths(plan: Plan) -> Table:
    """What each method trains, and the passes of the encoder that this takes."""
    from rich.markup import escape

    table = borderless("method", "data", "epochs", "passes per image")
    table.columns[-1].justify = "right"
    cells = {(cell.label, cell.data.source): cell for cell in plan.cells}
    for cell in cells.values():
        passes = cell.facts.get("passes")
        told = "?" if passes is None else f"{passes:g}"
        table.add_row(escape(cell.label), escape(cell.data.source), escape(_epochs(cell, plan)), told)
    return table


def _epochs(cell: Cell, plan: Plan) -> str:
    """`16, on simclr 12`: its own epochs, and those of what it builds on."""
    *upstreams, own = (plan.stages[key].task.method for key in plan.needs(cell.pretrain))
    on = [f"{ref.name} {ref.config.get('epochs', 'as it is')}" for ref in upstreams]
    return ", on ".join([str(own.config.get("epochs", "none")), *on])


def _states(cell: Cell, plan: Plan, store: Store) -> tuple[str, str, str]:
    def state(key: str) -> str:
        if store.has(key):
            return "[cyan]cached[/]"
        return "[red]failed before[/]" if store.failure(key) else "missing"

    *upstreams, _ = plan.needs(cell.pretrain)
    absent = sum(not store.has(key) for key in upstreams)
    also = f" (+{absent} upstream)" if absent and not store.has(cell.pretrain) else ""
    attacks = {name: state(key) for name, key in cell.attacks.items()}
    return state(cell.pretrain) + also, state(cell.head), _together(attacks)


def _together(states: Mapping[str, str]) -> str:
    """One word where all states are equal, else each with its name."""
    if len(set(states.values())) == 1:
        return f"all {next(iter(states.values()))}"
    return ", ".join(f"{name} {state}" for name, state in states.items())


def _cost(plan: Plan, cost: Estimate, workers: int) -> str:
    from bench.cli.progress import spell

    head = f"{_count(len(plan.cells), 'cell')}, {_count(len(plan.stages), 'stage')}"
    if not cost.stages:
        return f"{head}: all there, nothing to compute."
    disk = f"{cost.bytes / 1e6:.1f} MB of disk"
    if not cost.seconds:
        return f"{head}, {cost.stages} to compute: {disk}; the time cannot be told before the data is on this machine."
    basis = "" if cost.measured else " (rough: no finished stage of each kind to go by)"
    time = f"about {spell(cost.seconds)} on {_count(workers, 'worker')}{basis}"
    rest = "" if cost.complete else " Data that is not on this machine yet is not counted in that time."
    return f"{head}, {cost.stages} to compute: {time}, {disk}.{rest}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"

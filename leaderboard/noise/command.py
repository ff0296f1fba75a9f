"""`bench noise`: how much of a cell's variance comes from pre-training, head and attack. Light: `--help` imports it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.failures import ExitCode
from bench.cli.options import takes_flags

if TYPE_CHECKING:
    import numpy as np
    from rich.table import Table

    from bench.plan import Cell, Seeds
    from leaderboard.noise.variance import Component, Split

    Numbers = Mapping[Seeds, float | None]
    """The seeds of a cell, and its number; None where it failed."""


@takes_flags("device", "gpus", "jobs", "out", "data_dir", "checkpoint_every")
def noise(
    flags: Mapping[str, Any],
    *,
    cell: Annotated[str, typer.Argument(metavar="CELL", help="METHOD/DATA/PROTOCOL/seedN, a label, or part of a key.")],
    pretrain: Annotated[int, typer.Option(metavar="N", min=2, help="Seeds of pre-training.")] = 5,
    head: Annotated[int, typer.Option(metavar="N", min=1, help="Seeds of heads, each on every encoder.")] = 5,
    attack: Annotated[int, typer.Option(metavar="N", min=1, help="Seeds of attacks, each on every head.")] = 3,
) -> int:
    """Split the variance of a finished cell's metrics by their sources; computes the seeds that are missing."""
    from rich.console import Console

    from bench.again import sweep_of
    from bench.cells import find_cell, name_of
    from bench.cli.run import carry_out
    from bench.store import Store

    store = Store.existing(Path(flags.get("out", "runs")))
    rows = store.latest_rows()
    row = rows[find_cell(rows, cell)]
    seeds = {"seeds": pretrain, "head_seeds": head, "attack_seeds": attack}
    plan, summary = carry_out(sweep_of(row, **{"out": store.root, **flags}, **seeds))
    console = Console()
    console.print(f"\n[bold]{name_of(row).rpartition('/')[0]}[/], in points of accuracy\n", highlight=False)
    for part in report(plan.cells, store.latest_rows()):
        console.print(part, highlight=False, soft_wrap=isinstance(part, str))
    return ExitCode.OK if summary.ok else ExitCode.FAILED


def report(cells: Sequence[Cell], rows: Mapping[str, Mapping[str, Any]]) -> Iterator[Table | str]:
    """What there is to say of crossed cells, given the newest row of each: a table, and sentences.

    Raises:
        BenchError: if there are no numbers, or fewer than two encoders have all of theirs.
    """
    from bench.errors import BenchError
    from leaderboard.noise.variance import split
    from leaderboard.rows import ACCURACIES

    found = {}
    for metric in ACCURACIES:
        numbers = {cell.seeds: rows[cell.key].get(metric) for cell in cells}
        if any(value is not None for value in numbers.values()):
            complete, left_out = _complete(numbers, metric)
            found[metric] = split(_array(complete))
            yield from _remark(metric, left_out)
    if not found:
        raise BenchError("no cell has a number in a column of its own, so there is nothing to split: use its protocol.")
    yield _table(found)
    yield from (_in_words(metric, one) for metric, one in found.items())
    yield READING


READING = (
    "\nPoints: of accuracy, per cent of the test images. sd: of the numbers where that seed alone is new; everything: "
    "where all three are. An interaction counts with whichever of its seeds comes last. Estimates from mean squares "
    "(crossed random effects); one below 0, which chance allows, is shown as 0, with the raw variance at the end. "
    "The column 95 %: generalised confidence intervals of sd. All of it is for these test images: other images are "
    "another source."
)


def _complete(numbers: Numbers, metric: str) -> tuple[Numbers, tuple[int, ...]]:
    """The numbers of the encoders that have all of theirs, and the pre-training seeds of the others."""
    from bench.errors import BenchError

    left_out = tuple(sorted({seeds.pretrain for seeds, number in numbers.items() if number is None}))
    complete = {seeds: number for seeds, number in numbers.items() if seeds.pretrain not in left_out}
    if len({seeds.pretrain for seeds in complete}) < 2:
        raise BenchError(
            f"{metric} has all of its numbers for fewer than two pre-training seeds, the others failed: `bench table` "
            f"says why; ask for more seeds with --pretrain, or correct what failed."
        )
    return complete, left_out


def _array(numbers: Numbers) -> np.ndarray:
    """[pre-training seeds, head seeds, attack seeds] of a crossed set."""
    import numpy as np

    axes = [sorted({asdict(seeds)[name] for seeds in numbers}) for name in ("pretrain", "head", "attack")]
    ordered = sorted(numbers, key=lambda seeds: (seeds.pretrain, seeds.head, seeds.attack))
    return np.array([numbers[seeds] for seeds in ordered], dtype=np.float64).reshape([len(axis) for axis in axes])


def _remark(metric: str, left_out: Sequence[int]) -> Iterator[str]:
    if left_out:
        named = ", ".join(map(str, left_out))
        yield f"{metric}: pre-training seeds {named} are left out, since cells of theirs failed."


def _table(found: Mapping[str, Split]) -> Table:
    from bench.cli.layout import borderless

    table = borderless("metric", "mean", "source", "sd", "95 %", "share", "raw variance")
    for metric, one in found.items():
        start = (metric, f"{one.mean:.2f}")
        for source, component in one.components.items():
            share = one.share(source)
            told = "" if share is None else f"{100 * share:.0f} %"
            table.add_row(*start, str(source), *_spread(component), told, f"{component.raw:.4f}")
            start = ("", "")
    return table


def _spread(component: Component) -> tuple[str, str]:
    low, high = component.sd_interval
    return f"{component.sd:.2f}", f"{low:.2f} to {high:.2f}"


def _in_words(metric: str, found: Split) -> str:
    """What a ± over head fits of one checkpoint would show of it."""
    from leaderboard.noise.variance import Source

    share = found.share(Source.REFIT)
    pretrain, heads, attacks = found.shape
    counted = f"{metric}, {pretrain} x {heads} x {attacks} seeds"
    if Source.ALL not in found.components:
        return f"{counted}: two seeds of each kind are needed to tell all sources apart."
    if share is None:
        return f"{counted}: every number is the same."
    whole = found.components[Source.ALL].sd
    shown = f"{share**0.5 * whole:.2f} of the {whole:.2f} points by which whole repetitions differ"
    return (
        f"{counted}: a ± over head fits of one encoder (DeACL's tables: five of them, 0.05 to 0.24 points) would show "
        f"{shown}, {100 * share**0.5:.0f} % of the standard deviation and {100 * share:.0f} % of the variance."
    )

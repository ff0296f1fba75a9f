"""`bench perf`: how fast a method's training step is here, beside the floor that its passes set."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.arguments import DEVICE
from bench.cli.layout import borderless
from bench.errors import BenchError, unknown
from bench.execution import Execution, Precision

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from bench.data.profiles import DataProfile
    from bench.grammar import Spec
    from bench.perf.measure import Measured
    from bench.perf.profiling import Profile

WIDTH = 6
"""Columns of a table, so that it fits on a terminal."""
LEAST_BATCH = 2


def perf(
    methods: Annotated[
        str, typer.Argument(metavar="METHOD", help="As for bench run: ncp, or several: simclr,amoc\\[attack_steps=3].")
    ],
    *,
    datasets: Annotated[str, typer.Option(help="Whose settings and image sizes; no data is read.")] = "digits",
    batch_size: Annotated[
        str | None,
        typer.Option(help="Images per step instead of the settings' own: 64, or 64,256.", show_default=False),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Measured rounds; numbers are their medians.")] = 15,
    device: Annotated[str, DEVICE] = "auto",
    precision: Annotated[
        str | None,
        typer.Option(help="Instead of the settings' own: fp32, tf32, bf16, or several.", show_default=False),
    ] = None,
    execution: Annotated[
        Execution, typer.Option(help="Of step and bare passes; auto is graph on a GPU, eager on a CPU.")
    ] = Execution.AUTO,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    profile: Annotated[bool, typer.Option("--profile", help="Show the operations that take the step's time.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows as Parquet, too.", show_default=False)
    ] = None,
) -> None:
    """Measure a training step on random images, and the floor: its declared passes times the time of each, bare."""
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler talks to stderr; read when torch is loaded
    from rich.console import Console

    from bench.engine.conditions import Conditions, resolved
    from bench.executors.run import available_device
    from bench.perf.measure import measured

    console, where = Console(), available_device(device)
    conditions, steps_are = Conditions(where, threads=threads), resolved(execution, where)
    rows: list[Measured] = []
    for data, spec, settings in _subjects(methods, datasets, _batch_sizes(batch_size), _precisions(precision)):
        with console.status(f"measuring {spec.text} on {data.name}"):
            rows += measured(spec, data, conditions, steps, settings, execution=steps_are, with_profile=profile)
    for part in _parts(rows):
        console.print(part, highlight=False)
    if out is not None:
        _write(rows, out)


def _subjects(
    methods: str, datasets: str, batch_sizes: list[dict[str, int]], precisions: list[dict[str, str]]
) -> list[tuple[DataProfile, Spec, dict[str, Any]]]:
    """What is measured: settings of methods on data sets, and those that replace the settings' own."""
    from bench.data.profiles import profile_of
    from bench.grammar import expand, parse_specs

    return [
        (profile_of(data.name), point, {**size, **precision})
        for data, size, precision, spec in product(parse_specs(datasets), batch_sizes, precisions, parse_specs(methods))
        for point in expand(spec)
    ]


def _parts(rows: list[Measured]) -> Iterator[RenderableType]:
    """The numbers, the operations of those that were profiled, and how it was measured."""
    for first in range(0, len(rows), WIDTH):
        yield _table(rows[first : first + WIDTH])
    yield from (_operations(row, row.profile) for row in rows if row.profile is not None)
    yield f"[dim]{_footer(rows[-1])}[/]"


def _batch_sizes(text: str | None) -> list[dict[str, int]]:
    if text is None:
        return [{}]
    sizes = text.split(",")
    wrong = [size for size in sizes if not size.strip().isdecimal() or int(size) < LEAST_BATCH]
    if wrong:
        raise BenchError(
            f"'{wrong[0]}' is no batch size: contrastive losses need at least {LEAST_BATCH} images. "
            "Give a number, or several: --batch-size 64,256."
        )
    return [{"batch_size": int(size)} for size in sizes]


def _precisions(text: str | None) -> list[dict[str, str]]:
    if text is None:
        return [{}]
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in list(Precision):
            raise unknown("precision", name, Precision)
    return [{"precision": name} for name in names]


def _table(rows: list[Measured]) -> Table:
    """A column per row: quantities one under the other leave room for several methods on a narrow terminal."""
    table = borderless("", *(row.method for row in rows), numbers=slice(1, None))
    for quantity, shown in QUANTITIES.items():
        table.add_row(quantity, *map(shown, rows))
    return table


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "?" if value is None else format(unit * value, form)


QUANTITIES: Mapping[str, Callable[[Measured], str]] = {
    "data set": lambda row: row.dataset,
    "batch": lambda row: str(row.batch_size),
    "precision": lambda row: row.conditions.precision,
    "execution": lambda row: row.execution,
    "deterministic": lambda row: "yes" if row.conditions.deterministic else "no",
    "passes": lambda row: _number(row.passes, "g"),
    "step, ms": lambda row: _number(row.speed.step_ms, ".2f"),
    "floor, ms": lambda row: _number(row.speed.floor_ms, ".2f"),
    "step / floor": lambda row: _number(row.speed.ratio, ".3f"),
    "images/s": lambda row: _number(row.speed.images_per_s, ".0f"),
    "views, ms": lambda row: _number(row.speed.views_ms, ".2f"),
    "views, % of step": lambda row: _number(row.speed.views_share, ".1f", 100),
    "attack, % of step": lambda row: _part(row, "attack"),
    "backward, % of step": lambda row: _part(row, "backward"),
    "optimiser, % of step": lambda row: _part(row, "optimiser"),
    "the rest, % of step": lambda row: _part(row, "forward and rest"),
    "GFLOP/s": lambda row: _number(row.speed.flops, ".1f", 1e-9),
    "% of matmul rate": lambda row: _number(row.speed.matrix_share, ".1f", 100),
    "% of copy rate": lambda row: _number(row.speed.copy_share, ".1f", 100),
    "peak memory, MiB": lambda row: _number(row.peak_memory_mb, ".0f"),
}


def _part(row: Measured, name: str) -> str:
    return _number({str(part): share for part, share in row.parts.items()}[name], ".1f", 100)


def _operations(row: Measured, found: Profile) -> Table:
    """What bounds a step: the slowest first."""
    mode = "deterministic" if row.conditions.deterministic else "not deterministic"
    table = borderless("operation", "calls", "ms", "%", "MB", "GB/s", numbers=slice(1, None))
    table.title = (
        f"{row.method}, batch {row.batch_size}, {row.conditions.precision}, {mode}: "
        f"{found.launches:.0f} launches,  {found.milliseconds:.2f} ms per step"
    )
    for one in found.operations:
        speed = None if one.megabytes is None else one.megabytes / one.milliseconds
        table.add_row(
            one.name,
            _number(one.calls, "g"),
            _number(one.milliseconds, ".3f"),
            _number(one.share, ".1f", 100),
            _number(one.megabytes, ".2f"),
            _number(speed, ".1f"),
        )
    return table


def _footer(row: Measured) -> str:
    from bench.provenance import context

    about, best = context(row.conditions.device), row.rates
    return (
        f"\n{about.device}, torch {about.torch}, {row.conditions.threads} thread(s), channels_last; medians of "
        f"{row.rounds} interleaved rounds; one CPU thread is timed while it runs. Measured here: matmul "
        f"{best.matrix / 1e9:.0f} GFLOP/s, copy {best.copy / 1e9:.1f} GB/s read and written. Floor: the encoder's "
        "declared passes alone. Parts of the step: eager. Bytes are counted as if no cache held anything, so that "
        "% of copy rate may exceed 100."
    )


def _write(rows: list[Measured], out: Path) -> None:
    import pandas

    pandas.DataFrame([row.row() for row in rows]).to_parquet(out, index=False)

"""`bench perf`: how fast a method's training step is here, beside the floor that its passes set."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.layout import borderless

if TYPE_CHECKING:
    from rich.table import Table

    from bench.perf.measure import Measured


class PrecisionName(StrEnum):
    """As `bench.engine.conditions.Precision`, which would bring torch along."""

    FP32 = "fp32"
    TF32 = "tf32"
    BF16 = "bf16"


def perf(
    methods: Annotated[
        str, typer.Argument(metavar="METHOD", help="As for bench run: ncp, or several: simclr,amoc\\[attack_steps=3].")
    ],
    *,
    datasets: Annotated[str, typer.Option(help="Whose settings and image sizes; no data is read.")] = "digits",
    batch_size: Annotated[
        int | None, typer.Option(min=2, help="Images per step instead of the settings' own.", show_default=False)
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Measured rounds; numbers are their medians.")] = 15,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:0.")] = "auto",
    precision: Annotated[PrecisionName, typer.Option(help="Of convolutions and products.")] = PrecisionName.FP32,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the rows as Parquet, too.", show_default=False)
    ] = None,
) -> None:
    """Measure a training step on random images, and the floor: its declared passes times the time of each, bare."""
    from rich.console import Console

    from bench.data.profiles import profile_of
    from bench.engine.conditions import Conditions, Precision
    from bench.executors.run import available_device
    from bench.grammar import expand, parse_specs
    from bench.perf.measure import measured

    console = Console()
    conditions = Conditions(available_device(device), Precision(precision), threads=threads)
    profiles = [profile_of(spec.name) for spec in parse_specs(datasets)]
    specs = [point for spec in parse_specs(methods) for point in expand(spec)]
    rows: list[Measured] = []
    for profile in profiles:
        for spec in specs:
            with console.status(f"measuring {spec.text} on {profile.name}"):
                rows.extend(measured(spec, profile, conditions, steps, batch_size))
    console.print(_table(rows), highlight=False)
    console.print(_footer(rows[-1]), highlight=False, style="dim")
    if out is not None:
        _write(rows, out)


def _table(rows: list[Measured]) -> Table:
    """A column per row: quantities one under the other leave room for several methods on a narrow terminal."""
    table = borderless("", *(row.method for row in rows))
    for column in table.columns[1:]:
        column.justify = "right"
    for quantity, shown in QUANTITIES.items():
        table.add_row(quantity, *map(shown, rows))
    return table


def _number(value: float | None, form: str, unit: float = 1) -> str:
    return "?" if value is None else format(unit * value, form)


QUANTITIES: Mapping[str, Callable[[Measured], str]] = {
    "data set": lambda row: row.dataset,
    "batch": lambda row: str(row.batch_size),
    "precision": lambda row: row.conditions.precision,
    "deterministic": lambda row: "yes" if row.conditions.deterministic else "no",
    "passes": lambda row: _number(row.passes, "g"),
    "step, ms": lambda row: _number(row.speed.step_ms, ".2f"),
    "floor, ms": lambda row: _number(row.speed.floor_ms, ".2f"),
    "step / floor": lambda row: _number(row.speed.ratio, ".3f"),
    "images/s": lambda row: _number(row.speed.images_per_s, ".0f"),
    "views, ms": lambda row: _number(row.speed.views_ms, ".2f"),
    "views, % of step": lambda row: _number(row.speed.views_share, ".1f", 100),
    "GFLOP/s": lambda row: _number(row.speed.flops, ".1f", 1e-9),
    "% of matmul rate": lambda row: _number(row.speed.matrix_share, ".1f", 100),
    "% of copy rate": lambda row: _number(row.speed.copy_share, ".1f", 100),
    "peak memory, MiB": lambda row: _number(row.peak_memory_mb, ".0f"),
}


def _footer(row: Measured) -> str:
    from bench.provenance import context

    about, best = context(row.conditions.device), row.rates
    return (
        f"\n{about.device}, torch {about.torch}, {row.conditions.threads} thread(s), channels_last; medians of "
        f"{row.rounds} interleaved rounds. Measured here: matmul {best.matrix / 1e9:.0f} GFLOP/s, copy "
        f"{best.copy / 1e9:.1f} GB/s read and written. Floor: the encoder's declared passes alone. "
        f"% of copy rate: bytes as if no cache held anything, so it may exceed 100."
    )


def _write(rows: list[Measured], out: Path) -> None:
    import pandas

    pandas.DataFrame([row.row() for row in rows]).to_parquet(out, index=False)

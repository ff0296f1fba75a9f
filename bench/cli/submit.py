"""`bench submit`: a finished cell as one file that others can verify."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.arguments import CELL, STORE

if TYPE_CHECKING:
    from bench.store import Usage

EXAMPLES = """
[bold]Examples[/]

[dim]rows, per-image outcomes, weights, settings, environment and gates in one file; whoever has it checks it:[/]
  bench submit ncp/digits/slf-1/seed0 --out ncp.zip
  bench verify ncp.zip
[dim]with the hash of the weights instead of them; nobody can score it again:[/]
  bench submit ncp/digits/slf-1/seed0 --out ncp.zip --without-weights
"""
SUFFIX = ".zip"


def submit(
    cell: Annotated[str, CELL],
    *,
    out: Annotated[Path, typer.Option(metavar="FILE.zip", help="The file to write.", show_default=False)],
    store: Annotated[Path, STORE] = Path("runs"),
    without_weights: Annotated[bool, typer.Option("--without-weights", help="Hashes instead of weights.")] = False,
) -> None:
    """Pack a finished cell with all that it takes to check its numbers."""
    from bench.bundles.submit import submit as pack
    from bench.cells import find_row
    from bench.errors import BenchError
    from bench.store import Store, usage_of

    if out.suffix != SUFFIX:
        raise BenchError(f"--out '{out}' should end with {SUFFIX}, as bundles do: --out {out.stem}{SUFFIX}.")
    if out.exists():
        raise BenchError(f"'{out}' is there already and is not overwritten: remove it, or give another --out.")
    source = Store.existing(store)
    row = find_row(source, cell)
    try:
        pack(source, row, out, weights=not without_weights)
    except OSError as error:
        raise BenchError(f"cannot write '{out}' ({error.strerror}): give another --out.") from error
    print(_told(out, usage_of(out), row["gate_verdict"]))


def _told(out: Path, usage: Usage, verdict: str | None) -> str:
    from bench.cli.layout import disk_space

    doubt = f"; its gates say {verdict or 'nothing'}, see `bench audit`" if verdict != "ok" else ""
    return f"{out}: {disk_space(usage)}{doubt}"

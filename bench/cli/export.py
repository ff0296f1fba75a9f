"""`bench export`: a finished cell as files that others can use."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.arguments import CELL, STORE

if TYPE_CHECKING:
    from bench.exports.cells import Trained

EXAMPLES = """
[bold]Examples[/]

[dim]one file with encoder, head and where they come from; `bench evaluate` reads it:[/]
  bench export ncp/digits/slf-1/seed0 --to safetensors --out ncp.safetensors
[dim]a Python module from pixels to logits that needs torch alone, weights and model_info beside it:[/]
  bench export ncp/digits/slf-1/seed0 --to robustbench --out models/Anonymous2026NCP.py
"""


class Form(StrEnum):
    """What a cell can be exported to."""

    SAFETENSORS = "safetensors"
    ROBUSTBENCH = "robustbench"


SUFFIX: Mapping[Form, str] = {Form.SAFETENSORS: ".safetensors", Form.ROBUSTBENCH: ".py"}


def export(
    cell: Annotated[str, CELL],
    *,
    to: Annotated[Form, typer.Option("--to", help="The form.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="PATH", help="The file to write.", show_default=False)],
    store: Annotated[Path, STORE] = Path("runs"),
) -> None:
    """Write a finished cell's encoder and head to files: safetensors, or a model for RobustBench."""
    from bench.cells import find_row
    from bench.exports.cells import load_cell
    from bench.store import Store

    targets = _targets(out, to)
    source = Store.existing(store)
    trained = load_cell(source, find_row(source, cell))
    contents = _contents(trained, to)
    for suffix, path in targets.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[suffix])
        print(path)


def _targets(out: Path, to: Form) -> dict[str, Path]:
    """The files to write, by suffix; none of them may be there."""
    from bench.errors import BenchError

    suffix = SUFFIX[to]
    if out.suffix != suffix:
        raise BenchError(f"--out '{out}' should end with {suffix}, as what {to} writes: --out {out.stem}{suffix}.")
    suffixes = (suffix,) if to is Form.SAFETENSORS else (".py", ".pt", ".json")
    targets = {one: out.with_suffix(one) for one in suffixes}
    if there := next((path for path in targets.values() if path.exists()), None):
        raise BenchError(f"'{there}' is there already and is not overwritten: remove it, or give another --out.")
    if to is Form.ROBUSTBENCH and not out.stem.isidentifier():
        raise BenchError(f"'{out.stem}' is no name of a Python module: take letters, digits and _, e.g. Mine2026.py.")
    return targets


def _contents(trained: Trained, to: Form) -> dict[str, bytes]:
    from bench.exports.cells import as_safetensors
    from bench.exports.robustbench import as_robustbench

    return as_robustbench(trained) if to is Form.ROBUSTBENCH else {SUFFIX[to]: as_safetensors(trained)}

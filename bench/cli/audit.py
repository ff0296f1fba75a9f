"""`bench audit`: whether a robust accuracy is to be believed, gate by gate."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.failures import ExitCode
from bench.cli.layout import borderless

if TYPE_CHECKING:
    from rich.status import Status

    from bench.executors import Event, Listener
    from bench.gates.verdicts import Result

EXAMPLES = """
[bold]Examples[/]

[dim]all gates, those with attacks of their own among them; a few of them:[/]
  bench audit ncp/digits/slf-1/seed0
  bench audit ncp/digits/slf-1/seed0 --gates O4,G1
[dim]for a script; exit code 1 at a fail:[/]
  bench audit ncp/digits/slf-1/seed0 --format json
"""


class Format(StrEnum):
    """How the verdicts are printed."""

    TABLE = "table"
    JSON = "json"


def audit(
    cell: Annotated[str, typer.Argument(metavar="CELL", help="METHOD/DATA/PROTOCOL/seedN, a label, or part of a key.")],
    *,
    gates: Annotated[str | None, typer.Option(metavar="LIST", help="Names such as O4,G2; all by default.")] = None,
    output: Annotated[Format, typer.Option("--format", help="How to print the verdicts.")] = Format.TABLE,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store to look at.")] = Path("runs"),
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Where downloaded data sets lie.")] = None,
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:0.")] = "auto",
) -> None:
    """Send a finished cell through the gates; what they find is kept, and a fail marks its row from then on.

    A gate that was measured is not measured again. Exit code 1 if one fails.
    """
    from rich.console import Console

    from bench.cells import find_cell, name_of
    from bench.executors.audits import auditing
    from bench.gates.table import chosen
    from bench.gates.verdicts import Result, Verdict
    from bench.store import Store
    from bench.sweep import default_data_dir

    names, store = chosen(gates), Store.existing(out)
    rows = store.latest_rows()
    row = rows[find_cell(rows, cell)]
    results = list[Result]()
    with (
        Console(stderr=True).status("auditing") as status,
        auditing(store, row, data_dir or default_data_dir(), device, _shown(status)) as auditor,
    ):
        for result in auditor.results(names):
            results.append(result)
            status.update(f"gate {result.gate}: {result.verdict}, {len(results)} of {len(names)}")
    PRINTED[output](name_of(row), results)
    failed = any(result.verdict is Verdict.FAIL for result in results)
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.OK)


def _shown(status: Status) -> Listener:
    """Where a gate at work stands."""

    def show(event: Event) -> None:
        if event.message:
            status.update(event.message)

    return show


def _table(name: str, results: Sequence[Result]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from bench.gates.table import GATES
    from bench.gates.verdicts import Verdict, overall

    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.NOT_RUN: "dim"}
    table = borderless("gate", "measured", "threshold", "verdict", "why")
    for result in results:
        colour = colours[result.verdict]
        figures = (_figure(result.number), _figure(result.threshold, result.unit))
        why = GATES[result.gate].why if result.verdict in (Verdict.WARN, Verdict.FAIL) else ""
        told = "\n".join(text for text in (why, result.detail) if text)
        table.add_row(result.gate, *figures, f"[{colour}]{result.verdict}[/]", escape(told))
    console = Console()
    console.print(table, highlight=False)
    counts = (f"{sum(result.verdict is verdict for result in results)} {verdict}" for verdict in Verdict)
    console.print(f"\n{name}: {overall(results)} ({', '.join(counts)})", highlight=False, markup=False)


def _figure(number: float | None, unit: str = "") -> str:
    return "" if number is None else f"{number:.4g} {unit}".rstrip()


def _json(name: str, results: Sequence[Result]) -> None:
    import json

    from bench.gates.verdicts import overall

    facts = {result.gate: result.facts for result in results}
    print(json.dumps({"cell": name, "gate_verdict": overall(results), "gates": facts}, indent=2))


PRINTED: Mapping[Format, Callable[[str, Sequence[Result]], None]] = {Format.TABLE: _table, Format.JSON: _json}

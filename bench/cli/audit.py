"""`bench audit`: whether a robust accuracy is to be believed, gate by gate."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer

from bench.cli.arguments import CELL, DATA_DIR, DEVICE, STORE
from bench.cli.failures import ExitCode
from bench.cli.layout import borderless

if TYPE_CHECKING:
    from rich.status import Status

    from bench.contract import Report
    from bench.executors import Event, Listener
    from bench.gates.verdicts import Result

EXAMPLES = """
[bold]Examples[/]

[dim]all gates, those with attacks of their own among them; a few of them:[/]
  bench audit ncp/digits/slf-1/seed0
  bench audit ncp/digits/slf-1/seed0 --gates O4,G1
[dim]whether a store's numbers may count at all: undefended methods fall, broken models are caught, nothing leaks:[/]
  bench audit --campaign --out runs
[dim]for a script; exit code 1 at a fail:[/]
  bench audit ncp/digits/slf-1/seed0 --format json
"""


class Format(StrEnum):
    """How the verdicts are printed."""

    TABLE = "table"
    JSON = "json"


def audit(
    cell: Annotated[str | None, CELL] = None,
    *,
    gates: Annotated[str | None, typer.Option(metavar="LIST", help="Names such as O4,G2; all by default.")] = None,
    campaign: Annotated[bool, typer.Option("--campaign", help="Check a whole store by its controls.")] = False,
    output: Annotated[Format, typer.Option("--format", help="How to print the verdicts.")] = Format.TABLE,
    out: Annotated[Path, STORE] = Path("runs"),
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Send a finished cell through the gates; what they find is kept, and a fail marks its row from then on.

    A gate that was measured is not measured again. Exit code 1 if one fails.
    """
    from bench.errors import BenchError
    from bench.gates.verdicts import Verdict
    from bench.sweep import default_data_dir

    if (cell is None) != campaign:
        raise BenchError("an audit is of one cell, or of a whole store: give either a CELL or --campaign.")
    place = _Place(out, data_dir or default_data_dir(), device)
    name, results = _of_store(place) if cell is None else _of_cell(place, cell, gates)
    PRINTED[output](name, results)
    failed = any(result.verdict is Verdict.FAIL for result in results)
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.OK)


class _Place(NamedTuple):
    """Which store, with which data, on which device."""

    out: Path
    data_dir: Path
    device: str


def _of_cell(place: _Place, cell: str, gates: str | None) -> tuple[str, list[Result]]:
    """The cell's name, and the verdicts of the gates that are asked for."""
    from rich.console import Console

    from bench.cells import find_row, name_of
    from bench.executors.audits import auditing
    from bench.gates.table import chosen
    from bench.store import Store

    names, store = chosen(gates), Store.existing(place.out)
    row = find_row(store, cell)
    with (
        Console(stderr=True).status("auditing") as status,
        auditing(store, row, place.data_dir, place.device, _shown(status)) as auditor,
    ):
        return name_of(row), _collected(auditor.results(names), status, len(names))


def _of_store(place: _Place) -> tuple[str, list[Result]]:
    """The store's name, and the verdicts of all controls."""
    from rich.console import Console

    from bench.executors.campaign import CONTROLS, Campaign, controlled
    from bench.executors.run import available_device
    from bench.store import Store

    with Console(stderr=True).status("checking the campaign") as status:
        report: Report = lambda done, total, text: status.update(text)  # noqa: E731
        campaign = Campaign(Store.existing(place.out), place.data_dir, available_device(place.device), report)
        return f"campaign {place.out}", _collected(controlled(campaign), status, len(CONTROLS))


def _collected(results: Iterable[Result], status: Status, total: int) -> list[Result]:
    found: list[Result] = []
    for result in results:
        found.append(result)
        status.update(f"{result.gate}: {result.verdict}, {len(found)} of {total}")
    return found


def _shown(status: Status) -> Listener:
    """Where a gate at work stands."""

    def show(event: Event) -> None:
        if event.message:
            status.update(event.message)

    return show


def _table(name: str, results: Sequence[Result]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from bench.gates.verdicts import Verdict, overall

    colours = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.FAIL: "bold red", Verdict.NOT_RUN: "dim"}
    table = borderless("gate", "measured", "threshold", "verdict", "why")
    for result in results:
        colour = colours[result.verdict]
        figures = (_figure(result.number), _figure(result.threshold, result.unit))
        told = "\n".join(text for text in (result.why, result.detail) if text)
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

"""`bench check`: whether a method keeps the contract, check by check."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.failures import ExitCode
from bench.cli.layout import borderless

if TYPE_CHECKING:
    from bench.conformance.verdicts import Result

EXAMPLES = """
[bold]Examples[/]

[dim]a method of your own, an installed one with an option, in seconds:[/]
  bench check ./mine.py:Mine
  bench check "ncp\\[neighbour=3]" --quick
[dim]for a script:[/]
  bench check my_package.mine:Mine --format json
"""


class Format(StrEnum):
    """How the verdicts are printed."""

    TABLE = "table"
    JSON = "json"


def check(
    method: Annotated[
        str, typer.Argument(metavar="METHOD", help="A name, FILE:Class or module:Class; options in brackets.")
    ],
    *,
    quick: Annotated[bool, typer.Option("--quick", help="The same checks on less data: seconds.")] = False,
    output: Annotated[Format, typer.Option("--format", help="How to print the verdicts.")] = Format.TABLE,
) -> None:
    """Check that a method keeps the contract, on a few digits; exit code 1 if a promise is broken."""
    from rich.console import Console

    from bench.conformance.subject import FULL, QUICK
    from bench.conformance.suite import CHECKS, conform
    from bench.conformance.verdicts import Result, Verdict
    from bench.grammar import parse_spec
    from bench.registry import Registry

    spec, results = parse_spec(method), list[Result]()
    found = Registry.discover().find(spec.name).load()
    with Console(stderr=True).status("checking") as status:
        for result in conform(found, spec.options, QUICK if quick else FULL):
            results.append(result)
            status.update(f"checked {result.check.name}, {len(results)} of {len(CHECKS)}")
    PRINTED[output](found.name, results)
    broken = any(result.verdict is Verdict.BROKEN for result in results)
    raise typer.Exit(ExitCode.FAILED if broken else ExitCode.OK)


def _table(name: str, results: Sequence[Result]) -> None:
    from rich.console import Console
    from rich.markup import escape

    from bench.conformance.verdicts import Verdict

    colours = {Verdict.KEPT: "green", Verdict.BROKEN: "red", Verdict.NOT_APPLICABLE: "dim"}
    table = borderless("check", "verdict", "promise")
    for result in results:
        colour = colours[result.verdict]
        table.add_row(result.check.name, f"[{colour}]{result.verdict}[/]", escape(_told(result)))
    console = Console()
    console.print(table, highlight=False)
    counts = (f"{sum(result.verdict is verdict for result in results)} {verdict}" for verdict in Verdict)
    console.print(f"\n{name}: {', '.join(counts)}", highlight=False, markup=False)


def _told(result: Result) -> str:
    """The promise; what was seen; and where it is broken, why that matters and what to do."""
    from bench.conformance.verdicts import Verdict

    check = result.check
    broken = [f"why: {check.why}", f"remedy: {check.remedy}"] if result.verdict is Verdict.BROKEN else []
    return "\n".join([check.what, *([f"seen: {result.reason}"] if result.reason else []), *broken])


def _json(name: str, results: Sequence[Result]) -> None:
    import json

    print(json.dumps({"method": name, "checks": [dict(result.facts) for result in results]}, indent=2))


PRINTED: Mapping[Format, Callable[[str, Sequence[Result]], None]] = {Format.TABLE: _table, Format.JSON: _json}

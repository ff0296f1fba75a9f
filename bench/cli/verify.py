"""`bench verify`: whether a bundle is what it says."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.arguments import DATA_DIR, DEVICE
from bench.cli.failures import ExitCode
from bench.cli.layout import borderless

if TYPE_CHECKING:
    from bench.bundles.verify import Finding

EXAMPLES = """
[bold]Examples[/]

[dim]hashes, keys, protocol, numbers and gates, then 512 test images scored again with the weights in the file:[/]
  bench verify ncp.zip
[dim]the same images as another time; data that lie somewhere else here:[/]
  bench verify ncp.zip --seed 1234
  bench verify mine.zip --dataset "folder:./images\\[like=cifar10]"
"""
SEEDS = 2**31


def verify(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="What `bench submit` wrote.")],
    *,
    seed: Annotated[int | None, typer.Option(metavar="N", min=0, help="Of the slice; drawn by default.")] = None,
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="Where the test images lie here.")] = None,
    data_dir: Annotated[Path | None, DATA_DIR] = None,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Check a bundle, and score a random slice of the test images again; no code of it is run.

    Exit code 1 if it does not verify, 2 if the file is torn.
    """
    from rich.console import Console

    from bench.bundles.reevaluation import Place
    from bench.bundles.verify import Verdict
    from bench.bundles.verify import verify as found_in
    from bench.executors.run import available_device
    from bench.sweep import default_data_dir

    drawn = secrets.randbelow(SEEDS) if seed is None else seed
    place = Place(data_dir or default_data_dir(), available_device(device), drawn, dataset)
    with Console(stderr=True).status(f"verifying {bundle}"):
        findings = list(found_in(bundle, place))
    failed = any(finding.verdict is Verdict.FAIL for finding in findings)
    _print(findings)
    print(f"\n{bundle}: {_summary(findings, drawn)}")
    raise typer.Exit(ExitCode.FAILED if failed else ExitCode.OK)


def _summary(findings: Iterable[Finding], seed: int) -> str:
    from bench.bundles.verify import AGAIN, Verdict

    verdicts = {finding.check: finding.verdict for finding in findings}
    if Verdict.FAIL in verdicts.values():
        return f"does not verify (slice of seed {seed})"
    if AGAIN in verdicts:
        return "agrees with itself; without weights nothing was scored again"
    return f"verified (slice of seed {seed})"


def _print(findings: Iterable[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape

    table = borderless("check", "verdict", "found")
    for finding in findings:
        table.add_row(finding.check, f"[{_COLOURS[finding.verdict]}]{finding.verdict}[/]", escape(finding.detail))
    Console().print(table, highlight=False)


_COLOURS: Mapping[str, str] = {"ok": "green", "fail": "bold red", "not run": "dim"}

"""`bench compare`: two methods or two cells, in words. Everything heavy is imported inside."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from leaderboard.layouts import CompareFormat

if TYPE_CHECKING:
    from leaderboard.comparison.compare import Options, Result

_PIPE_WIDTH = 120  # Columns where there is no terminal whose width could be asked for.

EXAMPLES = """
[bold]Examples[/]

[dim]two methods; two cells, image by image; two protocols on the same encoders:[/]
  bench compare ncp amoc
  bench compare ncp/digits/slf-1/seed0 amoc/digits/slf-1/seed0
  bench compare slf-1 slf@deacl-2024
[dim]p-values adjusted over comparisons that were written down first:[/]
  bench compare ncp amoc --family digits
"""


def compare(
    a: Annotated[str, typer.Argument(metavar="A", help="Method (ncp), cell (ncp/digits/slf-1/seed0) or protocol.")],
    b: Annotated[str, typer.Argument(metavar="B", help="What to compare it with: of the same kind.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store that `bench run` wrote.")] = Path("runs"),
    datasets: Annotated[str | None, typer.Option(metavar="LIST", help="Methods: only on these data sets.")] = None,
    protocols: Annotated[str | None, typer.Option(metavar="LIST", help="Methods: only under these protocols.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="NAME", help="Methods: quick, short or paper alone.")] = None,
    family: Annotated[
        str | None, typer.Option(metavar="NAME", help="Adjust p over this declared family: digits, or FILE.toml.")
    ] = None,
    margin: Annotated[float, typer.Option(metavar="POINTS", help="Differences below it count as equality.")] = 0.5,
    format: Annotated[str, typer.Option(metavar="NAME", help="terminal or json.")] = CompareFormat.TERMINAL,
) -> None:
    """Compare two methods, cells, or protocols on the same encoders: by seed, by image, effects, equality, caveats."""
    from bench.errors import BenchError, unknown
    from bench.store import Store, read_rows
    from leaderboard.comparison.compare import Options
    from leaderboard.comparison.compare import compare as compared
    from leaderboard.comparison.pairs import find_pairs
    from leaderboard.rows import Selection
    from leaderboard.statistics.families import load_family

    if format not in set(CompareFormat):
        raise unknown("format", format, CompareFormat)
    if not 0 < margin <= 100:
        raise BenchError(f"--margin {margin:g} is no number of points between 0 and 100: 0.5 is the default.")
    options = Options(margin=margin, family=load_family(family) if family else None)
    frame = read_rows(out)
    selection = Selection.parse(datasets=datasets, protocols=protocols, schedule=schedule)
    results = compared(frame, find_pairs(frame, a, b, selection), Store.existing(out), options)
    _print(results, options, CompareFormat(format))


def _print(results: Sequence[Result], options: Options, format: CompareFormat) -> None:
    from rich.console import Console
    from rich.padding import Padding
    from rich.text import Text

    from leaderboard.comparison import words

    if format is CompareFormat.JSON:
        sys.stdout.write(words.as_data(results, options))
        return
    console = Console()
    console = console if console.is_terminal else Console(width=_PIPE_WIDTH)
    for result in results:
        console.print(Text(words.title(result.pair), style="bold"))
        for heading, sentences in words.paragraphs(result, options):
            console.print(Text(f"\n{heading}", style="bold"))
            for sentence in sentences:
                console.print(Padding(Text(sentence), (0, 0, 0, 2), expand=False))
        console.print()

"""`bench figure`: finished results drawn. Everything heavy is imported inside."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from bench.errors import unknown
from leaderboard.figures.names import FOLDER, ImageFormat, Kind, check_folder
from leaderboard.spelling import command_line

SHOWN: Mapping[Kind, str] = {
    Kind.OPTION: "a metric against the value of an option of the methods (--option bank_size)",
    Kind.LADDER: "accuracy against eps, from a ladder (bench run --attacks pgd20 --eps 0,1/255,2/255)",
    Kind.TESTS: "p-values of paired t-tests, and the differences with intervals",
    Kind.COMPARISONS: "differences from a control (--control simclr), or of all pairs, with intervals",
    Kind.COST: "accuracy against passes per image and hours, with the front",
    Kind.CURVES: "loss and signs of life over the epochs of pre-training",
    Kind.SILHOUETTE: "silhouette by the number of clusters, where a method chose it",
    Kind.CORRUPTIONS: "accuracy by type of corruption (bench run --attacks clean,corruption)",
    Kind.EMBEDDING: "t-SNE of the features of test images, by class",
}
KIND_HELP = "What to show; without it, the kinds are listed."
FORMAT_HELP = "Images besides the numbers: svg, pdf, png; by default all."

EXAMPLES = """
[bold]Examples[/]

[dim]what can be drawn; differences from a control, with intervals:[/]
  bench figure
  bench figure comparisons --control simclr
[dim]accuracy against a setting, for a run over several of its values:[/]
  bench figure option --option neighbour --methods "ncp\\[neighbour=\\[2,3,4]]"
[dim]one kind of file, somewhere else:[/]
  bench figure curves --write paper/figures --format pdf
"""


def figure(
    kind: Annotated[str | None, typer.Argument(metavar="KIND", help=KIND_HELP)] = None,
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store that `bench run` wrote.")] = Path("runs"),
    methods: Annotated[str | None, typer.Option(metavar="LIST", help="Only these, in this order: ncp,amoc.")] = None,
    datasets: Annotated[str | None, typer.Option(metavar="LIST", help="Only these data sets.")] = None,
    protocols: Annotated[str | None, typer.Option(metavar="LIST", help="Only these protocols.")] = None,
    schedule: Annotated[str | None, typer.Option(metavar="NAME", help="quick, short or paper alone.")] = None,
    metric: Annotated[str | None, typer.Option(metavar="LIST", help="Columns or attacks: sa,aa.")] = None,
    option: Annotated[str | None, typer.Option(metavar="NAME", help="Of `option`: of the methods.")] = None,
    control: Annotated[str | None, typer.Option(metavar="METHOD", help="Of `tests`, `comparisons`.")] = None,
    data_dir: Annotated[Path | None, typer.Option(metavar="DIR", help="Of `embedding`: where data lie.")] = None,
    write: Annotated[Path, typer.Option(metavar="DIR", help="Where the files go.")] = FOLDER,
    format: Annotated[str | None, typer.Option(metavar="LIST", help=FORMAT_HELP)] = None,
) -> None:
    """Draw finished results: SVG, PDF and PNG, the numbers as CSV, and in words what is shown and where it is from."""
    if kind is None:
        _list_kinds()
        return
    if kind not in set(Kind):
        raise unknown("kind of figure", kind, Kind)
    formats = _formats(format)
    check_folder(write)
    options = {
        "--out": out, "--methods": methods, "--datasets": datasets, "--protocols": protocols, "--schedule": schedule,
        "--metric": metric, "--option": option, "--control": control, "--data-dir": data_dir,
    }  # fmt: skip
    from leaderboard.figures.catalogue import Choices
    from leaderboard.figures.request import Request
    from leaderboard.figures.write import write as write_files

    choices = Choices.parse(metric, option, control)
    request = Request(Kind(kind), out, choices, _command(kind, options), data_dir)
    for one in request.figures(methods, datasets, protocols, schedule):
        for path in write_files(one, write, formats):
            print(path)


def _list_kinds() -> None:
    from rich.console import Console

    from bench.cli.layout import borderless

    table = borderless("kind", "shows")
    for kind, shown in SHOWN.items():
        table.add_row(kind, shown)
    Console().print(table)


def _formats(text: str | None) -> tuple[ImageFormat, ...]:
    names = [part.strip() for part in text.split(",")] if text else list(ImageFormat)
    for name in names:
        if name not in set(ImageFormat):
            raise unknown("image format", name, ImageFormat)
    return tuple(map(ImageFormat, dict.fromkeys(names)))


def _command(kind: str, options: Mapping[str, object]) -> str:
    """The command line that draws the same again; options at their default are left out."""
    given = {name: value for name, value in options.items() if value != Path("runs")}
    return command_line("figure", kind, options=given)

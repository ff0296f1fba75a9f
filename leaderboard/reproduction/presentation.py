"""An exhibit printed or written, with what a reader must know of how it was made."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from bench.sweep import Schedule
from leaderboard.figures.model import Figure
from leaderboard.figures.write import write
from leaderboard.layouts import Format
from leaderboard.rendering.formats import show
from leaderboard.reproduction.evidence import asked_of, missing
from leaderboard.reproduction.exhibits import Evidence, Exhibit, PaperFigure, PaperTable

NO_EVIDENCE = (
    "The schedule {} is no evidence for or against the paper: it shows that everything works, and --schedule paper "
    "answers."
)
ABSENT = "{} of the {} cells are not in the store: leave out --no-run to compute them."


def present(exhibit: Exhibit, evidence: Evidence, format: Format, folder: Path) -> None:
    """Print a table, or write the files of a figure and print their paths.

    Args:
        exhibit: the table or figure.
        evidence: what it is made of.
        format: of tables.
        folder: of figures.

    Raises:
        BenchError: if the evidence cannot carry it, or the folder cannot be written.
    """
    remarks = tuple(_remarks(evidence))
    match exhibit:
        case PaperTable():
            show([replace(table, notes=(*table.notes, *remarks)) for table in exhibit.show(evidence)], format)
        case PaperFigure():
            _write_figure(_named(exhibit.show(evidence), exhibit, remarks), folder)


def _remarks(evidence: Evidence) -> Iterator[str]:
    """What keeps the result from being the paper's."""
    short = dict.fromkeys(str(sweep.schedule) for sweep in evidence.sweeps if sweep.schedule is not Schedule.PAPER)
    if short:
        yield NO_EVIDENCE.format(", ".join(short))
    if absent := missing(evidence):
        yield ABSENT.format(absent, len(asked_of(evidence.sweeps)))


def _named(figure: Figure, exhibit: Exhibit, remarks: tuple[str, ...]) -> Figure:
    """The figure under its exhibit's name and caption."""
    return replace(
        figure,
        name=exhibit.name.replace("/", "-"),
        caption=f"{exhibit.caption}. {figure.caption}",
        notes=(*figure.notes, *remarks),
    )


def _write_figure(figure: Figure, folder: Path) -> None:
    paths = write(figure, folder)
    print(figure.text)
    for path in paths:
        print(path)

"""Tables for the terminal (rich)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as Stack
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from leaderboard.rendering.words import (
    BOLD,
    COUNT,
    Listing,
    heading_text,
    letters,
    listings,
    mean_text,
    spread_text,
    stub_texts,
)
from leaderboard.tables.model import Cell, Group, Key, Mark, Table

_BOUNDLESS = 10_000  # Columns: wider than any table.


def terminal(tables: Sequence[Table], *, styled: bool = True) -> RenderableType:
    """Tables for a rich console; without styles (a pipe, a file) bold becomes `*` and underlining `_`."""
    return Stack(*(part for table in tables for part in _parts(table, styled)))


def _parts(table: Table, styled: bool) -> Iterator[RenderableType]:
    yield Text(table.title, style="bold")
    yield _Results(table, styled)
    yield from (Text(f"[{letter}] {text}") for text, letter in table.footnotes.items())
    for listing in listings(table):
        yield Text(listing.title[0].lower() + listing.title[1:], style="bold")
        yield _Listed(listing)
    yield from (Text(note, style="dim") for note in table.notes)
    yield Text(table.provenance.text + "\n", style="dim")


@dataclass(frozen=True)
class _Results:
    """The numbers side by side where the console is wide enough, else one grid per group of columns: none is cut."""

    table: Table
    styled: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self._grid(self.table.groups)
        if _fits(whole, console, options):
            yield whole
        else:
            yield from (self._grid([group]) for group in self.table.groups)

    def _grid(self, groups: Sequence[Group]) -> Grid:
        grid = _grid()
        for name in self.table.stub:
            grid.add_column(Text(name), overflow="fold")
        grid.add_column(COUNT, justify="right")
        for group in groups:
            for i, key in enumerate(group.keys):
                title = group.title if i == len(group.keys) // 2 else ""
                heading = Text(f"{title}\n{heading_text(self.table, key)}")
                grid.add_column(heading, justify="right", overflow="fold")
        for row in self._rows({key for group in groups for key in group.keys}):
            grid.add_row(*row)
        return grid

    def _rows(self, shown: set[Key]) -> Iterator[tuple[str | Text, ...]]:
        table = self.table
        for line, stub in zip(table.lines, stub_texts(table, table.lines), strict=True):
            *left, last = stub
            label = Text.assemble(last, _note(table, line.footnotes))
            cells = (self._cell(*found) for found in zip(table.keys, line.cells, strict=True) if found[0] in shown)
            yield (*map(Text, left), label, line.seeds, *cells)

    def _cell(self, key: Key, cell: Cell) -> Text:
        style = "bold" if cell.mark in BOLD else "underline" if cell.mark is Mark.SECOND else ""
        sign = "*" if cell.mark in BOLD else "_" if cell.mark is Mark.SECOND else ""
        text, spread = mean_text(self.table, key, cell), spread_text(self.table, key, cell)
        mean = (text, style) if self.styled else f"{sign}{text}{sign}"
        return Text.assemble(mean, f" ±{spread}" if spread else "", _note(self.table, cell.footnotes))


def _note(table: Table, footnotes: Sequence[str]) -> tuple[str, str]:
    return (f" [{letters(table, footnotes)}]" if footnotes else "", "dim")


@dataclass(frozen=True)
class _Listed:
    """A listing, where the console is wide enough; else one grid per text of its first column, under that text."""

    listing: Listing

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self._grid(self.listing.headings, self.listing.rows)
        if _fits(whole, console, options):
            yield whole
            return
        for first, rows in groupby(self.listing.rows, key=itemgetter(0)):
            yield Text(first)
            yield self._grid(self.listing.headings[1:], [row[1:] for row in rows])

    def _grid(self, headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Grid:
        grid = _grid()
        for heading in headings:
            number = heading in self.listing.numbers
            grid.add_column(heading, justify="right" if number else "left", overflow="fold", no_wrap=number)
        for row in rows:
            grid.add_row(*map(Text, row))
        return grid


def _fits(grid: Grid, console: Console, options: ConsoleOptions) -> bool:
    """Whether a grid can be shown without a line folded."""
    return Measurement.get(console, options.update(max_width=_BOUNDLESS), grid).maximum <= options.max_width


def _grid() -> Grid:
    return Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)

"""Tables for the terminal (rich)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as Stack
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from leaderboard.claims import report as claims_report
from leaderboard.rendering.words import (
    BOLD,
    CLAIM_HEADINGS,
    CLAIMS_TITLE,
    TEST_HEADINGS,
    TEST_NAMES,
    claim_texts,
    letters,
    mean_text,
    test_texts,
)
from leaderboard.tables.model import Cell, Group, Mark, Table, measure_of

_BOUNDLESS = 10_000  # Columns: wider than any table.


def terminal(tables: Sequence[Table], *, styled: bool = True) -> RenderableType:
    """Tables for a rich console; without styles (a pipe, a file) bold becomes `*` and underlining `_`."""
    return Stack(*(part for table in tables for part in _terminal_parts(table, styled)))


def _terminal_parts(table: Table, styled: bool) -> Iterator[RenderableType]:
    yield Text(table.title, style="bold")
    yield _Results(table, styled)
    yield from (Text(f"[{letter}] {text}") for text, letter in table.footnotes.items())
    if any(True for _ in table.comparisons):
        yield Text("paired t-tests by seed", style="bold")
        yield _terminal_tests(table)
    if table.claims:
        yield Text(CLAIMS_TITLE.lower(), style="bold")
        yield _terminal_claims(table)
    yield from (Text(note, style="dim") for note in table.notes)
    yield Text(table.provenance.text + "\n", style="dim")


@dataclass(frozen=True)
class _Results:
    """The numbers side by side where the console is wide enough, else one grid per group of columns: none is cut."""

    table: Table
    styled: bool

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = self._grid(self.table.groups)
        width = Measurement.get(console, options.update(max_width=_BOUNDLESS), whole).maximum
        if width <= options.max_width:
            yield whole
        else:
            yield from (self._grid([group]) for group in self.table.groups)

    def _grid(self, groups: Sequence[Group]) -> Grid:
        grid = _terminal_grid()
        grid.add_column("method", overflow="fold")
        grid.add_column("n", justify="right")
        for group in groups:
            for i, key in enumerate(group.keys):
                title = group.title if i == len(group.keys) // 2 else ""
                grid.add_column(Text(f"{title}\n{measure_of(key.metric).heading}"), justify="right", overflow="fold")
        shown = {key for group in groups for key in group.keys}
        for line in self.table.lines:
            label = Text.assemble(line.label, _terminal_note(self.table, line.footnotes))
            cells = (cell for key, cell in zip(self.table.keys, line.cells, strict=True) if key in shown)
            grid.add_row(label, line.seeds, *(_terminal_cell(self.table, cell, self.styled) for cell in cells))
        return grid


def _terminal_grid() -> Grid:
    return Grid(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)


def _terminal_cell(table: Table, cell: Cell, styled: bool) -> Text:
    style = "bold" if cell.mark in BOLD else "underline" if cell.mark is Mark.SECOND else ""
    sign = "*" if cell.mark in BOLD else "_" if cell.mark is Mark.SECOND else ""
    mean = (mean_text(cell), style) if styled else f"{sign}{mean_text(cell)}{sign}"
    spread = f" ±{cell.spread:.2f}" if cell.spread is not None else ""
    return Text.assemble(mean, spread, _terminal_note(table, cell.footnotes))


def _terminal_note(table: Table, footnotes: Sequence[str]) -> tuple[str, str]:
    return (f" [{letters(table, footnotes)}]" if footnotes else "", "dim")


def _terminal_tests(table: Table) -> RenderableType:
    grid = _terminal_grid()
    for i, heading in enumerate(TEST_HEADINGS):
        name = i < TEST_NAMES
        grid.add_column(heading, justify="left" if name else "right", overflow="fold", no_wrap=not name)
    for column, comparison in table.comparisons:
        grid.add_row(*(Text(text) for text in test_texts(column, comparison)))
    return grid


def _terminal_claims(table: Table) -> RenderableType:
    grid = _terminal_grid()
    for heading in CLAIM_HEADINGS:
        number = heading in claims_report.NUMBERS
        grid.add_column(heading, justify="right" if number else "left", overflow="fold", no_wrap=number)
    for claimed in table.claims:
        grid.add_row(*(Text(text) for text in claim_texts(table, claimed)))
    return grid

"""Tables in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

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
from leaderboard.tables.model import Cell, Line, Mark, Table, measure_of


def markdown(tables: Sequence[Table]) -> str:
    """GitHub-flavoured Markdown; underlining is `<ins>`, which GitHub keeps."""
    return "\n".join(line for table in tables for line in _markdown_lines(table))


def _markdown_lines(table: Table) -> Iterator[str]:
    headings = [f"{group.title} {measure_of(key.metric).heading}" for group in table.groups for key in group.keys]
    yield f"### {_md(table.title)}\n"
    yield from _markdown_grid(
        [("method", "n", *headings), *(_markdown_row(table, line) for line in table.lines)], left=1
    )
    yield ""
    yield from (f"<sup>{letter}</sup> {_md(text)}  " for text, letter in table.footnotes.items())
    tests = [tuple(_md(text) for text in test_texts(*found)) for found in table.comparisons]
    if tests:
        yield "\nPaired t-tests by seed:\n"
        yield from _markdown_grid([TEST_HEADINGS, *tests], left=TEST_NAMES)
    claims = [tuple(_md(text) for text in claim_texts(table, claimed)) for claimed in table.claims]
    if claims:
        yield f"\n{CLAIMS_TITLE}:\n"
        yield from _markdown_grid([CLAIM_HEADINGS, *claims], left=TEST_NAMES)
    yield ""
    yield from (f"- {_md(note)}" for note in table.notes)
    yield f"\n<!-- {table.provenance.text.replace('-->', '-- >')} -->\n"


def _markdown_grid(rows: Sequence[Sequence[str]], left: int) -> Iterator[str]:
    head, *body = rows
    yield f"| {' | '.join(head)} |"
    yield f"|{'|'.join(':--' if i < left else '--:' for i in range(len(head)))}|"
    yield from (f"| {' | '.join(row)} |" for row in body)


def _markdown_row(table: Table, line: Line) -> tuple[str, ...]:
    label = _md(line.label) + _markdown_note(table, line.footnotes)
    return (label, line.seeds, *(_markdown_cell(table, cell) for cell in line.cells))


def _markdown_cell(table: Table, cell: Cell) -> str:
    mean = mean_text(cell)
    marked = f"**{mean}**" if cell.mark in BOLD else f"<ins>{mean}</ins>" if cell.mark is Mark.SECOND else mean
    spread = f" ± {cell.spread:.2f}" if cell.spread is not None else ""
    return marked + spread + _markdown_note(table, cell.footnotes)


def _markdown_note(table: Table, footnotes: Sequence[str]) -> str:
    return f"<sup>{letters(table, footnotes)}</sup>" if footnotes else ""


def _md(text: str) -> str:
    """Text with all that Markdown or HTML would read as its own escaped."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", safe)

"""Tables in GitHub-flavoured Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from leaderboard.rendering.words import BOLD, COUNT, heading_text, letters, listings, mean_text, spread_text
from leaderboard.tables.model import Cell, Key, Line, Mark, Table


def markdown(tables: Sequence[Table]) -> str:
    """GitHub-flavoured Markdown; underlining is `<ins>`, which GitHub keeps."""
    return "\n".join(line for table in tables for line in _lines(table))


def _lines(table: Table) -> Iterator[str]:
    yield f"### {_md(table.title)}\n"
    yield from _results(table)
    yield ""
    yield from (f"<sup>{letter}</sup> {_md(text)}  " for text, letter in table.footnotes.items())
    for listing in listings(table):
        yield f"\n{listing.title}:\n"
        left = [heading not in listing.numbers for heading in listing.headings]
        yield from _grid(listing.headings, left, [tuple(map(_md, row)) for row in listing.rows])
    yield ""
    yield from (f"- {_md(note)}" for note in table.notes)
    yield f"\n<!-- {table.provenance.text.replace('-->', '-- >')} -->\n"


def _results(table: Table) -> Iterator[str]:
    named = ((group.title, heading_text(table, key)) for group in table.groups for key in group.keys)
    headings = (*map(_md, table.stub), COUNT, *(_md(" ".join(filter(None, words))) for words in named))
    left = [i < len(table.stub) for i in range(len(headings))]
    return _grid(headings, left, [_row(table, line) for line in table.lines])


def _grid(headings: Sequence[str], left: Sequence[bool], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(headings)} |"
    yield f"|{'|'.join(':--' if is_left else '--:' for is_left in left)}|"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _row(table: Table, line: Line) -> tuple[str, ...]:
    *left, last = map(_md, line.stub)
    cells = (_cell(table, key, cell) for key, cell in zip(table.keys, line.cells, strict=True))
    return (*left, last + _note(table, line.footnotes), line.seeds, *cells)


def _cell(table: Table, key: Key, cell: Cell) -> str:
    mean, spread = mean_text(table, key, cell), spread_text(table, key, cell)
    marked = f"**{mean}**" if cell.mark in BOLD else f"<ins>{mean}</ins>" if cell.mark is Mark.SECOND else mean
    return marked + (f" ± {spread}" if spread else "") + _note(table, cell.footnotes)


def _note(table: Table, footnotes: Sequence[str]) -> str:
    return f"<sup>{letters(table, footnotes)}</sup>" if footnotes else ""


def _md(text: str) -> str:
    """Text with all that Markdown or HTML would read as its own escaped."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", safe)

"""Tables as HTML: one self-contained page that needs no script, or its sections alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from itertools import groupby

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
from leaderboard.tables.model import Cell, Group, Key, Line, Mark, Table

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
{style}</style>
</head>
<body>
<main>
{sections}</main>
</body>
</html>
"""


def html(tables: Sequence[Table], *, fragment: bool = False) -> str:
    """A page, light or dark as its reader's system is, or its `<section>`s alone, which bring no style.

    Footnotes are links. Ids begin with the hash of a table's rows, so that fragments may share a page.
    """
    sections = "".join(_section(table, f"t{table.provenance.rows_hash[:8]}-{i}") for i, table in enumerate(tables, 1))
    if fragment:
        return sections
    title = tables[0].title if len(tables) == 1 else "Results"
    style = files("leaderboard.rendering").joinpath("page.css").read_text(encoding="utf-8")
    return _PAGE.format(title=escape(title), style=style, sections=sections)


def _section(table: Table, name: str) -> str:
    """A table with all that belongs below it; `name` is what its ids begin with."""
    notes = [f"<li>{escape(note)}</li>" for note in table.notes]
    lines = [
        f"<!-- {_comment(table.provenance.text)} -->",
        f'<section aria-labelledby="{name}">',
        f'<h2 id="{name}">{escape(table.title)}</h2>',
        *_scrolling("results", name, _results(table, name)),
        *_footnotes(table, name),
        *(line for listing in listings(table) for line in _listed(listing)),
        *(['<ul class="notes">', *notes, "</ul>"] if notes else []),
        f'<p class="provenance"><small>{escape(table.provenance.text)}</small></p>',
        "</section>",
    ]
    return "\n".join(lines) + "\n"


def _comment(text: str) -> str:
    """Text that ends no comment."""
    return text.replace("--!>", "--!&gt;").replace("-->", "--&gt;").replace("<!--", "&lt;!--")


def _scrolling(kind: str, label: str, lines: Iterator[str]) -> Iterator[str]:
    """A table in a box of its own, which scrolls where it is wider than the page; also by keyboard."""
    yield f'<div class="scroll" role="region" tabindex="0" aria-labelledby="{label}">'
    yield f'<table class="{kind}" aria-labelledby="{label}">'
    yield from lines
    yield "</table>"
    yield "</div>"


def _results(table: Table, name: str) -> Iterator[str]:
    yield f'<colgroup span="{len(table.stub) + 1}">'
    yield from (f'<colgroup span="{len(group.keys)}">' for group in table.groups)
    yield "<thead>"
    yield from _head(table)
    yield "</thead>"
    stubs = zip(table.lines, stub_texts(table, table.lines), strict=True)
    for rows in _runs(table, list(stubs)):
        yield "<tbody>"
        yield from (_row(table, name, rows, i) for i in range(len(rows)))
        yield "</tbody>"


def _head(table: Table) -> Iterator[str]:
    titled = any(group.title for group in table.groups)
    spans = ' rowspan="2"' if titled else ""
    left = "".join(f'<th scope="col"{spans}>{escape(heading)}</th>' for heading in table.stub)
    left += f'<th scope="col" class="number"{spans}>{COUNT}</th>'
    measures = "".join(_measure(table, key) for group in table.groups for key in group.keys)
    if titled:
        yield f"<tr>{left}{''.join(map(_title, table.groups))}</tr>"
        yield f"<tr>{measures}</tr>"
    else:
        yield f"<tr>{left}{measures}</tr>"


def _title(group: Group) -> str:
    return f'<th scope="colgroup" colspan="{len(group.keys)}">{escape(group.title)}</th>'


def _measure(table: Table, key: Key) -> str:
    meaning = escape(table.measure(key).meaning)
    return f'<th scope="col" class="number" title="{meaning}">{escape(heading_text(table, key))}</th>'


_FIGURE_SPACE = "\N{FIGURE SPACE}"  # As wide as a digit: means end at the same place, however long what follows.
_Rows = list[tuple[Line, tuple[str, ...]]]


def _runs(table: Table, rows: _Rows) -> Iterator[_Rows]:
    """Lines that share the first of several texts on their left; all lines where there is one text alone."""
    if len(table.stub) == 1:
        yield rows
    else:
        yield from (list(run) for _, run in groupby(rows, key=lambda row: row[0].stub[0]))


def _row(table: Table, name: str, rows: _Rows, index: int) -> str:
    line, shown = rows[index]
    last = len(shown) - 1
    stubs = [_stub(rows, index, i) for i in range(last) if shown[i]]
    kind = ' class="stub"' if last == 0 else ""
    label = f'<th scope="row"{kind}>{_label(shown[last])}{_note(table, name, line.footnotes)}</th>'
    cells = [_cell(table, name, key, cell) for key, cell in zip(table.keys, line.cells, strict=True)]
    return f'<tr>{"".join(stubs)}{label}<td class="number">{line.seeds}</td>{"".join(cells)}</tr>'


def _stub(rows: _Rows, index: int, place: int) -> str:
    """A text on the left, over all lines that it holds for."""
    count = 1
    while index + count < len(rows) and not rows[index + count][1][place]:
        count += 1
    span = f' rowspan="{count}"' if count > 1 else ""
    kind = 'scope="row"' if place else 'scope="rowgroup" class="stub"'
    return f"<th {kind}{span}>{_label(rows[index][1][place])}</th>"


def _label(text: str) -> str:
    """A label that a narrow page may break before a bracket and after a comma."""
    return "<wbr>".join(escape(part) for part in re.split(r"(?=[\[(])|(?<=,)", text) if part)


def _cell(table: Table, name: str, key: Key, cell: Cell) -> str:
    mean, spread = escape(mean_text(table, key, cell)), spread_text(table, key, cell)
    note = _note(table, name, cell.footnotes)
    if cell.mean is None:
        return f'<td class="absent">{mean}{note}</td>'
    widest = max(len(spread_text(table, key, line.cells[table.keys.index(key)])) for line in table.lines)
    marked = f"<strong>{mean}</strong>" if cell.mark in BOLD else f"<u>{mean}</u>" if cell.mark is Mark.SECOND else mean
    after = f' <span class="sd">± {spread.rjust(widest, _FIGURE_SPACE)}</span>' if spread else ""
    return f'<td class="number">{marked}{after}{note}</td>'


def _note(table: Table, name: str, footnotes: Sequence[str]) -> str:
    links = (f'<a href="#{name}-{letter}">{letter}</a>' for letter in letters(table, footnotes).split(",") if letter)
    joined = ",".join(links)
    return f"<sup>{joined}</sup>" if joined else ""


def _footnotes(table: Table, name: str) -> Iterator[str]:
    if table.footnotes:
        yield '<ul class="footnotes">'
        for text, letter in table.footnotes.items():
            yield f'<li id="{name}-{letter}"><b>{letter}</b>{escape(text)}</li>'
        yield "</ul>"


def _listed(listing: Listing) -> Iterator[str]:
    title = f"{listing.title} ({len(listing.rows)})"
    kinds = ["number" if heading in listing.numbers else "name" for heading in listing.headings]
    named = zip(listing.headings, kinds, strict=True)
    heads = "".join(f'<th scope="col" class="{kind}">{escape(heading)}</th>' for heading, kind in named)
    yield f"<details open><summary>{escape(title)}</summary>"
    yield f'<div class="scroll" role="region" tabindex="0" aria-label="{escape(listing.title)}">'
    yield f"<table><thead><tr>{heads}</tr></thead><tbody>"
    for row in listing.rows:
        yield "<tr>" + "".join(_listed_cell(text, kind) for text, kind in zip(row, kinds, strict=True)) + "</tr>"
    yield "</tbody></table></div></details>"


_PROSE = 40  # Characters from which on a text may be broken into lines.


def _listed_cell(text: str, kind: str) -> str:
    return f'<td class="{"prose" if kind == "name" and len(text) > _PROSE else kind}">{escape(text)}</td>'

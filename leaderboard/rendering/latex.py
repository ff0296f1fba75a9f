"""Tables in LaTeX: floats of booktabs and nothing else, which keep to the width of a column or of a page."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from leaderboard.rendering.latex_results import Results
from leaderboard.rendering.tex import comment, lines_of, number, prose, tex, width
from leaderboard.rendering.tex_layout import GAP, Block, Page, packed, tabular
from leaderboard.rendering.words import Listing, listings
from leaderboard.tables.model import Table

_DOCUMENT = Page(column=525, full=525, lines=66)
_ARTICLE = Page(column=220, full=452, lines=48)
_PREAMBLE = r"""\documentclass[a4paper]{article}
\usepackage{booktabs}
\setlength{\textwidth}{18.6cm}
\setlength{\oddsidemargin}{-1.3cm}
\setlength{\topmargin}{-2cm}
\setlength{\textheight}{25.5cm}
\pagestyle{empty}
\begin{document}
"""
_FRAGMENT_HEAD = "% in the preamble: \\usepackage{booktabs}\n"
_NOTE_SCALE = 0.94  # \scriptsize to \footnotesize: width and height of a line of notes.


def latex(tables: Sequence[Table], *, fragment: bool = False) -> str:
    """A document that compiles as it stands, or its floats alone; booktabs is the only package.

    A table is \\footnotesize, with its notes below; one with its tests and one with published numbers follow. As a
    fragment it is a `table` where it is no wider than a column of a two-column article (220 pt), else a `table*`; one
    wider than a page (452 pt) becomes \\scriptsize, and where that is not enough, its groups of columns stand one below
    the other. What is longer than a page goes on in a float with the same number.
    """
    page = _ARTICLE if fragment else _DOCUMENT
    body = "\n".join(part for table in tables for part in _floats(table, page))
    return _FRAGMENT_HEAD + body if fragment else f"{_PREAMBLE}{body}\\end{{document}}\n"


def _floats(table: Table, page: Page) -> Iterator[str]:
    results = Results.fitted(table, page)
    title, notes = prose(table.title), _notes(table, page.full if results.wide else page.column)
    numbers = _Float(title, results.wide, results.size.base, results.size.gap)
    yield comment(table.provenance.text) + "\n" + numbers.text([*results.blocks(), *notes], page)
    for listing in listings(table):
        columns = _Columns.fitted(listing, page)
        below = _Float(f"{listing.title}: {title}", columns.wide, r"\footnotesize", GAP)
        yield below.text(list(columns.blocks(page)), page)


def _notes(table: Table, available: float) -> Iterator[Block]:
    for text, letter in table.footnotes.items():
        yield _note(rf"\textsuperscript{{{letter}}}~{prose(text)}", text, available)
    for text in table.notes:
        yield _note(prose(text), text, available)


def _note(source: str, text: str, available: float) -> Block:
    lines = math.ceil(width(text) * _NOTE_SCALE / available)
    return Block(rf"{source}\par", lines * _NOTE_SCALE, note=True)


@dataclass(frozen=True)
class _Float:
    """A table environment, or several with one number.

    Attributes:
        caption: in LaTeX.
        wide: whether it spans both columns of a page that has two.
        size: the command for its size of type.
        gap: left and right of each column, pt.
    """

    caption: str
    wide: bool
    size: str
    gap: float

    def text(self, blocks: Sequence[Block], page: Page) -> str:
        """The environments that hold these blocks."""
        parts = packed(blocks, page.lines)
        return "\n".join(self._environment(part, continued=i > 0) for i, part in enumerate(parts))

    def _environment(self, blocks: Sequence[Block], *, continued: bool) -> str:
        name, places = ("table*", "tp") if self.wide else ("table", "htbp")
        again = [r"\addtocounter{table}{-1}", rf"\caption[]{{{self.caption} (continued)}}"]
        tabulars = [block.source for block in blocks if not block.note]
        notes = [block.source for block in blocks if block.note]
        lines = [
            rf"\begin{{{name}}}[{places}]",
            rf"\centering{self.size}\setlength{{\tabcolsep}}{{{self.gap:g}pt}}",
            *(again if continued else [rf"\caption{{{self.caption}}}"]),
            r"\smallskip",
            "\n\\par\\medskip\n".join(tabulars),
            *([r"\par\smallskip\raggedright\scriptsize", *notes] if notes else []),
            rf"\end{{{name}}}",
        ]
        return "\n".join(line for line in lines if line) + "\n"


@dataclass(frozen=True)
class _Columns:
    """The columns of a listing: each as wide as its text, or a share of what the page has left for prose.

    Attributes:
        listing: what they hold.
        limits: pt, where the text of a column is to be broken into lines.
        wide: whether they need more than a column of the page.
    """

    listing: Listing
    limits: tuple[float | None, ...]
    wide: bool

    @classmethod
    def fitted(cls, listing: Listing, page: Page) -> _Columns:
        """The columns for a page."""
        columns = list(zip(listing.headings, *listing.rows, strict=True))
        widths = [max(map(width, texts)) + 2 * GAP for texts in columns]
        total = sum(widths)
        if total <= page.full:
            return cls(listing, (None,) * len(widths), wide=page.column < total)
        prose_at = [i for i, heading in enumerate(listing.headings) if heading not in listing.numbers]
        room = page.full - sum(size for i, size in enumerate(widths) if i not in prose_at)
        shares = dict(zip(prose_at, _shared([widths[i] for i in prose_at], room), strict=True))
        limits = [shares[i] - 2 * GAP if i in shares and shares[i] < size else None for i, size in enumerate(widths)]
        return cls(listing, tuple(limits), wide=page.column < page.full)

    def blocks(self, page: Page) -> Iterator[Block]:
        """Its rows in tabulars that a page can hold."""
        room, rows, used = page.lines - 6, list[str](), 0
        for row in self.listing.rows:
            height = max(1 if limit is None else len(lines_of(text, limit)) for text, limit in self._cells(row))
            if rows and used + height > room:
                yield self._block(rows, used)
                rows, used = [], 0
            rows.append(" & ".join(_cell(text, limit) for text, limit in self._cells(row)))
            used += height
        yield self._block(rows, used)

    def _cells(self, row: Sequence[str]) -> Iterator[tuple[str, float | None]]:
        return zip(row, self.limits, strict=True)

    def _block(self, rows: Sequence[str], height: int) -> Block:
        heads = [" & ".join(map(tex, self.listing.headings))]
        return Block(tabular("".join(self._alignments()), heads, rows), height + 2)

    def _alignments(self) -> Iterator[str]:
        for heading, limit in zip(self.listing.headings, self.limits, strict=True):
            yield "r" if heading in self.listing.numbers else "l" if limit is None else f"p{{{limit:.0f}pt}}"


def _cell(text: str, limit: float | None) -> str:
    return number(text) if limit is None else rf"\raggedright {prose(text)}"


def _shared(wanted: Sequence[float], room: float) -> list[float]:
    """What each gets of `room`: all that it wants where that is no more than an equal share of what is left."""
    given = [0.0] * len(wanted)
    left = list(range(len(wanted)))
    for i in sorted(left, key=lambda i: wanted[i]):
        given[i] = min(wanted[i], room / len(left))
        room -= given[i]
        left.remove(i)
    return given

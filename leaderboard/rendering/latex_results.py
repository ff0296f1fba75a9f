"""The results of a table as tabulars of LaTeX: numbers aligned at their point, as many columns as a page holds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from leaderboard.rendering.tex import lines_of, longest_part, number, prose, tex, width
from leaderboard.rendering.tex_layout import GAP, Block, Page, tabular
from leaderboard.rendering.words import BOLD, COUNT, heading_text, letters, mean_text, spread_text, stub_texts
from leaderboard.tables.model import Cell, Group, Key, Line, Mark, Table


@dataclass(frozen=True)
class Size:
    """A size of type.

    Attributes:
        base, small: the commands for it and for what is set smaller.
        scale: its width relative to \\footnotesize.
        shrink: how wide what is set smaller is, relative to it.
        gap: left and right of each column, pt.
        stub: a text left of the numbers that is wider is broken into lines, pt.
    """

    base: str
    small: str
    scale: float
    shrink: float
    gap: float
    stub: float = 130.0


_FOOTNOTE = Size(r"\footnotesize", r"\scriptsize", scale=1.0, shrink=0.94, gap=GAP)
_SCRIPT = Size(r"\scriptsize", r"\tiny", scale=0.94, shrink=0.86, gap=2.0)
_NARROW = replace(_SCRIPT, gap=1.5, stub=56.0)
_BOLD = 1.12  # Width of bold type relative to upright type.
_PLUS_MINUS = 6.8  # Width of the sign in \footnotesize, and of the thin space before it, pt.
_THIN = 1.4
_RAISED = 0.85  # Width of letters of footnotes relative to what they stand at.

_MARKS: Mapping[Mark, str] = {
    Mark.BEST: r"\textbf{%s}",
    Mark.TIED: r"\textbf{%s}",
    Mark.SECOND: r"\underline{%s}",
    Mark.NONE: "%s",
}


@dataclass(frozen=True)
class Results:
    """The numbers of a table, fitted to a page.

    Attributes:
        table: whose numbers.
        page: where they are to stand.
        size: of its type.
        wide: whether they need more than a column of the page.
    """

    table: Table
    page: Page
    size: Size = _FOOTNOTE
    wide: bool = False

    @classmethod
    def fitted(cls, table: Table, page: Page) -> Results:
        """In the largest type in which they fit a column or else the page; what fits neither is set in panels."""
        on_page = ((size, page.full) for size in (_FOOTNOTE, _SCRIPT, _NARROW))
        for size, limit in ((_FOOTNOTE, page.column), *on_page):
            found = cls(table, page, size, wide=limit > page.column)
            if found._left + sum(map(found._group_width, table.groups)) <= limit:
                return found
        return cls(table, page, wide=page.column < page.full)

    def blocks(self) -> Iterator[Block]:
        """A tabular per panel, each in parts that a page can hold."""
        for groups in self._panels():
            lines, room = self.table.lines, self.page.lines - 6
            for first in range(0, max(len(lines), 1), room):
                yield self._block(groups, lines[first : first + room])

    def _panels(self) -> list[list[Group]]:
        room = (self.page.full if self.wide else self.page.column) - self._left
        panels: list[list[Group]] = [[]]
        for part in (part for group in self.table.groups for part in self._parts(group, room)):
            if panels[-1] and sum(map(self._group_width, [*panels[-1], part])) > room:
                panels.append([])
            panels[-1].append(part)
        return panels

    def _parts(self, group: Group, room: float) -> Iterator[Group]:
        """The group, or as many of its columns at a time as there is room for."""
        keys: list[Key] = []
        for key in group.keys:
            if keys and self._group_width(replace(group, keys=(*keys, key))) > room:
                yield replace(group, keys=tuple(keys))
                keys = []
            keys.append(key)
        yield replace(group, keys=tuple(keys))

    # Widths

    @property
    def _left(self) -> float:
        """How wide the columns left of the numbers are."""
        counts = max(width(line.seeds) for line in self.table.lines) if self.table.lines else 0.0
        stubs = sum(self._stub_width(i) for i in range(len(self.table.stub)))
        return (stubs + max(counts, width(COUNT))) * self.size.scale + 2 * self.size.gap * (len(self.table.stub) + 1)

    def _stub_width(self, index: int) -> float:
        return min(self._natural_stub(index), self._stub_limit(index))

    def _is_broken(self, index: int) -> bool:
        return self._natural_stub(index) > self._stub_limit(index)

    def _stub_limit(self, index: int) -> float:
        return max(self.size.stub, max(map(longest_part, self._stub_texts(index))) + self._stub_notes(index))

    def _natural_stub(self, index: int) -> float:
        return max(map(width, self._stub_texts(index))) + self._stub_notes(index)

    def _stub_texts(self, index: int) -> list[str]:
        return [self.table.stub[index], *(line.stub[index] for line in self.table.lines)]

    def _stub_notes(self, index: int) -> float:
        """How wide the letters of footnotes are; they follow the last of the texts."""
        last = index == len(self.table.stub) - 1
        notes = [width(letters(self.table, line.footnotes)) for line in self.table.lines if last]
        return max(notes, default=0.0) * _RAISED

    def _group_width(self, group: Group) -> float:
        columns = sum(map(self._column_width, group.keys))
        title = max(map(width, lines_of(group.title, columns / self.size.scale)))
        return max(columns, title * self.size.scale + 2 * self.size.gap)

    def _column_width(self, key: Key) -> float:
        cells = (self._cell_width(key, cell) for cell in self._cells(key))
        return max([width(heading_text(self.table, key)), *cells]) * self.size.scale + 2 * self.size.gap

    def _cell_width(self, key: Key, cell: Cell) -> float:
        mean = width(mean_text(self.table, key, cell)) * (_BOLD if cell.mark in BOLD else 1.0)
        spread = spread_text(self.table, key, cell)
        notes = width(letters(self.table, cell.footnotes)) * _RAISED
        after = (_PLUS_MINUS + width(spread)) * self.size.shrink + _THIN if spread else 0.0
        return mean + after + notes

    def _cells(self, key: Key) -> list[Cell]:
        index = self.table.keys.index(key)
        return [line.cells[index] for line in self.table.lines]

    # Text

    def _block(self, groups: Sequence[Group], lines: Sequence[Line]) -> Block:
        keys = [key for group in groups for key in group.keys]
        head = self._titles(groups) + " & ".join([*map(tex, self.table.stub), f"${COUNT}$", *self._headings(keys)])
        stubs = [self._alignment(i) for i in range(len(self.table.stub))]
        columns = "".join(stubs) + "r" + r"r@{\,}l" * len(keys)
        height = sum(self._height(line) for line in lines) + 3
        return Block(tabular(columns, [head], list(self._rows(keys, lines))), height)

    def _alignment(self, index: int) -> str:
        return f"p{{{self._stub_limit(index) * self.size.scale:.0f}pt}}" if self._is_broken(index) else "l"

    def _height(self, line: Line) -> int:
        return max(len(lines_of(text, self._stub_limit(i))) for i, text in enumerate(line.stub))

    def _titles(self, groups: Sequence[Group]) -> str:
        """The line with the headings of groups of columns, each over a rule; empty where no group has one."""
        if not any(group.title for group in groups):
            return ""
        heads, rules, first = [], [], len(self.table.stub) + 2
        for group in groups:
            count = 2 * len(group.keys)
            heads.append(rf"\multicolumn{{{count}}}{{c}}{{{self._title(group)}}}")
            rules += [rf"\cmidrule(lr){{{first}-{first + count - 1}}}"] if group.title else []
            first += count
        empty = [""] * (len(self.table.stub) + 1)
        return rf"{' & '.join([*empty, *heads])} \\ {' '.join(rules)}" + "\n"

    def _title(self, group: Group) -> str:
        lines = lines_of(group.title, sum(map(self._column_width, group.keys)) / self.size.scale)
        if len(lines) == 1:
            return tex(group.title)
        broken = r"\\".join(map(tex, lines))
        return rf"\begin{{tabular}}[b]{{@{{}}c@{{}}}}{broken}\end{{tabular}}"

    def _headings(self, keys: Sequence[Key]) -> Iterator[str]:
        return (rf"\multicolumn{{2}}{{c}}{{{tex(heading_text(self.table, key))}}}" for key in keys)

    def _rows(self, keys: Sequence[Key], lines: Sequence[Line]) -> Iterator[str]:
        places = [self.table.keys.index(key) for key in keys]
        for i, (line, stub) in enumerate(zip(lines, stub_texts(self.table, lines), strict=True)):
            apart = "\\addlinespace[2pt]\n" if i and len(stub) > 1 and stub[0] else ""
            cells = (self._cell(key, line.cells[place]) for key, place in zip(keys, places, strict=True))
            yield apart + " & ".join([*self._stub(line, stub), line.seeds.replace("-", "--"), *cells])

    def _stub(self, line: Line, texts: Sequence[str]) -> Iterator[str]:
        for i, text in enumerate(texts):
            note = self._note(line.footnotes) if i == len(texts) - 1 else ""
            yield rf"\raggedright {prose(text)}{note}" if self._is_broken(i) else number(text) + note

    def _cell(self, key: Key, cell: Cell) -> str:
        """Two columns: the mean, which ends at its last decimal, and what follows it."""
        text, note = tex(mean_text(self.table, key, cell)), self._note(cell.footnotes)
        if cell.mean is None:
            return rf"\multicolumn{{2}}{{c}}{{{text}{note}}}"
        spread = spread_text(self.table, key, cell)
        digits = max(len(spread_text(self.table, key, other)) for other in self._cells(key))
        pad = rf"\phantom{{{'0' * (digits - len(spread))}}}" if digits > len(spread) else ""
        after = rf"{{{self.size.small}$\pm${pad}{spread}}}" if spread else ""
        return f"{_MARKS[cell.mark] % text} & {after}{note}"

    def _note(self, footnotes: Sequence[str]) -> str:
        return rf"\textsuperscript{{{letters(self.table, footnotes)}}}" if footnotes else ""

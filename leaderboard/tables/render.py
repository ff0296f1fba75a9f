"""Tables as text: for the terminal (rich), Markdown, LaTeX (booktabs and nothing else) and CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.console import Group as Stack
from rich.measure import Measurement
from rich.table import Table as Grid
from rich.text import Text

from leaderboard.claims import report as claims_report
from leaderboard.claims.record import Entry
from leaderboard.layouts import Format
from leaderboard.statistics.paired import Comparison, smallest_detectable
from leaderboard.tables.model import Cell, Claimed, Group, Key, Line, Mark, State, Table, measure_of

BOLD = frozenset({Mark.BEST, Mark.TIED})
TEST_HEADINGS = ("column", "best vs other", "n", "diff.", "95 % interval", "p", "p Holm", "detects")
TEST_NAMES = 2  # The first of them hold names; the rest are numbers.


def mean_text(cell: Cell) -> str:
    """The mean with two decimals, or what stands in its place."""
    if cell.mean is not None:
        return f"{cell.mean:.2f}"
    return f"failed ({cell.failed} of {cell.failed})" if cell.state is State.FAILED else "—"


def p_text(p: float | None) -> str:
    """A p-value with three decimals; a dash for none."""
    if p is None:
        return "—"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def test_texts(column: str, comparison: Comparison) -> tuple[str, ...]:
    """A comparison under `TEST_HEADINGS`; differences in points of per cent."""
    names = (column, f"{comparison.best} vs {comparison.other}")
    test = comparison.test
    if test is None:
        return (*names, "—", "—", "—", "not tested", "—", "—")
    numbers = (str(test.n), f"{test.mean_difference:+.2f}")
    if comparison.undecidable:
        return (*names, *numbers, "—", "no variance", "—", "—")
    return (
        *names,
        *numbers,
        f"[{test.low:.2f}, {test.high:.2f}]",
        p_text(test.p),
        p_text(comparison.p_adjusted),
        f"{smallest_detectable(test.n, test.sd):.2f}" if test.sd else "—",
    )


CLAIM_HEADINGS = ("column", "method", *claims_report.HEADINGS)
CLAIMS_TITLE = "Published numbers"


def claim_texts(table: Table, claimed: Claimed) -> tuple[str, ...]:
    """A published number under `CLAIM_HEADINGS`."""
    return (table.name_of(claimed.key), claimed.label, *claims_report.entry_texts(claimed.entry))


def _letters(table: Table, footnotes: Iterable[str]) -> str:
    return ",".join(table.footnotes[text] for text in footnotes)


# Terminal

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
    return (f" [{_letters(table, footnotes)}]" if footnotes else "", "dim")


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


# Markdown


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
    return f"<sup>{_letters(table, footnotes)}</sup>" if footnotes else ""


def _md(text: str) -> str:
    """Text with all that Markdown or HTML would read as its own escaped."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]|#~])", r"\\\1", safe)


# LaTeX

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

_LATEX: Mapping[str, str] = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"$\mathdollar$",  # \$ alone asks for a font beyond the standard ones.
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': "''",
    "`": r"\`{}",
    "[": "{[}",
    "]": "{]}",
    "±": r"$\pm$",
    "—": "---",
}


def latex(tables: Sequence[Table], *, fragment: bool = False) -> str:
    """A document that compiles as it stands, or the `table` environments alone; booktabs is the only package.

    The environments are floats of \\footnotesize text; each table is followed by one with its tests.
    """
    body = "\n".join(part for table in tables for part in _latex_floats(table))
    return _FRAGMENT_HEAD + body if fragment else f"{_PREAMBLE}{body}\\end{{document}}\n"


def _latex_floats(table: Table) -> Iterator[str]:
    notes = [rf"\textsuperscript{{{letter}}}~{_tex(text)}" for text, letter in table.footnotes.items()]
    notes += [_tex(note) for note in table.notes]
    comment = "% " + _tex_comment(table.provenance.text)
    yield _latex_float([comment], _tex(table.title), _latex_results(table), notes)
    rows = [tuple(_tex_cell(text) for text in test_texts(*found)) for found in table.comparisons]
    if rows:
        head = " & ".join(_tex(heading) for heading in TEST_HEADINGS)
        columns = "l" * TEST_NAMES + "r" * (len(TEST_HEADINGS) - TEST_NAMES)
        yield _latex_float([], f"Paired t-tests by seed: {_tex(table.title)}", _tabular(columns, [head], rows), [])
    if table.claims:
        caption = f"{CLAIMS_TITLE}: {_tex(table.title)}"
        yield _latex_float([], caption, _latex_claims(table), [])


_CLAIM_WIDTHS: Mapping[str, str] = {"by": "p{2.0cm}", "verdict": "p{2.9cm}"}  # Prose, which is broken into lines.


def _latex_claims(table: Table) -> str:
    def align(heading: str) -> str:
        return "r" if heading in claims_report.NUMBERS else _CLAIM_WIDTHS.get(heading, "l")

    def cell(heading: str, text: str) -> str:
        return (r"\raggedright " if heading in _CLAIM_WIDTHS else "") + _tex_cell(text)

    head = " & ".join(_tex(heading) for heading in CLAIM_HEADINGS)
    lines = (zip(CLAIM_HEADINGS, claim_texts(table, claimed), strict=True) for claimed in table.claims)
    rows = [tuple(cell(*words) for words in line) for line in lines]
    return _tabular("".join(map(align, CLAIM_HEADINGS)), [head], rows)


def _latex_float(comments: Sequence[str], caption: str, tabular: str, notes: Sequence[str]) -> str:
    below = [r"\par\medskip\raggedright", *(rf"{note}\par" for note in notes)] if notes else []
    lines = [
        *comments,
        r"\begin{table}[htbp]",
        r"\centering\footnotesize\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{caption}}}",
        tabular,
        *below,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_results(table: Table) -> str:
    titles = [rf"\multicolumn{{{len(group.keys)}}}{{c}}{{{_tex(group.title)}}}" for group in table.groups]
    rules, first = [], 3
    for group in table.groups:
        rules.append(rf"\cmidrule(lr){{{first}-{first + len(group.keys) - 1}}}")
        first += len(group.keys)
    measures = [measure_of(key.metric).heading for key in table.keys]
    heads = [f" & & {' & '.join(titles)} \\\\ {' '.join(rules)}\nmethod & $n$ & {' & '.join(measures)}"]
    rows = [_latex_row(table, line) for line in table.lines]
    return _tabular("lr" + "r" * len(table.keys), heads, rows)


def _tabular(columns: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    body = [rf"{' & '.join(row)} \\" for row in rows]
    head = [rf"{line} \\" for line in heads]
    return "\n".join(
        [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *head, r"\midrule", *body, r"\bottomrule", r"\end{tabular}"]
    )


def _latex_row(table: Table, line: Line) -> tuple[str, ...]:
    label = _tex_cell(line.label) + _latex_note(table, line.footnotes)
    return (label, line.seeds.replace("-", "--"), *(_latex_cell(table, cell) for cell in line.cells))


def _latex_cell(table: Table, cell: Cell) -> str:
    mean = _tex(mean_text(cell))
    marks = {Mark.BEST: r"\textbf{%s}", Mark.TIED: r"\textbf{%s}", Mark.SECOND: r"\underline{%s}", Mark.NONE: "%s"}
    spread = rf"\,{{\scriptsize$\pm$\,{cell.spread:.2f}}}" if cell.spread is not None else ""
    return marks[cell.mark] % mean + spread + _latex_note(table, cell.footnotes)


def _latex_note(table: Table, footnotes: Sequence[str]) -> str:
    return rf"\textsuperscript{{{_letters(table, footnotes)}}}" if footnotes else ""


def _tex_cell(text: str) -> str:
    """`_tex`, with a sign of a number set as a minus."""
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", _tex(text))


def _tex(text: str) -> str:
    """Text with every character that LaTeX reads as its own escaped, and those it has no glyph for by code point."""
    return "".join(_LATEX.get(char) or (char if _typesettable(char) else f"U+{ord(char):04X}") for char in text)


def _typesettable(char: str) -> bool:
    """ASCII, and the accented letters that the standard fonts build."""
    return " " <= char <= "~" or char in "ÀÁÂÃÄÅÆÇÈÉÊËÌÍÎÏÑÒÓÔÕÖØÙÚÛÜÝßàáâãäåæçèéêëìíîïñòóôõöøùúûüýÿ"


def _tex_comment(text: str) -> str:
    return " ".join(text.encode("ascii", "backslashreplace").decode().split())


# CSV


@dataclass(frozen=True)
class _Entry:
    """One cell with all that its CSV line says."""

    table: Table
    line: Line
    key: Key
    cell: Cell
    claim: Entry | None = None

    @property
    def comparison(self) -> Comparison | None:
        """The best of the column against this method; None for the best itself."""
        column = next(column for column in self.table.tests if column.key == self.key)
        return next((found for found in column.comparisons if found.other == self.line.label), None)


def csv_text(tables: Sequence[Table]) -> str:
    """One line per method and column: the numbers in full precision, the test against the best, the footnotes.

    With published numbers there is a line for each of a cell.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    columns = {**CSV_COLUMNS, **(CSV_CLAIM_COLUMNS if any(table.claims for table in tables) else {})}
    writer.writerow(columns)
    for entry in (entry for table in tables for entry in _entries(table)):
        writer.writerow([_plain(read(entry)) for read in columns.values()])
    return out.getvalue()


def _entries(table: Table) -> Iterator[_Entry]:
    for line in table.lines:
        for key, cell in zip(table.keys, line.cells, strict=True):
            claims = [claimed.entry for claimed in table.claims if (claimed.label, claimed.key) == (line.label, key)]
            beside: list[Entry | None] = [*claims] or [None]
            yield from (_Entry(table, line, key, cell, claim) for claim in beside)


def _plain(value: object) -> object:
    return "" if value is None else value


def _of_test(name: str) -> Callable[[_Entry], object]:
    """The attribute of the entry's test, where there is one."""

    def read(entry: _Entry) -> object:
        comparison = entry.comparison
        return getattr(comparison.test, name) if comparison and comparison.test else None

    return read


def _footnotes(entry: _Entry) -> str:
    return "; ".join((*entry.line.footnotes, *entry.cell.footnotes))


CSV_COLUMNS: Mapping[str, Callable[[_Entry], object]] = {
    "schedule": lambda entry: entry.table.setting.schedule,
    "epochs": lambda entry: entry.table.setting.epochs,
    "limit_train": lambda entry: entry.table.setting.limit_train,
    "limit_test": lambda entry: entry.table.setting.limit_test,
    "norm": lambda entry: entry.table.setting.norm,
    "eps": lambda entry: entry.table.setting.eps,
    "precision": lambda entry: entry.table.setting.precision,
    "method": lambda entry: entry.line.label,
    "dataset": lambda entry: entry.key.dataset,
    "protocol": lambda entry: entry.key.protocol,
    "metric": lambda entry: str(entry.key.metric),
    "mean": lambda entry: entry.cell.mean,
    "sd": lambda entry: entry.cell.spread,
    "n": lambda entry: entry.cell.n,
    "failed": lambda entry: entry.cell.failed,
    "state": lambda entry: entry.cell.state.value,
    "mark": lambda entry: entry.cell.mark.value,
    "best": lambda entry: entry.comparison.best if entry.comparison else None,
    "pairs": _of_test("n"),
    "best_minus_this": _of_test("mean_difference"),
    "low": _of_test("low"),
    "high": _of_test("high"),
    "t": _of_test("t"),
    "p": _of_test("p"),
    "p_adjusted": lambda entry: entry.comparison.p_adjusted if entry.comparison else None,
    "correlation": _of_test("correlation"),
    "footnotes": _footnotes,
    "rows_hash": lambda entry: entry.table.provenance.rows_hash,
}


def _of_claim(read: Callable[[Entry], object]) -> Callable[[_Entry], object]:
    """What is read of the entry's published number, where there is one."""
    return lambda entry: read(entry.claim) if entry.claim else None


CSV_CLAIM_COLUMNS: Mapping[str, Callable[[_Entry], object]] = {
    "published": _of_claim(lambda entry: entry.claim.value),
    "published_by": _of_claim(lambda entry: f"{entry.claim.paper}, {entry.claim.table}"),
    "difference": _of_claim(lambda entry: entry.verdict.difference),
    "margin": _of_claim(lambda entry: entry.verdict.margin),
    "verdict": _of_claim(lambda entry: entry.verdict.text),
}

TEXT: Mapping[Format, Callable[[Sequence[Table]], str]] = {
    Format.MARKDOWN: markdown,
    Format.LATEX: latex,
    Format.CSV: csv_text,
}
"""The formats that are plain text; the terminal's is `terminal`."""

"""Tables in LaTeX: booktabs and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from leaderboard.claims import report as claims_report
from leaderboard.rendering.words import (
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
    return rf"\textsuperscript{{{letters(table, footnotes)}}}" if footnotes else ""


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

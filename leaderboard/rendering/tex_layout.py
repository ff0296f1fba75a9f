"""How much a page of LaTeX holds, and what is put on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

GAP = 3.0
"""Left and right of each column, pt."""


@dataclass(frozen=True)
class Page:
    """Where tables are to stand.

    Attributes:
        column, full: width of a column of text and of the whole page, pt.
        lines: of \\footnotesize that a float can hold below its caption.
    """

    column: float
    full: float
    lines: int


@dataclass(frozen=True)
class Block:
    """A part of a float that is not to be broken: a tabular or a note.

    Attributes:
        source: in LaTeX.
        lines: how high it is, in lines of \\footnotesize.
        note: whether it belongs below the tabulars, in small type.
    """

    source: str
    lines: float
    note: bool = False


def packed(blocks: Sequence[Block], lines: float) -> list[list[Block]]:
    """Blocks in their order, in as few parts of at most so many lines as that allows."""
    parts: list[list[Block]] = [[]]
    for block in blocks:
        if parts[-1] and sum(placed.lines for placed in parts[-1]) + block.lines > lines:
            parts.append([])
        parts[-1].append(block)
    return parts


def tabular(columns: str, heads: Sequence[str], rows: Sequence[str]) -> str:
    """A tabular with the rules of booktabs.

    Args:
        columns: their alignments.
        heads, rows: what is above and below the middle rule, each without its end.
    """
    lines = [*(rf"{line} \\" for line in heads), r"\midrule", *(rf"{line} \\" for line in rows)]
    return "\n".join([rf"\begin{{tabular}}{{{columns}}}", r"\toprule", *lines, r"\bottomrule", r"\end{tabular}"])

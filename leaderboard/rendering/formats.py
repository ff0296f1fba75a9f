"""Which formats there are, and what prints tables in each."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence

from rich.console import Console

from leaderboard.layouts import Format
from leaderboard.rendering.csv_file import csv_text
from leaderboard.rendering.html_page import html
from leaderboard.rendering.latex import latex
from leaderboard.rendering.markdown import markdown
from leaderboard.rendering.terminal import terminal
from leaderboard.tables.model import Table

TEXT: Mapping[Format, Callable[[Sequence[Table]], str]] = {
    Format.MARKDOWN: markdown,
    Format.LATEX: latex,
    Format.HTML: html,
    Format.CSV: csv_text,
}
"""The formats that are plain text; the terminal's is `terminal`."""

FRAGMENT: Mapping[Format, Callable[[Sequence[Table]], str]] = {
    Format.LATEX: lambda tables: latex(tables, fragment=True),
    Format.HTML: lambda tables: html(tables, fragment=True),
}
"""The formats whose tables alone can be had, without the document around them."""

_PIPE_WIDTH = 200  # Columns where there is no terminal whose width could be asked for.


def show(tables: Sequence[Table], format: Format = Format.TERMINAL, *, fragment: bool = False) -> None:
    """Print tables to the standard output; a fragment is of a format in `FRAGMENT`."""
    if format is Format.TERMINAL:
        _show_terminal(tables)
    else:
        sys.stdout.write((FRAGMENT if fragment else TEXT)[format](tables))


def _show_terminal(tables: Sequence[Table]) -> None:
    console = Console()
    if not console.is_terminal:
        console = Console(width=_PIPE_WIDTH)
    console.print(terminal(tables, styled=console.is_terminal))

"""How tables look on the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table

    from bench.store import Usage


def disk_space(usage: Usage) -> str:
    """For people: `45.1 MB`."""
    kilobytes = usage.bytes / 1000
    return f"{kilobytes:.1f} kB" if kilobytes < 1000 else f"{kilobytes / 1000:.1f} MB"


LEFT = slice(0)
"""None of the columns."""


def borderless(*columns: str, numbers: slice = LEFT) -> Table:
    """A table without lines whose long cells are folded, never cut; without column names it has no header.

    Args:
        columns: their names.
        numbers: which of them are aligned to the right.
    """
    from rich.table import Table

    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        table.add_column(column, overflow="fold")
    for aligned in table.columns[numbers]:
        aligned.justify = "right"
    return table

"""What the exhibits of both papers have in common when their rows are shown."""

from __future__ import annotations

from leaderboard.claims.record import Record
from leaderboard.figures.material import Material
from leaderboard.layouts import Layout
from leaderboard.reproduction.exhibits import Evidence, PaperTable
from leaderboard.tables.build import build
from leaderboard.tables.model import Table


def material_of(evidence: Evidence) -> Material:
    """What figures are made of."""
    return Material.of(evidence.rows, evidence.store, evidence.command, evidence.data_dir, evidence.order)


def in_layout(layout: Layout, caption: str, published: str) -> PaperTable:
    """The exhibit of that name: its rows in the layout of the same name, published numbers beside them."""

    def show(evidence: Evidence) -> tuple[Table, ...]:
        return build(evidence.rows, layout, command=evidence.command, published=Record.shipped())

    return PaperTable(layout.value, caption, published, show)

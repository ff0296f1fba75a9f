"""What the exhibits of both papers have in common when their rows are shown."""

from __future__ import annotations

from leaderboard.claims.record import Record
from leaderboard.figures.material import Material
from leaderboard.layouts import Layout
from leaderboard.reproduction.exhibits import Evidence
from leaderboard.tables.build import build
from leaderboard.tables.model import Table


def material_of(evidence: Evidence) -> Material:
    """What figures are made of."""
    return Material.of(evidence.rows, evidence.store, evidence.command, evidence.data_dir, evidence.order)


def laid_out(evidence: Evidence, layout: Layout) -> tuple[Table, ...]:
    """The rows in a paper's layout, with published numbers beside them."""
    return build(evidence.rows, layout, evidence.order, evidence.command, Record.shipped())

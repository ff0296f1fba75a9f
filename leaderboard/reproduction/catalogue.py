"""All exhibits of the two papers."""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import unknown
from leaderboard.claims.record import Record
from leaderboard.layouts import Layout
from leaderboard.reproduction.exhibits import Evidence, Exhibit, PaperTable
from leaderboard.tables.build import build
from leaderboard.tables.model import Table


def _ncp_acl_table2(evidence: Evidence) -> tuple[Table, ...]:
    return build(evidence.rows, Layout.TABLE2, evidence.order, evidence.command, Record.shipped())


_ALL: tuple[Exhibit, ...] = (
    PaperTable(
        "ncp-acl/table2",
        "Robust pre-training methods under standard linear fine-tuning: SA, RA, AA on three data sets",
        "every number",
        _ncp_acl_table2,
    ),
)

EXHIBITS: Mapping[str, Exhibit] = {exhibit.name: exhibit for exhibit in _ALL}
"""All of them by name, as the papers number them."""


def exhibit_of(name: str) -> Exhibit:
    """The exhibit called `name`.

    Raises:
        BenchError: if there is none; the message lists the choices.
    """
    if name not in EXHIBITS:
        raise unknown("exhibit", name, EXHIBITS)
    return EXHIBITS[name]

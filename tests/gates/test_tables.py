"""What a fail does to a table."""

from __future__ import annotations

from typing import Any

import pytest

from bench.keys import canonical
from leaderboard.tables.build import build
from leaderboard.tables.model import Mark, Table
from tests.leaderboard.made_rows import frame, rows


def gates(verdict: str) -> dict[str, Any]:
    facts = {"verdict": verdict, "number": 3.0, "threshold": 1.0, "unit": "points", "detail": "", "why": "it stalls"}
    return {"gates": canonical({"O4": facts}), "gate_verdict": verdict}


def marks(table: Table) -> dict[str, Mark]:
    return {line.label: line.cells[-1].mark for line in table.lines}


@pytest.mark.parametrize(
    ("verdict", "best", "note"),
    [
        ("ok", "acl", None),
        ("warn", "acl", "gate O4 warns in every row: it stalls"),
        ("fail", "ncp", "gate O4 fails, so that nothing here is marked or ranked, in every row: it stalls"),
    ],
)
def test_a_fail_keeps_a_method_out_of_bold(verdict: str, best: str, note: str | None) -> None:
    better = rows("acl", [50, 51, 52, 50.5, 51.5], **gates(verdict))
    (table,) = build(frame(better, rows("ncp", [40, 41.2, 42.1, 40.6, 41.7]), rows("amoc", [30, 31.1, 32, 30.7, 31.5])))
    assert [label for label, mark in marks(table).items() if mark is Mark.BEST] == [best]
    acl = next(line for line in table.lines if line.label == "acl")
    assert acl.cells[-1].mean == pytest.approx(51.0), "the number is shown all the same"
    assert [text for text in acl.footnotes if text.startswith("gate")] == ([note] if note else [])


def test_one_seed_that_fails_is_enough() -> None:
    bad, *good = rows("acl", [50, 51, 52]), rows("acl", [50, 51, 52])
    mixed = [*bad[:2], bad[2].model_copy(update=gates("fail"))]
    (table,) = build(frame(mixed, rows("ncp", [40, 41.2, 42.1]), rows("amoc", [30, 31.1, 32])))
    assert marks(table)["acl"] is Mark.NONE
    assert any("in some rows: it stalls" in text for text in table.footnotes)
    assert good

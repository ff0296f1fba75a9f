"""Numbers that are in no row become a table like any other: spread, tests, marks, notes."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import pytest

from leaderboard.rows import Setting
from leaderboard.tables.model import Cell, Key, Mark, Measure, Provenance, State, Table
from leaderboard.tables.numbers import Numbers, from_numbers

SETTING = Setting("quick", None, None, None, None, "Linf", 0.1, "fp32")
LOST = Key("digits", "slf-1", "lost")
WON = Key("cifar10", "slf-1", "won")
MEASURES = {
    "lost": Measure("Lost", "what noise takes", unit="s", decimals=1, higher_is_better=False),
    "won": Measure("Won", "what noise gives", unit=""),
}


def by_seed(*values: float) -> pd.Series:
    return pd.Series(values, dtype=float)


NOISE = {LOST: by_seed(5.1, 4.8, 5.3), WON: by_seed(5.1, 4.8, 5.3)}
AIMED = {LOST: by_seed(60.2, 61.4, 59.1), WON: by_seed(60.2, 61.4, 59.1)}


def built(family: frozenset[Key] = frozenset(), remarks: Sequence[str] = ()) -> Table:
    columns = {key: {"random noise": NOISE[key], "aimed": AIMED[key]} for key in (LOST, WON)}
    columns[WON] = {**columns[WON], "once": by_seed(7.0)}
    numbers = Numbers(columns, MEASURES, family, {"aimed": ("five steps",)})
    return from_numbers(numbers, "a title", SETTING, Provenance("bench table", 6, "0f"), remarks, stub="perturbation")


def cells(table: Table, label: str) -> dict[Key, Cell]:
    [line] = [line for line in table.lines if line.label == label]
    return dict(zip(table.keys, line.cells, strict=True))


def test_a_number_per_seed_becomes_mean_spread_and_n() -> None:
    found = cells(built(), "random noise")[WON]

    assert (found.state, found.n) == (State.OK, 3)
    assert (found.mean, found.spread) == (pytest.approx(5.0667, abs=1e-4), pytest.approx(0.2517, abs=1e-4))


def test_the_best_is_at_the_end_that_the_measure_says() -> None:
    marks = {label: [cell.mark for cell in cells(built(), label).values()] for label in ("random noise", "aimed")}

    assert marks == {"random noise": [Mark.BEST, Mark.SECOND], "aimed": [Mark.SECOND, Mark.BEST]}


def test_what_a_line_lacks_is_missing() -> None:
    found = cells(built(), "once")

    assert (found[LOST].state, found[WON].n) == (State.MISSING, 1)


def test_the_family_alone_is_adjusted() -> None:
    adjusted = {
        column.key: [comparison.p_adjusted is not None for comparison in column.comparisons]
        for column in built(family=frozenset({WON})).tests
    }

    assert adjusted == {LOST: [False], WON: [True]}


def test_lines_columns_and_notes_stand_as_in_other_tables() -> None:
    table = built(remarks=("Six images.",))

    assert [group.title for group in table.groups] == ["digits", "CIFAR-10"]
    assert [line.label for line in table.lines] == ["random noise", "aimed", "once"]
    assert (table.stub, table.lines[1].footnotes) == (("perturbation",), ("five steps",))
    assert (table.name_of(WON), table.measure(LOST).decimals) == ("CIFAR-10 Won", 1)
    assert "Lost: what noise takes, in s; Won: what noise gives: mean ±" in table.notes[0]
    assert table.notes[1] == "Six images."
    assert "Lost, Won: raw p, no claim" in table.notes[2]

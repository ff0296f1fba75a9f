"""Cells by what people call them."""

from __future__ import annotations

import re
from typing import Any

import pytest

from bench.cells import find_cell, name_of
from bench.errors import BenchError
from tests.leaderboard.made_rows import row


def cell(label: str, seed: int = 0, **columns: Any) -> dict[str, Any]:
    return row(label, seed, outcomes="{}", **columns).as_dict()


ROWS = {
    "3fa9aa": cell("ncp", 0, pretrain_key="77aa"),
    "3fb1bb": cell("ncp", 1, pretrain_key="77bb"),
    "c0ffee": cell("ncp[neighbour=3]", pretrain_key="99aa", head_key="99bb"),
    "abcdef": cell("amoc", protocol="alf-1"),
}


def test_a_cell_is_called_by_what_was_asked_for() -> None:
    assert name_of(ROWS["abcdef"]) == "amoc/digits/alf-1/seed0"
    assert name_of(cell("amoc", 2, seed_head=0, seed_attack=1)) == "amoc/digits/slf-1/seed2,head0,attack1"


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("ncp/digits/slf-1/seed1", "3fb1bb"),
        ("ncp[neighbour=3]/digits/slf-1/seed0", "c0ffee"),
        ("ncp[neighbour=3]", "c0ffee"),
        ("amoc", "abcdef"),
        ("3fa9", "3fa9aa"),
        ("abcdef", "abcdef"),
        ("77b", "3fb1bb"),
        ("99b", "c0ffee"),
    ],
)
def test_a_name_a_label_or_the_beginning_of_a_key_will_do(text: str, key: str) -> None:
    assert find_cell(ROWS, text) == key


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ncp", "'ncp' means 2 cells: ncp/digits/slf-1/seed0 (3fa9aa), ncp/digits/slf-1/seed1 (3fb1bb)"),
        ("3f", "means 2 cells"),
        ("amok", "no finished cell is called 'amok'. There are: amoc/digits/alf-1/seed0 (abcdef)"),
        ("alf-1", "There are: amoc/digits/alf-1/seed0 (abcdef)."),
        ("", "There are: ncp/digits/slf-1/seed0 (3fa9aa), "),
    ],
)
def test_other_texts_are_answered_with_candidates(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=re.escape(message)):
        find_cell(ROWS, text)


def test_many_candidates_are_not_all_listed() -> None:
    many = {f"a{number:02}": cell("ncp", number) for number in range(20)}
    with pytest.raises(BenchError, match="and 12 more"):
        find_cell(many, "ncp")


def test_an_empty_store_says_how_cells_come_about() -> None:
    with pytest.raises(BenchError, match="bench run"):
        find_cell({}, "ncp")

"""One spelling per value, one hash per spelling, and recipes compared entry by entry."""

from __future__ import annotations

import pytest

from bench.keys import canonical, changed, digest


def test_one_spelling_per_value() -> None:
    assert canonical({"b": (1, 2), "a": None}) == '{"a":null,"b":[1,2]}'
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 1.5})
    assert len(digest({})) == 24


def test_what_is_no_number_has_no_spelling() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical({"a": float("nan")})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({"a": 1, "b": {"c": 2}}, {"a": 1, "b": {"c": 2}}, []),
        ({"b": {"c": 2, "d": 0}}, {"b": {"c": 3, "d": 0}}, ["b.c: 2 -> 3"]),
        ({"a": 1}, {"z": 2}, ["a: 1 -> none", "z: none -> 2"]),
        ({"a": "x" * 50}, {"a": "y"}, [f"a: {'x' * 37}... -> y"]),
    ],
)
def test_differences_name_the_entry_and_both_values(
    before: dict[str, object], after: dict[str, object], expected: list[str]
) -> None:
    assert list(changed(before, after)) == expected

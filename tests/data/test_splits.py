"""Splits: stratified, fixed by the labels, stable for ever."""

from __future__ import annotations

import numpy as np
import pytest

from bench.data.splits import apportion, complement, fingerprint, fixed_order, stratified, subset

BALANCED = np.repeat(np.arange(4), 25)
SKEWED = np.repeat(np.arange(3), [90, 9, 1])


@pytest.mark.parametrize(
    ("labels", "count", "at_least", "quotas"),
    [
        (BALANCED, 8, 0, [2, 2, 2, 2]),
        (BALANCED, 10, 0, [3, 3, 2, 2]),
        (BALANCED, 100, 0, [25, 25, 25, 25]),
        (SKEWED, 10, 0, [9, 1, 0]),
        (SKEWED, 10, 1, [7, 2, 1]),
        (SKEWED, 3, 1, [1, 1, 1]),
        (SKEWED, 100, 1, [90, 9, 1]),
        (SKEWED, 0, 0, [0, 0, 0]),
    ],
)
def test_class_shares(labels: np.ndarray, count: int, at_least: int, quotas: list[int]) -> None:
    chosen = stratified(labels, count, "test", at_least=at_least)
    assert np.bincount(labels[chosen], minlength=len(quotas)).tolist() == quotas
    assert (np.diff(chosen) > 0).all()


def test_a_purpose_fixes_the_choice_and_another_changes_it() -> None:
    assert stratified(BALANCED, 20, "a").tolist() == stratified(BALANCED, 20, "a").tolist()
    assert stratified(BALANCED, 20, "a").tolist() != stratified(BALANCED, 20, "b").tolist()


def test_choices_are_spread_over_a_class() -> None:
    assert stratified(BALANCED, 8, "held-out").tolist() != [0, 1, 25, 26, 50, 51, 75, 76]


def test_the_order_never_moves_with_a_library() -> None:
    assert fixed_order(8, "held-out").tolist() == [7, 1, 2, 0, 4, 3, 5, 6]


def test_subset_and_complement_part_a_range() -> None:
    chosen = subset(100, 30, "limit")
    assert len(set(chosen.tolist())) == 30
    assert sorted(chosen.tolist() + complement(100, chosen).tolist()) == list(range(100))


def test_apportion_gives_a_tie_to_the_earlier() -> None:
    assert apportion(np.array([1, 1, 1]), 2).tolist() == [1, 1, 0]


def test_fingerprint_depends_on_content_type_and_shape() -> None:
    base = np.arange(6, dtype=np.uint8)
    others: list[np.ndarray] = [
        base[::-1],
        base.reshape(2, 3),
        base.astype(np.int64),
        np.array([0, 1, 2, 3, 4, 6], dtype=np.uint8),
    ]
    assert fingerprint(base) == fingerprint(base.copy()) == fingerprint(np.repeat(base, 2)[::2])
    assert len({fingerprint(array) for array in (base, *others)}) == 5
    assert fingerprint(base[:3], base[3:]) != fingerprint(base)

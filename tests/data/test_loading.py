"""Images are handed out to stages, and to no method that asks for them by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.data import loading
from bench.data.loading import Part, data_set, logged, pool, sealed, training_images, training_set
from bench.errors import StageError
from bench.plan import DataRef

REF = DataRef("digits", "train=40,test=20")
WAYS: dict[str, Callable[[], Any]] = {
    "all": lambda: data_set(REF, Path("data")),
    "training": lambda: training_set(REF, Path("data")),
    "test": lambda: loading.test_images(REF, Path("data")),
    "pool": lambda: pool(REF, Path("data")),
    "pre-training": lambda: training_images(REF, Path("data"), labelled=False),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_who_is_sealed_off_gets_no_images(way: Callable[[], Any]) -> None:
    with (
        sealed("method 'mine'"),
        pytest.raises(StageError, match="method 'mine' asked for the data set 'digits'"),
    ):
        way()
    assert way() is not None


def test_a_seal_inside_a_seal_names_the_inner_one() -> None:
    with sealed("method 'outer'"):
        with sealed("method 'inner'"), pytest.raises(StageError, match="'inner'"):
            WAYS["all"]()
        with pytest.raises(StageError, match="'outer'"):
            WAYS["all"]()


def test_what_is_refused_counts_as_not_read() -> None:
    with logged() as reads:
        with sealed("method 'mine'"), pytest.raises(StageError):
            WAYS["test"]()
        WAYS["training"]()
    assert reads == [("digits", Part.TRAIN)]

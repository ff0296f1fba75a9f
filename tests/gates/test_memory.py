"""G8: an encoder that knows the test images stands on them better than on those that it was trained on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from bench.data.sources import DataSet
from bench.data.views import pixels_of
from bench.gates.subject import Subject
from bench.gates.table import GATES
from bench.gates.verdicts import Result, Verdict, attempted
from tests.gates.conftest import EPS


def found(subject: Subject) -> Result:
    return attempted(GATES["G8"], lambda: GATES["G8"].measure(subject))


def recalling(known: Tensor) -> Callable[[Any, Tensor], Tensor]:
    """Of the known images [N, 3, 8, 8] the one in whose ball an image lies; grey where there is none."""

    def recall(_: Any, x: Tensor) -> Tensor:
        nearest = torch.cdist(x.flatten(1), known.flatten(1), p=torch.inf).min(dim=1)
        inside = (nearest.values < 1.01 * EPS)[:, None, None, None]
        return 0 * x + torch.where(inside, known[nearest.indices], 0.5)

    return recall


def test_who_saw_both_alike_passes(make_subject: Callable[..., Subject], digits: DataSet) -> None:
    assert found(make_subject(training=digits.train)).verdict is Verdict.OK


def test_who_saw_the_training_images_alone_passes(make_subject: Callable[..., Subject], digits: DataSet) -> None:
    some = replace(digits.train, pixels=digits.train.pixels[:60], labels=digits.train.labels[:60])
    assert found(make_subject(recalling(pixels_of(some.pixels)), training=some)).verdict is Verdict.OK


def test_who_saw_the_test_images_alone_is_found(make_subject: Callable[..., Subject], digits: DataSet) -> None:
    result = found(make_subject(recalling(pixels_of(digits.test.pixels)), training=digits.train))
    assert result.verdict is Verdict.FAIL, result
    assert "% of training images stand" in result.detail


def test_without_training_images_it_is_not_run(make_subject: Callable[..., Subject]) -> None:
    assert found(make_subject()).verdict is Verdict.NOT_RUN

"""A classifier of digits that needs no training, and versions of it that are broken in one way each."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext
from bench.attacks.threats import CLEAN
from bench.contract import Encoder
from bench.data.loading import data_set
from bench.data.sources import DataSet
from bench.data.views import pixels_of
from bench.gates.subject import Outcome, Subject
from bench.plan import DataRef
from bench.randomness import Randomness
from bench.store import Store
from bench.sweep import Sweep
from tests.conftest import add_cheap_protocols, cheap_sweep, finished_in
from tests.plugins import write_method

Work = Callable[[nn.Module, Tensor], Tensor]
EPS = 0.1


class Pixels(Encoder):
    """The pixels themselves, after `work`."""

    def __init__(self, work: Work) -> None:
        super().__init__()
        self.routes, self.active_route, self.work = ("main",), "main", work
        self.register_buffer("calls", torch.zeros(()))

    def encode(self, x: Tensor) -> Tensor:
        return self.work(self, x).flatten(1)


@dataclass(frozen=True)
class Cell:
    """A store with one finished cell, `mine`."""

    store: Store
    sweep: Sweep

    @property
    def row(self) -> dict[str, Any]:
        """Its newest row."""
        (row,) = self.store.latest_rows().values()
        return row


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Sweep:
    """A sweep of one throw-away method under a protocol without AutoAttack, carried out."""
    folder = tmp_path_factory.mktemp("finished")
    methods = write_method(folder)
    assert finished_in(folder, methods=methods).summary.ok
    return cheap_sweep(folder, methods=methods)


@pytest.fixture
def cell(finished: Sweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cell:
    """A copy of that store, for one test."""
    add_cheap_protocols(monkeypatch)
    shutil.copytree(finished.out, tmp_path / "runs")
    return Cell(Store.open(tmp_path / "runs"), finished.model_copy(update={"out": tmp_path / "runs"}))


@pytest.fixture(scope="session")
def digits() -> DataSet:
    return data_set(DataRef("digits", "train=400,test=60"), Path())


@pytest.fixture(scope="session")
def make_subject(digits: DataSet) -> Callable[..., Subject]:
    """The nearest class mean, a linear classifier, whose encoder does `work` before."""
    x, y = pixels_of(digits.train.pixels).flatten(1), digits.train.labels
    means = torch.stack([x[y == label].mean(0) for label in range(10)])

    def make(work: Work = lambda _, x: x, scale: float = 1.0, **facts: Any) -> Subject:
        encoder = Pixels(work)
        stored = {name: value.clone() for name, value in encoder.state_dict().items()}
        classifier = Classifier(encoder, scale * means, -scale * means.square().sum(1) / 2)
        context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), lambda *_: None)
        return Subject(classifier, digits.test, EPS, context, stored=stored, **facts)

    return make


@pytest.fixture(scope="session")
def honest(make_subject: Callable[..., Subject]) -> Subject:
    """With the verdicts on the images as they are."""
    plain = make_subject()
    return make_subject(outcomes={"clean": Outcome(CLEAN, plain.right(plain.x), EPS)})

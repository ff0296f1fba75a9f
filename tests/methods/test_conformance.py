"""What every method promises (`bench check`), on all that are installed, or on a plugin (`--method ./mine.py:Mine`)."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import batch_of, bits, digits, pretrained, registry, run_of, seen, tiny, trained

from bench.config import TrainingConfig
from bench.conformance.observe import Trace
from bench.conformance.subject import QUICK, Prepared, Subject
from bench.conformance.suite import CHECKS, conform
from bench.conformance.verdicts import Verdict
from bench.contract import LabelledImages, UnlabelledImages
from bench.data.sources import Limit, load, parse_source
from bench.engine.signs import signs_of_life
from bench.engine.state import TrainingState
from bench.grammar import parse_spec
from bench.history import signs_in
from bench.randomness import Randomness
from bench.registry import Registry
from bench.stages.pretrain import shuffled

ROOT = Path(__file__).parents[2]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per method."""
    if "text" in metafunc.fixturenames:
        installed = [entry.text for entry in Registry.discover().entries]
        metafunc.parametrize("text", metafunc.config.getoption("--method", default=None) or installed)


def test_it_keeps_every_promise(text: str) -> None:
    spec = parse_spec(text)
    method = registry().find(spec.name).load()
    if not spec.options and any(field.is_required() for field in method.Config.model_fields.values()):
        pytest.skip("has options without a default")
    results = list(conform(method, spec.options, QUICK))
    assert [result.check for result in results] == list(CHECKS)
    assert {result.check.name: result.reason for result in results if result.verdict is Verdict.BROKEN} == {}


@pytest.mark.parametrize("name", ["simclr", "ncp", "amoc", "dynacl"])
def test_looking_at_it_after_an_epoch_leaves_no_trace(name: str) -> None:
    subject = Subject(registry().find(name).load())
    method = subject.looped()
    prepared = Prepared(method, *subject.handed(method))
    prepared.step(0)
    before = Trace.of(prepared.net)
    state = TrainingState(prepared.net, prepared.optimiser)
    seen = signs_of_life(method.export(prepared.net), state, prepared.images)
    assert 0 < signs_in(seen)["spread"] < 2
    after = Trace.of(prepared.net)
    assert (before.state, before.modes, before.trainable) == (after.state, after.modes, after.trainable)
    prepared.step(1)


@pytest.mark.parametrize(
    ("method", "data", "epochs", "warmup"),
    [
        ("simclr", "cifar10", 20, 1),  # 10 of 1000: never less than one
        ("simclr", "cifar10", 500, 5),
        ("ncp", "cifar10", 20, 1),
        ("ncp", "cifar100", 20, 2),
        ("ncp", "stl10", 2000, 20),
        ("amoc", "cifar10", 1, 1),
        ("amoc", "cifar10", 100, 5),
        ("moco", "cifar10", 40, 2),
        ("rocl", "cifar10", 200, 2),
        ("deacl", "cifar10", 20, 2),
        ("advcl", "cifar10", 20, 1),
    ],
)
def test_warm_up_scales(method: str, data: str, epochs: int, warmup: int) -> None:
    config = registry().find(method).load().PAPER[data].with_epochs(epochs)
    assert isinstance(config, TrainingConfig)
    assert (config.epochs, config.model_dump()["warmup_epochs"]) == (epochs, warmup)


def test_two_processes_give_the_same_bits() -> None:
    """NCP-ACL, whose upstream is SimCLR: most of what can differ is in these two."""
    script = "import torch, tiny; torch.set_num_threads(1); print(tiny.bits(tiny.trained('ncp')))"
    paths = os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "1"}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == bits(trained("ncp"))


@pytest.mark.parametrize("name", ["simclr", "trades"])
class TestLabels:
    def test_labels_reach_only_a_method_that_is_labelled(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any other is handed no class, neither by the stage nor by the loop, and other classes change no bit of it."""
        handed: list[UnlabelledImages] = []
        method = tiny(name)
        run = type(method).pretrain
        monkeypatch.setattr(
            type(method), "pretrain", lambda self, images, context: handed.append(images) or run(self, images, context)
        )
        images = LabelledImages(digits().pixels, digits().profile, digits().labels.flip(0))
        encoder = pretrained(method, images=images)
        assert type(handed[0]) is (LabelledImages if method.labelled else UnlabelledImages)
        assert (batch_of(handed[0]).classes is not None) is method.labelled
        assert (bits(encoder) == bits(trained(name))) is not method.labelled

    def test_images_reach_pretrain_through_the_shuffle_alone(self, name: str) -> None:
        method = tiny(name)
        assert bits(method.pretrain(seen(labelled=method.labelled), run_of(method))) == bits(trained(name))


def test_the_shuffle_hides_the_classes() -> None:
    """Images sorted by class come in an order that says nothing of it: an own one per seed."""
    labels = load(parse_source("digits"), limit=Limit(train=500), data_dir=Path("data")).train.labels.sort().values
    marked = UnlabelledImages(labels.to(torch.uint8).view(-1, 1, 1, 1), digits().profile)
    first, second = (shuffled(marked, Randomness(seed, "pretrain")).pixels.flatten().long() for seed in (0, 1))
    assert torch.equal(first.sort().values, labels)
    assert not torch.equal(first, second)
    for order in (first, second):
        assert abs(np.corrcoef(order.numpy(), np.arange(500))[0, 1]) < 0.15
        assert (order[1:] == order[:-1]).float().mean() < 0.2

"""What every method promises, checked on all that are installed, or on a plugin (`--method ./mine.py:Mine`)."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny import (
    BATCH,
    batch_of,
    bits,
    bits_of,
    digits,
    pixels,
    pretrained,
    registry,
    run_of,
    seen,
    tiny,
    trained,
)
from torch import Tensor, nn

from bench.attacks.pgd import AttackMode
from bench.config import MethodConfig, ScalesWithEpochs, TrainingConfig
from bench.contract import Encoder, LabelledImages, Method, Passes, UnlabelledImages
from bench.data.profiles import PROFILES
from bench.data.sources import Limit, load, parse_source
from bench.engine.loop import Averages, TrainingMethod, optimiser_update
from bench.engine.signs import signs_of_life
from bench.engine.state import TrainingState
from bench.history import signs_in
from bench.randomness import Randomness
from bench.registry import MethodEntry
from bench.stages.pretrain import shuffled

ROOT = Path(__file__).parents[2]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """One case per method, and per method and settings."""
    texts = metafunc.config.getoption("--method", default=None) or [entry.text for entry in trained_methods()]
    if "text" in metafunc.fixturenames:
        metafunc.parametrize("text", texts)
    if "entry" in metafunc.fixturenames:
        entries = [entry for text in texts for entry in settings_of(text)]
        metafunc.parametrize("entry", entries, ids=lambda entry: f"{entry.method.name}-{entry.table}-{entry.data}")


def trained_methods() -> list[MethodEntry]:
    """All but those that load weights: what they promise stands in tests of their own."""
    return [entry for entry in registry().entries if entry.load().trains]


@dataclass(frozen=True)
class Settings:
    """An entry of a method's PAPER or QUICK table, or the defaults of its `Config`."""

    method: type[Method[Any]]
    table: str
    data: str
    config: MethodConfig


def settings_of(text: str) -> list[Settings]:
    method = registry().find(text).load()
    tables = {"paper": method.PAPER, "quick": method.QUICK}
    return [Settings(method, name, data, config) for name, table in tables.items() for data, config in table.items()]


class TestSettings:
    def test_every_field_says_where_its_value_comes_from(self, text: str) -> None:
        fields = registry().find(text).load().Config.model_fields
        assert [name for name, about in fields.items() if not about.description] == []

    def test_they_are_frozen_and_closed(self, text: str) -> None:
        config = tiny(text).config
        for name in type(config).model_fields:
            with pytest.raises(ValidationError, match="frozen"):
                setattr(config, name, getattr(config, name))
        with pytest.raises(ValidationError, match="Extra inputs"):
            type(config).model_validate({"no such field": 1})

    def test_they_survive_a_process(self, entry: Settings) -> None:
        assert entry.data in PROFILES
        assert type(entry.config) is entry.method.Config
        assert entry.method.Config.model_validate(entry.config.model_dump(mode="json")) == entry.config

    def test_they_build_an_encoder_for_their_data(self, entry: Settings) -> None:
        profile = PROFILES[entry.data]
        with torch.device("meta"):
            encoder = entry.method(entry.config).encoder(profile).eval()
            features = encoder.encode(torch.zeros(2, 3, profile.image_size, profile.image_size))
        assert features.shape[0] == 2
        assert features.ndim == 2

    @pytest.mark.parametrize("epochs", [1, 20])
    def test_lengths_scale_with_the_epochs(self, entry: Settings, epochs: int) -> None:
        scaled = entry.config.with_epochs(epochs)
        if not isinstance(entry.config, TrainingConfig) or not isinstance(scaled, TrainingConfig):
            assert scaled == entry.config
            return
        assert scaled.epochs == epochs
        for name, about in type(scaled).model_fields.items():
            before, after = getattr(entry.config, name), getattr(scaled, name)
            if any(isinstance(mark, ScalesWithEpochs) for mark in about.metadata):
                lengths = zip(before, after, strict=True) if isinstance(before, tuple) else [(before, after)]
                for length, new in lengths:
                    assert new == max(1, round(length * epochs / entry.config.epochs))
            else:
                assert after == before
        assert entry.config.with_epochs(entry.config.epochs) == entry.config


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


class TestEncoder:
    def test_stored_weights_load_strictly_and_give_the_same_features(self, text: str) -> None:
        stored, loaded = trained(text), tiny(text).encoder(digits().profile).eval()
        loaded.load_state_dict(stored.state_dict(), strict=True)
        assert (loaded.routes, loaded.active_route) == (stored.routes, stored.active_route)
        torch.testing.assert_close(loaded.encode(pixels()), stored.encode(pixels()), rtol=1e-4, atol=1e-5)

    def test_it_is_handed_over_in_eval_mode_and_finite(self, text: str) -> None:
        encoder = trained(text)
        assert not any(module.training for module in encoder.modules())
        assert all(bool(tensor.isfinite().all()) for tensor in encoder.state_dict().values())

    def test_every_route_that_it_names_encodes(self, text: str) -> None:
        encoder = trained(text)
        assert encoder.active_route in encoder.routes
        shapes = {encoder.route(name).encode(pixels()).shape for name in encoder.routes}
        assert len(shapes) == 1

    def test_features_do_not_depend_on_batch_mates(self, text: str) -> None:
        encoder, x = trained(text), pixels()
        order = torch.arange(len(x)).flip(0)
        together = encoder.encode(x)
        torch.testing.assert_close(encoder.encode(x[order])[order], together, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(encoder.encode(x[:1]), together[:1], rtol=1e-4, atol=1e-5)

    def test_encoding_changes_nothing(self, text: str) -> None:
        encoder = trained(text)
        before = bits(encoder)
        encoder.encode(pixels())
        assert bits(encoder) == before

    def test_gradients_reach_the_pixels_of_every_image(self, text: str) -> None:
        x = pixels().requires_grad_()
        (slope,) = torch.autograd.grad(trained(text).encode(x).square().sum(), x)
        assert bool(slope.isfinite().all())
        assert bool((slope.flatten(1).abs().amax(dim=1) > 0).all())

    def test_features_tell_images_apart(self, text: str) -> None:
        features = trained(text).encode(pixels())
        assert torch.pdist(features).min() > 0


class TestRandomness:
    def test_nothing_but_the_seed_matters(self, text: str) -> None:
        """Other draws before and during training, from every global generator, change no bit, and are left alone."""

        def disturb(*_: Any) -> None:
            random.random()
            np.random.random()
            torch.rand(3)

        torch.manual_seed(random.getrandbits(32))
        state = torch.get_rng_state()
        again = pretrained(tiny(text))
        assert torch.equal(torch.get_rng_state(), state)
        disturb()
        disturbed = pretrained(tiny(text), report=disturb)
        assert bits(again) == bits(disturbed) == bits(trained(text))

    def test_another_seed_gives_another_encoder(self, text: str) -> None:
        one, other = trained(text, seed=0), trained(text, seed=1)
        assert bits(one) != bits(other)
        assert any(
            not torch.equal(a, b) for a, b in zip(one.parameters(), other.parameters(), strict=True) if a.ndim > 1
        )


def test_two_processes_give_the_same_bits() -> None:
    """NCP-ACL, whose upstream is SimCLR: most of what can differ is in these two."""
    script = "import torch, tiny; torch.set_num_threads(1); print(tiny.bits(tiny.trained('ncp')))"
    paths = os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": paths, "PYTHONHASHSEED": "1"}
    told = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == bits(trained("ncp"))


class TestLabels:
    def test_labels_reach_only_a_method_that_is_labelled(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Any other is handed no class, neither by the stage nor by the loop, and other classes change no bit of it."""
        handed: list[UnlabelledImages] = []
        method = tiny(text)
        run = type(method).pretrain
        monkeypatch.setattr(
            type(method), "pretrain", lambda self, images, context: handed.append(images) or run(self, images, context)
        )
        images = LabelledImages(digits().pixels, digits().profile, digits().labels.flip(0))
        encoder = pretrained(method, images=images)
        assert type(handed[0]) is (LabelledImages if method.labelled else UnlabelledImages)
        assert (batch_of(handed[0]).classes is not None) is method.labelled
        assert (bits(encoder) == bits(trained(text))) is not method.labelled

    def test_images_reach_pretrain_through_the_shuffle_alone(self, text: str) -> None:
        method = tiny(text)
        assert bits(method.pretrain(seen(labelled=method.labelled), run_of(method))) == bits(trained(text))


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


@dataclass
class Counted:
    """Passes through the encoders of a network, in images."""

    forward: int = 0
    backward_input: int = 0
    backward: int = 0

    def watch(self, net: nn.Module) -> None:
        """Count at the first layer with weights of each encoder: every pass goes through it once."""
        for encoder in (part for part in net.modules() if isinstance(part, Encoder)):
            stem = next(part for part in encoder.modules() if list(part.parameters(recurse=False)))
            stem.register_forward_hook(self.passed)

    def passed(self, stem: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        images = len(inputs[0])
        self.forward += images
        kind = "backward" if any(weight.requires_grad for weight in stem.parameters()) else "backward_input"
        if output.requires_grad:
            output.register_hook(lambda _: setattr(self, kind, getattr(self, kind) + images))


class Prepared:
    """A training method and its network before its first step."""

    def __init__(self, text: str) -> None:
        self.method = tiny(text)
        if not isinstance(self.method, TrainingMethod):
            pytest.skip("not trained by the engine's loop")
        self.images, run = seen(labelled=self.method.labelled), run_of(self.method)
        with run.randomness.as_global("initialisation"):
            self.net = self.method.build(self.images, run)
        self.method.prepare(self.net, self.images, run)
        self.net.train()
        self.method.before_epoch(self.net, self.images, run, 0)
        self.optimiser = self.method.optimiser(self.net)

    def step(self, number: int = 0) -> None:
        """One step on a batch of its own."""
        update = optimiser_update(self.optimiser, Averages())
        self.method.step(self.net, batch_of(self.images, number * BATCH, number), update)


RUNNING = re.compile(r"running_(mean|var)$|num_batches_tracked$")


@dataclass
class Trace:
    """All that an attack might leave behind.

    Attributes:
        state: parameters and buffers but for running statistics.
        statistics: those.
    """

    state: str
    statistics: str
    modes: tuple[bool, ...]
    gradients: Mapping[str, Tensor | None] = field(default_factory=dict)
    trainable: tuple[str, ...] = ()

    @classmethod
    def of(cls, net: nn.Module) -> Trace:
        named = dict(net.named_parameters())
        running = {name: tensor for name, tensor in net.state_dict().items() if RUNNING.search(name)}
        rest = {name: tensor for name, tensor in net.state_dict().items() if name not in running}
        return cls(
            bits_of(rest),
            bits_of(running),
            tuple(module.training for module in net.modules()),
            {name: None if weight.grad is None else weight.grad.clone() for name, weight in named.items()},
            tuple(name for name, weight in named.items() if weight.requires_grad),
        )


class TestStep:
    def test_it_costs_the_passes_that_it_declares(self, text: str) -> None:
        prepared, counted = Prepared(text), Counted()
        declared = prepared.method.passes()
        if declared is None:
            pytest.skip("declares no passes")
        counted.watch(prepared.net)
        prepared.step()
        assert declared == Passes(
            *(images / BATCH for images in (counted.forward, counted.backward_input, counted.backward))
        )

    def test_its_attack_leaves_no_undeclared_trace(self, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Running statistics alone may move, where the setting `attack_mode` says so: then they must."""
        prepared = Prepared(text)
        attack = getattr(type(prepared.method), "perturb", None)
        if attack is None:
            pytest.skip("has no `perturb`")
        traces: list[tuple[Trace, Trace]] = []

        def watched(self: Method[Any], net: nn.Module, *rest: Any) -> Tensor:
            before = Trace.of(net)
            perturbed: Tensor = attack(self, net, *rest)
            traces.append((before, Trace.of(net)))
            assert not perturbed.requires_grad
            return perturbed

        monkeypatch.setattr(type(prepared.method), "perturb", watched)
        prepared.step(0)
        prepared.step(1)
        before, after = traces[-1]
        mode = getattr(prepared.method.config, "attack_mode", AttackMode.EVAL)
        assert (after.statistics == before.statistics) is (mode is AttackMode.EVAL)
        assert (after.state, after.modes, after.trainable) == (before.state, before.modes, before.trainable)
        assert any(gradient is not None for gradient in before.gradients.values()), "gradients of the step before"
        for name, gradient in before.gradients.items():
            assert (after.gradients[name] is None) if gradient is None else torch.equal(after.gradients[name], gradient)

    def test_looking_at_it_after_an_epoch_leaves_no_trace(self, text: str) -> None:
        prepared = Prepared(text)
        prepared.step(0)
        before = Trace.of(prepared.net)
        state = TrainingState(prepared.net, prepared.optimiser)
        seen = signs_of_life(prepared.method.export(prepared.net), state, prepared.images)
        assert 0 < signs_in(seen)["spread"] < 2
        after = Trace.of(prepared.net)
        assert (before.state, before.modes, before.trainable) == (after.state, after.modes, after.trainable)
        prepared.step(1)

    def test_it_draws_the_same_numbers_whatever_was_drawn_before(self, text: str) -> None:
        first, second = Prepared(text), Prepared(text)
        first.step()
        torch.rand(7)
        batch_of(second.images).generator("something else").initial_seed()
        second.step()
        assert bits(first.net) == bits(second.net)

    def test_it_trains_all_of_the_scored_route(self, text: str) -> None:
        """A parameter that no step moves is a branch that the loss does not see."""
        prepared = Prepared(text)
        before = {name: weight.clone() for name, weight in prepared.net.named_parameters() if weight.requires_grad}
        for group in prepared.optimiser.param_groups:
            group["lr"] = 0.01
        prepared.step()
        after = dict(prepared.net.named_parameters())
        still = [name for name, weight in before.items() if after[name].grad is None]
        assert still == []
        moved = Counter(not torch.equal(after[name], weight) for name, weight in before.items())
        assert moved[False] == 0

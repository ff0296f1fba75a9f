"""The method under check, made small: a few digits, small batches, a small network, everything trained once."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.config import MethodConfig
from bench.conformance.observe import Observation
from bench.conformance.verdicts import NotApplicable
from bench.contract import Checkpoint, Encoder, LabelledImages, Method, NoCheckpoints, Report, Run, UnlabelledImages
from bench.data.loading import data_set
from bench.data.profiles import DataProfile
from bench.engine.loop import Batch, TrainingMethod, optimiser_update, set_learning_rate, take
from bench.engine.state import Averages
from bench.grammar import parse_spec
from bench.models.resnet import Architecture
from bench.plan import DataRef
from bench.registry import Registry
from bench.stages.pretrain import pretrain
from bench.validation import validated

DATA = "digits"
"""Ships with scikit-learn, so that no check needs a download."""


SMALL_RATE = 0.1
"""Of the highest learning rate: small enough that the loss falls where the gradient says so."""


@dataclass(frozen=True)
class Scale:
    """How much a check looks at.

    Attributes:
        images: to pre-train on.
        batch: images per step.
        epochs: of every training.
        repeats: steps on one batch that are to lower its loss.
    """

    images: int
    batch: int
    epochs: int
    repeats: int


QUICK = Scale(images=64, batch=24, epochs=1, repeats=2)
"""All checks of all methods in seconds."""
FULL = Scale(images=160, batch=32, epochs=3, repeats=16)


def quiet(*_: Any) -> None:
    """Reports and records that nobody reads."""


@cache
def toy_images(count: int) -> LabelledImages:
    """A fixed, stratified subset of the digits; the stage takes the classes off for methods that declare none."""
    train = data_set(DataRef(DATA, f"train={count}"), Path("data")).train
    return LabelledImages(train.pixels, train.profile, train.labels)


def small(method: type[Method[Any]], options: Mapping[str, Any], scale: Scale) -> Method[Any]:
    """`method` with its `quick` settings, or its first ones, cut to the scale; `options` are laid over them.

    Raises:
        BenchError: if an option is unknown or out of range, or one that has no default is not given.
    """
    tables = {**method.PAPER, **method.QUICK}
    base = method.QUICK.get(DATA) or next(iter(tables.values()), None)
    values = _fields(base.with_epochs(scale.epochs)) if base else {}
    cuts = {"epochs": scale.epochs, "batch_size": scale.batch, "architecture": Architecture.SMALL}
    known = {name: value for name, value in cuts.items() if name in method.Config.model_fields}
    return method(validated(method.Config, {**values, **known, **options}, method.name))


def _fields(config: MethodConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in type(config).model_fields}


@cache
def upstream_encoder(text: str, scale: Scale) -> Encoder:
    """What another method needs, trained at the same scale; not to be changed."""
    spec = parse_spec(text)
    return Subject(Registry.discover().find(spec.name).load(), spec.options, scale).trained()


class Kept(NoCheckpoints):
    """Keeps the checkpoint after a number of steps, as JSON data and copies, and lets the training go on.

    Attributes:
        asked: whether the method looked for a checkpoint.
        checkpoint: the one that was kept, if any.
    """

    def __init__(self, after: int | None = None, start: Checkpoint | None = None) -> None:
        """`after` that many steps of this training; `start` is what it goes on from."""
        self.after, self.start, self.steps = after, start, 0
        self.asked, self.checkpoint = False, start

    def latest(self) -> Checkpoint | None:
        """Where to go on from."""
        self.asked = True
        return self.start

    def due(self) -> bool:
        """After the chosen step."""
        self.steps += 1
        return self.steps == self.after

    def keep(self, checkpoint: Checkpoint) -> None:
        """Copy it, unless there is one already: the last one is of a finished training."""
        if self.checkpoint is None:
            tensors = {name: tensor.detach().clone() for name, tensor in checkpoint.tensors.items()}
            self.checkpoint = Checkpoint(tensors, json.loads(json.dumps(dict(checkpoint.facts))))


@dataclass(frozen=True)
class Training:
    """A training that was watched."""

    encoder: Encoder
    seen: Observation
    kept: Kept


@dataclass(frozen=True)
class Repeated:
    """One batch, seen again and again.

    Attributes:
        losses: of each step.
        unheld: parameters that may learn and that the optimiser does not hold.
    """

    losses: list[float]
    unheld: list[str]


@dataclass
class Subject:
    """A method, and what its trainings gave; each is carried out once, when a check first asks for it.

    Attributes:
        method: the class.
        options: laid over its settings.
        scale: how much to look at.
    """

    method: type[Method[Any]]
    options: Mapping[str, Any] = field(default_factory=dict)
    scale: Scale = QUICK

    @property
    def profile(self) -> DataProfile:
        """Of the toy set."""
        return toy_images(self.scale.images).profile

    @property
    def pixels(self) -> Tensor:
        """float32 [16, 3, 8, 8] in [0, 1]."""
        return toy_images(self.scale.images).pixels[:16].float() / 255

    @property
    def steps(self) -> int:
        """Of a training with whole batches alone."""
        return self.scale.epochs * (self.scale.images // self.scale.batch)

    def make(self) -> Method[Any]:
        """The method with its small settings."""
        return small(self.method, self.options, self.scale)

    def looped(self) -> TrainingMethod[Any, Any]:
        """The method, if the engine trains it.

        Raises:
            NotApplicable: if it has a loop of its own, or its training raised.
        """
        method, _ = self.make(), self.training
        if not isinstance(method, TrainingMethod):
            raise NotApplicable("it is not trained by the engine's loop")
        return method

    def trained(
        self,
        method: Method[Any] | None = None,
        seed: int = 0,
        report: Report = quiet,
        record: Any = quiet,
        checkpoints: NoCheckpoints | None = None,
    ) -> Encoder:
        """The encoder of the whole stage, its upstreams first."""
        method = method or self.make()
        upstream = {
            name: copy.deepcopy(upstream_encoder(need.method, self.scale)) for name, need in method.requires().items()
        }
        with torch.enable_grad():  # Checks that only look ask for it without gradients.
            return pretrain(method, toy_images(self.scale.images), upstream, seed, report, record, checkpoints)

    @property
    def training(self) -> Training:
        """Seed 0, watched from the first step to the last; a checkpoint is kept in the middle of an epoch.

        Raises:
            NotApplicable: if it raised; the check `trains` says what.
        """
        if isinstance(self.attempt, Exception):
            raise NotApplicable("its training does not end in an encoder")
        return self.attempt

    @cached_property
    def attempt(self) -> Training | Exception:
        """The training of seed 0, or what it raised."""
        try:
            return self._watched()
        except Exception as error:
            return error

    def _watched(self) -> Training:
        method, seen, kept = self.make(), Observation(self.profile), Kept(after=max(1, self.steps // 2))
        with seen.of(method):
            encoder = self.trained(method, record=seen.records.append, checkpoints=kept)
        return Training(encoder, seen, kept)

    @property
    def encoder(self) -> Encoder:
        """Of seed 0; not to be changed."""
        return self.training.encoder

    @cached_property
    def disturbed(self) -> Encoder:
        """Of seed 0 again, while others draw from the global generators."""

        def disturb(*_: Any) -> None:
            random.random()
            torch.rand(3)

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1234)
            return self.trained(report=disturb)

    @cached_property
    def resumed(self) -> Encoder:
        """Of seed 0, from the checkpoint that was kept."""
        return self.trained(checkpoints=Kept(start=self.training.kept.checkpoint))

    def handed(self, method: Method[Any]) -> tuple[UnlabelledImages, Run]:
        """What the stage hands to the method."""
        found = list[tuple[UnlabelledImages, Run]]()

        def noted(images: UnlabelledImages, run: Run) -> Encoder:
            found.append((images, run))
            return method.encoder(images.profile)

        with patch.object(method, "pretrain", noted):
            self.trained(method)
        return found[0]

    @cached_property
    def learning(self) -> Repeated:
        """One batch again and again, at a small learning rate."""
        return self.repeat(learn=True)

    @cached_property
    def standing_still(self) -> Repeated:
        """The same steps at a learning rate of zero: what a bank or an average does to the loss by itself."""
        return self.repeat(learn=False)

    def repeat(self, *, learn: bool) -> Repeated:
        """The losses of one batch with one set of random numbers, step by step."""
        method = self.looped()
        trainer = Prepared(method, *self.handed(method))
        set_learning_rate(trainer.optimiser, SMALL_RATE * trainer.peak() if learn else 0.0)
        return Repeated([trainer.step() for _ in range(self.scale.repeats)], trainer.unheld())


class Prepared:
    """A method and its network in its first epoch, before its first step."""

    net: nn.Module

    def __init__(self, method: TrainingMethod[Any, Any], images: UnlabelledImages, run: Run) -> None:
        self.method, self.images, self.run = method, images, run
        with run.randomness.as_global("initialisation"):
            self.net = method.build(images, run)
        method.prepare(self.net, images, run)
        self.net.train()
        method.before_epoch(self.net, images, run, 0)
        self.optimiser = method.optimiser(self.net)

    def batch(self, first: int = 0, step: int = 0) -> Batch:
        """A batch of consecutive images."""
        index = torch.arange(first, first + int(self.method.config.batch_size))
        return take(self.images, index, self.run.randomness, 0, step)

    def step(self, first: int = 0, number: int = 0) -> float:
        """One step; returns its loss."""
        averages = Averages()
        self.method.step(self.net, self.batch(first, number), optimiser_update(self.optimiser, averages))
        return averages.means()["loss"]

    def unheld(self) -> list[str]:
        """Parameters that may learn and that the optimiser does not hold."""
        held = {id(weight) for group in self.optimiser.param_groups for weight in group["params"]}
        named = self.net.named_parameters()
        return [name for name, weight in named if weight.requires_grad and id(weight) not in held]

    def peak(self) -> float:
        """The highest learning rate of its schedule, over ten epochs: a single one may be all warm-up."""
        rate, ten = self.method.learning_rate(), range(10)
        return max(rate(epoch, step, 10, 10) for epoch in ten for step in ten)

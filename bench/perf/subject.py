"""What is measured: a method's training step on random pixels, and the bare passes of the same encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.contract import Encoder, Method, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import Views
from bench.engine.loop import TrainingMethod, optimiser_update, set_learning_rate, take
from bench.engine.state import Averages
from bench.errors import BenchError
from bench.grammar import Spec, parse_spec
from bench.randomness import Randomness
from bench.registry import Registry, resolve
from bench.sweep import Schedule

LEAST_IMAGES = 1000
"""Enough for every number of clusters that a method tries."""

Action = Callable[[], object]
"""Something that can be done again and again, and timed."""


def schedule_for(method: type[Method[Any]], profile: DataProfile) -> Schedule:
    """The schedule whose settings are measured: `quick` where the method has such for the data set."""
    return Schedule.QUICK if profile.name in method.QUICK else Schedule.PAPER


def method_for(spec: Spec, profile: DataProfile, batch_size: int | None = None) -> Method[Any]:
    """The method with its settings for a data set, and another batch size if one is given.

    Raises:
        BenchError: for an unknown method, option or value, or where it has no settings for the data set.
    """
    entry = Registry.discover().find(spec.name)
    method = entry.load()
    options = dict(spec.options) | ({"batch_size": batch_size} if batch_size else {})
    return method(resolve(entry, options, profile, schedule_for(method, profile)))


def random_images(profile: DataProfile, count: int, device: str) -> UnlabelledImages:
    """`count` images of random bytes of the profile's size: the speed of a step does not depend on what they show."""
    shape = (count, 3, profile.image_size, profile.image_size)
    generator = Randomness(0, "perf").generator("pixels")
    return UnlabelledImages(torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(device), profile)


def quiet_run(method: Method[Any], profile: DataProfile, device: str) -> Run:
    """A run that reports to nobody and whose upstream encoders are as they were initialised."""
    upstream = {
        name: method_for(parse_spec(need.method), profile).encoder(profile).to(device).requires_grad_(False).eval()
        for name, need in method.requires().items()
    }
    return Run(Randomness(0, "pretrain"), torch.device(device), upstream, lambda *_: None, lambda _: None)


class Subject:
    """A method's network and optimiser in its first epoch, as the training loop holds them.

    Attributes:
        method: with its settings.
        batch_size: images per step.
        step: one whole step: its batch, its learning rate, `method.step` with its update.
    """

    def __init__(self, method: Method[Any], profile: DataProfile, device: str) -> None:
        """Build it on `device`.

        Raises:
            BenchError: if the method does not train by the engine's loop.
        """
        if not isinstance(method, TrainingMethod):
            raise BenchError(f"method '{method.name}' has a `pretrain` of its own, in which no step can be measured.")
        self.method, self.batch_size = method, int(method.config.batch_size)
        self.images = random_images(profile, max(LEAST_IMAGES, 2 * self.batch_size), device)
        self.run = quiet_run(method, profile, device)
        with self.run.randomness.as_global("initialisation"):
            net = method.build(self.images, self.run)
        self.net: nn.Module = net.to(device).to(memory_format=torch.channels_last)
        method.prepare(net, self.images, self.run)
        self.optimiser, self.rate = method.optimiser(net), method.learning_rate()
        net.train()
        method.before_epoch(net, self.images, self.run, 0)
        self.update = optimiser_update(self.optimiser, Averages())
        self.done = 0

    def step(self) -> None:
        """One step on the next batch, at the rate of the first step of training."""
        steps = len(self.images) // self.batch_size
        first = self.done % steps * self.batch_size
        index = torch.arange(first, first + self.batch_size, device=self.images.pixels.device)
        set_learning_rate(self.optimiser, self.rate(0, 0, steps, self.method.config.epochs))
        self.method.step(self.net, take(self.images, index, self.run.randomness, 0, self.done), self.update)
        self.done += 1

    @property
    def pixels(self) -> Tensor:
        """A batch as `step` takes it: float32 [B, 3, H, W]."""
        index = torch.arange(self.batch_size, device=self.images.pixels.device)
        return take(self.images, index, self.run.randomness, 0, 0).pixels

    def encoder(self) -> Encoder:
        """A copy of the encoder that is trained, so that bare passes leave no trace."""
        encoder: Encoder = copy.deepcopy(self.method.export(self.net))
        return encoder


@dataclass(frozen=True)
class BarePasses:
    """The three bare passes of an encoder over one batch; see `arithmetic.Bare`."""

    forward: Action
    to_input: Action
    full: Action

    @classmethod
    def of(cls, encoder: Encoder, pixels: Tensor) -> BarePasses:
        """On networks of their own, since modes and frozen parameters differ."""
        frozen = copy.deepcopy(encoder).requires_grad_(False).eval()
        trained = copy.deepcopy(encoder).requires_grad_(True).train()
        leaf = pixels.detach().clone().requires_grad_(True)
        weights = [weight for weight in trained.parameters() if weight.requires_grad]

        def forward() -> None:
            with torch.no_grad():
                frozen.encode(pixels)

        def to_input() -> None:
            torch.autograd.grad(frozen.encode(leaf).sum(), leaf)

        def full() -> None:
            torch.autograd.grad(trained.encode(pixels).sum(), weights, allow_unused=True)  # other routes are unused

        return cls(forward, to_input, full)


@contextmanager
def recorded_views() -> Iterator[list[tuple[Views, Tensor, int]]]:
    """Collects which views are made of which pixels inside the block, and how many of them at once."""
    calls: list[tuple[Views, Tensor, int]] = []
    make = Views.each

    def noted(self: Views, pixels: Tensor, *generators: torch.Generator) -> tuple[Tensor, ...]:
        calls.append((self, pixels, len(generators)))
        return make(self, pixels, *generators)

    with patch.object(Views, "each", noted):
        yield calls


def views_of(subject: Subject) -> Action:
    """The augmentations of one step alone, seeded as the step seeds them."""
    with recorded_views() as calls:
        subject.step()
    randomness, device = subject.run.randomness, subject.run.device

    def views() -> None:
        for view, pixels, count in calls:
            view.each(pixels, *(randomness.generator(f"view {number}", device=device) for number in range(count)))

    return views

"""What is measured: a method's training step on random pixels, and the bare passes of the same encoder.

Both go the same way: eager, compiled, or replayed from a CUDA graph.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.contract import Encoder, LabelledImages, Method, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import Views
from bench.engine.capture import WARM_UP, Steps, compile_encoders, graphs_for, networks_in, replayed, roomy
from bench.engine.loop import TrainingMethod, set_learning_rate, steps_of, take
from bench.engine.state import TrainingState
from bench.errors import BenchError
from bench.execution import Execution
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


def method_for(spec: Spec, profile: DataProfile, overrides: Mapping[str, Any] | None = None) -> Method[Any]:
    """The method with its settings for a data set, some of which `overrides` replaces.

    Raises:
        BenchError: for an unknown method, option or value, or where it has no settings for the data set.
    """
    entry = Registry.discover().find(spec.name)
    method = entry.load()
    options = {**spec.options, **(overrides or {})}
    return method(resolve(entry, options, profile, schedule_for(method, profile)))


def random_images(profile: DataProfile, count: int, device: str) -> LabelledImages:
    """`count` images of random bytes and class: the speed of a step does not depend on what they show."""
    shape = (count, 3, profile.image_size, profile.image_size)
    generator = Randomness(0, "perf").generator("pixels")
    pixels = torch.randint(256, shape, generator=generator, dtype=torch.uint8).to(device)
    return LabelledImages(pixels, profile, torch.randint(profile.classes, (count,), generator=generator).to(device))


def quiet_run(method: Method[Any], profile: DataProfile, device: str, execution: Execution) -> Run:
    """A run that tells nobody and whose upstream encoders are as they were initialised."""
    upstream = {
        name: method_for(parse_spec(need.method), profile).encoder(profile).to(device).requires_grad_(False).eval()
        for name, need in method.requires().items()
    }
    where, randomness = torch.device(device), Randomness(0, "pretrain")
    return Run(randomness, where, upstream, lambda *_: None, lambda _: None, execution=execution)


class Subject:
    """A method's network and optimiser in its first epoch, as the training loop holds them.

    Attributes:
        method: with its settings.
        batch_size: images per step.
        step: one whole step as training carries it out: its batch, its learning rate, `method.step` with its update.
        eager_step: the same, whatever the execution.
    """

    def __init__(
        self, method: Method[Any], profile: DataProfile, device: str, execution: Execution = Execution.EAGER
    ) -> None:
        """Build it on `device`; `execution` is a resolved one.

        Raises:
            BenchError: if the method does not train by the engine's loop.
        """
        if not isinstance(method, TrainingMethod):
            raise BenchError(f"method '{method.name}' has a `pretrain` of its own, in which no step can be measured.")
        self.method, self.batch_size = method, int(method.config.batch_size)
        images = random_images(profile, max(LEAST_IMAGES, 2 * self.batch_size), device)
        self.images = images if method.labelled else UnlabelledImages(images.pixels, profile)
        self.run = quiet_run(method, profile, device, execution)
        with self.run.randomness.as_global("initialisation"):
            net = method.build(self.images, self.run)
        self.net: nn.Module = net.to(device).to(memory_format=torch.channels_last)
        method.prepare(net, self.images, self.run)
        self.optimiser, self.rate = method.optimiser(net), method.learning_rate()
        net.train()
        method.before_epoch(net, self.images, self.run, 0)
        state = TrainingState(self.net, self.optimiser)
        self.steps = steps_of(method, self.images, self.run, state)
        self.eager_steps = steps_of(method, self.images, replace(self.run, execution=Execution.EAGER), state)
        self.done = 0

    def step(self) -> None:
        """One step on the next batch, at the rate of the first step of training."""
        self._do(self.steps)

    def eager_step(self) -> None:
        """The next step, eagerly."""
        self._do(self.eager_steps)

    def _do(self, steps: Steps) -> None:
        per_epoch = len(self.images) // self.batch_size
        first = self.done % per_epoch * self.batch_size
        index = torch.arange(first, first + self.batch_size, device=self.images.pixels.device)
        set_learning_rate(self.optimiser, self.rate(0, 0, per_epoch, self.method.config.epochs))
        steps(index, 0, self.done)
        self.done += 1

    def settle(self) -> None:
        """Take the steps after which a step that is captured is only replayed."""
        if graphs_for(self.run.execution, self.run.device) is not None:
            for _ in range(WARM_UP + 1):
                self.step()

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
class TrainShares:
    """Which share of a step's passes of a kind is made in train mode, where batch norms take the batch's statistics.

    Attributes:
        forward: of those without any gradient: a momentum encoder's keys are, a teacher's features are not.
        to_input: of those with a gradient of the images alone.
    """

    forward: float
    to_input: float


def train_shares(subject: Subject) -> TrainShares:
    """As one eager step of `subject` makes its passes, image by image."""
    images = Counter[tuple[str, bool]]()

    def passed(network: nn.Module, _: tuple[Tensor, ...], output: Tensor) -> None:
        frozen = not any(weight.requires_grad for weight in network.parameters())
        kind = ("to_input" if frozen else "full") if output.requires_grad else "forward"
        images[kind, network.training] += len(output)

    with ExitStack() as hooks:
        for network in networks_in(subject.net):
            hooks.callback(network.register_forward_hook(passed).remove)
        subject.eager_step()
    return TrainShares(
        *(images[kind, True] / max(1, images[kind, True] + images[kind, False]) for kind in ("forward", "to_input"))
    )


@dataclass(frozen=True)
class BarePasses:
    """The three bare passes of an encoder over one batch; see `arithmetic.Bare`."""

    forward: Action
    to_input: Action
    full: Action

    @classmethod
    def of(
        cls, encoder: Encoder, pixels: Tensor, execution: Execution = Execution.EAGER, *, training: bool = False
    ) -> BarePasses:
        """On networks of their own, since modes and frozen parameters differ.

        Args:
            encoder: stays as it is.
            pixels: [B, 3, H, W] in [0, 1].
            execution: as the step's.
            training: whether the passes without a gradient of the weights are made in train mode, too.
        """
        frozen = copy.deepcopy(encoder).requires_grad_(False).train(training)
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

        if execution is Execution.COMPILED:
            compile_encoders(nn.ModuleList([frozen, trained]))
        return cls(*(carried_out(action, execution, pixels.device) for action in (forward, to_input, full)))


def carried_out(
    action: Action, execution: Execution, device: torch.device, generators: Sequence[torch.Generator] = ()
) -> Action:
    """`action`, which draws from `generators`, as the steps of a training with this `execution` are carried out."""
    if execution is Execution.COMPILED:
        action = roomy(action)
    graphs = graphs_for(execution, device)
    return action if graphs is None else replayed(action, graphs, generators)


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
    """The augmentations of one step alone."""
    with recorded_views() as calls:
        subject.eager_step()
    randomness, device = subject.run.randomness, subject.run.device
    numbered = ((view, pixels, range(count)) for view, pixels, count in calls)
    made = [
        (view, pixels, [randomness.generator(f"view {number}", device=device) for number in numbers])
        for view, pixels, numbers in numbered
    ]

    def views() -> None:
        for view, pixels, generators in made:
            view.each(pixels, *generators)

    return carried_out(views, subject.run.execution, device, [one for _, _, generators in made for one in generators])

"""Looking on while a method trains: what its steps pass, what its attacks return and leave behind."""

from __future__ import annotations

import copy
import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, fields
from functools import partial
from typing import Any, TypeGuard
from unittest.mock import patch

import torch
from torch import Tensor, nn

from bench.attacks import pgd
from bench.conformance.verdicts import NotApplicable
from bench.contract import Encoder, LabelledImages, Method, Passes, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.engine.loop import TrainingMethod

RUNNING = re.compile(r"running_(mean|var)$|num_batches_tracked$")


def bits(net: nn.Module) -> str:
    """A hash of every parameter and buffer."""
    return bits_of(net.state_dict())


def bits_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of named tensors."""
    state = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        state.update(name.encode() + tensor.detach().contiguous().numpy().tobytes())
    return state.hexdigest()


@dataclass(frozen=True)
class Trace:
    """All of a network that an attack might move.

    Attributes:
        state: parameters and buffers but for running statistics.
        statistics: those.
        modes: of every module, whether it trains.
        gradients: hashes of every `.grad`, by parameter; None where there is none.
        trainable: parameters that require a gradient.
    """

    state: str
    statistics: str
    modes: tuple[bool, ...]
    gradients: Mapping[str, str | None]
    trainable: tuple[str, ...]

    @classmethod
    def of(cls, net: nn.Module) -> Trace:
        """The network as it is now."""
        named, everything = dict(net.named_parameters()), net.state_dict()
        running = {name: tensor for name, tensor in everything.items() if RUNNING.search(name)}
        return cls(
            bits_of({name: tensor for name, tensor in everything.items() if name not in running}),
            bits_of(running),
            tuple(module.training for module in net.modules()),
            {name: None if weight.grad is None else bits_of({"": weight.grad}) for name, weight in named.items()},
            tuple(name for name, weight in named.items() if weight.requires_grad),
        )


@dataclass(frozen=True)
class Attack:
    """One call of a method's `perturb`.

    Attributes:
        before, after: the network around it.
        image: what it returned.
        centre: the images that it started from; None where that cannot be told.
        eps: of its ball; None where that cannot be told.
    """

    before: Trace
    after: Trace
    image: Tensor
    centre: Tensor | None
    eps: float | None

    @property
    def moved(self) -> tuple[str, ...]:
        """The parts of the trace that are others afterwards."""
        names = (part.name for part in fields(Trace))
        return tuple(name for name in names if getattr(self.before, name) != getattr(self.after, name))


def first_layer(encoder: Encoder) -> nn.Module:
    """The first layer with weights: every pass goes through it once, and only normalisation before it.

    Raises:
        NotApplicable: if there is none.
    """
    layers = (part for part in encoder.modules() if part is not encoder and list(part.parameters(recurse=False)))
    found = next(layers, None)
    if found is None:
        raise NotApplicable("its encoder has no layer at which to look on")
    return found


@torch.no_grad()
def black_and_white(encoder: Encoder, profile: DataProfile) -> tuple[Tensor, Tensor]:
    """What the first layer is given of a black image and of a white one.

    Raises:
        NotApplicable: if there is no first layer.
    """
    still, seen = copy.deepcopy(encoder).eval(), list[Tensor]()
    hook = first_layer(still).register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    for level in (0.0, 1.0):
        still.encode(torch.full((1, 3, profile.image_size, profile.image_size), level))
    hook.remove()
    return seen[0], seen[1]


def _has_layers(part: nn.Module) -> TypeGuard[Encoder]:
    own = (inner for inner in part.modules() if inner is not part)
    return isinstance(part, Encoder) and any(list(inner.parameters(recurse=False)) for inner in own)


@dataclass
class PassCount:
    """Passes of one step through the encoders of a network, in images, and the pixels that they were given.

    Attributes:
        levels: lowest and highest pixel of each pass.
    """

    profile: DataProfile
    forward: int = 0
    backward_input: int = 0
    backward: int = 0
    levels: list[float] = field(default_factory=list)

    @contextmanager
    def watch(self, net: nn.Module) -> Iterator[None]:
        """Count inside the block."""
        with ExitStack() as hooks:
            for encoder in filter(_has_layers, net.modules()):
                scale = black_and_white(encoder, self.profile)
                handle = first_layer(encoder).register_forward_hook(self._counter(*scale))
                hooks.callback(handle.remove)
            yield

    def _counter(self, black: Tensor, white: Tensor) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def passed(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            learns = any(weight.requires_grad for weight in layer.parameters())
            images, kind = len(inputs[0]), "backward" if learns else "backward_input"
            self.forward += images
            if output.requires_grad:
                count = partial(self._add, kind, images)
                output.register_hook(count)  # type: ignore[no-untyped-call]
            pixels = ((inputs[0].detach() - black) / (white - black)).aminmax()
            self.levels.extend(float(level) for level in pixels)

        return passed

    def _add(self, kind: str, images: int, _: Tensor) -> None:
        setattr(self, kind, getattr(self, kind) + images)

    def per_image(self, batch: int) -> Passes:
        """As a method declares them."""
        return Passes(self.forward / batch, self.backward_input / batch, self.backward / batch)


@dataclass
class Observation:
    """What was seen of one training.

    Attributes:
        handed: what `pretrain` was given.
        labels_read: whether it looked at classes.
        first: passes of the first step, and the images of its batch.
        attacks: every call of `perturb`.
        ascents: every step of `bench.attacks.pgd.ascend`: the centre of the ball, and eps.
        ungraded: parameters that may learn and had no gradient after the first step.
        records: what the method recorded.
    """

    profile: DataProfile
    handed: list[UnlabelledImages] = field(default_factory=list)
    labels_read: bool = False
    first: PassCount | None = None
    batch: int = 0
    attacks: list[Attack] = field(default_factory=list)
    ascents: list[tuple[Tensor, float]] = field(default_factory=list)
    ungraded: tuple[str, ...] = ()
    records: list[Mapping[str, Any]] = field(default_factory=list)

    @contextmanager
    def of(self, method: Method[Any]) -> Iterator[None]:
        """Look on inside the block."""
        with ExitStack() as patches:
            patches.enter_context(patch.object(pgd, "climbed", self._climbed(pgd.climbed)))
            patches.enter_context(patch.object(method, "pretrain", self._pretrain(method.pretrain)))
            if isinstance(method, TrainingMethod):
                patches.enter_context(patch.object(method, "step", self._step(method.step)))
            if perturb := getattr(method, "perturb", None):
                eps = getattr(method.config, "eps", None)
                patches.enter_context(patch.object(method, "perturb", self._perturb(perturb, eps)))
            yield

    def _climbed(self, climbed: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def watched(objective: pgd.Objective, x: Tensor, image: Tensor, attack: pgd.LinfPGD) -> Tensor:
            self.ascents.append((x, attack.eps))
            return climbed(objective, x, image, attack)

        return watched

    def _pretrain(self, pretrain: Callable[..., Encoder]) -> Callable[..., Encoder]:
        def watched(images: UnlabelledImages, run: Any) -> Encoder:
            self.handed.append(images)
            with patch.object(LabelledImages, "__getattribute__", self._read()):
                return pretrain(images, run)

        return watched

    def _read(self) -> Callable[[Any, str], Any]:
        def watched(images: Any, name: str) -> Any:
            self.labels_read |= name == "labels"
            return object.__getattribute__(images, name)

        return watched

    def _step(self, step: Callable[..., None]) -> Callable[..., None]:
        def watched(net: nn.Module, batch: Any, update: Any) -> None:
            if self.first is not None:
                return step(net, batch, update)
            self.first, self.batch = PassCount(self.profile), len(batch.pixels)
            with self.first.watch(net):
                step(net, batch, update)
            named = net.named_parameters()
            self.ungraded = tuple(name for name, weight in named if weight.requires_grad and weight.grad is None)
            return None

        return watched

    def _perturb(self, perturb: Callable[..., Tensor], eps: float | None) -> Callable[..., Tensor]:
        def watched(net: nn.Module, *rest: Any) -> Tensor:
            before, seen = Trace.of(net), len(self.ascents)
            image = perturb(net, *rest)
            own = [x for x in rest if isinstance(x, Tensor)]
            centre, radius = self.ascents[-1] if len(self.ascents) > seen else (own[0] if own else None, eps)
            self.attacks.append(Attack(before, Trace.of(net), image, centre, radius))
            return image

        return watched

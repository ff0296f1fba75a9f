"""What a method promises, and what it is handed: the whole interface of a plugin."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, ClassVar, Generic, Protocol, Self, TypeVar

import torch
from torch import Tensor, nn

from bench.config import MethodConfig
from bench.data.profiles import DataProfile
from bench.errors import BenchError, unknown
from bench.execution import Execution
from bench.randomness import Randomness


@dataclass(frozen=True)
class UnlabelledImages:
    """The pre-training images, shuffled by seed so that no label leaks by position.

    Attributes:
        pixels: uint8 [N, 3, H, W] on the run's device.
        profile: the data set's facts.
    """

    pixels: Tensor
    profile: DataProfile

    def __len__(self) -> int:
        return len(self.pixels)

    def to(self, device: torch.device | str) -> Self:
        """The same images with their tensors on `device`."""
        return replace(self, pixels=self.pixels.to(device))


@dataclass(frozen=True)
class LabelledImages(UnlabelledImages):
    """Images with their classes.

    Attributes:
        labels: int64 [N], 0 .. classes - 1, on the same device.
    """

    labels: Tensor

    def to(self, device: torch.device | str) -> Self:
        """The same images with their tensors on `device`."""
        return replace(super().to(device), labels=self.labels.to(device))


class Encoder(nn.Module):
    """Pixels in [0, 1] to features; normalisation happens inside.

    Attributes:
        routes: the names of its batch-norm routes; at least one.
        active_route: the route that `encode` takes; a new encoder takes the method's own.
        head: the linear layer it was trained with, if any: stored with the weights, scored by protocol `own-1`.
    """

    routes: tuple[str, ...]
    active_route: str
    head: nn.Linear | None

    def __init__(self) -> None:
        super().__init__()
        self.head = None  # not a class attribute: that would hide the module of this name once there is one

    def encode(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, d]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """`encode`, so that the encoder can stand where a module is called."""
        return self.encode(x)

    def logits(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, C], by its own head.

        Raises:
            BenchError: if it has none.
        """
        if self.head is None:
            raise BenchError("this encoder has no head of its own, so it gives no logits: fit one, as 'slf-1' does.")
        logits: Tensor = self.head(self.encode(x))
        return logits

    def route(self, name: str) -> Self:
        """This very encoder (the same parameters and buffers) through another batch-norm route.

        Raises:
            BenchError: if it has no such route; the message lists them.
        """
        if name not in self.routes:
            raise unknown("batch-norm route", name, self.routes)
        other = copy.copy(self)
        other.active_route = name
        return other


@dataclass(frozen=True)
class Upstream:
    """Another method whose encoder is needed first.

    Attributes:
        method: as on the command line: `simclr`, or `simclr[temperature=0.2]`.
    """

    method: str


@dataclass(frozen=True)
class Passes:
    """Passes of the encoder per pre-training image and step: what a method costs.

    Attributes:
        forward: forward passes, those that are differentiated included.
        backward_input: backward passes to the input alone (attacks).
        backward: full backward passes (a full backward costs two forwards).
    """

    forward: float
    backward_input: float = 0
    backward: float = 0

    @property
    def total(self) -> float:
        """In units of one forward pass."""
        return self.forward + self.backward_input + 2 * self.backward


Report = Callable[[int, int, str], None]
"""Called with (steps done, steps in all, a short text) as often as a stage likes."""

Record = Callable[[Mapping[str, Any]], None]
"""Called with facts worth keeping beside the weights: an epoch's mean loss, the number of clusters chosen."""


@dataclass(frozen=True)
class Checkpoint:
    """A training in mid-course, such that the rest of it depends on nothing else.

    Attributes:
        tensors: by name, on any device.
        facts: JSON data.
    """

    tensors: Mapping[str, Tensor]
    facts: Mapping[str, Any]


class Checkpoints(Protocol):
    """Where a training leaves its checkpoints. A method that asks for the latest one promises to look after them."""

    def latest(self) -> Checkpoint | None:
        """The checkpoint to go on from, its tensors on the CPU; None at the start."""
        ...

    def due(self) -> bool:
        """Whether it is time for another one; cheap enough to be asked after every step."""
        ...

    def keep(self, checkpoint: Checkpoint) -> None:
        """Keep a checkpoint. Raises `Interrupted` if the run is to end here."""
        ...


class NoCheckpoints:
    """Keeps none."""

    def latest(self) -> Checkpoint | None:
        """There is none."""
        return None

    def due(self) -> bool:
        """Never."""
        return False

    def keep(self, checkpoint: Checkpoint) -> None:
        """Drop it."""


@dataclass(frozen=True)
class Run:
    """Everything a method may know of the run it is part of.

    Attributes:
        randomness: its random numbers, by named axes.
        device: where images, networks and draws live.
        upstream: the encoders that `requires` asked for, frozen and in eval mode.
        report: progress.
        record: facts that the store keeps.
        checkpoints: where a training can be resumed from.
        per_image: what `Method.per_image` said of each image, in the order of the images.
        execution: how the engine carries out steps; never `auto`.
    """

    randomness: Randomness
    device: torch.device
    upstream: Mapping[str, Encoder]
    report: Report
    record: Record
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)
    per_image: Mapping[str, Tensor] = field(default_factory=dict)
    execution: Execution = Execution.EAGER


ConfigT = TypeVar("ConfigT", bound=MethodConfig)


class Origin(StrEnum):
    """Where an encoder that is there already comes from."""

    FILE = "a file of weights"
    CODE = "a Python function"


class Method(ABC, Generic[ConfigT]):
    """Turns images into an encoder. A plugin is one subclass.

    Attributes:
        name: lower case, `-` between words; what `--methods` takes.
        Config: its settings, a subclass of `MethodConfig`.
        PAPER: the paper's settings per data set. Nothing is borrowed: one that is not here needs `settings=NAME`.
        QUICK: settings of the CPU schedule `quick`, chosen on the held-out slice.
        DISPUTES: where paper and released code disagree, or the code only crashes, by the setting that decides, or by
            two words or more where none does; each with its place and what is done here. `bench list methods NAME`.
        trains: whether `pretrain` trains. Where it does not (it reads weights), neither data set nor schedule has a
            say: there are no settings per data set, and `Config` by itself holds.
        reads: of a method that stands for an encoder which is there already, the setting that says where, by the kind
            of place that it can be in; `bench evaluate` finds it by this.
        summary: one line for `bench list methods`.
        labelled: whether `pretrain` is handed `LabelledImages`. No other method ever sees a class.
    """

    name: ClassVar[str]
    Config: ClassVar[type[MethodConfig]]
    PAPER: ClassVar[Mapping[str, MethodConfig]] = {}
    QUICK: ClassVar[Mapping[str, MethodConfig]] = {}
    DISPUTES: ClassVar[Mapping[str, str]] = {}
    trains: ClassVar[bool] = True
    reads: ClassVar[Mapping[Origin, str]] = {}
    summary: ClassVar[str] = ""
    labelled: ClassVar[bool] = False

    def __init__(self, config: ConfigT) -> None:
        self.config = config

    def requires(self) -> Mapping[str, Upstream]:
        """The stages whose encoders it needs, by the name under which `run.upstream` holds them."""
        return {}

    def passes(self) -> Passes | None:
        """The cost of a step per image, or None where it cannot be said."""
        return None

    def passes_per_epoch(self) -> Passes | None:
        """The cost of an epoch per pre-training image, on average over the run.

        That of a step, unless epochs leave images out, or something else passes the encoder between steps.
        """
        return self.passes()

    def check(self, images: int | None = None) -> None:
        """Refuse settings that cannot be met, while the sweep is planned.

        Args:
            images: how many there will be to pre-train on; None where that is not known yet.

        Raises:
            BenchError: naming the setting, the reason and the remedy.
        """

    def external_data(self) -> bool:
        """Whether it sees images or weights from outside the pre-training pool, its upstreams left aside."""
        return False

    def labelled_pretraining(self) -> bool:
        """Whether it sees the classes of the images, its upstreams left aside."""
        return self.labelled

    def own_head(self) -> bool:
        """Whether its encoders carry a head, which protocol `own-1` scores."""
        return self.labelled

    def per_image(self, images: int) -> Mapping[str, Tensor]:
        """What the user's files say of each pre-training image, [images, ...] each, in the order of the source.

        `pretrain` finds them in `run.per_image`, shuffled as the images are. Positions themselves are handed to no
        method: they would tell classes apart in files sorted by class. A method that has notes and does not declare
        `external_data` or `labelled_pretraining` is refused.
        """
        return {}

    @abstractmethod
    def encoder(self, profile: DataProfile) -> Encoder:
        """An encoder of the architecture that `pretrain` returns; stored weights are loaded into it strictly."""

    @abstractmethod
    def pretrain(self, images: UnlabelledImages, run: Run) -> Encoder:
        """Train on `images`, which are `LabelledImages` where the method is `labelled`, and return the encoder.

        Raises:
            StageError: if training cannot go on (a loss that is not finite).
        """

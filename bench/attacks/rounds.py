"""An attack as rounds of batches, and where it stands between two of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.threats import Norm
from bench.contract import Checkpoint

Perturb = Callable[[Tensor, int], Tensor]
"""Positions [B] of images, and the number of their batch, to adversarial versions [B, 3, H, W] of these images."""


@dataclass(frozen=True)
class Target:
    """Whom an attack attacks, and within which ball.

    Attributes:
        classifier: pixels to logits.
        x: float32 [N, 3, H, W] in [0, 1].
        y: int64 [N].
        eps: radius of the ball, in units of [0, 1] pixels.
        norm: of the ball.
    """

    classifier: Classifier
    x: Tensor
    y: Tensor
    eps: float
    norm: Norm = Norm.LINF


@dataclass(frozen=True)
class Round:
    """One way over the images: a restart of PGD, one of the attacks of AutoAttack.

    Attributes:
        name: as progress shows it.
        perturb: attacks a batch; depends on its arguments alone, never on the batches before.
        spares_fallen: whether images that fell in an earlier round are left out, and the rest moves up.
    """

    name: str
    perturb: Perturb
    spares_fallen: bool = False


@dataclass(frozen=True, eq=False)
class Course:
    """Where an attack stands between two batches: all that the rest of it depends on.

    Attributes:
        correct: bool [N], whether an image is classified correctly as it is and after all rounds that are done.
        standing: bool [N], the images that no round has made fall, by the verdict on the batch that attacked them.
        round: rounds that are done.
        batch: batches of the round at work that are done.
        fallen: of the round at work, batch by batch: positions [n] of the images that fell, and what made them fall.
        accuracies: share of images that stood after each round that is done, by its name; first of all `clean`.
    """

    correct: Tensor
    standing: Tensor
    round: int = 0
    batch: int = 0
    fallen: tuple[tuple[Tensor, Tensor], ...] = ()
    accuracies: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def start(cls, correct: Tensor) -> Course:
        """Before the first batch, when all that stand are those classified correctly as they are."""
        return cls(correct, correct, accuracies={"clean": _share(correct)})

    @property
    def is_new(self) -> bool:
        """Whether no batch was attacked yet."""
        return self.round == self.batch == 0

    @property
    def accuracy(self) -> float:
        """Share of images that stand so far, 0 to 1."""
        return _share(self._survivors())

    def batches(self, round_: Round, size: int) -> Sequence[Tensor]:
        """The positions of the images that the round at work attacks, `size` at a time."""
        whom = self.standing if round_.spares_fallen else torch.ones_like(self.standing)
        return torch.split(whom.nonzero().flatten(), size) if whom.any() else ()

    def after_batch(self, index: Tensor, adversarial: Tensor) -> Course:
        """One batch further, in which the images at `index` fell."""
        return replace(self, batch=self.batch + 1, fallen=(*self.fallen, (index, adversarial)))

    def after_round(self, name: str, correct: Tensor) -> Course:
        """One round further, whose images were classified afresh."""
        survivors = self._survivors()
        accuracies = {**self.accuracies, name: _share(survivors)}
        return Course(self.correct & correct, survivors, self.round + 1, accuracies=accuracies)

    def adversarial(self, x: Tensor) -> Tensor:
        """What the round at work has made of the images [N, 3, H, W]: those that stand are as they were."""
        images = x.clone()
        for index, fooling in self.fallen:
            images[index] = fooling
        return images

    def checkpoint(self) -> Checkpoint:
        """The course in tensors and JSON data."""
        tensors = {"correct": self.correct, "standing": self.standing}
        for number, (index, adversarial) in enumerate(self.fallen):
            tensors |= {f"index.{number}": index, f"adversarial.{number}": adversarial}
        facts = {"round": self.round, "batch": self.batch, "accuracies": dict(self.accuracies)}
        return Checkpoint(tensors, facts)

    @classmethod
    def restored(cls, checkpoint: Checkpoint, device: torch.device) -> Course:
        """The course that was kept."""
        tensors = {name: value.to(device) for name, value in checkpoint.tensors.items()}
        batches = range(checkpoint.facts["batch"])
        fallen = tuple((tensors[f"index.{number}"], tensors[f"adversarial.{number}"]) for number in batches)
        return cls(tensors["correct"], tensors["standing"], fallen=fallen, **checkpoint.facts)

    def _survivors(self) -> Tensor:
        survivors = self.standing.clone()
        for index, _ in self.fallen:
            survivors[index] = False
        return survivors


def nothing(_: Course) -> None:
    """The check that is not there."""


@dataclass(frozen=True)
class Procedure:
    """An attack.

    Attributes:
        rounds: in their order.
        before, after: what it looks at before its first and after its last round.
    """

    rounds: Sequence[Round]
    before: Callable[[Course], None] = nothing
    after: Callable[[Course], None] = nothing


def _share(flags: Tensor) -> float:
    return int(flags.sum()) / len(flags)

"""What AIR and RCS share: their repositories' own ACL and DynACL, in one network.

It is not `dynacl`: there is no momentum encoder, crops are bicubic, the learning rate changes with every step, and the
weights of the streams change with the strength. Official code: GodXuxilie/Enhancing_ACL_via_AIR at 15cf0a7 (AIR below),
GodXuxilie/Efficient_ACL_via_RCS at 6fc9aef (RCS).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import torch
from torch import Tensor

from bench.config import EpochLength, Fraction
from bench.contract import Encoder, Run, UnlabelledImages
from bench.engine.schedules import WarmupCosine, acl
from bench.models.encoder import ResNetEncoder
from bench.models.projectors import Head
from methods.parts.dual_stream import Branch, DualStreamConfig, DualStreamMethod, annealed


class Base(StrEnum):
    """What is built upon."""

    ACL = "acl"
    """Full strength and equal weights throughout."""
    DYNACL = "dynacl"
    """Strength falls, and weight moves to the adversarial stream."""


class FadingConfig(DualStreamConfig):
    """Settings of both; the defaults are those for CIFAR-10."""

    base: Base = Base.DYNACL
    """AIR pretraining.py, option --DynAug, which its README sets; RCS DynACL_RCS.py (`dynacl`), ACL_RCS.py (`acl`)."""
    plateau: EpochLength = 50
    """Epochs of equal strength: AIR pretraining.py:283-288; RCS DynACL_RCS.py:292-296."""
    weight_range: Fraction = 2 / 3
    """lambda: AIR pretraining.py:333-348; RCS DynACL_RCS.py:361-367."""


class FadingBranch(Branch):
    """A branch that knows this epoch's strength of augmentation."""

    strength: Tensor

    def __init__(self, encoder: ResNetEncoder, head: Head) -> None:
        super().__init__(encoder, head)
        self.register_buffer("strength", torch.ones(()))


ConfigT = TypeVar("ConfigT", bound=FadingConfig)
NetT = TypeVar("NetT", bound=FadingBranch)


class FadingMethod(DualStreamMethod[ConfigT, NetT]):
    """Schedules and export of both."""

    def learning_rate(self) -> WarmupCosine:
        """Per step: a linear warm-up, then cosine to 1e-6, as far as the epoch is, however many steps it has.

        AIR pretraining.py:243-250, 324; RCS DynACL_RCS.py:313-323.
        """
        return acl(self.config.learning_rate, self.config.warmup_epochs)

    def before_epoch(self, net: NetT, images: UnlabelledImages, run: Run, epoch: int) -> Tensor | None:
        """The epoch's strength s."""
        net.strength.fill_(self.strength(epoch))
        return None

    def strength(self, epoch: int) -> float:
        """s: 1, .95, ..., .05 over 1000 epochs (from 0)."""
        c = self.config
        return annealed(epoch, c.plateau, c.epochs) if c.base is Base.DYNACL else 1.0

    def weight(self, net: NetT) -> Tensor:
        """w = lambda (1 - s), by which the adversarial stream outweighs the clean one; a scalar."""
        return self.config.weight_range * (1 - net.strength)

    def export(self, net: NetT) -> Encoder:
        """The encoder on its adversarial route, without the projector."""
        return net.encoder

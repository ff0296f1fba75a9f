"""What the supervised baselines of AMOC's tables 5 and 6 share: a ResNet with its head, trained on labelled images.

AMOC (4.1) says of them: "default settings of original papers", PGD-10 within 8/255, and nothing more; no code of them
was released. So optimiser and schedule are each paper's own, network, augmentation and attack those of AMOC.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from bench.attacks.pgd import LinfPGD, ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, ScalesWithEpochs, TrainingConfig
from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import HorizontalFlip, PaddedCrop, PadMode, Views
from bench.engine.loop import Batch, TrainingMethod
from bench.engine.schedules import StepDecay
from bench.models.encoder import Normalisation, ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture, Init


class SupervisedConfig(TrainingConfig):
    """Settings of training on labels; the defaults are those for CIFAR-10."""

    epochs: EpochLength
    batch_size: Count = 128
    """The three papers, and He et al. 2016, 4.2."""
    architecture: Architecture = Architecture.RESNET18_PADDING1
    """AMOC 4.1."""
    normalisation: Normalisation = Normalisation.DATASET
    """AMOC src/config.py:77-89."""
    learning_rate: Positive = 0.1
    """The three papers, and He et al. 2016, 4.2."""
    milestones: Annotated[tuple[Count, ...], ScalesWithEpochs()]
    """Epochs from 0 that are the first with a tenth of the rate before."""
    momentum: Fraction = 0.9
    """The three papers, and He et al. 2016, 4.2."""
    weight_decay: NonNegative = 2e-4
    """MadryLab/cifar10_challenge config.json; TRADES train_trades_cifar10.py."""
    crop_padding: Count = 4
    """AMOC 4.1: reflected."""
    flip_probability: Fraction = 0.5
    """AMOC 4.1."""


class AdversarialConfig(SupervisedConfig):
    """Settings of adversarial training on labels."""

    eps: Positive = 8 / 255
    """AMOC 4.1."""
    attack_steps: Count = 10
    """AMOC 4.1."""
    step_fraction: Positive = 0.25
    """Relative step size: AMOC table 2 gives it for PGD-10."""

    @property
    def attack(self) -> LinfPGD:
        """The budget."""
        return LinfPGD(self.eps, self.attack_steps, self.step_fraction * self.eps)


DIGITS: Mapping[str, Any] = {
    "architecture": Architecture.SMALL,
    "epochs": 20,
    "milestones": (15, 18),
    "crop_padding": 1,
    "flip_probability": 0.0,
}
"""What all of them have on `digits` with the schedule `quick`."""

SupervisedConfigT = TypeVar("SupervisedConfigT", bound=SupervisedConfig)
AdversarialConfigT = TypeVar("AdversarialConfigT", bound=AdversarialConfig)


RECIPE = {
    "the baselines' recipe": (
        "AMOC 4.1 says 'default settings of original papers' and no more, nor was code released; schedule and "
        "optimiser are each paper's own here, network, augmentation and attack AMOC's"
    )
}
"""A dispute that all of them have."""


class Supervised(TrainingMethod[SupervisedConfigT, ResNetEncoder]):
    """An encoder and its head, trained end to end; a method brings the step."""

    labelled = True
    DISPUTES: ClassVar[Mapping[str, str]] = RECIPE
    drop_last = False  # as in TRADES train_trades_cifar10.py

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """A ResNet with a single batch-norm route, and a head for the classes of the data."""
        c = self.config
        encoder = resnet_encoder(c.architecture, profile, normalisation=c.normalisation, init=Init.KAIMING_FAN_OUT)
        encoder.head = nn.Linear(encoder.feature_dim, profile.classes)
        return encoder

    def build(self, images: UnlabelledImages, run: Run) -> ResNetEncoder:
        """The encoder is all that is trained."""
        return self.encoder(images.profile)

    def optimiser(self, net: ResNetEncoder) -> torch.optim.Optimizer:
        """SGD over encoder and head."""
        c = self.config
        return torch.optim.SGD(net.parameters(), c.learning_rate, momentum=c.momentum, weight_decay=c.weight_decay)

    def learning_rate(self) -> StepDecay:
        """A tenth from each milestone on."""
        return StepDecay(self.config.learning_rate, self.config.milestones)

    def view(self, batch: Batch) -> Tensor:
        """The batch as crops of the padded images, or of their mirror images (AMOC 4.1)."""
        c = self.config
        views = Views(PaddedCrop(c.crop_padding, PadMode.REFLECT), HorizontalFlip(c.flip_probability))
        return views(batch.pixels, batch.generator("view"))

    def export(self, net: ResNetEncoder) -> Encoder:
        """Encoder and head."""
        return net


class AdversarialTraining(Supervised[AdversarialConfigT]):
    """Training on images that PGD perturbs, from a uniform start in the ball."""

    def perturb(self, net: ResNetEncoder, x: Tensor, batch: Batch) -> Tensor:
        """x + delta that maximises the cross-entropy in eval mode."""
        start = uniform_start(x, self.config.eps, batch.generator("attack"), clip=True)
        with undisturbed(net):
            return ascend(lambda x: cross_entropy(net.logits(x), batch.labels), x, start, self.config.attack)

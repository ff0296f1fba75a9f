"""What ACL, DynACL, AIR and RCS share: two views of each image in two streams, clean and adversarial.

The streams share all weights but the batch norms, which each has for itself, projector included. Official code, one
lineage: VITA-Group/Adversarial-Contrastive-Learning at 399eabd (ACL below), PKU-ML/DYNACL at 7d143db (DynACL).
"""

from __future__ import annotations

from enum import StrEnum
from typing import TypeVar

import torch
from torch import Tensor, nn

from bench.attacks.pgd import LinfPGD, ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, TrainingConfig
from bench.data.profiles import DataProfile
from bench.data.views import (
    ColourJitter,
    Grayscale,
    HorizontalFlip,
    Interpolation,
    RandomResizedCrop,
    Strength,
    Views,
)
from bench.engine.loop import Batch, TrainingMethod
from bench.engine.optim import ACL, Lars
from bench.models.encoder import Normalisation, ResNetEncoder, resnet_encoder
from bench.models.projectors import Head, Projector
from bench.models.resnet import Architecture, Init
from methods.parts.losses import nt_xent


class Route(StrEnum):
    """The batch norm of each stream; the official names are `normal` and `pgd`."""

    CLEAN = "clean"
    ADVERSARIAL = "adv"


CLEAN, ADVERSARIAL = Route


class DualStreamConfig(TrainingConfig):
    """Settings of the lineage; the defaults are ACL's for CIFAR-10."""

    epochs: EpochLength = 1000
    """ACL and DynACL; ACL's projected schedule ends at step 98,000."""
    batch_size: Count = 512
    """ACL and DynACL; the last, smaller batch of an epoch is kept."""
    architecture: Architecture = Architecture.RESNET18_PADDING1
    """ACL models/resnet_multi_bn.py:248-260; DynACL models/resnet_multi_bn.py:267-270."""
    normalisation: Normalisation = Normalisation.IMAGENET
    """ACL models/resnet_multi_bn.py:232-233, DynACL :251-252: ImageNet's statistics on every data set."""
    projector: Head = Head.ACL
    """ACL and DynACL models/resnet_multi_bn.py:181-216: three layers; ACL's first commit has two, `acl-two-layers`."""
    temperature: Positive = 0.5
    """ACL utils.py:233-249; DynACL utils.py:282-306."""
    eps: Positive = 8 / 255
    """ACL train_simCLR.py:351-385; DynACL train_DynACL.py:431-450."""
    attack_steps: Count = 5
    """Option --pgd_iter of both."""
    step_fraction: Positive = 0.25
    """Step 2/255 as a fraction of eps; ACL train_simCLR.py:351-385; DynACL train_DynACL.py:431-450."""
    learning_rate: Positive = 5.0
    """ACL train_simCLR.py:119-142; DynACL train_DynACL.py:171-179."""
    warmup_epochs: EpochLength = 10
    """ACL train_simCLR.py:119-142; DynACL train_DynACL.py:171-179."""
    momentum: Fraction = 0.9
    """optimizer/lars.py of both."""
    weight_decay: NonNegative = 1e-6
    """ACL train_simCLR.py:119-142; DynACL train_DynACL.py:171-179. On biases and batch norms too."""
    crop_scale: tuple[Fraction, Fraction] = (0.1, 1.0)
    """ACL train_simCLR.py:73-82; DynACL train_DynACL.py:452-465 at full strength."""
    crop_interpolation: Interpolation = Interpolation.BICUBIC
    """ACL train_simCLR.py:73-82; AIR pretraining.py:106-116."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """ACL train_simCLR.py:73-82; DynACL train_DynACL.py:452-465 at full strength."""
    jitter_probability: Fraction = 0.8
    """ACL train_simCLR.py:73-82; DynACL train_DynACL.py:452-465 at full strength."""
    gray_probability: Fraction = 0.2
    """ACL train_simCLR.py:73-82; DynACL train_DynACL.py:452-465 at full strength."""
    flip_probability: Fraction = 0.5
    """ACL train_simCLR.py:73-82; DynACL train_DynACL.py:452-465 at any strength."""


class Branch(nn.Module):
    """Encoder and projector, both with a batch norm per stream."""

    def __init__(self, encoder: ResNetEncoder, head: Head) -> None:
        super().__init__()
        self.encoder = encoder
        self.projector = Projector(head, encoder.feature_dim, encoder.routes)

    def forward(self, x: Tensor, route: str) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> projections [B, d], not normalised; all images are one batch-norm batch."""
        projections: Tensor = self.projector(self.encoder.features(x, route), route)
        return projections


ConfigT = TypeVar("ConfigT", bound=DualStreamConfig)
NetT = TypeVar("NetT", bound=nn.Module)


class DualStreamMethod(TrainingMethod[ConfigT, NetT]):
    """Encoder, views, attack and optimiser of the lineage.

    Its networks are called with (images [2B, 3, H, W], route) and return projections [2B, d]: all first views, then
    all second views.
    """

    drop_last = False  # ACL train_simCLR.py:205-227; DynACL train_DynACL.py:267-312

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """A batch norm per stream; the adversarial one is scored (ACL train_trades.py:373-421, bnNameCnt 1)."""
        c = self.config
        return resnet_encoder(
            c.architecture,
            profile,
            routes=tuple(Route),
            active_route=ADVERSARIAL,
            normalisation=c.normalisation,
            init=Init.KAIMING_FAN_OUT,
        )

    def branch(self, profile: DataProfile) -> Branch:
        """A new encoder with its projector."""
        return Branch(self.encoder(profile), self.config.projector)

    def optimiser(self, net: NetT) -> torch.optim.Optimizer:
        """LARS over all that is trained, nothing excluded (optimizer/lars.py:64-105)."""
        c = self.config
        trained = [weight for weight in net.parameters() if weight.requires_grad]
        return Lars(trained, c.learning_rate, form=ACL, momentum=c.momentum, weight_decay=c.weight_decay)

    def view(self, strength: Strength = 1.0) -> Views:
        """SimCLR's augmentation without blur; at `strength` 0 nothing but the flip is left (DynACL's T(s))."""
        c, (smallest, largest) = self.config, self.config.crop_scale
        fading = smallest * strength + largest * (1 - strength)
        brightness, contrast, saturation, hue = (part * strength for part in c.jitter)
        return Views(
            RandomResizedCrop((fading, largest), interpolation=c.crop_interpolation),
            HorizontalFlip(c.flip_probability),
            ColourJitter(brightness, contrast, saturation, hue, p=c.jitter_probability * strength),
            Grayscale(c.gray_probability * strength),
        )

    def two_views(self, batch: Batch, strength: Strength = 1.0) -> Tensor:
        """[2B, 3, H, W]: a view of each image, then another view of each."""
        view = self.view(strength)
        return torch.cat([view(batch.pixels, batch.generator(name)) for name in ("first view", "second view")])

    def contrast(self, projections: Tensor) -> Tensor:
        """NT-Xent between the halves of [2B, d], a scalar."""
        first, second = projections.chunk(2)
        return nt_xent(first, second, self.config.temperature)

    def perturb(self, net: NetT, x: Tensor, batch: Batch) -> Tensor:
        """Both views perturbed at once to raise the adversarial stream's NT-Xent, in eval mode; the start not clipped.

        `PGD_contrastive`: ACL train_simCLR.py:351-385; DynACL train_DynACL.py:431-450.
        """
        c = self.config
        attack = LinfPGD(eps=c.eps, steps=c.attack_steps, step_size=c.step_fraction * c.eps)
        start = uniform_start(x, c.eps, batch.generator("attack"), clip=False)
        with undisturbed(net):
            return ascend(lambda x: self.contrast(net(x, ADVERSARIAL)), x, start, attack)


def annealed(epoch: int, plateau: int, epochs: int) -> float:
    """DynACL's strength of augmentation in `epoch` (from 0): from 1 down, by plateau / epochs every `plateau` epochs.

    s(e) = 1 - (e - 1) / E at the epochs e = 1, 51, 101, ... (from 1) of its train_DynACL.py:217-221, where the
    plateau is R = 50 of E = 1000 epochs: 1, .95, ..., .05.
    """
    return 1 - epoch // plateau * plateau / epochs

"""SimCLR (Chen et al., 2020), as NCP-ACL trains its stage 1: the undefended control.

Recipe: NCP-ACL, appendix A.2.1, on solo-learn's implementation (solo-learn at 9187ea3). Its online classifier, which
sees labels and detached features, is left out: no gradient of it reaches the encoder.
"""

from __future__ import annotations

import torch

from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, TrainingConfig
from bench.contract import Encoder, Passes, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import (
    ColourJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Interpolation,
    RandomResizedCrop,
    Views,
)
from bench.engine.loop import Batch, TrainingMethod, Update
from bench.engine.optim import SOLO_LEARN, Lars
from bench.engine.schedules import Per, WarmupCosine, solo_learn
from bench.models.encoder import Normalisation, ResNetEncoder, resnet_encoder
from bench.models.projectors import Head
from bench.models.resnet import Architecture, Init
from methods.parts.losses import nt_xent
from methods.parts.projected import Projected


class SimCLRConfig(TrainingConfig):
    """Settings of SimCLR; the defaults are those for CIFAR-10."""

    epochs: EpochLength = 1000
    """NCP-ACL A.2.1."""
    batch_size: Count = 512
    """NCP-ACL A.2.1."""
    architecture: Architecture = Architecture.RESNET18_PADDING2
    """solo-learn solo/methods/base.py:198-203: 3x3 stem of padding 2, no pooling."""
    init: Init = Init.SOLO
    """solo-learn base.py:198-203: the stem is made after torchvision's initialisation and keeps nn.Conv2d's default."""
    normalisation: Normalisation = Normalisation.DATASET
    """solo-learn pretrain_dataloader.py:206-209."""
    temperature: Positive = 0.5
    """NCP-ACL A.2.1."""
    learning_rate: Positive = 0.8
    """The paper is silent; solo-learn's default .4 x batch/256."""
    warmup_epochs: EpochLength = 10
    """NCP-ACL A.2.1: linear warm-up; solo-learn steps it per iteration from 3e-5."""
    rate_per: Per = Per.STEP
    """solo-learn solo/utils/lr_scheduler.py; in the version that trained DeACL's teacher (174bcbc) per epoch."""
    momentum: Fraction = 0.9
    """NCP-ACL A.2.1."""
    weight_decay: NonNegative = 1e-4
    """NCP-ACL A.2.1; 1e-5 on STL-10."""
    crop_scale: tuple[Fraction, Fraction] = (0.08, 1.0)
    """NCP-ACL A.2.1."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """NCP-ACL A.2.1: strength .5 of (.8, .8, .8, .2); strength 1 on STL-10."""
    jitter_probability: Fraction = 0.8
    """NCP-ACL A.2.1."""
    gray_probability: Fraction = 0.2
    """NCP-ACL A.2.1."""
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """solo-learn pretrain_dataloader.py:218-267: PIL radius, which is the sigma."""
    blur_probability: Fraction = 0.5
    """NCP-ACL A.2.1."""
    flip_probability: Fraction = 0.5
    """NCP-ACL A.2.1."""


class SimCLR(TrainingMethod[SimCLRConfig, Projected]):
    """Contrastive learning of two views of each image; no attack anywhere."""

    name = "simclr"
    summary = "SimCLR: undefended control, and stage 1 of NCP-ACL"
    Config = SimCLRConfig
    DISPUTES = {
        "architecture": (
            "NCP-ACL says ResNet-18; solo-learn's stem for small images has padding 2 (solo/methods/base.py:198-203),"
            " most others' padding 1"
        ),
        "learning_rate": "NCP-ACL A.2.1 is silent: solo-learn's .4 x batch/256",
        "init": (
            "solo-learn makes the stem after torchvision's initialisation (solo/methods/base.py:198-203), so that it "
            "keeps nn.Conv2d's default"
        ),
        "rate_per": (
            "per step, in the version that trained DeACL's teacher (174bcbc) per epoch (solo/utils/lr_scheduler.py)"
        ),
    }
    PAPER = {
        "cifar10": SimCLRConfig(),
        "cifar100": SimCLRConfig(),
        "stl10": SimCLRConfig(
            architecture=Architecture.RESNET18_IMAGENET, weight_decay=1e-5, jitter=(0.8, 0.8, 0.8, 0.2)
        ),
    }
    # Chosen on the held-out slice (tests/studies/held_out.py).
    QUICK = {
        "digits": SimCLRConfig(
            architecture=Architecture.SMALL,
            epochs=16,
            batch_size=128,
            warmup_epochs=1,
            crop_scale=(0.4, 1.0),
            flip_probability=0.0,
        )
    }

    def passes(self) -> Passes:
        """Two views, forward and backward."""
        return Passes(forward=2, backward=2)

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """A ResNet with a single batch-norm route."""
        c = self.config
        return resnet_encoder(c.architecture, profile, normalisation=c.normalisation, init=c.init)

    def build(self, images: UnlabelledImages, run: Run) -> Projected:
        """Encoder and projector."""
        return Projected(self.encoder(images.profile), Head.SIMCLR)

    def optimiser(self, net: Projected) -> torch.optim.Optimizer:
        """LARS in solo-learn's form: clipped, biases and norms excluded (the paper says LARS alone)."""
        c = self.config
        return Lars(
            net.parameters(), c.learning_rate, form=SOLO_LEARN, momentum=c.momentum, weight_decay=c.weight_decay
        )

    def learning_rate(self) -> WarmupCosine:
        """Linear warm-up, then cosine to zero."""
        c = self.config
        return solo_learn(c.learning_rate, c.warmup_epochs, c.rate_per)

    @property
    def view(self) -> Views:
        """The augmentation of A.2.1, in solo-learn's order."""
        c = self.config
        return Views(
            RandomResizedCrop(scale=c.crop_scale, interpolation=Interpolation.BICUBIC),
            ColourJitter(*c.jitter, p=c.jitter_probability),
            Grayscale(c.gray_probability),
            GaussianBlur(sigma=c.blur_sigma, p=c.blur_probability),
            HorizontalFlip(c.flip_probability),
        )

    def step(self, net: Projected, batch: Batch, update: Update) -> None:
        """Eq. (1) of NCP-ACL on two views, each its own batch-norm batch (solo-learn base.py, training_step)."""
        views = self.view.each(batch.pixels, batch.generator("first view"), batch.generator("second view"))
        features = torch.cat([net.encoder(view) for view in views])
        first, second = net.projector(features, net.encoder.active_route).chunk(2)
        update(nt_xent(first, second, self.config.temperature))

    def export(self, net: Projected) -> Encoder:
        """The encoder without its projector."""
        return net.encoder

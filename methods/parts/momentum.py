"""What MoCo and AMOC share: the settings of AMOC's code base (MTandHJ/amoc at cdeefda), the branches, the views."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Self

import torch
from pydantic import model_validator
from torch import Tensor
from torch.nn.functional import normalize

from bench.config import Count, EpochLength, Fraction, NonNegative, Positive, TrainingConfig
from bench.data.views import ColourJitter, GaussianBlur, Grayscale, HorizontalFlip, RandomResizedCrop, Views
from bench.models.encoder import Normalisation, ResNetEncoder
from bench.models.projectors import Head
from bench.models.resnet import Architecture
from methods.parts.projected import Projected


class Variant(StrEnum):
    """Where a paper's algorithm and AMOC's released code differ."""

    PAPER = "paper"
    RELEASE = "release"


class MomentumContrastConfig(TrainingConfig):
    """Settings of momentum contrast in AMOC's code base; the defaults are those for CIFAR-10.

    Sections, tables and equations are those of AMOC's paper.
    """

    epochs: EpochLength = 200
    """Table 3; one row has 1000."""
    batch_size: Count = 256
    """Table 3; 64 and 128 are its other rows."""
    architecture: Architecture = Architecture.RESNET18_PADDING1
    """models/resnet.py:129-224."""
    normalisation: Normalisation = Normalisation.DATASET
    """src/config.py:77-89, whose CIFAR statistics differ from ours in the fourth decimal."""
    bank_size: Count = 32768
    """K of 4.1: keys in each bank (models/builder.py:41-47)."""
    momentum_encoder: Fraction = 0.999
    """m of Eq. (3.2); 4.1."""
    temperature: Positive = 0.2
    """T of 4.1; models/builder.py:23."""
    learning_rate: Positive = 0.1
    """4.1."""
    warmup_epochs: EpochLength = 10
    """src/loadopts.py:245-267."""
    momentum: Fraction = 0.9
    """pre_train.py:42-62."""
    weight_decay: NonNegative = 5e-4
    """4.1."""
    crop_scale: tuple[Fraction, Fraction] = (0.2, 1.0)
    """src/config.py:51-58."""
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    """src/config.py:51-58."""
    jitter_probability: Fraction = 0.8
    """src/config.py:51-58."""
    gray_probability: Fraction = 0.2
    """src/config.py:51-58."""
    blur_sigma: tuple[Positive, Positive] = (0.1, 2.0)
    """src/config.py:51-58: PIL radius, which is the sigma."""
    blur_probability: Fraction = 0.5
    """src/config.py:51-58."""
    flip_probability: Fraction = 0.5
    """src/config.py:51-58."""

    @model_validator(mode="after")
    def _bank_takes_a_batch(self) -> Self:
        if self.bank_size < self.batch_size:
            raise ValueError(
                f"a bank of {self.bank_size} keys cannot take a batch of {self.batch_size}; enlarge bank_size, or "
                "shrink batch_size"
            )
        return self


DIGITS: Mapping[str, Any] = {
    "architecture": Architecture.SMALL,
    "epochs": 17,
    "batch_size": 140,
    "warmup_epochs": 1,
    "bank_size": 280,
    "momentum_encoder": 0.97,
    "temperature": 0.5,
    "crop_scale": (0.85, 1.0),
    "blur_sigma": (0.1, 0.5),
    "flip_probability": 0.0,
}
"""What both have on `digits` with the schedule `quick`."""


class Branch(Projected):
    """f_q or f_k: encoder, projector, unit length (models/builder.py:79-88)."""

    def __init__(self, encoder: ResNetEncoder) -> None:
        super().__init__(encoder, Head.AMOC)

    def forward(self, x: Tensor, route: str | None = None) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> unit rows [B, 128]."""
        return normalize(super().forward(x, route))


def moco_view(config: MomentumContrastConfig) -> Views:
    """MoCo-v2's augmentation (src/config.py:51-58)."""
    return Views(
        RandomResizedCrop(scale=config.crop_scale),
        ColourJitter(*config.jitter, p=config.jitter_probability),
        Grayscale(config.gray_probability),
        GaussianBlur(sigma=config.blur_sigma, p=config.blur_probability),
        HorizontalFlip(config.flip_probability),
    )


def sgd(branch: Branch, config: MomentumContrastConfig) -> torch.optim.SGD:
    """SGD over the query branch (pre_train.py:42-62)."""
    return torch.optim.SGD(
        branch.parameters(),
        lr=config.learning_rate,
        momentum=config.momentum,
        weight_decay=config.weight_decay,
        fused=True,
    )

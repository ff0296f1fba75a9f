"""MoCo v2 (He et al., 2020; Chen et al., 2020), as AMOC trains its undefended control.

Recipe: row "MoCo" of AMOC's table 3, which is the branch CCC of its code (MTandHJ/amoc at cdeefda, src/base.py:58-74):
AMOC without attack, second batch norm and second bank. Eq. numbers are AMOC's.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

from bench.contract import Encoder, Passes, Run, UnlabelledImages
from bench.data.profiles import DataProfile
from bench.data.views import Views
from bench.engine.loop import Batch, TrainingMethod, Update
from bench.engine.schedules import WarmupCosine, amoc
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Init
from methods.parts.banks import MemoryBank
from methods.parts.ema import ema_update
from methods.parts.losses import info_nce
from methods.parts.momentum import DIGITS, Branch, MomentumContrastConfig, Variant, moco_view, sgd


class MoCoConfig(MomentumContrastConfig):
    """Settings of MoCo; the defaults are those for CIFAR-10."""

    variant: Variant = Variant.PAPER
    """`paper`: MoCo's algorithm 1 (loss, EMA, then the bank). `release`: models/builder.py:83-88 (the bank first, so
    that a query's own key is among its negatives). Neither shuffles batch norm, as AMOC's README says of its code."""


class MoCoState(nn.Module):
    """Query, key and the memory bank."""

    def __init__(self, query: Branch, bank_size: int) -> None:
        super().__init__()
        self.f_q, self.f_k = query, copy.deepcopy(query).requires_grad_(False)
        self.bank = MemoryBank(bank_size, query.projector.output_dim)


class MoCo(TrainingMethod[MoCoConfig, MoCoState]):
    """Contrastive learning of a view and the key of another, against past keys; no attack anywhere."""

    name = "moco"
    summary = "MoCo v2: undefended control of AMOC"
    Config = MoCoConfig
    DISPUTES = {
        "variant": (
            "MoCo fills its bank after the loss; models/builder.py:83-88 before it, so that a query's own key is a "
            "negative"
        ),
        "no shuffled batch norm": "MoCo shuffles it over GPUs, AMOC's code does not (its README says so); followed",
    }
    PAPER = {"cifar10": MoCoConfig(), "cifar100": MoCoConfig()}
    # AMOC's, whose control it is. On the held-out slice (tests/studies/held_out.py) a wider crop, a colder temperature
    # and a larger bank have a lower clean accuracy.
    QUICK = {"digits": MoCoConfig(**DIGITS)}
    drop_last = False  # models/builder.py:58-70: the last, smaller batch is kept

    def passes(self) -> Passes:
        """A query, forward and backward, and its key."""
        return Passes(forward=2, backward=1)

    def encoder(self, profile: DataProfile) -> ResNetEncoder:
        """A ResNet with a single batch-norm route: the clean one of AMOC."""
        c = self.config
        return resnet_encoder(c.architecture, profile, normalisation=c.normalisation, init=Init.KAIMING_FAN_OUT)

    def build(self, images: UnlabelledImages, run: Run) -> MoCoState:
        """The key encoder starts as a copy of the query encoder, the bank as random unit vectors."""
        return MoCoState(Branch(self.encoder(images.profile)), self.config.bank_size)

    def optimiser(self, net: MoCoState) -> torch.optim.Optimizer:
        """SGD over the query branch."""
        return sgd(net.f_q, self.config)

    def learning_rate(self) -> WarmupCosine:
        """Per epoch: a thousandth of the peak in epoch 0, warm-up, then cosine to zero."""
        return amoc(self.config.learning_rate, self.config.warmup_epochs)

    @property
    def view(self) -> Views:
        """MoCo-v2's augmentation."""
        return moco_view(self.config)

    def step(self, net: MoCoState, batch: Batch, update: Update) -> None:
        """MoCo's algorithm 1, or the released order."""
        c = self.config
        c_x, c_prime_x = self.view.each(batch.pixels, batch.generator("first view"), batch.generator("second view"))
        query = net.f_q(c_x)
        with torch.no_grad():
            key = net.f_k(c_prime_x)
        if c.variant is Variant.RELEASE:
            net.bank.enqueue(key)
        update(info_nce(query, key, net.bank.keys, c.temperature))  # Eq. (3.1)
        ema_update(net.f_k, net.f_q, c.momentum_encoder)  # Eq. (3.2)
        if c.variant is Variant.PAPER:
            net.bank.enqueue(key)

    def export(self, net: MoCoState) -> Encoder:
        """The query encoder."""
        return net.f_q.encoder

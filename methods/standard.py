"""Standard training on labels (He et al., 2016): the undefended row of AMOC's tables 5 and 6.

AMOC does not say how it was trained; the schedule is that of He et al. 2016, 4.2.
"""

from __future__ import annotations

from typing import Annotated

from torch.nn.functional import cross_entropy

from bench.config import Count, EpochLength, NonNegative, ScalesWithEpochs
from bench.contract import Passes
from bench.engine.loop import Batch, Update
from bench.models.encoder import ResNetEncoder
from methods.parts.supervised import DIGITS, Supervised, SupervisedConfig


class StandardConfig(SupervisedConfig):
    """Settings of standard training; the defaults are those for CIFAR-10."""

    epochs: EpochLength = 164
    """He et al. 2016, 4.2: 64,000 steps of 128 images."""
    milestones: Annotated[tuple[Count, ...], ScalesWithEpochs()] = (82, 123)
    """He et al. 2016, 4.2: after 32,000 and 48,000 steps."""
    weight_decay: NonNegative = 1e-4
    """He et al. 2016, 4.2."""


class Standard(Supervised[StandardConfig]):
    """Cross-entropy on clean images."""

    name = "standard"
    summary = "standard training on labels: undefended"
    Config = StandardConfig
    PAPER = {"cifar10": StandardConfig(), "cifar100": StandardConfig()}
    # PGD-AT's schedule, so that the two differ in the attack alone; chosen on the held-out slice
    # (tests/studies/held_out.py --protocol own-1, three seeds) against 10 and 40 epochs and a rate of .03: 99.4 % of
    # clean images are right, as after 40 epochs, where the others have 97.2 to 99.0 %.
    QUICK = {"digits": StandardConfig(**DIGITS)}

    def passes(self) -> Passes:
        """One view, forward and backward."""
        return Passes(forward=1, backward=1)

    def step(self, net: ResNetEncoder, batch: Batch, update: Update) -> None:
        """L(x, y)."""
        update(cross_entropy(net.logits(self.view(batch)), batch.labels))

"""PGD-AT: adversarial training (Madry et al., 2018), as in AMOC's tables 5 and 6.

Schedule: MadryLab/cifar10_challenge at 2fbf5bb, config.json. Its network is in train mode under the attack; here it is
in eval mode, as under every attack of AMOC's code.
"""

from __future__ import annotations

from typing import Annotated

from torch.nn.functional import cross_entropy

from bench.config import Count, EpochLength, ScalesWithEpochs
from bench.contract import Passes
from bench.engine.loop import Batch, Update
from bench.models.encoder import ResNetEncoder
from methods.parts.supervised import DIGITS, RECIPE, AdversarialConfig, AdversarialTraining


class PGDATConfig(AdversarialConfig):
    """Settings of PGD-AT; the defaults are those for CIFAR-10."""

    epochs: EpochLength = 205
    """config.json: 80,000 steps of 128 images."""
    milestones: Annotated[tuple[Count, ...], ScalesWithEpochs()] = (102, 153)
    """config.json: after 40,000 and 60,000 steps."""


class PGDAT(AdversarialTraining[PGDATConfig]):
    """Cross-entropy on perturbed images alone."""

    name = "pgd-at"
    summary = "PGD-AT: supervised adversarial training"
    Config = PGDATConfig
    DISPUTES = {
        **RECIPE,
        "mode under attack": (
            "MadryLab/cifar10_challenge attacks in train mode (train.py has one network for both), AMOC's code in eval "
            "mode (src/base.py:361-411), which is followed"
        ),
    }
    PAPER = {"cifar10": PGDATConfig(), "cifar100": PGDATConfig()}
    # Budget and rate chosen on the held-out slice (tests/studies/held_out.py --protocol own-1).
    QUICK = {"digits": PGDATConfig(**DIGITS, eps=0.15)}

    def passes(self) -> Passes:
        """The attack, and the perturbed images forward and backward."""
        steps = self.config.attack_steps
        return Passes(forward=steps + 1, backward_input=steps, backward=1)

    def step(self, net: ResNetEncoder, batch: Batch, update: Update) -> None:
        """Eq. (2.1) of Madry et al.: L(x + delta, y) at the delta that maximises it."""
        x_adv = self.perturb(net, self.view(batch), batch)
        update(cross_entropy(net.logits(x_adv), batch.labels))

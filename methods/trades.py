"""TRADES (Zhang et al., 2019), as in AMOC's tables 5 and 6.

Official code: yaodongyu/TRADES, train_trades_cifar10.py and trades.py. Attack: AMOC's own TRADES, with which it
fine-tunes (MTandHJ/amoc at cdeefda, src/base.py:315-346).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated

import torch
from torch import Tensor

from bench.attacks.pgd import ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, NonNegative, ScalesWithEpochs
from bench.contract import Passes
from bench.engine.loop import Batch, Update
from bench.models.encoder import ResNetEncoder
from methods.parts.losses import divergence, trades
from methods.parts.supervised import DIGITS, RECIPE, AdversarialConfig, AdversarialTraining


class Start(StrEnum):
    """Where the attack starts; at x itself the divergence has no slope."""

    UNIFORM = "uniform"
    """Anywhere in the ball."""
    GAUSSIAN = "gaussian"
    """.001 N(0, 1) away."""


class TRADESConfig(AdversarialConfig):
    """Settings of TRADES; the defaults are those for CIFAR-10."""

    epochs: EpochLength = 76
    """train_trades_cifar10.py."""
    milestones: Annotated[tuple[Count, ...], ScalesWithEpochs()] = (74,)
    """train_trades_cifar10.py: from epoch 75, counted from 1."""
    beta: NonNegative = 6.0
    """1 / lambda: Zhang et al. 2019, 5.3; AMOC linear_trades.py."""
    start: Start = Start.UNIFORM
    """AMOC src/base.py:315-346; TRADES trades.py: `gaussian`."""


class TRADES(AdversarialTraining[TRADESConfig]):
    """Cross-entropy on clean images, and the divergence of the perturbed images' predictions from theirs."""

    name = "trades"
    summary = "TRADES: supervised trade-off of accuracy and robustness"
    Config = TRADESConfig
    DISPUTES = {
        **RECIPE,
        "eps": "train_trades_cifar10.py has .031 and a step of .007; AMOC 4.1 says 8/255 for all; followed",
        "start": "AMOC starts anywhere in the ball (src/base.py:315-346), TRADES itself .001 N(0, 1) away (trades.py)",
    }
    PAPER = {"cifar10": TRADESConfig(), "cifar100": TRADESConfig()}
    # PGD-AT's; the budget chosen on the held-out slice (tests/studies/held_out.py --protocol own-1).
    QUICK = {"digits": TRADESConfig(**DIGITS, eps=0.15)}

    def passes(self) -> Passes:
        """The attack and the predictions it moves away from, and clean and perturbed images forward and backward."""
        steps = self.config.attack_steps
        return Passes(forward=steps + 3, backward_input=steps, backward=2)

    def step(self, net: ResNetEncoder, batch: Batch, update: Update) -> None:
        """L(f(x), y) + L(f(x), f(x + delta)) / lambda, Eq. (5) of Zhang et al.; each a batch-norm batch of its own."""
        x = self.view(batch)
        x_adv = self.perturb(net, x, batch)
        update(trades(net.logits(x), net.logits(x_adv), batch.labels, self.config.beta))

    def perturb(self, net: ResNetEncoder, x: Tensor, batch: Batch) -> Tensor:
        """x + delta that maximises the divergence from the predictions for x, in eval mode."""
        start = STARTS[self.config.start](x, self.config.eps, batch.generator("attack"))
        with undisturbed(net):
            with torch.no_grad():
                natural = net.logits(x)
            return ascend(lambda x_adv: divergence(natural, net.logits(x_adv)), x, start, self.config.attack)


def gaussian_start(x: Tensor, _: float, generator: torch.Generator) -> Tensor:
    """x + .001 N(0, 1), not clipped (trades.py)."""
    return x + 0.001 * torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


STARTS: Mapping[Start, Callable[[Tensor, float, torch.Generator], Tensor]] = {
    Start.UNIFORM: lambda x, eps, generator: uniform_start(x, eps, generator, clip=True),
    Start.GAUSSIAN: gaussian_start,
}

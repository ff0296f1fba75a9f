"""Projected gradient ascent inside an l_inf ball, for attacks inside training; `balls` has other norms, for judging."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor, nn

from bench.attacks.watch import remember

Objective = Callable[[Tensor], Tensor]
"""Perturbed images [B, 3, H, W] to the scalar that the attack raises."""


@dataclass(frozen=True)
class LinfPGD:
    """The budget of an attack.

    Attributes:
        eps: radius of the ball, in units of [0, 1] pixels.
        steps: number of gradient steps.
        step_size: length of a step per pixel, in the same units.
    """

    eps: float
    steps: int
    step_size: float


def ascend(objective: Objective, x: Tensor, start: Tensor, attack: LinfPGD) -> Tensor:
    """The images after `attack.steps` steps of sign gradient ascent; `start` itself where there are none.

    Only the gradient with respect to the images is computed, also under `torch.no_grad`. A pixel whose gradient is
    exactly zero does not move. Freeze and still the network with `undisturbed`.

    Args:
        objective: what is raised; must depend on its argument.
        x: [B, 3, H, W], the centre of the ball.
        start: the first iterate, inside the ball; need not be inside [0, 1].
        attack: the budget.

    Returns:
        [B, 3, H, W], within `attack.eps` of `x` and within [0, 1], detached.
    """
    image, values = start.detach(), list[Tensor]()

    def noted(image: Tensor) -> Tensor:
        value = objective(image)
        values.append(value.detach())
        return value

    for _ in range(attack.steps):
        image = climbed(noted, x, image, attack)
    remember(values)
    return image


def trajectory(objective: Objective, x: Tensor, start: Tensor, attack: LinfPGD) -> Iterator[Tensor]:
    """The images after each step of `ascend`, for checks and figures."""
    image = start.detach()
    for _ in range(attack.steps):
        image = climbed(objective, x, image, attack)
        yield image


@torch.no_grad()
def climbed(objective: Objective, x: Tensor, image: Tensor, attack: LinfPGD) -> Tensor:
    """`image` after one step, projected to the ball around `x`, then to [0, 1]."""
    moved = gradient(objective, image).sign().mul_(attack.step_size).add_(image)
    return moved.sub_(x).clamp_(-attack.eps, attack.eps).add_(x).clamp_(0, 1)


def gradient(objective: Objective, image: Tensor) -> Tensor:
    """The gradient d objective / d image, without touching any `.grad`."""
    with torch.enable_grad():
        leaf = image.detach().requires_grad_(True)
        (slope,) = torch.autograd.grad(objective(leaf), leaf)
    return slope


def uniform_start(x: Tensor, eps: float, generator: torch.Generator, *, clip: bool) -> Tensor:
    """`x` plus U(-eps, eps) per pixel.

    Args:
        x: [B, 3, H, W].
        eps: half width of the noise.
        generator: on the device of `x`.
        clip: whether the start is clipped to [0, 1] (RoCL, AMOC) or not (ACL, DynACL, DeACL).
    """
    noise = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    start = x + eps * (2 * noise - 1)
    return start.clamp(0, 1) if clip else start


class AttackMode(StrEnum):
    """The mode of the network under an attack inside training."""

    EVAL = "eval"
    """Running statistics normalise and stay as they are: every published method but AdvCL."""
    TRAIN = "train"
    """The batch's statistics normalise, and every forward pass moves the running ones (AdvCL). A method that attacks
    like this says so by a setting `attack_mode`."""


@contextmanager
def undisturbed(*modules: nn.Module, mode: AttackMode = AttackMode.EVAL) -> Iterator[None]:
    """Inside the block the modules are in eval mode and their parameters frozen; afterwards all is as it was.

    So an attack leaves no trace: no running statistics, no `.grad`, every mode and `requires_grad` restored, also
    after an exception. Frozen parameters also spare the attack the weight gradients. With `AttackMode.TRAIN` every
    module stays in the mode it is in, and running statistics move.
    """
    parts = [part for module in modules for part in module.modules()]  # One walk; `parameters()` would be another.
    training = [part for part in parts if part.training and mode is AttackMode.EVAL]
    weights = (weight for part in parts for weight in part._parameters.values() if weight is not None)
    trainable = [weight for weight in weights if weight.requires_grad]
    try:
        for part in training:  # Not `eval()`, nor an assignment: both cost more than an operation on the images.
            vars(part)["training"] = False
        for weight in trainable:
            weight.requires_grad_(False)
        yield
    finally:
        for part in training:
            vars(part)["training"] = True
        for weight in trainable:
            weight.requires_grad_(True)

"""Balls around images in three norms: the steepest step, the way back inside, a random start, the distance."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.pgd import Objective, gradient, uniform_start
from bench.attacks.threats import Norm

TINY = 1e-12
"""The least norm that is divided by: an image without a gradient does not move."""


@dataclass(frozen=True)
class Ball:
    """What an attack needs to know of a norm. Images are [B, 3, H, W]; each is an ascent of its own.

    Attributes:
        direction: gradients to steps of length one, or zero where the gradient is.
        clipped: perturbations and a radius to perturbations of at most that length.
        start: images, a radius and a generator on their device to images drawn uniformly from their balls, which may
            lie outside [0, 1].
        length: perturbations to their norms [B].
    """

    direction: Callable[[Tensor], Tensor]
    clipped: Callable[[Tensor, float], Tensor]
    start: Callable[[Tensor, float, torch.Generator], Tensor]
    length: Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Budget:
    """Of a projected gradient ascent: radius, number of steps, and their length, in units of [0, 1] pixels."""

    eps: float
    steps: int
    step_size: float


def ascend_in(ball: Ball, objective: Objective, x: Tensor, start: Tensor, budget: Budget) -> Tensor:
    """The images after projected gradient ascent on `objective`, inside the ball around `x` and [0, 1].

    The last iterate counts; `start` lies inside the ball, and where there are no steps is returned as it is.
    In l1 and l2 a step is the gradient over its own norm and the way back is to shrink the perturbation, as in foolbox
    3.3.4, `attacks/gradient_descent_base.py`.
    """
    image = start
    for _ in range(budget.steps):
        moved = image + budget.step_size * ball.direction(gradient(objective, image))
        image = (x + ball.clipped(moved - x, budget.eps)).clamp(0, 1)
    return image


def _norms(images: Tensor, order: float) -> Tensor:
    """[B, 1, 1, 1], to divide images by."""
    norms: Tensor = torch.linalg.vector_norm(images.flatten(1), order, dim=1)
    return norms[:, None, None, None]


def _normalised(order: float) -> Callable[[Tensor], Tensor]:
    return lambda slope: slope / _norms(slope, order).clamp(min=TINY)


def _shrunk(order: float) -> Callable[[Tensor, float], Tensor]:
    return lambda delta, eps: delta * (eps / _norms(delta, order).clamp(min=TINY)).clamp(max=1)


def _in_cube(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    return uniform_start(x, eps, generator, clip=False)


def _in_l2_ball(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """A normal direction, and a radius whose power d is uniform."""
    noise = torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
    share = torch.rand(len(x), generator=generator, device=x.device, dtype=x.dtype) ** (1 / x[0].numel())
    return x + eps * share[:, None, None, None] * noise / _norms(noise, 2)


def _in_l1_ball(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    """d of d + 1 exponential variables over the sum of all (Barthe et al. 2005, theorem 1), with random signs."""
    waits = torch.empty(len(x), 1 + x[0].numel(), device=x.device, dtype=x.dtype).exponential_(generator=generator)
    shares = (waits / waits.sum(1, keepdim=True))[:, 1:].reshape(x.shape)
    signs = torch.rand(x.shape, generator=generator, device=x.device, dtype=x.dtype) - 0.5
    return x + eps * shares * signs.sign()


def _length(order: float) -> Callable[[Tensor], Tensor]:
    return lambda delta: torch.linalg.vector_norm(delta.flatten(1), order, dim=1, dtype=torch.float64)


BALLS: Mapping[Norm, Ball] = {
    Norm.LINF: Ball(torch.sign, lambda delta, eps: delta.clamp(-eps, eps), _in_cube, _length(Norm.LINF.order)),
    Norm.L2: Ball(_normalised(2), _shrunk(2), _in_l2_ball, _length(2)),
    Norm.L1: Ball(_normalised(1), _shrunk(1), _in_l1_ball, _length(1)),
}

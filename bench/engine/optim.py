"""LARS (You et al. 2017) in the three forms that the literature's code uses. Plain SGD is torch's own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import Any

import torch
from torch import Tensor

Tensors = list[Tensor] | tuple[Tensor, ...]


def make_capturable(optimiser: torch.optim.Optimizer, device: torch.device) -> None:
    """Let a step of `optimiser` be captured in a CUDA graph: no number that changes, and no choice, is left to Python.

    Learning rates become float32 tensors on `device`; torch's optimisers take their fused kernels, which read them
    there; momentum that the first gradient would make is there from the start, as zeros, from which
    v = m v + g gives the same.
    """
    for group in optimiser.param_groups:
        group["lr"] = torch.full((), float(group["lr"]), dtype=torch.float32, device=device)
        if "fused" in group:
            group["fused"], group["foreach"] = True, False
        if "capturable" in group:
            group["capturable"] = True
        if isinstance(optimiser, torch.optim.SGD) and group["momentum"] and not group["dampening"]:
            for weight in group["params"]:
                state = optimiser.state[weight]
                if weight.requires_grad and state.get("momentum_buffer") is None:
                    state["momentum_buffer"] = torch.zeros_like(weight)
    for weight, own in optimiser.state.items():  # Counts of steps, too, which lie on the CPU otherwise.
        own.update({name: value.to(weight.device) for name, value in own.items() if isinstance(value, Tensor)})


@dataclass(frozen=True)
class LarsForm:
    """What the published forms of LARS differ in.

    With weights w, gradient g, weight decay l and momentum m, a step is

        r = eta |w| / (|g| + l |w| + epsilon)      and r = 1 where |w| or |g| is not above `smallest_norm`
        v = m v + r (g + l w),   w = w - lr v

    Attributes:
        eta: the trust coefficient.
        epsilon: added to the denominator.
        smallest_norm: norms up to this count as zero.
        clip: use min(r / lr, 1), so that a small learning rate is never raised.
        exclude_vectors: tensors of one dimension (biases, norms) get plain SGD, without decay.
        decay_at_zero_norm: whether weights that are not scaled for a zero norm decay.
        rate_in_buffer: v = m v + lr r (g + l w), w = w - v: a change of lr then spares the past.
    """

    eta: float
    epsilon: float = 0.0
    smallest_norm: float = 0.0
    clip: bool = False
    exclude_vectors: bool = False
    decay_at_zero_norm: bool = True
    rate_in_buffer: bool = False


SOLO_LEARN = LarsForm(eta=0.02, epsilon=1e-8, clip=True, exclude_vectors=True, decay_at_zero_norm=False)
"""solo-learn solo/utils/lars.py:112-167 with its SimCLR recipe."""
ACL = LarsForm(eta=0.001, smallest_norm=1e-15, rate_in_buffer=True)
"""ACL optimizer/lars.py:47-107; DynACL, AIR and RCS carry the same file."""
TORCHLARS = LarsForm(eta=0.001, epsilon=1e-8)
"""The package torchlars 0.1.2 around SGD (RoCL)."""


class Lars(torch.optim.Optimizer):
    """Layer-wise adaptive rate scaling. No step waits for the host.

    Args:
        params: as for every torch optimiser; groups may differ in lr, momentum and weight_decay.
        lr: a number, or a tensor of one element on the parameters' device.
        form: one of SOLO_LEARN, ACL, TORCHLARS, or another.
        momentum: of the buffer.
        weight_decay: of the weights.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        *,
        form: LarsForm,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        self.form = form

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One update of every parameter that has a gradient."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            self._update(group)
        return loss

    def _update(self, group: dict[str, Any]) -> None:
        weights = [weight for weight in group["params"] if weight.grad is not None]
        if not weights:
            return
        lr, velocity = group["lr"], [self._velocity(weight) for weight in weights]
        torch._foreach_mul_(velocity, group["momentum"])
        add_directions(velocity, weights, lr, group["weight_decay"], self.form)
        add_scaled(weights, velocity, -1.0 if self.form.rate_in_buffer else -lr)

    def _velocity(self, weight: Tensor) -> Tensor:
        state = self.state[weight]
        if not state:
            state["velocity"] = torch.zeros_like(weight)
        velocity: Tensor = state["velocity"]
        return velocity


def add_directions(
    velocity: list[Tensor], weights: list[Tensor], lr: float | Tensor, decay: float, form: LarsForm
) -> None:
    """Add r (g + l w) to the velocity of each of `weights`, gradients taken from `.grad`; g itself to excluded ones.

    Where the form holds the rate in the buffer, both times lr.
    """
    rate = lr if form.rate_in_buffer else 1.0
    moving = [(own, weight, weight.grad) for own, weight in zip(velocity, weights, strict=True)]
    excluded = [form.exclude_vectors and weight.ndim == 1 for weight in weights]
    if any(excluded):
        own, _, gradients = zip(*compress(moving, excluded), strict=True)
        add_scaled(own, gradients, rate)
    if not all(excluded):
        own, matrices, gradients = zip(*compress(moving, map(not_, excluded)), strict=True)
        ratios, shrinks = factors(matrices, gradients, lr, decay, form)
        pulled = torch._foreach_addcmul(gradients, matrices, shrinks.unbind())
        torch._foreach_addcmul_(own, pulled, (ratios * rate).unbind())


def add_scaled(targets: Tensors, others: Tensors, factor: float | Tensor) -> None:
    """Add `factor` times `others` to `targets`, in one pass where the factor is a number."""
    if isinstance(factor, Tensor):
        torch._foreach_add_(targets, torch._foreach_mul(others, factor))
    else:
        torch._foreach_add_(targets, others, alpha=factor)


def factors(
    weights: Tensors, gradients: Tensors, lr: float | Tensor, decay: float, form: LarsForm
) -> tuple[Tensor, Tensor]:
    """r and l for each of `weights`, none of them excluded."""
    norms = torch.stack(torch._foreach_norm([*weights, *gradients])).view(2, -1)
    size, slope = norms.unbind()
    moved = (norms > form.smallest_norm).all(dim=0)
    ratio = torch.where(moved, trust(size, slope, lr, decay, form), 1.0)
    decaying = torch.ones_like(moved) if form.decay_at_zero_norm else moved
    return ratio, decay * decaying.to(ratio)


def trust(size: Tensor, slope: Tensor, lr: float | Tensor, decay: float, form: LarsForm) -> Tensor:
    """The ratio r per weight tensor, from the norms of weights and gradients; of no meaning where one is zero."""
    ratio = form.eta * size / torch.add(slope + form.epsilon, size, alpha=decay)
    return (ratio / lr).clamp(max=1) if form.clip else ratio

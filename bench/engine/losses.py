"""Losses that training on classes and contrastive pre-training share, as pure functions of logits or features."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def divergence(natural: Tensor, adversarial: Tensor) -> Tensor:
    """KL(softmax natural || softmax adversarial) of two [B, C] logits, the mean over B, a scalar.

    Gradients flow through both arguments (TRADES, Zhang et al. 2019, Eq. 5; ACL trades.py:56-110).
    """
    log_natural, log_adversarial = F.log_softmax(natural, dim=1), F.log_softmax(adversarial, dim=1)
    return F.kl_div(log_adversarial, log_natural, reduction="batchmean", log_target=True)


def trades(natural: Tensor, adversarial: Tensor, labels: Tensor, beta: float) -> Tensor:
    """TRADES: cross-entropy of natural logits [B, C] to labels [B], plus beta times `divergence`; a scalar.

    Zhang et al. 2019, Eq. 5; ACL trades.py:87-110; DynACL utils.py:167-206.
    """
    return F.cross_entropy(natural, labels) + beta * divergence(natural, adversarial)


def nt_xent_of_views(views: Sequence[Tensor], temperature: float | Tensor, *, detach_keys: bool = False) -> Tensor:
    """NT-Xent of V views: each of the VB rows must find each of its V - 1 other views among all other rows.

    The other positives stay in the denominator: RoCL src/loss.py:5-85, where three views make 6B ordered pairs and the
    sum is divided by 3B. SupCon without labels (AdvCL losses.py:7-94) is its mean over the V - 1 views. The row itself
    is masked out rather than subtracted or set to zero, which is exact in every precision; the 1e-8 that RoCL adds to p
    and to its denominator moves the loss by about 1e-8 / p.

    Args:
        views: V of [B, d], rows of any length; row i of each is of the same image.
        temperature: above 0.
        detach_keys: whether the second factor of every product is a constant (RoCL).

    Returns:
        The sum over the other views, the mean over rows, a scalar.
    """
    z = F.normalize(torch.cat(list(views)), dim=1)
    logits = z / temperature @ (z.detach() if detach_keys else z).T
    with torch.no_grad():  # Its gradient is zero without being told: no row gives itself any probability.
        logits.fill_diagonal_(float("-inf"))
    log_probability, row = F.log_softmax(logits, dim=1), torch.arange(len(z), device=z.device)
    pairs = [F.nll_loss(log_probability, (row + len(views[0]) * shift) % len(z)) for shift in range(1, len(views))]
    return torch.stack(pairs).sum()

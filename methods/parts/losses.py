"""The contrastive and distillation losses that several methods share, as pure functions of features."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from bench.engine.losses import divergence, nt_xent_of_views, trades

__all__ = ["divergence", "info_nce", "negative_cosine", "nt_xent", "nt_xent_of_views", "trades"]


def nt_xent(z_a: Tensor, z_b: Tensor, temperature: float | Tensor) -> Tensor:
    """SimCLR's loss: each of the 2B rows must find its other view among the 2B - 1 others.

    Chen et al. 2020, Eq. 1, as solo-learn solo/losses/simclr.py:25-59 and ACL utils.py:233-249 compute it.

    Args:
        z_a, z_b: [B, d], two views of the same images, of any length.
        temperature: above 0.

    Returns:
        The mean over 2B rows, a scalar.
    """
    return nt_xent_of_views((z_a, z_b), temperature)


def info_nce(query: Tensor, positive_key: Tensor, bank: Tensor, temperature: float | Tensor) -> Tensor:
    """MoCo's loss with a bank: each query must find its key among the bank's.

    -log softmax_0([q.k+, q.M] / T): AMOC's L_NCE, src/base.py:58-69, 159-180 (which divides every factor by sqrt(T)).

    Args:
        query: [B, d], unit rows.
        positive_key: [B, d], unit rows; detached by the caller where the key encoder is not trained.
        bank: [K, d], negative keys, unit rows.
        temperature: above 0.

    Returns:
        The mean over B queries, a scalar.
    """
    q = query / temperature
    logits = torch.cat([(q * positive_key).sum(dim=1, keepdim=True), q @ bank.T], dim=1)
    return F.cross_entropy(logits, logits.new_zeros(len(q), dtype=torch.long))


def negative_cosine(a: Tensor, b: Tensor) -> Tensor:
    """NCP-ACL's CosSim: minus the mean cosine of corresponding rows of two [B, d], a scalar in [-1, 1].

    Its Eq. 3 is CosSim(f(x), t(x)) + lambda CosSim(f(x'), f(x)); DeACL's loss is the same with lambda 2
    (solo/methods/mocov2_distillation_AT.py:233-235). Gradients flow through both arguments.
    """
    return -F.cosine_similarity(a, b, dim=1).mean()

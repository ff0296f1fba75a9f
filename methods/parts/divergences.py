"""How far the projections of perturbed images are from those of clean ones: what RCS chooses its coresets by.

All take two [N, d] of any scale and return a scalar; gradients flow through both arguments. The Kullback-Leibler
divergence of softmaxes is `methods.parts.losses.divergence`. Official code: GodXuxilie/Efficient_ACL_via_RCS at
6fc9aef, ACL_RCS/small_scale_datasets (RCS.py, ot.py).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import log_softmax, normalize, softmax

SMOOTHING = 0.01
"""Of the transport plan by its entropy, in units of the cost (ot.py, `sinkhorn_loss_joint_IPOT`)."""
ITERATIONS = 100
"""Of Sinkhorn's algorithm at most (ot.py, as above)."""
SETTLED = 0.1
"""Summed change of the rows' potentials below which it stops (ot.py, `sinkhorn`)."""
LEAST_MASS = 1e-6
"""Added to a row's sum of exponentials (ot.py, `sinkhorn`)."""


def min_max_divergence(first: Tensor, second: Tensor) -> Tensor:
    """The mean of q (log q - log p) of rows that are scaled to [0, 1], no distributions (RCS.py:64-80)."""

    def scaled(rows: Tensor) -> Tensor:
        smallest, largest = rows.aminmax(dim=1, keepdim=True)
        return (rows - smallest) / (largest - smallest) + 1e-8

    q, p = scaled(first), scaled(second)
    return (q * (q.log() - p.log())).mean()


def jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """(KL(p || m) + KL(q || m)) / 2 of the rows' softmaxes p and q, m = (p + q) / 2; the mean over rows, in [0, ln 2].

    Lin 1991 ("Divergence measures based on the Shannon entropy"), Eq. (4.1) with equal weights.
    """
    log_p, log_q = log_softmax(first, dim=1), log_softmax(second, dim=1)
    log_m = _log_mean(log_p, log_q)
    return (log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)).sum(dim=1).mean() / 2


def reversed_jensen_shannon(first: Tensor, second: Tensor) -> Tensor:
    """(KL(m || p) + KL(m || q)) / 2, over N d elements: RCS.py:69-74 hands `KLDivLoss` the two the other way round."""
    log_p, log_q = log_softmax(first, dim=1), log_softmax(second, dim=1)
    log_m = _log_mean(log_p, log_q)
    return (log_m.exp() * (log_m - (log_p + log_q) / 2)).mean()


def _log_mean(log_p: Tensor, log_q: Tensor) -> Tensor:
    return torch.logaddexp(log_p, log_q) - math.log(2)


def optimal_transport(first: Tensor, second: Tensor) -> Tensor:
    """What it costs to move the softmaxes of one batch onto those of the other; 1 - cosine is the cost of a pair.

    RCS.py `ot_loss`; ot.py `cost_matrix_cos`, `sinkhorn`. Every row is a point of mass 1/N, so that rows need not
    correspond.
    """
    rows, columns = (normalize(softmax(features, dim=1), dim=1) for features in (first, second))
    cost = (1 - rows @ columns.T).clamp(min=0)
    return (transport_plan(cost) * cost).sum()


def transport_plan(cost: Tensor) -> Tensor:
    """Sinkhorn's plan between uniform masses for a cost [N, N]: [N, N], whose columns sum to 1/N, and rows nearly.

    In the logarithmic form of Cuturi 2013 with potentials u and v, the iterations differentiated.
    """
    log_mass = -math.log(len(cost))
    u, v = cost.new_zeros(len(cost)), cost.new_zeros(len(cost))

    def log_plan() -> Tensor:
        return (u[:, None] + v - cost) / SMOOTHING

    for _ in range(ITERATIONS):
        before = u
        u = u + SMOOTHING * (log_mass - _log_sum(log_plan(), dim=1))
        v = v + SMOOTHING * (log_mass - _log_sum(log_plan(), dim=0))
        if float((u - before).detach().abs().sum()) < SETTLED:
            break
    return log_plan().exp()


def _log_sum(logarithms: Tensor, dim: int) -> Tensor:
    total = logarithms.logsumexp(dim=dim)
    return torch.logaddexp(total, total.new_tensor(LEAST_MASS).log())

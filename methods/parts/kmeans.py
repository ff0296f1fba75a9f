"""Euclidean k-means for pseudo-labels, as DynACL++ and AIR++ take it from the package kmeans_pytorch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import StageError
from methods.parts.clustering import check_clusters


@torch.no_grad()
def pseudo_labels(
    features: Tensor, clusters: int, generator: torch.Generator, *, iterations: int = 1000, tolerance: float = 1e-4
) -> Tensor:
    """The cluster of each row of `features` [N, d] by Lloyd's algorithm: int64 [N], in 0 .. clusters - 1.

    The first centres are distinct rows, drawn by `generator` (on the device of `features`); it stops once the squared
    sum of the centres' shifts is below `tolerance` (kmeans_pytorch/__init__.py). A cluster that loses all its points
    restarts at a row far from its centre, where the package takes a random row or, in its release, NaN.

    Raises:
        BenchError: unless 1 <= clusters <= N.
        StageError: for features that are not finite.
    """
    check_clusters(clusters, len(features))
    if not bool(features.isfinite().all()):
        raise StageError("the features to cluster are not finite: training has diverged before this point.")
    centres = features[torch.randperm(len(features), generator=generator, device=features.device)[:clusters]]
    assignment = features.new_zeros(len(features), dtype=torch.int64)
    for _ in range(iterations):
        distance, assignment = torch.cdist(features, centres).min(dim=1)
        before, centres = centres, moved(features, assignment, distance, clusters)
        if float((centres - before).norm(dim=1).sum().square()) < tolerance:
            break
    return assignment


def moved(features: Tensor, assignment: Tensor, distance: Tensor, clusters: int) -> Tensor:
    """The mean of each cluster [K, d]; of the k-th empty one the k-th farthest row, by `distance` [N] to its centre."""
    # A product with one-hot rows: index_add_ on CUDA adds in an order that changes from call to call.
    members = functional.one_hot(assignment, clusters).to(features.dtype)
    sizes = members.sum(dim=0)
    means = members.T @ features / sizes.clamp(min=1)[:, None]
    farthest = features[distance.topk(clusters).indices]
    empty = sizes == 0
    return torch.where(empty[:, None], farthest[(empty.cumsum(0) - 1).clamp(min=0)], means)

"""Spherical k-means and its silhouette, on the device and linear in the number of points.

Rows are L2-normalised here, so that only directions count: similarity is the cosine c, distance is 1 - c, and the
squared chordal distance |x - y|^2 is 2 - 2c. Nothing is ever of size points x points.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError, StageError

_CHUNK = 8192  # rows per product, which bounds the temporaries of size rows x clusters


class Seeding(StrEnum):
    """How the first centroids are drawn."""

    KMEANS_PLUS_PLUS = "kmeans++"
    AFK_MC2 = "afk-mc2"


@dataclass(frozen=True)
class Clusters:
    """A partition of N points into K directions.

    Attributes:
        centroids: [K, d], unit rows.
        assignment: [N] int64, the centroid that is nearest to each point.
    """

    centroids: Tensor
    assignment: Tensor


@dataclass(frozen=True)
class ClusterChoice:
    """A number of clusters and the mean silhouette of every candidate, in the order of the grid."""

    clusters: int
    scores: tuple[tuple[int, float], ...]


def check_clusters(clusters: int, images: int) -> None:
    """See that there is an image for every cluster.

    Raises:
        BenchError: unless 1 <= clusters <= images.
    """
    if not 1 <= clusters <= images:
        raise BenchError(
            f"{clusters} clusters of {images} images: choose a number from 1 to the latter, or use more images."
        )


def check_grid(grid: Sequence[int], images: int) -> None:
    """See that every number of clusters in `grid` has a silhouette.

    Raises:
        BenchError: for an empty grid or an entry outside 2 .. images - 1.
    """
    outside = [count for count in grid if not 2 <= count < images]
    if outside or not grid:
        raise BenchError(
            f"no silhouette for {outside or 'an empty grid'}: with {images} points the numbers of clusters to choose "
            f"from must lie in 2..{images - 1}. Use more images, or set number or grid yourself, e.g. ncp[clusters=10] "
            f"or ncp[cluster_grid=(5,{max(5, images - 1)},5)]."
        )


@torch.no_grad()
def spherical_kmeans(
    features: Tensor,
    clusters: int,
    generator: torch.Generator,
    *,
    seeding: Seeding = Seeding.KMEANS_PLUS_PLUS,
    iterations: int = 100,
    tolerance: float = 0.001,
) -> Clusters:
    """Partition `features` [N, d] by direction (Hornik et al. 2012; NCP-ACL section 3.2).

    At most `iterations` Lloyd steps, fewer once less than the fraction `tolerance` of the points changes cluster. A
    cluster that loses all its points restarts at the point farthest from every centroid; one stays empty only where
    there are fewer distinct directions than clusters, or the steps run out. The result depends on `generator` (on the
    device of `features`) alone. Raises BenchError unless 1 <= clusters <= N, StageError for features that are not
    finite.
    """
    check_clusters(clusters, len(features))
    rows = _unit(features)
    centroids = rows[_SEEDINGS[seeding](rows, clusters, generator)]
    assignment = _nearest(rows, centroids)
    for _ in range(iterations):
        centroids = _directions(rows, assignment, clusters)
        previous, assignment = assignment, _nearest(rows, centroids)
        moved = int((assignment != previous).sum())
        if moved < max(1.0, tolerance * len(rows)):
            break
    return Clusters(centroids, assignment)


@torch.no_grad()
def neighbours(features: Tensor, clusters: Clusters, rank: int) -> Tensor:
    """The `rank`-th nearest centroid of each of the N clustered points, [N] int64 (NCP-ACL section 3.2, appendix B.2).

    Rank 1 is the point's own cluster, so the neighbour of rank 2 is the closest other one; it is the point, not its
    centroid, that is compared. Raises BenchError unless 2 <= rank <= K.
    """
    count = len(clusters.centroids)
    if not 2 <= rank <= count:
        raise BenchError(
            f"neighbour {rank} of {count} clusters does not exist: rank 1 is a point's own cluster, so choose a rank "
            f"from 2 to the number of clusters."
        )
    choice = clusters.assignment
    similarity = _unit(features) @ clusters.centroids.T
    for _ in range(rank - 1):
        similarity.scatter_(1, choice[:, None], -torch.inf)
        choice = similarity.argmax(dim=1)
    return choice


@torch.no_grad()
def collapse(features: Tensor, found: Clusters) -> dict[str, float]:
    """What shows a collapse of `features` [N, d]: the spread of directions, and how unevenly clusters are filled."""
    sizes = torch.bincount(found.assignment, minlength=len(found.centroids))
    return {
        "feature_std": float(_unit(features).std(dim=0).mean()),
        "largest_cluster": float(sizes.max() / len(features)),
        "empty_clusters": float((sizes == 0).sum()),
    }


@torch.no_grad()
def silhouette_samples(features: Tensor, assignment: Tensor, clusters: int) -> Tensor:
    """The silhouette (b - a) / max(a, b) of each point, [N] float64 in [-1, 1] (Rousseeuw 1987), for cosine distance.

    a is the mean distance to the other points of the own cluster, b the smallest mean distance to another cluster. A
    mean of 1 - x.y over a cluster needs only the sum of its points, so this is exact in O(NKd). A point alone in its
    cluster scores 0, empty clusters are ignored. `features` [N, d] of any float type, `assignment` [N] below
    `clusters`. Raises StageError when all points share one cluster.
    """
    counts = torch.bincount(assignment, minlength=clusters)
    if int((counts > 0).sum()) < 2:
        raise StageError("a silhouette needs two clusters with points: the features have collapsed to one direction.")
    rows = _unit(features.double())
    sums = _sums(rows, assignment, clusters)
    chunks = zip(torch.split(rows, _CHUNK), torch.split(assignment, _CHUNK), strict=True)
    return torch.cat([_silhouettes(part, own, sums, counts.double()) for part, own in chunks])


def silhouette_score(features: Tensor, assignment: Tensor, clusters: int) -> float:
    """The mean of `silhouette_samples`."""
    return float(silhouette_samples(features, assignment, clusters).mean())


@torch.no_grad()
def choose_clusters(
    features: Tensor,
    grid: Sequence[int],
    generator_for: Callable[[int], torch.Generator],
    *,
    seeding: Seeding = Seeding.KMEANS_PLUS_PLUS,
    iterations: int = 100,
    tolerance: float = 0.001,
) -> ClusterChoice:
    """The number of clusters in `grid` whose partition has the largest mean silhouette (NCP-ACL section 4.1).

    `generator_for(K)` seeds candidate K, so that a score does not depend on the rest of the grid. Ties go to the
    smaller number. Raises BenchError for an empty grid or an entry outside 2..N-1, where no silhouette is defined.
    """
    check_grid(grid, len(features))

    def score(count: int) -> float:
        found = spherical_kmeans(
            rows, count, generator_for(count), seeding=seeding, iterations=iterations, tolerance=tolerance
        )
        return silhouette_score(rows, found.assignment, count)

    rows = _unit(features)
    scores = tuple((count, score(count)) for count in grid)
    best, _ = max(scores, key=lambda entry: (entry[1], -entry[0]))
    return ClusterChoice(best, scores)


@torch.no_grad()
def kmeans_plus_plus(rows: Tensor, clusters: int, generator: torch.Generator) -> Tensor:
    """Indices [K] of seeds among unit `rows` [N, d], in K passes over them (Arthur & Vassilvitskii 2007).

    The first is uniform, each other of probability ~ D^2, its squared chordal distance to the seeds before it.
    """
    seeds = [_draw(rows.new_ones(len(rows)), generator)]
    squared = _squared_distance(rows, rows[seeds[0]])
    while len(seeds) < clusters:
        seeds.append(_draw(squared, generator))
        squared = torch.minimum(squared, _squared_distance(rows, rows[seeds[-1]]))
    return torch.cat(seeds)


@torch.no_grad()
def afk_mc2(rows: Tensor, clusters: int, generator: torch.Generator, chain: int = 200) -> Tensor:
    """Indices [K] of seeds among unit `rows` [N, d] by a Markov chain that approximates k-means++ in two passes.

    Algorithm 1 of Bachem et al. 2016 ("Fast and provably good seedings for k-means"): proposals come from
    q = D^2 / (2 sum D^2) + 1 / (2N), with D the distance to the first seed, and each further seed is the end of a
    Metropolis-Hastings chain of `chain` states.
    """
    seeds = [int(_draw(rows.new_ones(len(rows)), generator))]
    proposal = _assumption_free_proposal(_squared_distance(rows, rows[seeds]))
    candidates = _draw_many(proposal, (clusters - 1, chain), generator)
    thresholds = torch.rand(clusters - 1, chain, generator=generator, device=rows.device, dtype=torch.float64)
    for states, uniforms in zip(candidates, thresholds, strict=True):
        weights = _squared_distance(rows[states], rows[seeds]) / proposal[states]
        seeds.append(int(states[_chain_end(weights.tolist(), uniforms.tolist())]))
    return torch.tensor(seeds, device=rows.device)


_SEEDINGS: dict[Seeding, Callable[[Tensor, int, torch.Generator], Tensor]] = {
    Seeding.KMEANS_PLUS_PLUS: kmeans_plus_plus,
    Seeding.AFK_MC2: afk_mc2,
}


def _assumption_free_proposal(squared: Tensor) -> Tensor:
    total = squared.double().sum().clamp(min=torch.finfo(torch.float64).tiny)
    return squared.double() / (2 * total) + 1 / (2 * len(squared))


def _chain_end(weights: list[float], uniforms: list[float]) -> int:
    """The position at which a chain ends that moves to state j when weights[j] > u weights[current]."""
    position = 0
    for candidate in range(1, len(weights)):
        if weights[candidate] > uniforms[candidate] * weights[position]:
            position = candidate
    return position


def _draw(weights: Tensor, generator: torch.Generator) -> Tensor:
    """An index [1] with probability proportional to its weight, uniform where all weights are 0. No host sync."""
    usable = torch.where(weights.sum() > 0, weights, 1)
    return torch.multinomial(usable, 1, generator=generator)


def _draw_many(probabilities: Tensor, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    # The running sum is taken on the CPU: on CUDA its rounding, and with it the draw, may change from call to call.
    cumulative = probabilities.cpu().cumsum(0).to(probabilities.device)
    uniforms = torch.rand(shape, generator=generator, device=probabilities.device, dtype=torch.float64)
    return torch.searchsorted(cumulative, uniforms * cumulative[-1], right=True).clamp(max=len(cumulative) - 1)


def _unit(features: Tensor) -> Tensor:
    """Rows of length 1, in float32 at least: half precision cannot tell near directions apart."""
    if not bool(torch.isfinite(features).all()):
        raise StageError("the features to cluster are not finite: training has diverged before this point.")
    return functional.normalize(features.to(torch.promote_types(features.dtype, torch.float32)), dim=1)


def _squared_distance(rows: Tensor, seeds: Tensor) -> Tensor:
    """Squared chordal distance of each unit row to the nearest of the unit `seeds`, [N]."""
    return (2 - 2 * (rows @ seeds.T).amax(dim=1)).clamp(min=0)


def _nearest(rows: Tensor, centroids: Tensor) -> Tensor:
    return torch.cat([(part @ centroids.T).argmax(dim=1) for part in torch.split(rows, _CHUNK)])


def _sums(rows: Tensor, assignment: Tensor, clusters: int) -> Tensor:
    """The sum of each cluster's rows, [K, d]."""
    # A product with one-hot rows: index_add_ on CUDA adds in an order that changes from call to call.
    labels = torch.arange(clusters, device=rows.device)[:, None]
    sums = rows.new_zeros(clusters, rows.shape[1])
    for part, own in zip(torch.split(rows, _CHUNK), torch.split(assignment, _CHUNK), strict=True):
        sums += (own == labels).to(rows.dtype) @ part
    return sums


def _directions(rows: Tensor, assignment: Tensor, clusters: int) -> Tensor:
    """The mean direction of each cluster, [K, d]; where there is none (no points, or they cancel) a far point."""
    sums = _sums(rows, assignment, clusters)
    centroids = functional.normalize(sums, dim=1)
    lost = (sums == 0).all(dim=1)
    if bool(lost.any()):
        similarity = torch.cat(
            [(part @ centroids.T).masked_fill(lost, -torch.inf).amax(dim=1) for part in torch.split(rows, _CHUNK)]
        )
        for cluster in lost.nonzero().flatten().tolist():
            farthest = rows[similarity.argmin()]
            centroids[cluster] = farthest
            similarity = torch.maximum(similarity, rows @ farthest)
    return centroids


def _silhouettes(rows: Tensor, own: Tensor, sums: Tensor, counts: Tensor) -> Tensor:
    """Silhouettes of unit `rows`, from each cluster's vector sum S_k and size n_k: mean of 1 - x.y is 1 - x.S_k/n_k."""
    column = own[:, None]
    products = rows @ sums.T
    others = counts[own] - 1
    to_others = products.gather(1, column).squeeze(1) - rows.square().sum(dim=1)
    within = (1 - to_others / others.clamp(min=1)).clamp(min=0)
    distances = (1 - products / counts.clamp(min=1)).masked_fill(counts == 0, torch.inf)
    between = distances.scatter(1, column, torch.inf).amin(dim=1).clamp(min=0)
    larger = torch.maximum(within, between)
    return torch.where((others > 0) & (larger > 0), (between - within) / larger, 0)

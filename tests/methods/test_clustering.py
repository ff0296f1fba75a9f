"""Spherical k-means, its two seedings, the neighbouring clusters and the silhouette."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest
import torch
from sklearn.metrics import silhouette_samples as sklearn_silhouettes
from torch import Tensor
from torch.nn import functional

from bench.errors import BenchError, StageError
from methods.parts import clustering
from methods.parts.clustering import (
    Clusters,
    Seeding,
    afk_mc2,
    choose_clusters,
    kmeans_plus_plus,
    neighbours,
    silhouette_samples,
    silhouette_score,
    spherical_kmeans,
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def circle(*degrees: float) -> Tensor:
    """Directions in the plane, of different lengths, which must not matter."""
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    lengths = torch.arange(1, len(degrees) + 1)[:, None]
    return lengths * torch.stack([angles.cos(), angles.sin()], dim=1)


def planted(groups: int, size: int, dim: int = 32, noise: float = 0.003) -> tuple[Tensor, Tensor]:
    """Well separated groups around random directions, in shuffled order, and their labels."""
    generator = seeded(7)
    labels = torch.arange(groups).repeat_interleave(size)[torch.randperm(groups * size, generator=generator)]
    centres = functional.normalize(torch.randn(groups, dim, generator=generator), dim=1)
    points = centres[labels] + noise * torch.randn(len(labels), dim, generator=generator)
    return points * (0.5 + torch.rand(len(labels), 1, generator=generator)), labels


def same_partition(first: Tensor, second: Tensor) -> bool:
    pairs = set(zip(first.tolist(), second.tolist(), strict=True))
    return len(pairs) == len(set(first.tolist())) == len(set(second.tolist()))


# Spherical k-means


@pytest.mark.parametrize("seeding", Seeding)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_planted_clusters_are_recovered(seeding: Seeding, dtype: torch.dtype) -> None:
    features, labels = planted(groups=8, size=40)
    found = spherical_kmeans(features.to(dtype), 8, seeded(), seeding=seeding)
    assert same_partition(found.assignment, labels)
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones_like(found.centroids[:, 0]))


def test_a_centroid_is_the_mean_direction_of_its_points_and_each_point_has_the_nearest() -> None:
    features = torch.randn(300, 8, generator=seeded(1), dtype=torch.float64)
    found = spherical_kmeans(features, 12, seeded(), tolerance=0)
    rows = functional.normalize(features, dim=1)
    means = torch.stack([rows[found.assignment == cluster].mean(dim=0) for cluster in range(12)])
    torch.testing.assert_close(found.centroids, functional.normalize(means, dim=1))
    assert torch.equal(found.assignment, (rows @ found.centroids.T).argmax(dim=1))


@pytest.mark.parametrize("seeding", Seeding)
def test_the_result_depends_on_the_generator_alone(seeding: Seeding) -> None:
    features = torch.randn(500, 16, generator=seeded(1))
    first, again, other = (spherical_kmeans(features, 20, seeded(seed), seeding=seeding) for seed in (0, 0, 1))
    assert torch.equal(first.centroids, again.centroids)
    assert torch.equal(first.assignment, again.assignment)
    assert not torch.equal(first.assignment, other.assignment)


def test_the_lengths_of_the_features_do_not_matter() -> None:
    features = torch.randn(200, 8, generator=seeded(1), dtype=torch.float64)
    scaled = features * torch.logspace(-3, 3, 200)[:, None]
    results = [spherical_kmeans(points, 5, seeded()).assignment for points in (features, scaled)]
    assert torch.equal(*results)


def seed_at(*indices: int) -> Callable[[Tensor, int, torch.Generator], Tensor]:
    return lambda rows, clusters, generator: torch.tensor(indices)


@pytest.mark.parametrize(
    ("degrees", "seeds", "partition"),
    [
        pytest.param([0, 1, 2, 40, 41, 90], [0, 0, 5], [[0, 1, 2], [3, 4], [5]], id="one empty cluster"),
        pytest.param([0, 1, 80, 81, 180, 181], [0, 0, 0], [[0, 1], [2, 3], [4, 5]], id="two at different points"),
        pytest.param([0, 180, 90, 91], [0, 2, 2], [[0], [1], [2, 3]], id="an empty one beside a far pair"),
    ],
)
def test_empty_clusters_restart_at_the_farthest_points(
    monkeypatch: pytest.MonkeyPatch, degrees: list[float], seeds: list[int], partition: list[list[int]]
) -> None:
    monkeypatch.setitem(clustering._SEEDINGS, Seeding.KMEANS_PLUS_PLUS, seed_at(*seeds))
    found = spherical_kmeans(circle(*degrees), 3, seeded())
    groups = [(found.assignment == cluster).nonzero().flatten().tolist() for cluster in range(3)]
    assert sorted(groups) == sorted(partition)


def test_several_empty_clusters_restart_at_points_far_from_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clustering._SEEDINGS, Seeding.KMEANS_PLUS_PLUS, seed_at(0, 0, 0))
    points = circle(0, 0, 0, 0, 0, 0, 130, 180)
    found = spherical_kmeans(points, 3, seeded(), iterations=1)
    torch.testing.assert_close(found.centroids[1:], functional.normalize(points[[7, 6]], dim=1))


def test_points_that_cancel_leave_no_centroid_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(clustering._SEEDINGS, Seeding.KMEANS_PLUS_PLUS, seed_at(0))
    points = torch.tensor([[1.0, 0.0], [-1.0, 0.0]])
    found = spherical_kmeans(points, 1, seeded())
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(1))


@pytest.mark.parametrize("seeding", Seeding)
def test_fewer_directions_than_clusters_still_ends(seeding: Seeding) -> None:
    found = spherical_kmeans(circle(0, 90).repeat(10, 1), 5, seeded(), seeding=seeding)
    assert same_partition(found.assignment, torch.arange(2).repeat(10))
    torch.testing.assert_close(found.centroids.norm(dim=1), torch.ones(5, dtype=torch.float64))


def test_every_point_can_be_a_cluster() -> None:
    found = spherical_kmeans(circle(0, 70, 140, 210, 280), 5, seeded())
    assert sorted(found.assignment.tolist()) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("clusters", [-1, 0, 6])
def test_an_impossible_number_of_clusters_is_an_error(clusters: int) -> None:
    with pytest.raises(BenchError, match=f"{clusters} clusters of 5 images"):
        spherical_kmeans(circle(0, 1, 2, 3, 4), clusters, seeded())


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_features_that_are_not_finite_fail_the_stage(value: float) -> None:
    features = torch.ones(10, 4)
    features[3, 2] = value
    with pytest.raises(StageError, match="not finite"):
        spherical_kmeans(features, 2, seeded())


# Seedings: how often each point follows another, against the law written out by hand

SQUARE = [0.0, 60.0, 90.0, 180.0]
CHORDS = [[2 - 2 * math.cos(math.radians(a - b)) for b in SQUARE] for a in SQUARE]  # squared chordal distances


def d_squared_law() -> dict[tuple[int, ...], float]:
    """P(i, j, k) = 1/4 x D^2(j | i) x D^2(k | i, j): k-means++ of three seeds."""
    law: dict[tuple[int, ...], float] = {}
    for i in range(4):
        for j in range(4):
            second = CHORDS[i][j] / sum(CHORDS[i])
            nearest = [min(a, b) for a, b in zip(CHORDS[i], CHORDS[j], strict=True)]
            for k in range(4):
                law[i, j, k] = second * nearest[k] / sum(nearest) / 4
    return law


def proposal_law() -> dict[tuple[int, ...], float]:
    """A chain of one state never moves: P(i, j) = 1/4 x (D^2 / (2 sum D^2) + 1/8)."""
    return {(i, j): (CHORDS[i][j] / (2 * sum(CHORDS[i])) + 1 / 8) / 4 for i in range(4) for j in range(4)}


SAMPLERS = [
    pytest.param(kmeans_plus_plus, d_squared_law(), id="k-means++ draws by D^2"),
    pytest.param(partial(afk_mc2, chain=40), d_squared_law(), id="a long AFK-MC2 chain draws by D^2"),
    pytest.param(partial(afk_mc2, chain=1), proposal_law(), id="a chain of one draws by the proposal"),
]


@pytest.mark.parametrize(("sampler", "law"), SAMPLERS)
def test_seeds_follow_their_law(
    sampler: Callable[[Tensor, int, torch.Generator], Tensor], law: dict[tuple[int, ...], float]
) -> None:
    trials, generator = 4000, seeded()
    rows = functional.normalize(circle(*SQUARE), dim=1)
    seeds = len(next(iter(law)))
    drawn = Counter(tuple(sampler(rows, seeds, generator).tolist()) for _ in range(trials))
    assert sum(law.values()) == pytest.approx(1)
    for sequence, probability in law.items():
        deviation = math.sqrt(trials * probability * (1 - probability))
        assert abs(drawn[sequence] - trials * probability) <= 4 * deviation + 1e-9, sequence


# Neighbours


@pytest.mark.parametrize(
    ("rank", "expected"),
    [
        pytest.param(2, [1, 1, 2, 0, 1], id="the closest other"),
        pytest.param(3, [2, 2, 0, 2, 0], id="the third"),
    ],
)
def test_neighbours_are_ranked_by_the_point_itself(rank: int, expected: list[int]) -> None:
    clusters = Clusters(functional.normalize(circle(0, 60, 130)), torch.tensor([0, 0, 1, 1, 2]))
    points = circle(-10, 10, 70, 40, 125)
    assert neighbours(points, clusters, rank).tolist() == expected


@pytest.mark.parametrize("rank", [2, 3, 5, 20])
def test_no_point_is_its_own_neighbour_and_ranks_descend(rank: int) -> None:
    features = torch.randn(400, 8, generator=seeded(1))
    clusters = spherical_kmeans(features, 20, seeded())
    similarity = functional.normalize(features, dim=1) @ clusters.centroids.T
    ranked = neighbours(features, clusters, rank)
    closer = (similarity > similarity.gather(1, ranked[:, None])).sum(dim=1)
    assert not (ranked == clusters.assignment).any()
    assert (closer == rank - 1).all()


def test_two_equal_centroids_do_not_make_a_point_its_own_neighbour() -> None:
    clusters = Clusters(functional.normalize(circle(0, 0, 90)), torch.tensor([0, 1, 2]))
    assert neighbours(circle(0, 0, 80), clusters, 2).tolist() == [1, 0, 0]


@pytest.mark.parametrize("rank", [0, 1, 4])
def test_a_rank_without_a_neighbour_is_an_error(rank: int) -> None:
    clusters = Clusters(functional.normalize(circle(0, 60, 130)), torch.tensor([0]))
    with pytest.raises(BenchError, match=f"neighbour {rank} of 3 clusters"):
        neighbours(circle(0), clusters, rank)


# Silhouette


def test_a_silhouette_by_hand() -> None:
    features, assignment = circle(0, 60, 90, 180), torch.tensor([0, 0, 1, 2])
    half_root3 = math.sqrt(3) / 2
    expected = [
        (1 - 0.5) / 1,  # own 1 - cos 60, other 1 - cos 90
        (1 - half_root3 - 0.5) / 0.5,  # own 1 - cos 60, other 1 - cos 30
        0.0,  # alone
        0.0,  # alone
    ]
    assert silhouette_samples(features, assignment, 3).tolist() == pytest.approx(expected, abs=1e-14)
    assert silhouette_score(features, assignment, 3) == pytest.approx(sum(expected) / 4, abs=1e-14)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)], ids=["float64", "float32"]
)
def test_silhouettes_equal_those_of_all_pairs(dtype: torch.dtype, tolerance: float) -> None:
    features, _ = planted(groups=30, size=67, dim=64, noise=0.2)
    features = features[:2000].to(dtype)
    assignment = spherical_kmeans(features, 25, seeded()).assignment
    assignment[:3] = torch.tensor([25, 26, 28])  # three points alone; cluster 27 stays empty
    ours = silhouette_samples(features, assignment, 29)
    theirs = torch.from_numpy(sklearn_silhouettes(features.numpy(), assignment.numpy(), metric="cosine"))
    assert (ours - theirs).abs().max() < tolerance
    assert ours[:3].tolist() == [0, 0, 0]


def test_empty_clusters_do_not_count_as_neighbours() -> None:
    features, assignment = circle(0, 10, 180, 190), torch.tensor([0, 0, 3, 3])
    assert torch.equal(silhouette_samples(features, assignment, 6), silhouette_samples(features, assignment // 3, 2))
    assert silhouette_score(features, assignment, 6) > 0.99


def test_identical_points_in_two_clusters_score_zero() -> None:
    assert silhouette_samples(torch.ones(4, 3), torch.tensor([0, 0, 1, 1]), 2).tolist() == pytest.approx([0] * 4)


def test_one_cluster_has_no_silhouette() -> None:
    with pytest.raises(StageError, match="collapsed"):
        silhouette_samples(torch.randn(5, 3), torch.ones(5, dtype=torch.int64), 3)


# The number of clusters


def test_the_planted_number_of_clusters_is_chosen() -> None:
    features, _ = planted(groups=6, size=30)
    choice = choose_clusters(features, range(2, 11), seeded)
    assert choice.clusters == 6
    assert [count for count, _ in choice.scores] == list(range(2, 11))
    assert dict(choice.scores)[6] == max(score for _, score in choice.scores)


def test_a_score_does_not_depend_on_the_rest_of_the_grid() -> None:
    features = torch.randn(200, 8, generator=seeded(1))
    alone, among = (dict(choose_clusters(features, grid, seeded).scores)[7] for grid in ([7], [3, 5, 7, 9]))
    assert alone == among


def test_ties_go_to_the_smaller_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustering, "silhouette_score", lambda *_: 0.5)
    assert choose_clusters(circle(0, 10, 90, 100, 180), [4, 2, 3], seeded).clusters == 2


@pytest.mark.parametrize("grid", [[], [1, 2], [2, 5], [0]])
def test_a_grid_without_silhouettes_is_an_error(grid: list[int]) -> None:
    with pytest.raises(BenchError, match=r"must lie in 2\.\.4"):
        choose_clusters(circle(0, 10, 90, 100, 180), grid, seeded)

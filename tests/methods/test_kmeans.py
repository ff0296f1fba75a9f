"""Pseudo-labels by Euclidean k-means."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from bench.errors import BenchError, StageError
from methods.parts import kmeans
from methods.parts.kmeans import pseudo_labels


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def points(count: int = 200, dim: int = 6) -> Tensor:
    return torch.randn(count, dim, generator=seeded(1), dtype=torch.float64)


def test_every_point_has_the_nearest_mean() -> None:
    features = points()
    labels = pseudo_labels(features, 7, seeded(), tolerance=0)
    means = torch.stack([features[labels == cluster].mean(dim=0) for cluster in range(7)])
    squared = (features[:, None] - means).square().sum(dim=2)
    assert labels.dtype == torch.int64
    assert torch.equal(labels, squared.argmin(dim=1))


def test_lengths_matter() -> None:
    """Euclidean, not spherical: two groups in one direction."""
    labels = pseudo_labels(torch.tensor([[1.0, 0.0], [1.1, 0.0], [5.0, 0.0], [5.1, 0.0]]), 2, seeded())
    assert labels[0] == labels[1] != labels[2] == labels[3]


def test_the_result_depends_on_the_generator_alone() -> None:
    first, again, other = (pseudo_labels(points(), 9, seeded(seed)) for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_first_centres_are_distinct_rows() -> None:
    labels = pseudo_labels(points(12), 12, seeded(), iterations=1)
    assert sorted(labels.tolist()) == list(range(12))


def test_empty_clusters_restart_at_the_farthest_points() -> None:
    features = torch.tensor([[0.0], [1.0], [8.0], [30.0]])
    assignment, distance = torch.tensor([1, 1, 1, 1]), torch.tensor([0.0, 1.0, 8.0, 30.0])
    centres = kmeans.moved(features, assignment, distance, 3)
    assert centres.flatten().tolist() == [30.0, 9.75, 8.0]


def test_a_looser_tolerance_stops_earlier(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    move = kmeans.moved
    monkeypatch.setattr(kmeans, "moved", lambda *given: calls.append(1) or move(*given))
    lengths = []
    for tolerance, iterations in ((0.0, 300), (1.0, 300), (0.0, 2)):
        calls.clear()
        pseudo_labels(points(), 7, seeded(), tolerance=tolerance, iterations=iterations)
        lengths.append(len(calls))
    assert lengths[0] > lengths[1] > lengths[2] == 2


@pytest.mark.parametrize("clusters", [0, 201])
def test_a_number_of_clusters_that_cannot_be(clusters: int) -> None:
    with pytest.raises(BenchError, match=f"{clusters} clusters of 200 images: choose a number from 1"):
        pseudo_labels(points(), clusters, seeded())


def test_features_that_are_not_finite() -> None:
    with pytest.raises(StageError, match="diverged"):
        pseudo_labels(torch.tensor([[0.0], [torch.nan]]), 1, seeded())

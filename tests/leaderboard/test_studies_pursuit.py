"""NCP-ACL's proof of concept on a network of which all is known: two features, two clusters, two classes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.contract import Encoder, LabelledImages
from bench.data.profiles import PROFILES
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.randomness import Randomness
from leaderboard.studies.effects import Perturbation
from leaderboard.studies.pursuit import (
    PERTURBED,
    PursuitSettings,
    Targets,
    clustered,
    effects_on,
    targets_of,
)
from methods.ncp import NCP, NCPConfig, Ranked
from tests.leaderboard.made_rows import row

EPS = 0.1
STEEP = 8.0
"""Logits per unit of brightness."""
RANDOM = Randomness(0, "pursuit")


class Halves(Encoder):
    """The mean brightness of the left and of the right half of an image."""

    routes, active_route = ("main",), "main"

    def encode(self, x: Tensor) -> Tensor:
        left, right = x.chunk(2, dim=3)
        return torch.stack([left.mean(dim=(1, 2, 3)), right.mean(dim=(1, 2, 3))], dim=1)


CLASSIFIER = Classifier(Halves(), STEEP * torch.eye(2), torch.zeros(2))
AXES = torch.eye(2)
"""Centroids: all light on the left, all on the right."""


def images(*levels: tuple[int, int], labels: list[int]) -> LabelledImages:
    """Images [N, 3, 8, 8] with these levels on their left and right halves."""
    pixels = torch.tensor(levels, dtype=torch.uint8).repeat_interleave(4, dim=1)[:, None, None, :]
    return LabelledImages(pixels.expand(-1, 3, 8, -1).contiguous(), PROFILES["digits"], torch.tensor(labels))


def settings(**options: Any) -> PursuitSettings:
    """A single step of PGD across the whole ball, so that every start ends in the same corner."""
    config = NCPConfig(attack_steps=1, step_fraction=2.0, **options)
    return PursuitSettings(config, EPS, draws=3)


def probability(gap: float) -> float:
    """Of the left class where the left half is brighter by `gap`."""
    return torch.sigmoid(torch.tensor(STEEP * gap, dtype=torch.float64)).item()


class TestEffects:
    def test_the_pursuit_moves_light_to_the_neighbour(self) -> None:
        """Gaps of 100 and 40 levels, 2 eps being 51: both lose probability, the second its class."""
        test = images((150, 50), (120, 80), labels=[0, 0])

        scored, effects = effects_on(CLASSIFIER, test, AXES, settings(), RANDOM)

        expected = [probability(gap / 255) - probability(gap / 255 - 2 * EPS) for gap in (100, 40)]
        assert scored == 2
        assert effects[Perturbation.NEIGHBOUR].success == 50
        assert effects[Perturbation.NEIGHBOUR].decrease == pytest.approx(50 * sum(expected), abs=1e-3)

    def test_noise_of_either_kind_leaves_means_of_halves_about_where_they_are(self) -> None:
        _, effects = effects_on(CLASSIFIER, images((150, 50), labels=[0]), AXES, settings(), RANDOM)

        for kind in (Perturbation.NOISE, Perturbation.SIGNS):
            assert abs(effects[kind].decrease) < 2 and effects[kind].success == 0

    def test_with_two_clusters_and_classes_all_attacks_are_one(self) -> None:
        _, effects = effects_on(CLASSIFIER, images((150, 50), (60, 90), labels=[0, 1]), AXES, settings(), RANDOM)

        neighbour = effects[Perturbation.NEIGHBOUR]
        for kind in (Perturbation.OTHER, Perturbation.CROSS_ENTROPY):
            assert (effects[kind].decrease, effects[kind].success) == pytest.approx(
                (neighbour.decrease, neighbour.success)
            )

    def test_images_that_were_wrong_before_do_not_count(self) -> None:
        alone, mixed = images((150, 50), labels=[0]), images((150, 50), (50, 150), labels=[0, 0])

        (one, effects), (same, others) = (
            effects_on(CLASSIFIER, test, AXES, settings(), RANDOM) for test in (alone, mixed)
        )

        assert one == same == 1
        assert effects[Perturbation.NEIGHBOUR] == others[Perturbation.NEIGHBOUR]

    def test_where_none_is_right_there_is_nothing_to_say(self) -> None:
        with pytest.raises(BenchError, match="none of 1 test images is classified correctly"):
            effects_on(CLASSIFIER, images((50, 150), labels=[0]), AXES, settings(), RANDOM)

    @pytest.mark.parametrize("kind", Perturbation)
    def test_perturbed_images_stay_in_the_ball_and_in_range(self, kind: Perturbation) -> None:
        test = images((255, 0), (150, 50), labels=[0, 0])
        x, draw = pixels_of(test.pixels), torch.Generator().manual_seed(0)
        targets = targets_of(CLASSIFIER, x, test.labels, AXES, settings(), draw)

        x_perturbed = PERTURBED[kind](CLASSIFIER, targets, settings(), draw)

        assert (x_perturbed - x).abs().amax() <= EPS + 1e-6 and not torch.equal(x_perturbed, x)
        assert x_perturbed.amin() >= 0 and x_perturbed.amax() <= 1

    @pytest.mark.parametrize(("kind", "brighter"), [(Perturbation.NEIGHBOUR, "right"), (Perturbation.OTHER, "left")])
    def test_each_pursues_its_own_cluster(self, kind: Perturbation, brighter: str) -> None:
        x = torch.full((1, 3, 8, 8), 0.5)
        targets = Targets(x, torch.tensor([0]), torch.tensor([0.5]), neighbour=AXES[[1]], other=AXES[[0]])

        left, right = PERTURBED[kind](CLASSIFIER, targets, settings(), torch.Generator()).chunk(2, dim=3)

        sides = {"left": left, "right": right}
        torch.testing.assert_close(sides.pop(brighter), torch.full((1, 3, 8, 4), 0.5 + EPS))
        torch.testing.assert_close(sides.popitem()[1], torch.full((1, 3, 8, 4), 0.5 - EPS))

    @pytest.mark.parametrize(("kind", "mean_length"), [(Perturbation.NOISE, EPS / 2), (Perturbation.SIGNS, EPS)])
    def test_uniform_noise_is_half_as_long_as_signs(self, kind: Perturbation, mean_length: float) -> None:
        x = torch.full((50, 3, 8, 8), 0.5)
        targets = Targets(x, torch.zeros(50).long(), torch.ones(50), AXES[[1]], AXES[[1]])

        noise = PERTURBED[kind](CLASSIFIER, targets, settings(), torch.Generator().manual_seed(0)) - x

        assert noise.abs().mean().item() == pytest.approx(mean_length, rel=0.02)
        assert noise.mean().item() == pytest.approx(0, abs=0.02 * EPS)

    def test_noise_is_drawn_several_times_and_attacks_start_once(self) -> None:
        assert {settings().draws_of(kind) for kind in (Perturbation.NOISE, Perturbation.SIGNS)} == {3}
        assert {settings().draws_of(kind) for kind in set(Perturbation) - {"random noise", "random signs"}} == {1}


class TestTargets:
    """An image whose light is on the left, a little of it on the right; five directions around it."""

    centroids = torch.nn.functional.normalize(
        torch.tensor([[1.0, 0.0], [1.0, 0.5], [0.0, 1.0], [1.0, -0.3], [-1.0, 0.0]]), dim=1
    )
    test = images((200, 40), labels=[0])

    def targets(self, **options: Any) -> Tensor:
        x, draw = pixels_of(self.test.pixels), torch.Generator().manual_seed(0)
        return targets_of(CLASSIFIER, x, self.test.labels, self.centroids, settings(**options), draw).neighbour

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, 1),
            ({"neighbour": 3}, 3),
            ({"neighbour_of": Ranked.CENTROID}, 3),  # The own centroid is nearer to (1, -.3) than to (1, .5).
        ],
    )
    def test_the_neighbour_is_ranked_as_ncp_does(self, options: dict[str, Any], expected: int) -> None:
        torch.testing.assert_close(self.targets(**options), self.centroids[[expected]])

    def test_the_random_cluster_is_any_but_the_own(self) -> None:
        many = images(*[(200, 40)] * 200, labels=[0] * 200)
        x, draw = pixels_of(many.pixels), torch.Generator().manual_seed(0)

        drawn = targets_of(CLASSIFIER, x, many.labels, self.centroids, settings(), draw).other

        assert {self.centroids.tolist().index(one) for one in drawn.tolist()} == {1, 2, 3, 4}


class TestClustering:
    def test_k_is_that_of_the_best_silhouette(self) -> None:
        features = torch.eye(3).repeat_interleave(10, dim=0) + 0.01 * torch.rand(
            30, 3, generator=torch.Generator().manual_seed(0)
        )

        scores, found = clustered(features, NCPConfig(cluster_grid=(2, 5, 1)), RANDOM)

        assert max(scores, key=lambda clusters: scores[clusters]) == len(found.centroids) == 3
        assert list(scores) == [2, 3, 4, 5]

    def test_a_given_k_is_taken(self) -> None:
        scores, found = clustered(torch.eye(4).repeat(5, 1), NCPConfig(clusters=4), RANDOM)
        assert list(scores) == [4] and len(found.centroids) == 4


class TestPursuit:
    def test_settings_are_ncps_own_on_the_data(self) -> None:
        found = PursuitSettings.of(row("simclr", eps=0.15).as_dict())

        assert found.clustering == NCP.QUICK["digits"]
        assert (found.attack.eps, found.attack.steps, found.attack.step_size) == (0.15, 5, pytest.approx(0.0375))

"""Whether a perturbation toward the neighbouring cluster is adversarial (NCP-ACL section 3.1, Table 1, appendix A.1).

A network that was trained without attacks, its linear head, and perturbations of one size: what each costs the true
class. The table's body is lost; what the text keeps are the largest ratios to random noise, 25.7 and 20.6.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from bench.attacks.classifier import Classifier
from bench.attacks.pgd import LinfPGD, ascend, uniform_start
from bench.contract import LabelledImages
from bench.data.profiles import profile_of
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.randomness import Randomness
from bench.registry import Registry, resolve
from bench.store import Store
from bench.sweep import Schedule
from leaderboard.studies.cells import Row, Say, to_stderr
from leaderboard.studies.effects import Effect, Perturbation, Pursuit
from leaderboard.studies.judged import BATCH, Judged
from methods.ncp import OBJECTIVES, NCPConfig, Ranked, Strategy
from methods.parts.clustering import Clusters, check_grid, choose_clusters, neighbours, spherical_kmeans


@dataclass(frozen=True)
class PursuitSettings:
    """Settings of the proof of concept; the appendix names five steps of work and no number.

    Silent points without an alternative here: features are the backbone's, without a projector; K and the centroids
    come from the images that the encoder was pre-trained on, un-augmented; a test image belongs to the cluster whose
    centroid is nearest to it; the network is in eval mode; both measures are of the test images that are classified
    correctly before.
    """

    clustering: NCPConfig
    """NCP-ACL's own settings on the data set: the K tried, k-means, the rank of the neighbour and from where it is
    counted, steps, step length and start of the attack. Its `strategy` has no say: the pursuit is `toward`."""
    eps: float
    """In units of [0, 1] pixels. Silent; what the cell was judged with, which is NCP-ACL's own on the paper's data."""
    draws: int = 10
    """Of the noise, averaged. Chosen; what follows a gradient starts once."""

    @classmethod
    def of(cls, row: Row) -> PursuitSettings:
        """Those of a row's data set and schedule.

        Raises:
            BenchError: if NCP-ACL has no settings for them.
        """
        profile, schedule = profile_of(row["dataset_like"]), Schedule(row["schedule"])
        config = resolve(Registry.discover().find("ncp"), {}, profile, schedule)
        assert isinstance(config, NCPConfig)
        return cls(config, float(row["eps"]))

    @property
    def attack(self) -> LinfPGD:
        """The budget of what follows a gradient."""
        c = self.clustering
        return LinfPGD(eps=self.eps, steps=c.attack_steps, step_size=c.step_fraction * self.eps)

    def draws_of(self, kind: Perturbation) -> int:
        """How often a perturbation is drawn per image."""
        return self.draws if kind in (Perturbation.NOISE, Perturbation.SIGNS) else 1


def pursuit(
    store: Store,
    row: Row,
    data_dir: Path,
    settings: PursuitSettings | None = None,
    *,
    device: str = "auto",
    say: Say = to_stderr,
) -> Pursuit:
    """The proof of concept on a finished cell, `simclr` under `slf-1` in the paper.

    Args:
        store, row: the cell.
        data_dir: where downloaded data sets lie.
        settings: NCP-ACL's on the row's data set by default.
        device: where the network runs; `auto` is a GPU where there is one.
        say: told how long it takes, where that is over a minute.

    Raises:
        BenchError: as `Judged.load`; if NCP-ACL has no settings for the data set, or there are fewer images than K.
        StageError: if features are not finite, or all images are one cluster.
    """
    settings = settings or PursuitSettings.of(row)
    judged = Judged.load(store, row, data_dir, device)
    pool, device = judged.pretraining_images(), judged.device
    check_grid(candidates(settings.clustering), len(pool))
    randomness = Randomness(judged.seed, "pursuit")
    with judged.settled():
        judged.announce("pursuit", len(pool) + _passes(settings) * len(judged.images), say)
        scores, found = clustered(judged.features(pool.pixels).to(device), settings.clustering, randomness)
        images, effects = effects_on(judged.classifier, judged.images.to(device), found.centroids, settings, randomness)
    return Pursuit(
        cell=judged.name,
        dataset=str(row["dataset"]),
        seed=judged.seed,
        clusters=len(found.centroids),
        scores=scores,
        eps=settings.eps,
        images=images,
        effects=effects,
    )


def _passes(settings: PursuitSettings) -> int:
    """Of an image: logits and features, every draw, and three per step of PGD, whose backward costs two."""
    scored = 2 + sum(map(settings.draws_of, Perturbation))
    return scored + 3 * settings.clustering.attack_steps * len(OBJECTIVES_OF)


def candidates(config: NCPConfig) -> Sequence[int]:
    """The K tried: those of the grid, or the one that is given."""
    return config.grid if config.clusters is None else (config.clusters,)


def clustered(features: Tensor, config: NCPConfig, randomness: Randomness) -> tuple[Mapping[int, float], Clusters]:
    """Spherical k-means with the K of the largest silhouette: silhouette by K, and the clusters (A.1 (ii)).

    Args:
        features: [N, d].
        config: the K tried, or K itself, and how k-means goes.
        randomness: of the seeds of clusters.
    """

    def generator(clusters: int) -> torch.Generator:
        return randomness.generator(f"k-means {clusters}", device=features.device)

    seeding, iterations, tolerance = config.seeding, config.kmeans_iterations, config.kmeans_tolerance
    choice = choose_clusters(
        features, candidates(config), generator, seeding=seeding, iterations=iterations, tolerance=tolerance
    )
    best = generator(choice.clusters)
    found = spherical_kmeans(
        features, choice.clusters, best, seeding=seeding, iterations=iterations, tolerance=tolerance
    )
    return dict(choice.scores), found


@dataclass(frozen=True, eq=False)
class Targets:
    """Images that are classified correctly, and where they may be pushed.

    Attributes:
        x: [B, 3, H, W] in [0, 1].
        labels: int64 [B].
        probability: of the true class, float64 [B].
        neighbour: centroids of their neighbouring clusters, [B, d].
        other: centroids of clusters other than their own, drawn at random, [B, d].
    """

    x: Tensor
    labels: Tensor
    probability: Tensor
    neighbour: Tensor
    other: Tensor


@torch.no_grad()
def effects_on(
    classifier: Classifier,
    images: LabelledImages,
    centroids: Tensor,
    settings: PursuitSettings,
    randomness: Randomness,
) -> tuple[int, Mapping[Perturbation, Effect]]:
    """How many images are classified correctly, and what each perturbation does to them (A.1 (iii) and (v)).

    Args:
        classifier: in eval mode and frozen.
        images: test images; they, the classifier and the centroids on one device.
        centroids: unit rows, [K, d].
        settings: budget, draws, rank.
        randomness: of noise, starts and random clusters.

    Raises:
        BenchError: if no image is classified correctly.
    """
    lost: dict[Perturbation, list[Tensor]] = {kind: [] for kind in Perturbation}
    scored = 0
    for number, index in enumerate(torch.split(torch.arange(len(images)), BATCH)):
        x, labels = pixels_of(images.pixels[index]), images.labels[index]
        targets = targets_of(classifier, x, labels, centroids, settings, randomness.generator("cluster", step=number))
        scored += len(targets.x)
        for kind in Perturbation:
            for draw in range(settings.draws_of(kind)):
                generator = randomness.generator(kind, epoch=draw, step=number, device=x.device)
                x_perturbed = PERTURBED[kind](classifier, targets, settings, generator)
                lost[kind].append(_lost(classifier, targets, x_perturbed))
    if scored == 0:
        raise BenchError(
            f"none of {len(images)} test images is classified correctly, so no perturbation can change that: train the "
            f"encoder longer."
        )
    return scored, {kind: Effect(*(100 * torch.cat(each).mean(dim=0)).tolist()) for kind, each in lost.items()}


def targets_of(
    classifier: Classifier,
    x: Tensor,
    labels: Tensor,
    centroids: Tensor,
    settings: PursuitSettings,
    generator: torch.Generator,
) -> Targets:
    """Those of the images that are classified correctly.

    Args:
        classifier: in eval mode.
        x: [B, 3, H, W] in [0, 1].
        labels: int64 [B].
        centroids: unit rows, [K, d].
        settings: rank of the neighbour, and from where it is counted.
        generator: of the random clusters, on the CPU.
    """
    probabilities = classifier(x).double().softmax(dim=1)
    correct = probabilities.argmax(dim=1) == labels
    x, labels, probabilities = x[correct], labels[correct], probabilities[correct]
    features = normalize(classifier.encoder.encode(x), dim=1)
    own = (features @ centroids.T).argmax(dim=1)
    points = features if settings.clustering.neighbour_of is Ranked.IMAGE else centroids[own]
    neighbour = neighbours(points, Clusters(centroids, own), settings.clustering.neighbour)
    away = torch.randint(1, len(centroids), own.shape, generator=generator).to(own.device)
    other = (own + away) % len(centroids)
    return Targets(x, labels, _of_class(probabilities, labels), centroids[neighbour], centroids[other])


def _of_class(probabilities: Tensor, labels: Tensor) -> Tensor:
    return probabilities.gather(1, labels[:, None]).squeeze(1)


def _lost(classifier: Classifier, targets: Targets, x_perturbed: Tensor) -> Tensor:
    """By how much the true class's probability fell, and whether another class wins, [B, 2] float64."""
    after = classifier(x_perturbed).double().softmax(dim=1)
    decrease = targets.probability - _of_class(after, targets.labels)
    return torch.stack([decrease, (after.argmax(dim=1) != targets.labels).double()], dim=1)


Objective: TypeAlias = Callable[[Classifier, Targets, Tensor], Tensor]
"""What PGD raises, summed over the images, given perturbed images [B, 3, H, W]."""

OBJECTIVES_OF: Mapping[Perturbation, Objective] = {
    Perturbation.OTHER: lambda classifier, targets, x: _toward(classifier.encoder.encode(x), targets.other),
    Perturbation.NEIGHBOUR: lambda classifier, targets, x: _toward(classifier.encoder.encode(x), targets.neighbour),
    Perturbation.CROSS_ENTROPY: lambda classifier, targets, x: cross_entropy(
        classifier(x), targets.labels, reduction="sum"
    ),
}


def _toward(features: Tensor, centroids: Tensor) -> Tensor:
    """The second half of Eq. (4), summed; no own cluster has a part in it."""
    return OBJECTIVES[Strategy.TOWARD](features, centroids, centroids).sum()


Perturb: TypeAlias = Callable[[Classifier, Targets, PursuitSettings, torch.Generator], Tensor]
"""Perturbed images [B, 3, H, W], within eps of the images and within [0, 1]."""


def _signs(x: Tensor, eps: float, generator: torch.Generator) -> Tensor:
    signs = torch.rand(x.shape, generator=generator, device=x.device).sub_(0.5).sign_()
    return (x + eps * signs).clamp(0, 1)


def _pursued(objective: Objective) -> Perturb:
    def perturb(
        classifier: Classifier, targets: Targets, settings: PursuitSettings, generator: torch.Generator
    ) -> Tensor:
        start = uniform_start(targets.x, settings.eps, generator, clip=settings.clustering.clip_start)
        return ascend(lambda x: objective(classifier, targets, x), targets.x, start, settings.attack)

    return perturb


PERTURBED: Mapping[Perturbation, Perturb] = {
    Perturbation.NOISE: lambda _, targets, settings, draw: uniform_start(targets.x, settings.eps, draw, clip=True),
    Perturbation.SIGNS: lambda _, targets, settings, draw: _signs(targets.x, settings.eps, draw),
    **{kind: _pursued(objective) for kind, objective in OBJECTIVES_OF.items()},
}

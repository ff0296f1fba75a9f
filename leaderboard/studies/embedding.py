"""Features of test images in the plane by t-SNE (AMOC, Figure 2), and how well they separate the classes.

Torch is imported when a network is looked at, not before.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from bench.data.splits import stratified
from bench.errors import BenchError
from bench.store import Store
from leaderboard.studies.cells import Row, Say, to_stderr

if TYPE_CHECKING:
    from bench.contract import LabelledImages

Floats = NDArray[np.floating]
Labels = NDArray[np.int64]


@dataclass(frozen=True)
class EmbeddingSettings:
    """How features are shown. The paper names t-SNE and the data set, nothing else: all of this is chosen."""

    images: int = 1000
    """Test images shown, or all if there are fewer; their class shares are those of the test set."""
    perplexity: float = 30.0
    """Of t-SNE, less where a third of the images is less (van der Maaten & Hinton 2008)."""
    gallery: int = 5000
    """Training images among which the nearest are sought, or all if there are fewer."""
    neighbours: int = 20
    """That vote, each with the same weight: the k of DINO (Caron et al. 2021, section 4.1)."""
    seed: int = 0
    """Of the choice of images, which is the same for every cell, and of t-SNE."""


@dataclass(frozen=True)
class Separability:
    """How well features separate the true classes, by cosine distance; the plane of the picture has no part in it.

    Attributes:
        silhouette: mean over the images, in [-1, 1].
        knn_accuracy: per cent of the images whose class the nearest training images name.
        images, gallery, neighbours: how many were classified, were sought among, and voted.
    """

    silhouette: float
    knn_accuracy: float
    images: int
    gallery: int
    neighbours: int


@dataclass(frozen=True, eq=False)
class Embedding:
    """Test images in the plane.

    Attributes:
        cell: name of the cell.
        points: [N, 2].
        labels: int64 [N], the true classes.
        perplexity: that t-SNE had.
        trustworthiness: of the picture, in [0, 1]: how far neighbours in it are neighbours of the features (Venna &
            Kaski 2001, 5 neighbours, cosine).
        separability: of the features.
    """

    cell: str
    points: Floats
    labels: Labels
    perplexity: float
    trustworthiness: float
    separability: Separability


def embedding(
    store: Store,
    row: Row,
    data_dir: Path,
    settings: EmbeddingSettings = EmbeddingSettings(),
    *,
    device: str = "auto",
    say: Say = to_stderr,
) -> Embedding:
    """The features of a finished cell's encoder, on the route that was judged.

    To the bit the same for the same cell, settings and context (torch, scikit-learn, threads).

    Args:
        store, row: the cell.
        data_dir: where downloaded data sets lie.
        settings: how many images, how shown.
        device: where features are computed; `auto` is a GPU where there is one.
        say: told how long it takes, where that is over a minute.

    Raises:
        BenchError: as `Judged.load`, or if there are too few images.
    """
    from leaderboard.studies.judged import Judged

    judged = Judged.load(store, row, data_dir, device)
    shown = chosen(judged.images, settings.images, f"shown {settings.seed}")
    gallery = chosen(judged.training_images(), settings.gallery, f"gallery {settings.seed}")
    with judged.settled():
        judged.announce("embedding", len(shown) + len(gallery), say)
        features, others = (unit(judged.features(images.pixels).numpy()) for images in (shown, gallery))
        points, perplexity = plane(features, settings)
        return Embedding(
            cell=judged.name,
            points=points,
            labels=shown.labels.numpy(),
            perplexity=perplexity,
            trustworthiness=_trustworthiness(features, points),
            separability=separability(
                features, shown.labels.numpy(), others, gallery.labels.numpy(), settings.neighbours
            ),
        )


def chosen(images: LabelledImages, count: int, purpose: str) -> LabelledImages:
    """`count` of the images, or all if there are fewer, with the class shares of all; fixed by labels and purpose."""
    index = stratified(images.labels.numpy(), min(count, len(images)), purpose)
    return replace(images, pixels=images.pixels[index], labels=images.labels[index])


def unit(features: Floats) -> Floats:
    """Rows of length 1: Euclidean distance then ranks as the cosine does, which contrastive features are trained by."""
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    scaled: Floats = np.divide(features, lengths, out=np.zeros_like(features), where=lengths > 0)
    return scaled


def plane(features: Floats, settings: EmbeddingSettings) -> tuple[Floats, float]:
    """[N, d] -> [N, 2] by t-SNE from the first principal components, and the perplexity that it had.

    Raises:
        BenchError: for fewer than 10 points.
    """
    from sklearn.manifold import TSNE

    if len(features) < 10:
        raise BenchError(f"{len(features)} test images are too few for t-SNE: use at least 10 (--limit test=N).")
    perplexity = min(settings.perplexity, (len(features) - 1) / 3)
    tsne = TSNE(perplexity=perplexity, init="pca", random_state=settings.seed, n_jobs=1)
    points: Floats = tsne.fit_transform(features)
    return points, perplexity


def separability(features: Floats, labels: Labels, gallery: Floats, classes: Labels, neighbours: int) -> Separability:
    """Silhouette of the true classes, and accuracy of their nearest neighbours in a gallery.

    Args:
        features: [N, d].
        labels: int64 [N].
        gallery: [M, d], of other images.
        classes: int64 [M].
        neighbours: that vote; M if that is less.

    Raises:
        BenchError: if the images are of one class, or no two are of the same.
    """
    from sklearn.metrics import silhouette_score
    from sklearn.neighbors import KNeighborsClassifier

    if not 2 <= len(np.unique(labels)) < len(labels):
        raise BenchError(
            f"{len(labels)} images of {len(np.unique(labels))} classes have no silhouette: use more test images."
        )
    voters = min(neighbours, len(gallery))
    nearest = KNeighborsClassifier(voters, metric="cosine", algorithm="brute", n_jobs=1).fit(gallery, classes)
    return Separability(
        silhouette=float(silhouette_score(features, labels, metric="cosine")),
        knn_accuracy=100 * float(np.mean(nearest.predict(features) == labels)),
        images=len(labels),
        gallery=len(gallery),
        neighbours=voters,
    )


def _trustworthiness(features: Floats, points: Floats) -> float:
    from sklearn.manifold import trustworthiness

    return float(trustworthiness(features, points, n_neighbors=min(5, (len(points) - 1) // 2), metric="cosine"))

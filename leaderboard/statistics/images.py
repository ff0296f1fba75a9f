"""Which differences between methods the test images can tell from noise: the same images for both, one bit each.

McNemar's test holds for the two trained models as they are; it knows nothing of other seeds. The bootstrap draws seeds
and images together.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from leaderboard.statistics.paired import ALPHA, DRAWS, Interval

_PARTS = 20  # In which a bootstrap is drawn, so that 10,000 draws of 10,000 images fit into memory.


@dataclass(frozen=True)
class McNemar:
    """Two models on the same images.

    Attributes:
        images: how many.
        only_a, only_b: images that only the one, or only the other, classifies correctly.
        p: exact and two-sided, of the images on which they differ: binomial with 1/2; 1 where they never differ.
        difference: accuracy of a - b, in points of per cent.
        interval: its 95 % interval, in points.
    """

    images: int
    only_a: int
    only_b: int
    p: float
    difference: float
    interval: Interval


def mcnemar(a: np.ndarray, b: np.ndarray) -> McNemar:
    """The exact McNemar test of two outcomes on the same images.

    Args:
        a, b: whether each image is classified correctly, bool [N], N at least 1.

    Source: McNemar 1947; the interval is (b - c)/n +- 1.96 sqrt(b + c - (b - c)^2/n)/n (Agresti, Categorical Data
    Analysis, section 10.1).

    Raises:
        ValueError: if the two are not of one length.
    """
    if a.shape != b.shape:
        raise ValueError(f"outcomes of {a.shape} and {b.shape} images cannot be paired")
    images, only_a, only_b = len(a), int((a & ~b).sum()), int((~a & b).sum())
    differing, net = only_a + only_b, only_a - only_b
    reach = float(stats.norm.ppf(1 - ALPHA / 2)) * math.sqrt(differing - net**2 / images) / images
    return McNemar(
        images=images,
        only_a=only_a,
        only_b=only_b,
        p=float(stats.binomtest(only_a, differing).pvalue) if differing else 1.0,
        difference=100 * net / images,
        interval=Interval(100 * (net / images - reach), 100 * (net / images + reach)),
    )


@dataclass(frozen=True)
class Bootstrap:
    """The mean difference over seeds and images, and its interval when both are drawn anew.

    Attributes:
        seeds, images: how many.
        draws: of the bootstrap.
        difference: accuracy of a - b, in points.
        interval: 95 %, percentiles; too short with few seeds.
    """

    seeds: int
    images: int
    draws: int
    difference: float
    interval: Interval


def bootstrap(a: np.ndarray, b: np.ndarray, draws: int = DRAWS, seed: int = 0) -> Bootstrap:
    """Resample pairs of seeds, and images, which all seeds and both methods share.

    Args:
        a, b: whether each image is classified correctly, bool [seeds, images], rows in the same order of seeds.
        draws: how often.
        seed: of the draws: the same numbers give the same interval.

    Raises:
        ValueError: if the two are not of one shape.
    """
    if a.shape != b.shape:
        raise ValueError(f"outcomes of shapes {a.shape} and {b.shape} cannot be paired")
    seeds, images = a.shape
    # Images with the same differences in every seed are alike: drawing their numbers is drawing them.
    patterns, counts = np.unique(a.astype(np.int8) - b.astype(np.int8), axis=1, return_counts=True)
    rng = np.random.default_rng(seed)
    of_seeds = rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws)
    sums = np.arange(-seeds, seeds + 1)
    drawn = np.concatenate(
        [
            rng.multinomial(images, _shares(part @ patterns, counts, seeds)) @ sums
            for part in np.array_split(of_seeds, _PARTS)
        ]
    )
    low, high = 100 * np.quantile(drawn, [ALPHA / 2, 1 - ALPHA / 2]) / a.size
    difference = 100 * (int(a.sum()) - int(b.sum())) / a.size
    return Bootstrap(seeds, images, draws, difference, Interval(float(low), float(high)))


def _shares(differences: np.ndarray, counts: np.ndarray, seeds: int) -> np.ndarray:
    """The share of images by the sum of their differences over drawn seeds, -seeds to seeds: [draws, 2 seeds + 1].

    Args:
        differences: that sum for each kind of image, int [draws, kinds].
        counts: images of each kind, [kinds].
    """
    width = 2 * seeds + 1
    places = differences + seeds + width * np.arange(len(differences))[:, None]
    weights = np.broadcast_to(counts, places.shape)
    found: np.ndarray = np.bincount(places.ravel(), weights.ravel(), minlength=width * len(differences))
    shares: np.ndarray = found.reshape(-1, width) / counts.sum()
    return shares

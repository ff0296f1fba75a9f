"""What the proof of concept of NCP-ACL measures: perturbations, and what each does to a cell. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Perturbation(StrEnum):
    """What is added to an image; all stay within eps of it and within [0, 1]."""

    NOISE = "random noise"
    """U(-eps, eps) per pixel. The paper's, of a distribution that it does not name: that of an attack's start."""
    SIGNS = "random signs"
    """+eps or -eps per pixel: noise as long as an attack's perturbation. Not the paper's."""
    OTHER = "toward a random cluster"
    """As the next, toward any cluster but the own, drawn at random: what the neighbour is worth. Not the paper's."""
    NEIGHBOUR = "toward the neighbouring cluster"
    """The paper's, delta_nbr: Eq. (4) without its own-cluster term."""
    CROSS_ENTROPY = "against the class"
    """The same PGD on the cross-entropy of the head, which knows the class: the ceiling. Not the paper's."""


@dataclass(frozen=True)
class Effect:
    """What a perturbation does to the images that are classified correctly without it.

    Attributes:
        decrease: of the true class's probability, mean, in points of per cent.
        success: per cent that are classified wrongly with it.
    """

    decrease: float
    success: float


@dataclass(frozen=True)
class Pursuit:
    """The proof of concept on one cell.

    Attributes:
        cell, dataset, seed: which.
        clusters: K, and the mean silhouette of every K tried.
        scores: mean silhouette by K.
        eps: radius of the perturbations.
        images: test images that were classified correctly, on which all is measured.
        effects: of each perturbation.
    """

    cell: str
    dataset: str
    seed: int
    clusters: int
    scores: Mapping[int, float]
    eps: float
    images: int
    effects: Mapping[Perturbation, Effect]

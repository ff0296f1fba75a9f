"""What a pre-training's history holds, in words and numbers that every reader shares. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Any, TypeAlias

SIGNS = "signs"
"""Under this name the signs of life of an epoch are recorded."""
COLLAPSE = 0.01
"""A smaller spread is a collapse: networks with random weights have 0.17 to 0.33 on `digits`."""

Facts: TypeAlias = Mapping[str, Any]
"""One record: an epoch's means, its signs of life, or something that the method chose."""


class Sign(StrEnum):
    """Signs of life; those of features on what the encoder would be judged by, in eval mode, each of length 1.

    Members:
        SPREAD: mean over dimensions of the standard deviation, times sqrt(d): near 1 if the features are uniform on
            the sphere, 0 if all are the same (Chen and He, SimSiam, 2021, section 4.1).
        DIMENSION: participation ratio of the covariance's eigenvalues, (sum l)^2 / sum l^2: over how many dimensions
            the features spread; 1 if they lie on a line.
        ALIGNMENT: mean cosine of an image and the same image moved sideways by an eighth of its width. It serves every
            method alike, whatever its views. Beside a spread near 0 it means nothing.
        ATTACK_SUCCESS: the share of training attacks, over the epoch, that raised their objective.
        ATTACK_GAIN: its mean rise from the start to where the last gradient was taken, as the method scales it.
    """

    SPREAD = "spread"
    DIMENSION = "dimension"
    ALIGNMENT = "alignment"
    ATTACK_SUCCESS = "attack_success"
    ATTACK_GAIN = "attack_gain"


def signs_in(facts: Facts) -> dict[str, float]:
    """The signs of life among facts, those of every method first; the attacks' come with the parts of the loss."""
    found = {**{name: facts[name] for name in Sign if name in facts}, **facts.get(SIGNS, {})}
    known = {str(name): found[name] for name in Sign if name in found}
    return known | found


def has_collapsed(signs: Mapping[str, float]) -> bool:
    """Whether all images have nearly the same features."""
    return signs.get(Sign.SPREAD, 1.0) < COLLAPSE


def doubts(history: Iterable[Facts]) -> list[str]:
    """What a training remarked, and what its last epoch's signs say against it, a sentence each."""
    facts = list(history)
    remarks = [str(one["remark"]) for one in facts if "remark" in one]
    signs = [one[SIGNS] for one in facts if SIGNS in one]
    if not signs or not has_collapsed(signs[-1]):
        return remarks
    spread = signs[-1][Sign.SPREAD]
    return [
        *remarks,
        f"the features have collapsed: after the last epoch their spread is {spread:.1g}, where 1 is uniform",
    ]


def scalars(facts: Facts) -> dict[str, float]:
    """The numbers of an epoch's record by name; signs begin with `signs/`. None where it belongs to no epoch."""
    if "epoch" not in facts:
        return {}
    signs = signs_in(facts)
    plain = {name: float(value) for name, value in facts.items() if isinstance(value, float) and name not in signs}
    return {**plain, **{f"{SIGNS}/{name}": float(value) for name, value in signs.items()}}


def series(history: Iterable[Facts]) -> dict[str, list[float]]:
    """The numbers of all epochs by name, in their order."""
    found: dict[str, list[float]] = {}
    for facts in history:
        for name, value in scalars(facts).items():
            found.setdefault(name, []).append(value)
    return found

"""Accuracy by type of corruption (AMOC, Figure 4), from stored outcomes: nothing is classified again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import AttackKind
from bench.cells import check_ended_well, name_of, outcome_keys
from bench.data.corruptions import FOLDERS, SEVERITIES, SOURCES
from bench.errors import BenchError
from bench.store import OUTCOMES, Store
from leaderboard.studies.cells import Row, plain

BY_TYPES = tuple(
    sorted(
        (name for name, spec in ATTACKS.items() if spec.kind is AttackKind.CORRUPTION),
        key=lambda name: -len(ATTACKS[name].corruptions),
    )
)
"""The attacks that score corrupted images, that with the most types first."""


@dataclass(frozen=True)
class ByCorruption:
    """A cell's accuracy on corrupted test images.

    Attributes:
        cell: name of the cell.
        attack: whose outcomes these are: `corruption-19`, or `corruption` with its 15 types.
        images: of each type and severity.
        accuracies: type to the accuracies at severities 1 to 5, per cent.
    """

    cell: str
    attack: str
    images: int
    accuracies: Mapping[str, tuple[float, ...]]

    @property
    def means(self) -> Mapping[str, float]:
        """Type to the mean over severities, per cent: the bars of AMOC's figure."""
        return {name: fmean(severities) for name, severities in self.accuracies.items()}


def by_corruption(store: Store, row: Row) -> ByCorruption:
    """The accuracies of a finished cell by type: of all 19 where it met them, else of 15.

    Raises:
        BenchError: if the cell failed, its outcomes are damaged, or it met no corrupted images: the message says what
            to download.
    """
    known = plain(row)
    check_ended_well(known, "study")
    keys = outcome_keys(known)
    attack = next((name for name in BY_TYPES if name in keys), None)
    if attack is None:
        raise _never_met(known)
    types, correct = ATTACKS[attack].corruptions, store.outcomes(keys[attack])
    if len(correct) == 0 or len(correct) % (len(types) * SEVERITIES):
        raise store.damaged(keys[attack], OUTCOMES, f"{len(correct)} outcomes of {len(types)} types")
    scored = 100 * correct.reshape(len(types), SEVERITIES, -1).mean(axis=2)
    accuracies = {name: tuple(severities.tolist()) for name, severities in zip(types, scored, strict=True)}
    return ByCorruption(name_of(known), attack, len(correct) // (len(types) * SEVERITIES), accuracies)


def _never_met(row: Mapping[str, Any]) -> BenchError:
    name, like = name_of(row), row["dataset_like"]
    if like not in FOLDERS:
        return BenchError(
            f"cell '{name}' met no corrupted images, and none were published for '{like}': there are some for "
            f"{' and '.join(FOLDERS)}."
        )
    return BenchError(
        f"cell '{name}' met no corrupted images: download {FOLDERS[like]}.tar from {SOURCES[like]}, unpack it in the "
        f"folder of data (--data-dir), and run the cell again with --attacks clean,{BY_TYPES[0]}."
    )

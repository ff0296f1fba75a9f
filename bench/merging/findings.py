"""What a conflict says of reproducibility: in which way its versions differ, and whether chance explains it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from bench.cells import SHOWN, name_of
from bench.gates.subject import difference, percent
from bench.keys import changed
from bench.merging.decisions import NUMBERS, Conflict, Copy, Kind
from bench.merging.sources import Source, common_attacks
from bench.provenance import Context, where

PROVENANCE = (
    "commit", "harness_version", "plugin_hash", "pretrain_key", "head_key", "outcomes",
    *(f"context_{name}" for name in Context.__dataclass_fields__),
)  # fmt: skip
"""Columns that say where a row's numbers come from."""
LISTED = 5
"""Attacks that are told of a stage that many rest on."""


@dataclass(frozen=True)
class Comparison:
    """Two versions of one thing.

    Attributes:
        names: of their stores.
        provenance: what differs in where they come from, as `path: old -> new`.
        numbers: what differs in accuracies, in words.
        beyond_chance: whether some accuracy differs by more than chance explains.
        deterministic: whether both were computed in deterministic mode.
    """

    names: tuple[str, str]
    provenance: tuple[str, ...]
    numbers: tuple[str, ...]
    beyond_chance: bool
    deterministic: bool

    @property
    def broken(self) -> bool:
        """Whether the bits should have been the same: one context, deterministic kernels."""
        return self.deterministic and not self.provenance

    @property
    def is_finding(self) -> bool:
        """Whether a reader of the numbers must know: other contexts have other bits, but no other accuracies."""
        return self.beyond_chance or not self.provenance


def title(conflict: Conflict) -> str:
    """What it is about: `pretrain ncp digits seed 0 (stage 1a2b3c4d)`."""
    facts = conflict.copies[0].facts
    name = f"{facts['kind']} {facts['label']}" if conflict.kind is Kind.STAGE else name_of(facts)
    return f"{name} ({conflict.kind} {conflict.key[:SHOWN]})"


def comparisons(conflict: Conflict) -> Iterator[Comparison]:
    """The version that is kept, or else the first one, against each of the others."""
    one = conflict.kept or conflict.copies[0]
    compare = _of_stage if conflict.kind is Kind.STAGE else _of_row
    for other in conflict.copies:
        if other is not one:
            yield compare(conflict.key, one, other)


def _of_stage(key: str, one: Copy, other: Copy) -> Comparison:
    """By the attacks that rest on it in both stores."""
    before, after = one.facts["context"], other.facts["context"]
    attacks = [_attack(attack, one.source, other.source) for attack in common_attacks(key, (one.source, other.source))]
    return Comparison(
        (one.source.name, other.source.name),
        tuple(changed(before, after)),
        tuple(text for text, _ in attacks if text),
        any(beyond for _, beyond in attacks),
        bool(before.get("deterministic") and after.get("deterministic")),
    )


def _attack(key: str, one: Source, other: Source) -> tuple[str, bool]:
    """How an attack's outcomes differ, in words, and whether by more than chance explains, paired by image."""
    kept, given_up = (torch.from_numpy(source.store.outcomes(key)) for source in (one, other))
    label, apart = one.records[key]["label"], int((kept != given_up).sum())
    if not apart:
        return "", False
    reading = difference(kept, given_up)
    beyond = abs(reading.number) > reading.noise
    accuracies = f"{percent(kept):.2f} -> {percent(given_up):.2f} %"
    explained = f"{'more than' if beyond else 'within'} the {reading.noise:.2f} points that chance explains"
    return f"{label}: {accuracies}, {apart} of {len(kept)} images differ, {explained}", beyond


def _of_row(_: str, one: Copy, other: Copy) -> Comparison:
    """By their columns: the stages that they rest on are not the same ones, or are gone."""
    return Comparison(
        (one.source.name, other.source.name),
        _differing(PROVENANCE, one, other),
        _differing(NUMBERS, one, other),
        beyond_chance=False,
        deterministic=bool(one.facts["context_deterministic"] and other.facts["context_deterministic"]),
    )


def _differing(columns: tuple[str, ...], one: Copy, other: Copy) -> tuple[str, ...]:
    before, after = ({name: copy.facts.get(name) for name in columns} for copy in (one, other))
    return tuple(changed(before, after))


def sentence(conflict: Conflict, found: Comparison) -> str:
    """A finding, as the store keeps it beside the stage; of bits, not of folders, so that a second merge says it again.

    As `bench.executors.work.compare` words what `--rerun` finds.
    """
    kept = conflict.kept or conflict.copies[0]
    others = (copy.facts["bits"][:16] for copy in conflict.copies if copy.source.name == found.names[1])
    numbers = "; ".join(found.numbers[:LISTED]) or "no outcome differs"
    return (
        f"{kept.facts['label']} ({kept.facts['kind']}) was computed elsewhere {where(found.provenance)} and has other "
        f"bits: SHA-256 {kept.facts['bits'][:16]} in the store, {', '.join(others)} there; {numbers}."
    )

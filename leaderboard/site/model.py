"""What the page shows: boards of entries that may be ranked together. Pure; nothing here knows HTML."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bench.gates.verdicts import Verdict
from leaderboard.tables.model import Cell


class Kind(StrEnum):
    """Where an entry's numbers come from."""

    CLAIMED = "claimed"
    """Published, and nothing else is known."""
    REMEASURED = "re-measured"
    """Weights that others trained, judged here."""
    RETRAINED = "retrained"
    """Pre-trained and judged here."""


class Flag(StrEnum):
    """What a reader of an entry must know at first sight."""

    LIMITED = "limited"
    LEGACY = "legacy"
    EXTERNAL = "external data"
    LABELS = "labels"
    FAILED = "failed"


FLAG_MEANINGS: Mapping[Flag, str] = {
    Flag.LIMITED: "some images were left out (--limit): not comparable with full results",
    Flag.LEGACY: "the protocol repeats a paper's own recipe: compare with that paper alone",
    Flag.EXTERNAL: "data or weights from outside the pre-training images were used",
    Flag.LABELS: "labels were used in pre-training",
    Flag.FAILED: "some or all of its cells failed",
}


@dataclass(frozen=True)
class Score:
    """One number of an entry.

    Attributes:
        cell: as in a table: mean and spread in per cent, seeds, mark, footnotes.
        by_seed: pre-training seed to per cent; empty for a published number.
    """

    cell: Cell
    by_seed: Mapping[int, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Gate:
    """A gate that was measured on an entry's rows.

    Attributes:
        name: of the gate.
        verdict: the gravest over the rows.
        rows: how many rows have that verdict.
        text: number, threshold, and what it means.
    """

    name: str
    verdict: str
    rows: int
    text: str

    @property
    def passed(self) -> bool:
        """Whether it found nothing on any row on which it ran."""
        return self.verdict == Verdict.OK


@dataclass(frozen=True)
class Entry:
    """A line of the leaderboard.

    Attributes:
        id: stable name, for links.
        kind: where its numbers come from.
        method: by its name here, or as its authors call it.
        label: the method with its options, as on the command line; or as its authors call it.
        scores: by metric, a column or an attack that fills none; what was never measured is left out.
        origin: where a published number stands; empty for a measured one.
        external: whether outside data or weights were used; None where that is not known.
        gate_verdict: the gravest over its rows; None where no gate was measured.
        gates: one by one.
        flags: marks.
        notes: sentences.
        published: published numbers beside its own, each with a verdict.
        provenance: heading to what stands behind the numbers.
        rank: by AA among those of its board; None for what is not ranked.
    """

    id: str
    kind: Kind
    method: str
    label: str
    scores: Mapping[str, Score]
    origin: str = ""
    external: bool | None = None
    gate_verdict: str | None = None
    gates: tuple[Gate, ...] = ()
    flags: tuple[Flag, ...] = ()
    notes: tuple[str, ...] = ()
    published: tuple[str, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    rank: int | None = None


@dataclass(frozen=True)
class Board:
    """Entries that may be compared.

    Attributes:
        dataset, protocol, schedule: by which boards are chosen.
        setting: what else the entries share, for a heading.
        claimed: whether the numbers are published ones, which are never ranked.
        entries: its lines.
        notes: sentences that hold for all of them.
    """

    dataset: str
    protocol: str
    schedule: str
    setting: str
    claimed: bool
    entries: tuple[Entry, ...]
    notes: tuple[str, ...] = ()

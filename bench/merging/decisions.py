"""Which store's copy of a stage or row a merged store takes, and where that needs a rule. Imports no torch.

Stages are decided upstreams first. A copy counts only if the stages it read are, to the bit, the ones that were chosen:
so an encoder of one machine never meets the head or the outcomes of another's. What is left out for that reason is
named; `bench run` on the merged store computes it anew.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

from bench.errors import unknown
from bench.garbage import stages_of
from bench.merging.sources import Row, Source
from bench.schema import Status

NUMBERS = (
    "sa", "ra_pgd20", "pgd20", "aa", "corruption", "corruption_19", "scores", "ra_worst", "worst_over", "head_rate",
    "test_images", "train_images",
)  # fmt: skip
"""Columns in which two rows of one cell must agree."""


class Kind(StrEnum):
    """What a conflict is about."""

    STAGE = "stage"
    ROW = "cell"


@dataclass(frozen=True, eq=False)
class Copy:
    """A store's copy of a stage or of a row.

    Attributes:
        source: the store.
        facts: the stage's record, or the row.
        created: how new it is.
    """

    source: Source
    facts: Mapping[str, Any]
    created: datetime

    @property
    def content(self) -> object:
        """What must be the same: the bits of a stage's product, the numbers of a row."""
        return self.facts.get("bits") or [self.facts[name] for name in NUMBERS]


@dataclass(frozen=True, eq=False)
class Conflict:
    """Copies of one thing that are not the same.

    Attributes:
        kind: of the thing.
        key: of the stage or cell.
        copies: one of each version, in the order of the stores.
        kept: the one that the rule chose; None where a rule is missing.
    """

    kind: Kind
    key: str
    copies: tuple[Copy, ...]
    kept: Copy | None


Choice = Callable[[Sequence[Copy]], Copy | None]
"""Copies that are not the same, in the order of their stores, to the one that is kept; None leaves it open."""

CHOICES: Mapping[str, Choice] = {
    "first": lambda copies: copies[0],
    "newest": lambda copies: max(copies, key=lambda copy: copy.created),
}
"""The rules by name; a store's name is one, too."""


def choice_of(text: str | None, sources: Sequence[Source]) -> Choice:
    """The rule that `--prefer text` names; without one, everything is left open.

    Raises:
        BenchError: for an unknown name.
    """
    if text is None:
        return lambda copies: None
    if text in CHOICES:
        return CHOICES[text]
    preferred = next((source for source in sources if source.is_at(Path(text))), None)
    if preferred is None:
        raise unknown("rule or store to prefer", text, [*CHOICES, *(source.name for source in sources)])
    return lambda copies: next((copy for copy in copies if copy.source is preferred), None)


@dataclass
class Decision:
    """What a merged store takes from where.

    Attributes:
        stages: key to the copy that is taken, upstreams first.
        rows: cell to the copy that is taken.
        conflicts: all of them, settled or not.
        contested: keys of the stages of which there are several versions.
        stages_left: keys of the stages that rest on a version that was not chosen, in every store that has them.
        rows_left: the rows of which that holds, by cell.
    """

    stages: dict[str, Copy] = field(default_factory=dict)
    rows: dict[str, Copy] = field(default_factory=dict)
    conflicts: list[Conflict] = field(default_factory=list)
    contested: set[str] = field(default_factory=set)
    stages_left: list[str] = field(default_factory=list)
    rows_left: dict[str, Row] = field(default_factory=dict)

    @property
    def open(self) -> list[Conflict]:
        """The conflicts that need a rule."""
        return [conflict for conflict in self.conflicts if conflict.kept is None]


def decide(sources: Sequence[Source], choice: Choice) -> Decision:
    """What to take from several stores, in their order of precedence where copies are the same."""
    decision = Decision()
    for key in _upstreams_first(sources):
        _decide_stage(key, sources, choice, decision)
    for cell in dict.fromkeys(cell for source in sources for cell in source.rows):
        _decide_row(cell, sources, choice, decision)
    return decision


def _upstreams_first(sources: Sequence[Source]) -> list[str]:
    records = {key: record for source in sources for key, record in source.records.items()}
    reads = {key: [one for one in record["upstream"].values() if one in records] for key, record in records.items()}
    return list(TopologicalSorter(reads).static_order())


def _decide_stage(key: str, sources: Sequence[Source], choice: Choice, decision: Decision) -> None:
    copies = [Copy(source, source.records[key], source.age_of(key)) for source in sources if key in source.records]
    if len({copy.facts["bits"] for copy in copies}) > 1:
        decision.contested.add(key)
    fitting = [copy for copy in copies if _fits(copy.source, copy.facts["upstream"].values(), decision)]
    if not fitting:
        decision.stages_left.append(key)
        return
    decision.stages[key] = _same(fitting, _settled(Kind.STAGE, key, fitting, choice, decision))[0]


def _decide_row(cell: str, sources: Sequence[Source], choice: Choice, decision: Decision) -> None:
    copies = [
        Copy(source, source.rows[cell], datetime.fromisoformat(source.rows[cell]["created"]))
        for source in sources
        if cell in source.rows
    ]
    fitting = [copy for copy in copies if _fits(copy.source, copy.source.rests_on(copy.facts), decision)]
    if not fitting:
        decision.rows_left[cell] = copies[0].facts
        return
    well = [copy for copy in fitting if copy.facts["status"] == Status.OK]
    if not well:  # A failure is no number.
        decision.rows[cell] = CHOICES["newest"](fitting) or fitting[0]
        return
    decision.rows[cell] = _latest(_same(well, _settled(Kind.ROW, cell, well, choice, decision)))


def _fits(source: Source, reads: Iterable[str], decision: Decision) -> bool:
    """Whether stages, as this store has them, are the ones that were chosen."""
    return all(_agrees(source, key, decision) for key in reads)


def _agrees(source: Source, key: str, decision: Decision) -> bool:
    if key not in decision.stages:
        return key not in decision.contested and key not in decision.stages_left
    if key not in source.records:  # It was removed here: which version it was cannot be told.
        return key not in decision.contested
    same: bool = source.records[key]["bits"] == decision.stages[key].facts["bits"]
    return same


def _same(copies: Sequence[Copy], one: Copy) -> list[Copy]:
    """Those that are the same as `one`, to the bit or in every number."""
    return [copy for copy in copies if copy.content == one.content]


def _settled(kind: Kind, key: str, copies: Sequence[Copy], choice: Choice, decision: Decision) -> Copy:
    """The copy to go on with; where a rule is missing the first one, so that later conflicts are found, too."""
    versions = tuple(copy for number, copy in enumerate(copies) if not _same(copies[:number], copy))
    if len(versions) == 1:
        return versions[0]
    kept = choice(copies)
    decision.conflicts.append(Conflict(kind, key, versions, kept and _same(versions, kept)[0]))
    return kept or versions[0]


def _latest(copies: Sequence[Copy]) -> Copy:
    """Of rows with the same numbers the first, as of stages, unless a newer one rests on others: newer code, audits."""
    best = copies[0]
    for copy in copies[1:]:
        if stages_of(copy.facts) != stages_of(best.facts) and copy.created > best.created:
            best = copy
    return best

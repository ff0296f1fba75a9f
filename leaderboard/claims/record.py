"""Published numbers beside measured ones: which rows answer which claim, and the verdict on each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import pandas as pd

from leaderboard.claims.claim import Claim, Contradiction, Form, Head, load_claims, load_contradictions
from leaderboard.claims.counterparts import (
    FAILED,
    Counterpart,
    Counterparts,
    Missing,
    differences,
    load_counterparts,
    trained,
)
from leaderboard.claims.verdicts import MARGIN, Ruling, Verdict, judge, not_comparable, not_measured
from leaderboard.rows import IDENTITY, Setting, by_setting, current, failed_seeds, scores


@dataclass(frozen=True)
class Measured:
    """Rows that differ by their seeds alone, and the number that they have for a metric.

    Attributes:
        rows: as `leaderboard.rows.current` leaves them.
    """

    rows: pd.DataFrame

    @cached_property
    def first(self) -> Mapping[Any, Any]:
        """One of them, for all that they share; one whose gates failed, if there is any."""
        return max(self.rows.to_dict("records"), key=lambda row: row.get("gate_verdict") == FAILED)

    @property
    def text(self) -> str:
        """For people: `ncp/cifar10/slf@ncp, schedule paper, Linf eps 8/255`."""
        return "/".join(str(self.first[name]) for name in IDENTITY) + f", {Setting.of(self.first).text}"

    @cached_property
    def method(self) -> str:
        """Name of the method that trained its encoders; of released weights, as far as that was said."""
        return trained(self.first)[0].name

    @property
    def released(self) -> bool:
        """Whether the encoders were there already: nothing here trained them, and nobody knows what they saw."""
        return bool(self.first["external_data"]) and self.first["passes"] == 0

    @property
    def resolution(self) -> float:
        """What one test image is worth, in points; 0 where it is not known how many there are."""
        images = self.first["test_images"]
        return 0.0 if pd.isna(images) else 100 / float(images)

    def failed(self, column: str) -> int:
        """Pre-training seeds that have no number because their cell failed."""
        return len(failed_seeds(self.rows, column))

    def by_seed(self, column: str) -> pd.Series:
        """One number per pre-training seed, of a column or of an attack among the scores; none where there is none."""
        return scores(self.rows, column)


def measured(frame: pd.DataFrame) -> tuple[Measured, ...]:
    """The rows of a store, one group per setting, label, data set and protocol."""
    blocks = (current(rows) for _, rows in by_setting(frame))
    return tuple(Measured(rows) for block in blocks for _, rows in block.groupby(list(IDENTITY)))


@dataclass(frozen=True)
class Entry:
    """A claim, what it is here, and the verdict.

    Attributes:
        claim: the published number.
        here: its counterpart, or why it has none.
        spread: of the published numbers, points; None where there is one number without a +-.
        verdict: on the measured numbers.
        where: which rows these are; None without any.
    """

    claim: Claim
    here: Counterpart | Missing
    spread: float | None
    verdict: Verdict
    where: str | None = None


@dataclass(frozen=True)
class Record:
    """The literature.

    Attributes:
        claims: all of them.
        counterparts: what they are called here.
        contradictions: where they disagree.
    """

    claims: tuple[Claim, ...]
    counterparts: Counterparts
    contradictions: tuple[Contradiction, ...] = ()

    @classmethod
    def shipped(cls) -> Record:
        """The one that comes with the package."""
        return cls(load_claims(), load_counterparts(), load_contradictions())

    def spread(self, claim: Claim) -> float | None:
        """How far published numbers of the very same question lie apart, or the +- of the claim if that is larger."""
        values = self._answers[self._question(claim)]
        sd = self._values.get((claim.paper, claim.table, claim.cell, claim.metric + Form.STD), 0.0)
        return max(max(values) - min(values), sd) or None

    @cached_property
    def _values(self) -> Mapping[tuple[object, ...], float]:
        return {(claim.paper, claim.table, claim.cell, claim.metric): claim.value for claim in self.claims}

    @cached_property
    def _answers(self) -> Mapping[tuple[object, ...], list[float]]:
        found: dict[tuple[object, ...], list[float]] = defaultdict(list)
        for claim in self.claims:
            found[self._question(claim)].append(claim.value)
        return found

    def _question(self, claim: Claim) -> tuple[object, ...]:
        """What two claims must share to be two answers to it; the claims of no counterpart share nothing."""
        here = self.counterparts.of(claim)
        if isinstance(here, Missing):
            return (claim.paper, claim.table, claim.cell, claim.metric)
        return (here, claim.pretrain_epochs, claim.batch_size)

    def entries(self, claim: Claim, groups: Sequence[Measured]) -> Iterator[Entry]:
        """A claim beside each group of rows that answers it; else beside the group that comes nearest, or none."""
        here, spread = self.counterparts.of(claim), self.spread(claim)
        margin = max(MARGIN, spread or 0.0)
        if isinstance(here, Missing):
            yield Entry(claim, here, spread, replace(not_measured([here.reason], margin), ruling=Ruling.NOT_COMPARABLE))
            return
        found = _nearest(claim, here, groups)
        if not found:
            yield Entry(claim, here, spread, not_measured([here.text], margin))
        for group, reasons in found:
            yield Entry(claim, here, spread, _verdict(claim, here, group, reasons, margin), group.text)

    def beside(self, rows: pd.DataFrame, metric: str) -> tuple[Entry, ...]:
        """The claims about one cell of a table: those that its rows answer, or that they come nearest to answering.

        Args:
            rows: of one method, data set and protocol, one setting.
            metric: a column of theirs.
        """
        group = Measured(rows)
        if group.by_seed(metric).empty:
            return ()
        found = [
            entry
            for claim in self.claims
            if _is_about(self.counterparts.of(claim), claim, group, metric)
            for entry in self.entries(claim, [group])
        ]
        fewest = min((len(entry.verdict.reasons) for entry in found), default=0)
        return tuple(_merged(entry for entry in found if len(entry.verdict.reasons) == fewest))


def _nearest(claim: Claim, here: Counterpart, groups: Iterable[Measured]) -> list[tuple[Measured, tuple[str, ...]]]:
    """The groups that answer the claim; where none does, the one of its method that differs in the fewest ways."""
    candidates = (group for group in groups if group.method == here.method)
    found = [(group, differences(claim, here, group.first)) for group in candidates if len(group.by_seed(here.column))]
    answering = [one for one in found if not one[1]]
    return answering or sorted(found, key=lambda one: (len(one[1]), one[0].text))[:1]


def _verdict(claim: Claim, here: Counterpart, group: Measured, reasons: Sequence[str], margin: float) -> Verdict:
    values, failed = group.by_seed(here.column).tolist(), group.failed(here.column)
    if reasons:
        return replace(not_comparable(values, reasons, margin), failed=failed)
    return replace(judge(values, claim.value, margin, group.resolution), failed=failed)


def _is_about(here: Counterpart | Missing, claim: Claim, group: Measured, metric: str) -> bool:
    """Whether a table's cell is of the claim's method, metric, kind of head, and of data like the claim's."""
    if isinstance(here, Missing) or here.column != metric:
        return False
    row, head = group.first, HEADS.get(family_of(group.first["protocol"]))
    own = row["pretrain_data"] == row["dataset"]  # Not a transfer, which is like the data set it comes from.
    data = row["dataset_like"] if own else row["dataset"]
    return (group.method, data, head) == (here.method, here.dataset, claim.protocol)


HEADS: Mapping[str, Head] = {"slf": Head.SLF, "alf": Head.ALF, "aff": Head.AFF, "own": Head.NONE}
"""By what the names of protocols begin with."""


def family_of(protocol: str) -> str:
    """`slf` of `slf-1`, `slf@ncp-bn` and `slf-1[precision=tf32]`."""
    return protocol.partition("-")[0].partition("@")[0]


def _merged(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The same number, repeated in several tables of a paper, once, with all their names."""
    found: dict[tuple[object, ...], list[Entry]] = defaultdict(list)
    for entry in entries:
        found[entry.claim.paper, entry.here, entry.claim.value, entry.verdict].append(entry)
    for same in found.values():
        tables = ", ".join(entry.claim.table for entry in same)
        yield replace(same[0], claim=same[0].claim.model_copy(update={"table": tables}))

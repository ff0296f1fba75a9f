"""Rows to tables, in the layouts of Tables 2 and 3 of the NCP-ACL paper. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import pandas as pd

from bench.attacks.catalogue import ATTACKS
from leaderboard.claims.record import Record
from leaderboard.claims.report import NOTHING_PUBLISHED, READING
from leaderboard.layouts import Layout
from leaderboard.rows import Setting, attacks, believed, by_setting, current, failed_seeds, fingerprint, scores
from leaderboard.statistics.paired import Column, compare_columns
from leaderboard.tables import notes
from leaderboard.tables.cells import cell_of, mark_of
from leaderboard.tables.model import (
    DATASET_NAMES,
    FAMILY,
    Cell,
    Claimed,
    Group,
    Key,
    Line,
    Metric,
    Provenance,
    Table,
    title_of,
)


@dataclass(frozen=True)
class _Arrangement:
    """One table per value of `per`, one group of columns per value of `across`; within it the usual metrics, or all."""

    per: str
    across: str
    all_attacks: bool = False


ARRANGEMENTS: Mapping[Layout, _Arrangement] = {
    Layout.TABLE2: _Arrangement(per="protocol", across="dataset"),
    Layout.TABLE3: _Arrangement(per="dataset", across="protocol"),
    Layout.ATTACKS: _Arrangement(per="protocol", across="dataset", all_attacks=True),
}


@dataclass(frozen=True)
class _Block:
    """Rows that may be compared, and what the tests say of them.

    Attributes:
        setting: what they share.
        rows: one version of each method.
        counts: all rows, older ones included, by (data set, protocol).
        tests: by column; the family is all SA and AA columns of a protocol, so the layout moves no p-value.
        order: method labels from top to bottom.
    """

    setting: Setting
    rows: pd.DataFrame
    counts: Mapping[tuple[str, str], int]
    tests: Mapping[Key, Column[Key]]
    order: tuple[str, ...]

    def of(self, key: Key, label: str) -> pd.DataFrame:
        """The rows of one method on one data set under one protocol."""
        rows = self.rows
        return rows[rows["dataset"].eq(key.dataset) & rows["protocol"].eq(key.protocol) & rows["label"].eq(label)]


def build(
    frame: pd.DataFrame,
    layout: Layout | None = None,
    order: Sequence[str] = (),
    command: str = "bench table",
    published: Record | None = None,
) -> tuple[Table, ...]:
    """The tables of some rows; two settings (schedule, limit, eps, ...) never share a table.

    Args:
        frame: result rows (`bench.schema.Row`), failed ones included.
        layout: None takes Table 3 where a data set of the setting was judged under several protocols, else Table 2.
        order: method labels from top to bottom; the rest follows by name.
        command: what prints the tables again.
        published: whose numbers are to stand beside the measured ones; None leaves them out.
    """
    blocks = (_block(setting, rows, order) for setting, rows in by_setting(frame))
    return tuple(table for block in blocks for table in _tables(block, layout, command, published))


def _block(setting: Setting, rows: pd.DataFrame, order: Sequence[str]) -> _Block:
    kept = current(rows)
    counts = Counter(zip(rows["dataset"], rows["protocol"], strict=True))
    block = _Block(setting, kept, counts, {}, _labels(kept, order))
    return replace(block, tests={key: column for tests in _tests(block) for key, column in tests.items()})


def _labels(rows: pd.DataFrame, order: Sequence[str]) -> tuple[str, ...]:
    labels = set(rows["label"])
    return (*(label for label in dict.fromkeys(order) if label in labels), *sorted(labels - set(order)))


def _tests(block: _Block) -> Iterator[dict[Key, Column[Key]]]:
    for protocol in _ordered(block.rows, "protocol"):
        rows = block.rows[block.rows["protocol"].eq(protocol)]
        datasets = _ordered(rows, "dataset")
        usual = [key for dataset in datasets for key in _keys(rows, dataset, protocol)]
        others = [key for dataset in datasets for key in _attacked(rows, dataset, protocol)]
        keys = dict.fromkeys(usual + others)
        columns = {key: dict(_ranked(block, key)) for key in keys}
        family = frozenset(key for key in keys if key.metric in FAMILY)
        yield {column.key: column for column in compare_columns(columns, family)}


def _ranked(block: _Block, key: Key) -> Iterator[tuple[str, pd.Series]]:
    """The numbers of the methods that a gate has not failed on this data set under this protocol."""
    for label in block.order:
        if believed(rows := block.of(key, label)):
            yield label, scores(rows, key.metric)


def _keys(rows: pd.DataFrame, dataset: str, protocol: str) -> tuple[Key, ...]:
    """SA, RA, AA, with the legacy PGD-20 in the place of RA where only that was measured."""
    measured = rows.loc[rows["dataset"].eq(dataset) & rows["protocol"].eq(protocol), list(Metric)].notna().any()
    robust = [metric for metric in (Metric.RA, Metric.PGD) if measured[metric]] or [Metric.RA]
    return tuple(Key(dataset, protocol, metric) for metric in (Metric.SA, *robust, Metric.AA))


def _attacked(rows: pd.DataFrame, dataset: str, protocol: str) -> tuple[Key, ...]:
    """Every attack that the rows met: by its column where it has one, else by its name."""
    met = attacks(rows[rows["dataset"].eq(dataset) & rows["protocol"].eq(protocol)])
    return tuple(Key(dataset, protocol, name if name not in ATTACKS else ATTACKS[name].metric or name) for name in met)


def _ordered(rows: pd.DataFrame, column: str) -> list[str]:
    """Data sets as papers list them; protocols with SLF before ALF, legacy ones last."""
    known = list(DATASET_NAMES)
    legacy = set(rows.loc[rows["legacy"].astype(bool), "protocol"])

    def place(name: str) -> tuple[int, str]:
        if column == "dataset":
            return (known.index(name) if name in known else len(known), name)
        return (2 * (name in legacy) + (not name.startswith("slf")), name)

    return sorted(set(rows[column]), key=place)


def _tables(block: _Block, layout: Layout | None, command: str, published: Record | None) -> Iterator[Table]:
    several = bool(block.rows.groupby("dataset")["protocol"].nunique().gt(1).any())
    arrangement = ARRANGEMENTS[layout or (Layout.TABLE3 if several else Layout.TABLE2)]
    for value in _ordered(block.rows, arrangement.per):
        table = _table(block, block.rows[block.rows[arrangement.per].eq(value)], value, arrangement, command)
        yield _with_claims(block, table, published) if published else table


def _table(block: _Block, rows: pd.DataFrame, value: str, arrangement: _Arrangement, command: str) -> Table:
    keys_of = _attacked if arrangement.all_attacks else _keys
    groups = tuple(
        Group(title_of(name), keys_of(rows, *((name, value) if arrangement.across == "dataset" else (value, name))))
        for name in _ordered(rows, arrangement.across)
    )
    keys = [key for group in groups for key in group.keys]
    tests = tuple(block.tests[key] for key in keys)
    older = sum(block.counts[name] for name in {(key.dataset, key.protocol) for key in keys}) - len(rows)
    return Table(
        title=f"{title_of(value)}, {block.setting.text}",
        setting=block.setting,
        groups=groups,
        lines=tuple(_line(block, keys, label) for label in block.order if label in set(rows["label"])),
        tests=tests,
        notes=notes.of_table(block.setting, rows, keys, tests, _family_size(block, keys), older),
        provenance=Provenance(command, len(rows), fingerprint(rows)),
    )


def _with_claims(block: _Block, table: Table, published: Record) -> Table:
    claims = tuple(_claims(block, table, published))
    return replace(table, claims=claims, notes=(*table.notes, READING if claims else NOTHING_PUBLISHED))


def _claims(block: _Block, table: Table, published: Record) -> Iterator[Claimed]:
    for line in table.lines:
        for key in table.keys:
            rows = block.of(key, line.label)
            found = published.beside(rows, key.metric) if len(rows) else ()
            yield from (Claimed(line.label, key, entry) for entry in found)


def _family_size(block: _Block, keys: Sequence[Key]) -> Mapping[str, int]:
    """Protocol to the number of tests that were adjusted together."""
    sizes = {key.protocol: 0 for key in keys}
    for key, column in block.tests.items():
        if key.protocol in sizes:
            sizes[key.protocol] += sum(comparison.p_adjusted is not None for comparison in column.comparisons)
    return sizes


def _line(block: _Block, keys: Sequence[Key], label: str) -> Line:
    places = dict.fromkeys(replace(key, metric=Metric.SA) for key in keys)
    footnotes = notes.of_method(pd.concat([block.of(place, label) for place in places]))
    return Line(label, tuple(_cell(block, key, label) for key in keys), footnotes)


def _cell(block: _Block, key: Key, label: str) -> Cell:
    rows = block.of(key, label)
    values, failed = scores(rows, key.metric), failed_seeds(rows, key.metric)
    footnotes = notes.of_failure(rows, failed, len(failed) + len(values))
    means = {other: float(scores(block.of(key, other), key.metric).mean()) for other in block.order}
    return cell_of(values, mark_of(label, block.tests[key].comparisons, means), len(failed), footnotes)

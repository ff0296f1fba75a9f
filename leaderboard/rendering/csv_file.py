"""Tables as CSV."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from leaderboard.claims.record import Entry
from leaderboard.statistics.paired import Comparison
from leaderboard.tables.model import Cell, Key, Line, Table


@dataclass(frozen=True)
class _Entry:
    """One cell with all that its CSV line says."""

    table: Table
    line: Line
    key: Key
    cell: Cell
    claim: Entry | None = None

    @property
    def comparison(self) -> Comparison | None:
        """The best of the column against this method; None for the best itself, and where nothing was tested."""
        found = (one for column in self.table.tests if column.key == self.key for one in column.comparisons)
        return next((one for one in found if one.other == self.line.label), None)


def csv_text(tables: Sequence[Table]) -> str:
    """One line per line and column of the tables: full precision, the test against the best, the footnotes.

    With published numbers there is a line for each of a cell. Where lines have more on their left than their label,
    each such text has a column, `row_` and its heading. The command and the hash of the rows are columns as well: a
    comment would break readers.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    claims = CSV_CLAIM_COLUMNS if any(table.claims for table in tables) else {}
    columns = {**CSV_COLUMNS, **_stub_columns(tables), **claims}
    writer.writerow(columns)
    for entry in (entry for table in tables for entry in _entries(table)):
        writer.writerow([_plain(read(entry)) for read in columns.values()])
    return out.getvalue()


def _stub_columns(tables: Sequence[Table]) -> Mapping[str, Callable[[_Entry], object]]:
    if all(line.stub == (line.label,) for table in tables for line in table.lines):
        return {}
    headings = dict.fromkeys(heading for table in tables for heading in table.stub)
    return {f"row_{re.sub(r'[^0-9a-z]+', '_', heading.lower())}": _of_stub(heading) for heading in headings}


def _of_stub(heading: str) -> Callable[[_Entry], object]:
    return lambda entry: dict(zip(entry.table.stub, entry.line.stub, strict=True)).get(heading)


def _entries(table: Table) -> Iterator[_Entry]:
    for line in table.lines:
        for key, cell in zip(table.keys, line.cells, strict=True):
            claims = [claimed.entry for claimed in table.claims if (claimed.label, claimed.key) == (line.label, key)]
            beside: list[Entry | None] = [*claims] or [None]
            yield from (_Entry(table, line, key, cell, claim) for claim in beside)


def _plain(value: object) -> object:
    return "" if value is None else value


def _of_test(name: str) -> Callable[[_Entry], object]:
    """The attribute of the entry's test, where there is one."""

    def read(entry: _Entry) -> object:
        comparison = entry.comparison
        return getattr(comparison.test, name) if comparison and comparison.test else None

    return read


def _footnotes(entry: _Entry) -> str:
    return "; ".join((*entry.line.footnotes, *entry.cell.footnotes))


CSV_COLUMNS: Mapping[str, Callable[[_Entry], object]] = {
    "schedule": lambda entry: entry.table.setting.schedule,
    "epochs": lambda entry: entry.table.setting.epochs,
    "limit_train": lambda entry: entry.table.setting.limit_train,
    "limit_test": lambda entry: entry.table.setting.limit_test,
    "norm": lambda entry: entry.table.setting.norm,
    "eps": lambda entry: entry.table.setting.eps,
    "precision": lambda entry: entry.table.setting.precision,
    "method": lambda entry: entry.line.label,
    "dataset": lambda entry: entry.key.dataset,
    "protocol": lambda entry: entry.line.protocol or entry.key.protocol,
    "metric": lambda entry: str(entry.key.metric),
    "mean": lambda entry: entry.cell.mean,
    "sd": lambda entry: entry.cell.spread,
    "unit": lambda entry: entry.table.measure(entry.key).unit,
    "n": lambda entry: entry.cell.n,
    "failed": lambda entry: entry.cell.failed,
    "state": lambda entry: entry.cell.state.value,
    "mark": lambda entry: entry.cell.mark.value,
    "best": lambda entry: entry.comparison.best if entry.comparison else None,
    "pairs": _of_test("n"),
    "best_minus_this": _of_test("mean_difference"),
    "low": _of_test("low"),
    "high": _of_test("high"),
    "t": _of_test("t"),
    "p": _of_test("p"),
    "p_adjusted": lambda entry: entry.comparison.p_adjusted if entry.comparison else None,
    "correlation": _of_test("correlation"),
    "footnotes": _footnotes,
    "rows_hash": lambda entry: entry.table.provenance.rows_hash,
    "command": lambda entry: entry.table.provenance.command,
}


def _of_claim(read: Callable[[Entry], object]) -> Callable[[_Entry], object]:
    """What is read of the entry's published number, where there is one."""
    return lambda entry: read(entry.claim) if entry.claim else None


CSV_CLAIM_COLUMNS: Mapping[str, Callable[[_Entry], object]] = {
    "published": _of_claim(lambda entry: entry.claim.value),
    "published_by": _of_claim(lambda entry: f"{entry.claim.paper}, {entry.claim.table}"),
    "difference": _of_claim(lambda entry: entry.verdict.difference),
    "margin": _of_claim(lambda entry: entry.verdict.margin),
    "verdict": _of_claim(lambda entry: entry.verdict.text),
}

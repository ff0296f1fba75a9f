"""A reference: rows, their bits and the bands of their metrics in one Parquet file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from bench.files import replacing
from bench.keys import canonical
from bench.schema import arrow_schema, check_schema_version
from bench.store import parquet
from leaderboard.regression.bands import Band
from leaderboard.regression.measured import IDENTITY, Measured

LEARNT = b"bands"
"""Key of the file's metadata under which the bands lie, as JSON."""
EXTRA = ("numbers", "bits", "arithmetic")
"""Columns beside those of a row."""
REMAKE = "make it anew with `bench regress --write {path} --learn`"


@dataclass(frozen=True)
class Reference:
    """What a rerun is held against.

    Attributes:
        cells: as they were measured, all of them in one context.
        bands: method's label to metric to how far honest repeats strayed from these numbers.
        repeats: the repeats that the bands were learnt from, in words; empty where none were.
    """

    cells: tuple[Measured, ...]
    bands: Mapping[str, Mapping[str, Band]] = field(default_factory=dict)
    repeats: tuple[str, ...] = ()

    @classmethod
    def load(cls, path: Path) -> Reference:
        """Read a file.

        Raises:
            BenchError: if it is missing, torn, no reference, empty, or from a newer version of this package.
        """
        table = _read(path)
        try:
            rows = table.to_pylist()
            learnt = json.loads((table.schema.metadata or {}).get(LEARNT, b"{}"))
            cells = tuple(_cell(row, path) for row in rows)
            bands = {
                label: {metric: Band(**band) for metric, band in found.items()}
                for label, found in learnt.get("bands", {}).items()
            }
        except (KeyError, TypeError, ValueError) as error:
            raise BenchError(f"'{path}' is no reference ({error!r}): {REMAKE.format(path=path)}.") from error
        if not cells:
            raise BenchError(f"'{path}' holds no cell, so there is nothing to run again: {REMAKE.format(path=path)}.")
        return cls(cells, bands, tuple(learnt.get("repeats", ())))

    def save(self, path: Path) -> None:
        """Write it, whole or not at all.

        Raises:
            BenchError: if a cell failed: such a row is nothing to hold others against.
            OSError: if the place cannot be written.
        """
        import pyarrow as pa

        if failed := [f"{cell.name} ({cell.error})" for cell in self.cells if cell.error]:
            raise BenchError(f"no reference is made of cells that failed: {'; '.join(failed)}. Correct that first.")
        bands = {label: {metric: asdict(band) for metric, band in found.items()} for label, found in self.bands.items()}
        learnt = canonical({"bands": bands, "repeats": list(self.repeats)})
        columns = {column.name: column.type for column in arrow_schema()} | dict.fromkeys(EXTRA, pa.string())
        table = pa.Table.from_pylist([_columns(cell) for cell in self.cells], schema=pa.schema(columns))
        with replacing(path) as unfinished:
            unfinished.write_bytes(parquet(table.replace_schema_metadata({LEARNT: learnt})))


def _read(path: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.is_file():
        raise BenchError(f"reference '{path}' is not there: name one with --against, or {REMAKE.format(path=path)}.")
    try:
        return pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise BenchError(
            f"reference '{path}' is damaged ({error}): restore it, or {REMAKE.format(path=path)}."
        ) from error


def _cell(row: Mapping[str, Any], path: Path) -> Measured:
    check_schema_version(int(row["schema_version"]), str(path))
    if missing := [name for name in (*IDENTITY, "label", "config", "status", *EXTRA) if row.get(name) is None]:
        raise KeyError(*missing)
    columns = {name: value for name, value in row.items() if name not in EXTRA}
    return Measured(columns, json.loads(row["numbers"]), json.loads(row["bits"]), row["arithmetic"])


def _columns(cell: Measured) -> dict[str, Any]:
    extra = {"numbers": json.dumps(cell.numbers), "bits": json.dumps(cell.bits), "arithmetic": cell.arithmetic}
    return {**cell.row, **extra}

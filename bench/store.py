"""Finished stages and result rows on disk: content-addressed, written atomically, never changed afterwards.

    OUT/format.json              the schema version that wrote it
    OUT/stages/KEY/              stage.json, and the product: encoder.safetensors, head.safetensors, outcomes.parquet
    OUT/failures/KEY.json        the last failure of a stage that has no product
    OUT/rows/CELL-TIME.parquet   one row per file; the newest of a cell counts
    OUT/logs/KEY.log             the traceback of a failure

Two processes may write at once: everything is written under OUT/tmp and renamed into place, and whoever comes second
with a stage that is already there drops its copy. Nothing that is read is ever unpickled.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, StoreError
from bench.schema import SCHEMA_VERSION, Row, arrow_schema, check_schema_version

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

STAGE = "stage.json"
Writer = Callable[[Path], None]
"""Writes one file at the path it is given."""


@dataclass(frozen=True)
class Store:
    """A folder of results; see the module's docstring for what lies where."""

    root: Path

    @classmethod
    def open(cls, root: Path | str) -> Store:
        """The store at `root`, made if it is not there.

        Raises:
            StoreError: if the folder cannot be written.
            BenchError: if a newer version of this package wrote it.
        """
        store = cls(Path(root))
        with _explained(store.root):
            for name in ("stages", "rows", "failures", "logs", "tmp"):
                (store.root / name).mkdir(parents=True, exist_ok=True)
            if not store._format.is_file():
                store._place(lambda path: _write_json(path, {"schema_version": SCHEMA_VERSION}), store._format)
        check_schema_version(json.loads(store._format.read_text())["schema_version"], str(store.root))
        return store

    @property
    def _format(self) -> Path:
        return self.root / "format.json"

    def stage(self, key: str) -> Path:
        """The folder of a stage's product, whether it is there or not."""
        return self.root / "stages" / key

    def log(self, key: str) -> Path:
        """Where the traceback of a stage's failure is kept."""
        return self.root / "logs" / f"{key}.log"

    def has(self, key: str) -> bool:
        """Whether the stage is finished."""
        return (self.stage(key) / STAGE).is_file()

    def record(self, key: str) -> dict[str, Any]:
        """What is known of a finished stage: label, recipe, context, seconds, result."""
        return _read_json(self.stage(key) / STAGE)

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all finished stages."""
        for path in sorted((self.root / "stages").glob(f"*/{STAGE}")):
            yield _read_json(path)

    def put(self, key: str, record: Mapping[str, Any], files: Mapping[str, Writer], *, replace: bool = False) -> None:
        """Store a finished stage, all of it or nothing.

        Args:
            key: the stage's recipe key.
            record: JSON data for `record`.
            files: file name -> what writes it.
            replace: take the place of a product that is already there, instead of leaving it.

        Raises:
            StoreError: if the disk is full or cannot be written.
        """
        writers = {**files, STAGE: lambda path: _write_json(path, record)}
        with _explained(self.root), self._scratch() as folder:
            folder.mkdir()
            for name, write in writers.items():
                write(folder / name)
                _sync(folder / name)
            if replace and self.stage(key).exists():
                self.stage(key).rename(folder.with_suffix(".old"))
            try:
                folder.rename(self.stage(key))
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                    raise
        (self.root / "failures" / f"{key}.json").unlink(missing_ok=True)

    def put_failure(self, key: str, error: str, traceback: str) -> int:
        """Keep why a stage failed; returns how often it has been tried."""
        path = self.root / "failures" / f"{key}.json"
        attempts = 1 + (_read_json(path)["attempts"] if path.is_file() else 0)
        with _explained(self.root):
            self._place(lambda file: _write_json(file, {"error": error, "attempts": attempts}), path)
            self._place(lambda file: file.write_text(traceback), self.log(key))
        return attempts

    def failure(self, key: str) -> dict[str, Any] | None:
        """The last failure of a stage, or None."""
        path = self.root / "failures" / f"{key}.json"
        return _read_json(path) if path.is_file() else None

    def tensors(self, key: str, name: str) -> dict[str, Tensor]:
        """The tensors of a product's safetensors file, on the CPU."""
        from safetensors.torch import load_file

        return load_file(self.stage(key) / name)

    def outcomes(self, key: str) -> np.ndarray:
        """Per test image, whether it stayed correct under the attack: bool [N], in the test set's order."""
        import pyarrow.parquet as pq

        column = pq.read_table(self.stage(key) / "outcomes.parquet").column("correct")
        return column.to_numpy(zero_copy_only=False).astype(bool)

    def add_row(self, row: Row) -> None:
        """Append a row."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pa.Table.from_pylist([row.as_dict()], schema=arrow_schema())
        with _explained(self.root):
            path = self.root / "rows" / f"{row.cell}-{time.time_ns()}.parquet"
            self._place(lambda file: pq.write_table(table, file), path)

    def latest_rows(self) -> dict[str, dict[str, Any]]:
        """The newest row of every cell, by cell, as plain values."""
        import pyarrow.parquet as pq

        return {cell: pq.read_table(path).to_pylist()[0] for cell, path in _newest(self.root).items()}

    def _place(self, write: Writer, target: Path) -> None:
        with self._scratch() as path:
            write(path)
            _sync(path)
            path.replace(target)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        path = self.root / "tmp" / uuid.uuid4().hex
        try:
            yield path
        finally:
            for leftover in (path, path.with_suffix(".old")):
                if leftover.is_dir():
                    shutil.rmtree(leftover, ignore_errors=True)
                leftover.unlink(missing_ok=True)


def read_rows(root: Path | str) -> pd.DataFrame:
    """The newest row of every cell in the store at `root`, sorted by method, data set, protocol and seed.

    Raises:
        BenchError: if there is no store, it holds no row, or a newer version of this package wrote one.
    """
    import pandas as pd
    import pyarrow.parquet as pq

    newest = _newest(Path(root))
    if not newest:
        raise BenchError(f"no results in '{root}': `bench run` writes them there, or name another folder with --out.")
    frames = []
    for path in newest.values():
        frame = pq.read_table(path).to_pandas()
        check_schema_version(int(frame["schema_version"].iloc[0]), str(path))
        frames.append(frame.dropna(axis="columns", how="all"))
    rows = pd.concat(frames, ignore_index=True).reindex(columns=[field.name for field in arrow_schema()])
    return rows.sort_values(["dataset", "protocol", "label", "seed_pretrain"], ignore_index=True)


def _newest(root: Path) -> dict[str, Path]:
    """The file of each cell's newest row."""
    return {path.name.partition("-")[0]: path for path in sorted((root / "rows").glob("*.parquet"))}


@contextmanager
def _explained(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StoreError(_explanation(root, error)) from error


def _explanation(root: Path, error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return (
            f"the disk that holds '{root}' is full: nothing finished is lost. Free some space, or name another "
            f"folder with --out, and run the same command again; it goes on where it stopped."
        )
    reason = os.strerror(error.errno) if error.errno else str(error)
    return f"cannot write results to '{root}': {reason}. Name a folder that can be written with --out."


def _write_json(path: Path, value: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(value, indent=1, sort_keys=True), encoding="utf-8")


def _read_json(path: Path) -> dict[str, Any]:
    value = json.loads(path.read_text(encoding="utf-8"))
    assert isinstance(value, dict)
    return value


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

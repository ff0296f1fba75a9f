"""Finished stages and result rows on disk: content-addressed, written atomically, never changed afterwards.

    OUT/format.json              the schema version that wrote it
    OUT/stages/KEY/              stage.json, and the product: encoder.safetensors, head.safetensors, outcomes.parquet
    OUT/failures/KEY.json        the last failure of a stage
    OUT/findings/KEY-HASH.txt    what was noticed when a finished stage was computed again
    OUT/rows/CELL-TIME.parquet   one row per file; the newest of a cell counts
    OUT/logs/KEY.log             the traceback of a failure
    OUT/checkpoints/KEY/         the last two checkpoints of a stage that is not finished: NUMBER-SHA256.safetensors
    OUT/locks/KEY.lock           locked by the process that works on a stage, and says which one that is
    OUT/live/RUN.json            where a run stands; RUN.lock is locked by its process (see bench/live.py)
    OUT/tensorboard/NAME-KEY/    event files of a pre-training, where they were asked for

Several processes may write at once: everything is written under OUT/tmp and renamed into place, whoever works on a
stage holds its lock, and where a file system has no locks, whoever comes second drops its copy. Nothing that is read
is ever unpickled.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import shutil
import socket
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from bench.errors import BenchError, StoreError
from bench.schema import SCHEMA_VERSION, Row, arrow_schema, check_schema_version

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

FORMAT = "format.json"
STAGE = "stage.json"
OUTCOMES = "outcomes.parquet"
CORRECT = "correct"
"""The one column of outcomes: whether the image is classified correctly under the attack."""
HISTORY = "history.json"
"""What a method recorded while it trained; beside its encoder."""
CHECKPOINTS_KEPT = 2
"""Of a stage: one may be torn."""
ABANDONED = 24 * 3600
"""Age in seconds at which what lies in `tmp` belongs to no living process."""


class Folder(StrEnum):
    """The parts of a store."""

    STAGES = "stages"
    FAILURES = "failures"
    FINDINGS = "findings"
    ROWS = "rows"
    LOGS = "logs"
    CHECKPOINTS = "checkpoints"
    LOCKS = "locks"
    LIVE = "live"
    TENSORBOARD = "tensorboard"
    TMP = "tmp"


@dataclass(frozen=True)
class Lock:
    """The lock file of a stage.

    Attributes:
        key: of the stage.
        held: whether a living process works on it.
        holder: what the process that had it last wrote: its `pid` and `host`, and `what` it worked on.
        age: seconds since then.
    """

    key: str
    held: bool
    holder: Mapping[str, Any]
    age: float


@dataclass(frozen=True)
class Usage:
    """Disk space.

    Attributes:
        files: how many.
        bytes: their sizes together.
    """

    files: int = 0
    bytes: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.files + other.files, self.bytes + other.bytes)


@dataclass(frozen=True)
class Store:
    """A folder of results; see the module's docstring for what lies where."""

    root: Path

    @classmethod
    def open(cls, root: Path | str) -> Store:
        """The store at `root`, made if it is not there.

        Raises:
            StoreError: if the folder cannot be written, or holds something else.
            BenchError: if a newer version of this package wrote it.
        """
        store = cls(Path(root))
        with _explained(store.root):
            store._check_kind()
            for name in Folder:
                (store.root / name).mkdir(parents=True, exist_ok=True)
            if not (store.root / FORMAT).is_file():
                store._place(_json({"schema_version": SCHEMA_VERSION}), store.root / FORMAT)
            store._check_writable()
            store._tidy()
        store._check_version()
        return store

    @classmethod
    def existing(cls, root: Path | str) -> Store:
        """The store at `root` for reading, which may not be there yet; nothing is written.

        Raises:
            BenchError: if a newer version of this package wrote it.
        """
        store = cls(Path(root))
        if (store.root / FORMAT).is_file():
            store._check_version()
        return store

    def _check_kind(self) -> None:
        """A folder is a store if it says so, or holds nothing but the parts of one that is being made."""
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"'{self.root}' is a file: name a folder for the results with --out.")
        strangers = [path.name for path in listed(self.root) if path.name not in {*Folder, FORMAT}]
        if strangers and not (self.root / FORMAT).is_file():
            raise StoreError(
                f"'{self.root}' holds other things than results ({', '.join(strangers[:3])}): "
                f"name a new or an empty folder with --out."
            )

    def _check_version(self) -> None:
        path = self.root / FORMAT
        found = parsed(path) or {}
        if not isinstance(found.get("schema_version"), int):
            raise StoreError(f"'{path}' cannot be read, so '{self.root}' may be no store of results: see what it is.")
        check_schema_version(found["schema_version"], str(self.root))

    def _check_writable(self) -> None:
        with self._scratch() as path:
            path.touch()

    def _tidy(self) -> None:
        """Remove what processes that were killed left in `tmp`."""
        for path in self.abandoned(ABANDONED):
            with suppress(OSError):
                _remove(path)

    def abandoned(self, age: float) -> list[Path]:
        """What lies in `tmp` and is older than `age` seconds."""
        return [path for path in listed(self.root / Folder.TMP) if age_of(path) > age]

    # Stages.

    def stage(self, key: str) -> Path:
        """The folder of a stage's product, whether it is there or not."""
        return self.root / Folder.STAGES / key

    def has(self, key: str) -> bool:
        """Whether the stage is finished. One whose record cannot be read is not: it is computed again."""
        return parsed(self.stage(key) / STAGE) is not None

    def record(self, key: str) -> dict[str, Any]:
        """What is known of a finished stage: label, recipe, context, seconds, result.

        Raises:
            BenchError: if there is no such stage.
        """
        record = parsed(self.stage(key) / STAGE)
        if record is None:
            raise BenchError(f"'{self.stage(key)}' holds no finished stage: run the same command again to compute it.")
        return record

    def records(self) -> Iterator[dict[str, Any]]:
        """The records of all finished stages."""
        for path in sorted((self.root / Folder.STAGES).glob(f"*/{STAGE}")):
            if (record := parsed(path)) is not None:
                yield record

    def finished(self) -> list[str]:
        """The keys of all finished stages."""
        return sorted(path.parent.name for path in (self.root / Folder.STAGES).glob(f"*/{STAGE}") if parsed(path))

    def put(self, key: str, record: Mapping[str, Any], files: Mapping[str, bytes], *, replace: bool = False) -> None:
        """Store a finished stage, all of it or nothing.

        Args:
            key: the stage's recipe key.
            record: JSON data for `record`.
            files: file name -> content.
            replace: take the place of a sound product too, instead of leaving it.

        Raises:
            StoreError: if the disk is full or cannot be written.
        """
        with _explained(self.root), self._scratch() as folder:
            folder.mkdir()
            for name, content in {**files, STAGE: _json(record)}.items():
                _write(folder / name, content)
            if not _moved(folder, self.stage(key)) and (replace or not self.has(key)):
                with suppress(FileNotFoundError):  # Another process does the same.
                    self.stage(key).rename(folder.with_suffix(".old"))
                _moved(folder, self.stage(key))

    def read(self, key: str, name: str) -> bytes:
        """The content of a product's file.

        Raises:
            BenchError: if it cannot be read.
        """
        path = self.stage(key) / name
        try:
            return path.read_bytes()
        except OSError as error:
            raise self.damaged(key, name, os.strerror(error.errno or 0)) from error

    def outcomes(self, key: str) -> np.ndarray:
        """Per test image, whether it stayed correct under the attack: bool [N], in the test set's order.

        Raises:
            BenchError: if they cannot be read.
        """
        import numpy as np
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            column = pq.read_table(pa.BufferReader(self.read(key, OUTCOMES))).column(CORRECT)
        except (OSError, KeyError, pa.ArrowException) as error:
            raise self.damaged(key, OUTCOMES, str(error)) from error
        return np.asarray(column.to_pylist(), dtype=bool)

    def damaged(self, key: str, name: str, reason: str) -> BenchError:
        """The error for a product's file that is not what was stored."""
        return BenchError(
            f"'{self.stage(key) / name}' is damaged ({reason}): remove the folder '{self.stage(key)}' and run the same "
            f"command again, or compute everything once more with --rerun."
        )

    # Stages at work.

    @contextmanager
    def lock(self, key: str, what: str = "") -> Iterator[bool]:
        """Hold a stage's lock as long as the block lasts, or yield False at once if another process holds it.

        The kernel releases it when its process dies, however it dies. The file goes once the stage is finished:
        whoever still waits for it then finds the product. Until then it says who held it, and `what` that is called.
        """
        path = self._lock(key)
        with _explained(self.root):
            file, held = _opened(path)
        with file:
            try:
                if held:
                    with suppress(OSError):  # On a full disk the lock still locks.
                        _sign(file, what)
                yield held
            finally:
                if held and self.has(key):
                    path.unlink(missing_ok=True)

    def is_free(self, key: str) -> bool:
        """Whether nobody works on a stage."""
        path = self._lock(key)
        return not path.exists() or not is_held(path)

    def locks(self) -> Iterator[Lock]:
        """The lock files of all stages; one that nobody holds was left by a process that died, or was interrupted."""
        for path in listed(self.root / Folder.LOCKS):
            yield Lock(path.stem, is_held(path), parsed(path) or {}, age_of(path))

    def _lock(self, key: str) -> Path:
        return self.root / Folder.LOCKS / f"{key}.lock"

    def put_checkpoint(self, key: str, content: bytes) -> None:
        """Keep a checkpoint, and the one before it."""
        folder = self.checkpoint_folder(key)
        with _explained(self.root):
            folder.mkdir(exist_ok=True)
            before = listed(folder)
            number = 1 + max((_number(path) for path in before), default=0)
            self._place(content, folder / f"{number:08}-{_sha256(content)}.safetensors")
            for path in before[: 1 - CHECKPOINTS_KEPT]:
                path.unlink(missing_ok=True)

    def checkpoints(self, key: str) -> Iterator[bytes]:
        """The checkpoints of a stage that are as they were written, the latest first; none from before its product."""
        finished = _changed_at(self.stage(key) / STAGE)
        for path in reversed(listed(self.checkpoint_folder(key))):
            with suppress(OSError):
                if path.stat().st_mtime <= finished:
                    return
                content = path.read_bytes()
                if path.stem.partition("-")[2] == _sha256(content):
                    yield content

    def forget_checkpoints(self, key: str) -> None:
        """The stage is finished."""
        _remove(self.checkpoint_folder(key))

    def checkpoint_folder(self, key: str) -> Path:
        """Where the checkpoints of a stage lie, if there are any."""
        return self.root / Folder.CHECKPOINTS / key

    # Failures and findings.

    def log(self, key: str) -> Path:
        """Where the traceback of a stage's failure is kept."""
        return self.root / Folder.LOGS / f"{key}.log"

    def put_failure(self, key: str, error: str, traceback: str, about: Mapping[str, Any] | None = None) -> int:
        """Keep why a stage failed, and further facts `about` it; returns how often it has been tried."""
        attempts = self.attempts(key) + 1
        with _explained(self.root):
            self._place(traceback.encode(), self.log(key))
            self._place(_json({**(about or {}), "error": error, "attempts": attempts}), self._failure(key))
        return attempts

    def failure(self, key: str) -> dict[str, Any] | None:
        """The last failure of a stage, or None."""
        return parsed(self._failure(key))

    def failures(self) -> dict[str, dict[str, Any]]:
        """The last failure of each stage that failed and was not finished since, by key, the oldest first."""
        paths = sorted((self.root / Folder.FAILURES).glob("*.json"), key=_changed_at)
        return {path.stem: failure for path in paths if (failure := parsed(path)) is not None}

    def attempts(self, key: str) -> int:
        """How often a stage has failed since it last ended well."""
        return int((self.failure(key) or {}).get("attempts", 0))

    def forget_failure(self, key: str) -> None:
        """The stage ended well."""
        with _explained(self.root):
            self._failure(key).unlink(missing_ok=True)

    def _failure(self, key: str) -> Path:
        return self.root / Folder.FAILURES / f"{key}.json"

    def add_finding(self, key: str, text: str) -> None:
        """Keep a sentence about a finished stage; the same one is kept once."""
        name = f"{key}-{hashlib.sha256(text.encode()).hexdigest()[:12]}.txt"
        with _explained(self.root):
            self._place(text.encode(), self.root / Folder.FINDINGS / name)

    def findings(self, key: str) -> list[str]:
        """What was noticed about a finished stage."""
        return [path.read_text(encoding="utf-8") for path in sorted((self.root / Folder.FINDINGS).glob(f"{key}-*.txt"))]

    # Rows.

    def add_row(self, row: Row) -> None:
        """Append a row."""
        import pyarrow as pa

        content = parquet(pa.Table.from_pylist([row.as_dict()], schema=arrow_schema()))
        with _explained(self.root):
            self._place(content, self.root / Folder.ROWS / f"{row.cell}-{time.time_ns()}.parquet")

    def latest_rows(self) -> dict[str, dict[str, Any]]:
        """The newest row of every cell, by cell, as plain values; without those that cannot be read."""
        rows: dict[str, dict[str, Any]] = {}
        for cell, path in _newest(self.root).items():
            with suppress(BenchError):
                rows[cell] = _row(path).to_pylist()[0]
        return rows

    def cells(self) -> list[str]:
        """The keys of all cells that have a row, be it one that cannot be read."""
        return sorted(_newest(self.root))

    def row_files(self, cell: str) -> list[Path]:
        """All rows of a cell, the newest last."""
        return sorted((self.root / Folder.ROWS).glob(f"{cell}-*.parquet"))

    # Disk space.

    def usage(self) -> dict[Folder, Usage]:
        """The disk space of each part."""
        return {name: usage_of(self.root / name) for name in Folder}

    def traces(self) -> set[str]:
        """The keys of all stages of which there is anything."""
        folders = (Folder.STAGES, Folder.CHECKPOINTS, Folder.LOGS, Folder.FAILURES, Folder.FINDINGS)
        paths = [path for folder in folders for path in listed(self.root / folder)]
        return {path.name.partition(".")[0].partition("-")[0] for path in paths}

    def remains(self, key: str) -> list[Path]:
        """All that there is of a stage, finished or not, but for its lock."""
        own = [self.stage(key), self.checkpoint_folder(key), self.log(key), self._failure(key)]
        own += (self.root / Folder.FINDINGS).glob(f"{key}-*.txt")
        own += (self.root / Folder.TENSORBOARD).glob(f"*-{key[:8]}")
        return [path for path in own if path.exists()]

    def remove(self, key: str, paths: Iterable[Path]) -> Usage | None:
        """Remove what there is of a stage, and its lock; the space that is freed, or None where somebody works on it.

        Raises:
            StoreError: if the folder cannot be written.
        """
        with self.lock(key) as free:
            if not free:
                return None
            freed = Usage()
            with _explained(self.root):
                for path in paths:
                    freed += self.discard(path)
                self._lock(key).unlink(missing_ok=True)
        return freed

    def discard(self, path: Path) -> Usage:
        """Remove a file or folder that belongs to no stage at work, all at once; the space that is freed."""
        freed = usage_of(path)
        with self._scratch() as grave, suppress(FileNotFoundError):
            path.rename(grave)
        return freed

    # Writing.

    def _place(self, content: bytes, target: Path) -> None:
        with self._scratch() as path:
            _write(path, content)
            path.replace(target)

    @contextmanager
    def _scratch(self) -> Iterator[Path]:
        path = self.root / Folder.TMP / uuid.uuid4().hex
        try:
            yield path
        finally:
            for leftover in (path, path.with_suffix(".old")):
                _remove(leftover)


def read_rows(root: Path | str) -> pd.DataFrame:
    """The newest row of every cell in the store at `root`, sorted by method, data set, protocol and seed.

    Raises:
        BenchError: if there is no store, it holds no row, or one that cannot be read or that a newer version of this
            package wrote.
    """
    import pandas as pd

    if Path(root).is_file():
        raise BenchError(f"'{root}' is a file, and results lie in a folder: name the --out of `bench run`.")
    newest = _newest(Store.existing(root).root)
    if not newest:
        raise BenchError(f"no results in '{root}': `bench run` writes them there, or name another folder.")
    frames = [_row(path).to_pandas().dropna(axis="columns", how="all") for path in newest.values()]
    rows: pd.DataFrame = pd.concat(frames, ignore_index=True).reindex(columns=[field.name for field in arrow_schema()])
    return rows.sort_values(["dataset", "protocol", "label", "seed_pretrain"], ignore_index=True)


def parquet(table: pa.Table) -> bytes:
    """A table as the content of a Parquet file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    buffer = pa.BufferOutputStream()
    pq.write_table(table, buffer)
    content: bytes = buffer.getvalue().to_pybytes()
    return content


def _newest(root: Path) -> dict[str, Path]:
    """The file of each cell's newest row."""
    return {path.name.partition("-")[0]: path for path in sorted((root / Folder.ROWS).glob("*.parquet"))}


def _row(path: Path) -> pa.Table:
    """The one row of a file."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table = file.read()
        version = table.column("schema_version")[0].as_py()
    except (OSError, KeyError, IndexError, pa.ArrowException) as error:
        raise BenchError(
            f"'{path}' is damaged ({error}): remove it and run the same `bench run` again; it writes the row anew from "
            f"the finished stages."
        ) from error
    check_schema_version(int(version), str(path))
    return table


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


def usage_of(path: Path) -> Usage:
    """The disk space of a file or a folder; nothing if it is not there."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    sizes = [_size(one) for one in files]
    return Usage(len(sizes), sum(sizes))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # Gone since it was listed.
        return 0


def _opened(path: Path) -> tuple[BinaryIO, bool]:
    """A lock's file, and whether its lock could be had."""
    while True:
        file = path.open("ab")
        held = locked(file.fileno())
        if not held or _is_same(file, path):
            return file, held
        file.close()  # Its last holder removed it meanwhile: whoever comes next would lock another file.


def _is_same(file: BinaryIO, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


def is_held(path: Path) -> bool:
    """Whether a living process holds the lock of a file, or may do so: some file systems cannot tell."""
    try:
        with path.open("ab" if os.access(path, os.W_OK) else "rb") as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except OSError:
        return True
    return False


def _sign(file: BinaryIO, what: str) -> None:
    """Write into a lock's file who holds it."""
    file.truncate(0)
    file.write(_json({"pid": os.getpid(), "host": socket.gethostname(), "what": what}))
    file.flush()


def locked(file: int) -> bool:
    """Whether the lock of an open file could be had; as if, where the file system has none."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES)
    return True


def _changed_at(path: Path) -> float:
    """When a file was written, in seconds; 0 if it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def age_of(path: Path) -> float:
    """Seconds since a file was written."""
    return max(0.0, time.time() - _changed_at(path))


def _number(path: Path) -> int:
    """The number of a checkpoint; 0 for a stranger."""
    number = path.name.partition("-")[0]
    return int(number) if number.isdecimal() else 0


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def listed(folder: Path) -> list[Path]:
    """What lies in a folder, hidden files left out; nothing if it is not there."""
    return [path for path in sorted(folder.glob("*")) if not path.name.startswith(".")]


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()


def parsed(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file, or None where there is none: no such file, or a torn one."""
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


def _moved(folder: Path, target: Path) -> bool:
    """Whether a folder could be renamed; not where another one has that name."""
    try:
        folder.rename(target)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    """Write a file so that it is on the disk before it is renamed into place."""
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())

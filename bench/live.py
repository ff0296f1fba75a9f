"""What the runs in a store are doing: small files that they keep up to date, read from another shell.

    OUT/live/RUN.lock    who runs what since when, and the keys of its stages; locked as long as its process lives
    OUT/live/RUN.json    where it stands, written anew when that changed, at most once a second

Both go when the run ends. Those of a process that died stay, unlocked, until `bench gc` or a run of the same stages.
They are an aid: no number depends on them, and a disk that is full or read-only stops no run.
"""

from __future__ import annotations

import json
import os
import shlex
import socket
import sys
import threading
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from bench.store import Folder, Store, is_held, listed, locked, parsed

WRITE_EVERY = 1.0
"""Seconds between two looks at whether there is something new to write."""


@dataclass(frozen=True)
class AtWork:
    """A stage that is being computed.

    Attributes:
        key, label, kind: of the stage.
        where: device and process.
        done, total: steps; both 0 where that is not known.
        message: an epoch, an attack.
        seconds: since it began in this run.
        steps_per_s, images_per_s, left_s: speed and time to go, where they can be said.
        facts: the newest of what was recorded: loss, signs of life.
    """

    key: str
    label: str
    kind: str
    where: str = ""
    done: int = 0
    total: int = 0
    message: str = ""
    seconds: float = 0.0
    steps_per_s: float | None = None
    images_per_s: float | None = None
    left_s: float | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Standing:
    """Where a run stands.

    Attributes:
        updated: when this was written, ISO 8601, UTC.
        counts: state -> stages in it.
        left_s: seconds that the rest may take, where that can be said.
        at_work: the stages that are being computed.
        elsewhere: labels of stages that another run works on.
        failed: label -> error, of stages that failed in this run.
    """

    updated: str = ""
    counts: Mapping[str, int] = field(default_factory=dict)
    left_s: float | None = None
    at_work: tuple[AtWork, ...] = ()
    elsewhere: tuple[str, ...] = ()
    failed: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """From JSON data; nothing is known where a newer version wrote something else."""
        try:
            at_work = tuple(AtWork(**stage) for stage in values.get("at_work", ()))
            return cls(**{**values, "at_work": at_work, "elsewhere": tuple(values.get("elsewhere", ()))})
        except TypeError:
            return cls()


@dataclass(frozen=True)
class LiveRun:
    """A run that is at work, or was when its process died.

    Attributes:
        name: of its files.
        alive: whether its process lives.
        pid, host: its process.
        since: when it began, ISO 8601, UTC.
        command: how it was started.
        keys: of all its stages; None where that is not known.
        standing: where it stands, or stood.
    """

    name: str
    alive: bool
    pid: int | None
    host: str
    since: str
    command: str
    keys: frozenset[str] | None
    standing: Standing


def live_runs(store: Store) -> list[LiveRun]:
    """The runs at work in a store, and those whose process died, the oldest first."""
    runs = [_read(path) for path in listed(store.root / Folder.LIVE) if path.suffix == ".lock"]
    return sorted(runs, key=lambda run: run.since)


def _read(path: Path) -> LiveRun:
    card = parsed(path) or {}
    keys = card.get("keys")
    return LiveRun(
        name=path.stem,
        alive=is_held(path),
        pid=card.get("pid"),
        host=card.get("host", "?"),
        since=card.get("since", ""),
        command=card.get("command", "?"),
        keys=None if keys is None else frozenset(keys),
        standing=Standing.of(parsed(path.with_suffix(".json")) or {}),
    )


def forget(store: Store, run: LiveRun) -> None:
    """Remove the files of a run whose process died."""
    for suffix in (".json", ".lock"):
        with suppress(OSError):
            (store.root / Folder.LIVE / f"{run.name}{suffix}").unlink(missing_ok=True)


@contextmanager
def shown_live(store: Store, keys: Collection[str], standing: Callable[[], Standing]) -> Iterator[None]:
    """Keep this run's files as long as the block lasts; `standing` is asked in another thread."""
    for run in live_runs(store):
        if not run.alive and run.keys is not None and run.keys <= set(keys):
            forget(store, run)
    path = store.root / Folder.LIVE / f"{uuid.uuid4().hex[:12]}.lock"
    try:
        file = path.open("wb")
    except OSError:
        yield
        return
    over = threading.Event()
    writer = threading.Thread(target=_keep_writing, args=(path, standing, over), daemon=True)
    with file:
        locked(file.fileno())
        with suppress(OSError):
            file.write(_json(_card(keys)))
            file.flush()
        writer.start()
        try:
            yield
        finally:
            over.set()
            writer.join()
            for own in (path.with_suffix(".new"), path.with_suffix(".json"), path):
                with suppress(OSError):
                    own.unlink(missing_ok=True)


def _card(keys: Collection[str]) -> dict[str, Any]:
    command = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    return {"pid": os.getpid(), "host": socket.gethostname(), "since": now(), "command": command, "keys": sorted(keys)}


def _keep_writing(path: Path, standing: Callable[[], Standing], over: threading.Event) -> None:
    new, last = path.with_suffix(".new"), None
    while True:
        current = standing()
        if current != last:
            last = current
            with suppress(OSError):
                new.write_bytes(_json({**asdict(current), "updated": now()}))
                new.replace(path.with_suffix(".json"))
        if over.wait(WRITE_EVERY):
            return


def now() -> str:
    """The time, ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value).encode()

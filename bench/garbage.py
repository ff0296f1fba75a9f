"""What of a store nobody needs any more, and removing it. Imports no torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from bench.live import LiveRun, forget, live_runs
from bench.store import Folder, Store, Usage, age_of, usage_of

HOUR = 3600.0
"""Age in seconds at which a temporary file belongs to no write that is under way."""

Graph = Mapping[str, Collection[str]]
"""A stage's key to those of the stages it reads."""


class WasteKind(StrEnum):
    """Why something may go."""

    CHECKPOINTS = "checkpoints of finished stages"
    STAGES = "stages that no row and no run refers to"
    LOCKS = "locks that nobody holds"
    RUNS = "status files of runs that died"
    TEMPORARY = "temporary files"


@dataclass(frozen=True)
class Waste:
    """Something that may go.

    Attributes:
        kind: why.
        paths: what.
        key: the stage that it belongs to, whose lock is taken first.
        run: the run that it belongs to.
    """

    kind: WasteKind
    paths: tuple[Path, ...] = ()
    key: str | None = None
    run: LiveRun | None = None

    @property
    def usage(self) -> Usage:
        """Its disk space."""
        return sum(map(usage_of, self.paths), Usage())


@dataclass
class Freed:
    """What was removed.

    Attributes:
        by_kind: disk space.
        counts: things.
        locked: keys of stages that were left because a process works on them.
    """

    by_kind: dict[WasteKind, Usage] = field(default_factory=dict)
    counts: dict[WasteKind, int] = field(default_factory=dict)
    locked: list[str] = field(default_factory=list)

    def note(self, waste: Waste, usage: Usage | None) -> None:
        """Something was removed, or left where `usage` is None."""
        if usage is None:
            self.locked.append(str(waste.key))
            return
        self.by_kind[waste.kind] = self.by_kind.get(waste.kind, Usage()) + usage
        self.counts[waste.kind] = self.counts.get(waste.kind, 0) + 1

    @property
    def usage(self) -> Usage:
        """All together."""
        return sum(self.by_kind.values(), Usage())


def garbage(store: Store, guard: float) -> list[Waste]:
    """What `bench gc` removes: stages only if nothing of them is younger than `guard` seconds.

    Only the newest row of a cell refers to stages. Where a row or a run cannot be read, no stage goes.
    """
    held = {lock.key for lock in store.locks() if lock.held}
    runs = live_runs(store)
    whole = list(_stages(store, runs, guard))
    parts = [waste for waste in (*_checkpoints(store), *_locks(store)) if waste.key not in {one.key for one in whole}]
    found = [waste for waste in (*whole, *parts) if waste.key not in held]
    found += [_of_run(store, run) for run in runs if not run.alive]
    return found + [Waste(WasteKind.TEMPORARY, (path,)) for path in store.abandoned(HOUR)]


def _stages(store: Store, runs: Collection[LiveRun], guard: float) -> Iterator[Waste]:
    rows = store.latest_rows()
    if len(rows) < len(store.cells()) or any(run.keys is None for run in runs if run.alive):
        return
    used = needed(rows.values(), runs, graph_of(store))
    for key in sorted(store.traces() - used):
        paths = store.remains(key)
        if paths and min(map(_age, paths)) > guard:
            yield Waste(WasteKind.STAGES, tuple(paths), key)


def _age(path: Path) -> float:
    """Seconds since anything of a file or folder was written."""
    return min(age_of(one) for one in (path, *path.rglob("*")))


def _checkpoints(store: Store) -> Iterator[Waste]:
    folders = (store.checkpoint_folder(key) for key in store.finished())
    yield from (Waste(WasteKind.CHECKPOINTS, (folder,), folder.name) for folder in folders if folder.exists())


def _locks(store: Store) -> Iterator[Waste]:
    yield from (Waste(WasteKind.LOCKS, key=lock.key) for lock in store.locks())


def _of_run(store: Store, run: LiveRun) -> Waste:
    return Waste(WasteKind.RUNS, tuple((store.root / Folder.LIVE).glob(f"{run.name}.*")), run=run)


def graph_of(store: Store) -> Graph:
    """What each stage reads: of finished ones by their record, of others by the failure that they were part of."""
    graph: dict[str, Collection[str]] = {}
    for failure in store.failures().values():
        graph.update(failure.get("reads", {}))
    graph.update({key: store.record(key).get("upstream", {}).values() for key in store.finished()})
    return graph


def stages_of(row: Mapping[str, Any]) -> list[str]:
    """The keys of a row's own stages, in their order."""
    keys = [row["pretrain_key"], row["head_key"], *json.loads(row["outcomes"]).values()]
    keys += json.loads(row.get("audits") or "[]")
    return [key for key in keys if key]


def needed(rows: Iterable[Mapping[str, Any]], runs: Iterable[LiveRun], graph: Graph) -> set[str]:
    """The keys of the stages that rows and living runs rest on."""
    waiting = [key for row in rows for key in stages_of(row)]
    waiting += [key for run in runs if run.alive for key in run.keys or ()]
    found: set[str] = set()
    while waiting:
        if (key := waiting.pop()) not in found:
            found.add(key)
            waiting += graph.get(key, ())
    return found


def only_of(cells: Collection[str], store: Store) -> list[Waste]:
    """The stages that these cells rest on and no other row or living run does."""
    rows, runs, graph = store.latest_rows(), live_runs(store), graph_of(store)
    own = needed((rows[cell] for cell in cells), (), graph)
    others = needed((row for cell, row in rows.items() if cell not in cells), runs, graph)
    paths = {key: store.remains(key) for key in sorted(own - others)}
    return [Waste(WasteKind.STAGES, tuple(remains), key) for key, remains in paths.items() if remains]


def remove(store: Store, wastes: Iterable[Waste]) -> Freed:
    """Remove garbage; what a process works on by now is left.

    Raises:
        StoreError: if the folder cannot be written.
    """
    freed = Freed()
    for waste in wastes:
        if waste.run is not None:
            usage: Usage | None = waste.usage
            forget(store, waste.run)
        elif waste.key is not None:
            usage = store.remove(waste.key, waste.paths)
        else:
            usage = sum(map(store.discard, waste.paths), Usage())
        freed.note(waste, usage)
    return freed

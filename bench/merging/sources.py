"""A store that is merged: all that it says of its stages and rows, read once. Imports no torch."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from bench.errors import BenchError
from bench.garbage import Graph, graph_of, needed
from bench.store import FORMAT, Store, read_rows

Row: TypeAlias = Mapping[str, Any]
Record: TypeAlias = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Source:
    """A store to merge from.

    Attributes:
        name: as the user calls it.
        store: the store.
        rows: the newest row of every cell.
        records: of all finished stages.
    """

    name: str
    store: Store
    rows: Mapping[str, Row]
    records: Mapping[str, Record]

    @classmethod
    def read(cls, path: Path) -> Source:
        """The store at `path`.

        Raises:
            BenchError: if there is none, a newer version of this package wrote it, or a row of it cannot be read.
        """
        store = Store.existing(path)
        if not (path / FORMAT).is_file():
            raise BenchError(
                f"'{path}' is no store of results (it has no {FORMAT}): name folders of `bench run --out`."
            )
        rows = store.latest_rows()
        if torn := [store.row_files(cell)[-1] for cell in store.cells() if cell not in rows]:
            read_rows(path)  # Says which of the two it is, wherever it can tell.
            raise BenchError(
                f"'{torn[0]}' is damaged, or was written by a newer acl-bench: upgrade, or remove it and run the same "
                f"`bench run` there again; it writes the row anew from the finished stages."
            )
        return cls(str(path), store, rows, {key: store.record(key) for key in store.finished()})

    def is_at(self, path: Path) -> bool:
        """Whether `path` is this store's folder."""
        return self.store.root.resolve() == path.resolve()

    @cached_property
    def graph(self) -> Graph:
        """What each stage reads."""
        return graph_of(self.store)

    def rests_on(self, row: Row) -> set[str]:
        """Keys of all stages that a row of this store rests on, finished or not."""
        return needed((row,), (), self.graph)

    @cached_property
    def _last_used(self) -> Mapping[str, datetime]:
        """When the newest row that rests on a stage was written, by the stage's key."""
        times: dict[str, datetime] = {}
        for row in self.rows.values():
            written = datetime.fromisoformat(row["created"])
            times |= {key: max(written, times.get(key, written)) for key in self.rests_on(row)}
        return times

    def age_of(self, key: str) -> datetime:
        """How new this store's copy of a stage is.

        Stages of one cell are as new as its row: chosen by age, they come from one store and belong together.
        """
        return self._last_used.get(key) or datetime.fromisoformat(self.records[key]["created"])


def read_all(paths: Sequence[Path], out: Path) -> list[Source]:
    """The stores to merge in their order, what lies in `out` already first, where it is not among them.

    Raises:
        BenchError: as `Source.read`, or if a store is named twice.
    """
    places = [path.resolve() for path in paths]
    if twice := [f"'{path}'" for path, place in zip(paths, places, strict=True) if places.count(place) > 1]:
        raise BenchError(f"{' and '.join(twice)} are one store: name each once.")
    there = (out / FORMAT).is_file() and out.resolve() not in places
    return [Source.read(path) for path in ([out] if there else []) + list(paths)]


def common_attacks(key: str, sources: Collection[Source]) -> list[str]:
    """Keys of the attacks that all these stores have finished and that rest on the stage `key`, itself included."""
    shared = set.intersection(*(set(source.records) for source in sources))
    first = next(iter(sources))
    attacks = (one for one in sorted(shared) if first.records[one]["kind"] == "attack")
    return [one for one in attacks if _reaches(first.graph, one, key)]


def _reaches(graph: Graph, start: str, key: str) -> bool:
    return start == key or any(_reaches(graph, one, key) for one in graph.get(start, ()))

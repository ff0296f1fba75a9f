"""Which rows of a store are of an exhibit's cells. Nothing is planned, so no data set need be there."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd

from bench.data.limits import Limit
from bench.data.sources import parse_sources
from bench.errors import BenchError
from bench.grammar import expand, parse_specs
from bench.planning import seeds_of
from bench.protocols.recipes import protocol_of
from bench.store import Store, read_rows
from bench.sweep import Sweep
from leaderboard.reproduction.exhibits import Evidence, Exhibit
from leaderboard.rows import SEEDS, Setting, current
from leaderboard.spelling import command_line

NUMBERS = ("datasets", "seeds", "schedule", "epochs", "limit", "out")
"""Options that decide which cells are shown."""


class Asked(NamedTuple):
    """A cell as a sweep asks for it, whatever data, code and settings answer."""

    label: str
    dataset: str
    protocol: str
    seeds: tuple[int, ...]
    schedule: str
    epochs: int | None
    budget: float | None
    limit_train: int | None
    limit_test: int | None


def asked_of(sweeps: Sequence[Sweep]) -> frozenset[Asked]:
    """The cells of some sweeps; one that several ask for is one."""
    return frozenset(cell for sweep in sweeps for cell in _cells(sweep))


def gather(exhibit: Exhibit, sweeps: Sequence[Sweep], command: str) -> Evidence:
    """What the store of the first sweep holds of an exhibit.

    Raises:
        BenchError: if it holds none of its cells, or cannot be read.
    """
    out, asked = sweeps[0].out, asked_of(sweeps)
    rows = _of_cells(read_rows(out), asked)
    if rows.empty:
        raise BenchError(
            f"'{out}' holds none of the {len(asked)} cells of '{exhibit.name}' with this schedule and limit: leave out "
            f"--no-run to compute them, or name another store with --out."
        )
    return Evidence(current(rows), Store.existing(out), tuple(sweeps), command, sweeps[0].data_dir)


def missing(evidence: Evidence) -> int:
    """How many of the cells that were asked for have no row."""
    return len(asked_of(evidence.sweeps) - set(map(_asked, evidence.rows.to_dict("records"))))


def _cells(sweep: Sweep) -> Iterator[Asked]:
    limit = Limit.parse(sweep.limit) if sweep.limit else Limit()
    protocols = [protocol_of(one.text).name for spec in parse_specs(sweep.protocol_names) for one in expand(spec)]
    labels = [one.text for spec in parse_specs(sweep.methods) for one in expand(spec)]
    length = (str(sweep.schedule), sweep.epochs, sweep.budget, limit.train, limit.test)
    for source in parse_sources(sweep.datasets):
        for seeds in seeds_of(sweep):
            for label in labels:
                for protocol in protocols:
                    yield Asked(label, source.name, protocol, (seeds.pretrain, seeds.head, seeds.attack), *length)


def _of_cells(rows: pd.DataFrame, asked: frozenset[Asked]) -> pd.DataFrame:
    return rows[[_asked(record) in asked for record in rows.to_dict("records")]]


def _asked(record: Mapping[Hashable, Any]) -> Asked:
    setting = Setting.of(record)
    return Asked(
        label=record["label"],
        dataset=record["dataset"],
        protocol=record["protocol"],
        seeds=tuple(int(record[name]) for name in SEEDS),
        schedule=setting.schedule,
        epochs=setting.epochs,
        budget=setting.budget,
        limit_train=setting.limit_train,
        limit_test=setting.limit_test,
    )


def command_of(name: str, flags: Mapping[str, Any]) -> str:
    """The command line that shows the exhibits again, from options of `Sweep`; what moves no number is left out."""
    given = {f"--{key.replace('_', '-')}": value for key, value in flags.items() if key in NUMBERS}
    return command_line("reproduce", name, options=given)

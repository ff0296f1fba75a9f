"""The figures of a store that one kind and some filters ask for: one for every setting that can carry it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from bench.errors import BenchError
from bench.store import Store, read_rows
from bench.sweep import default_data_dir
from leaderboard.figures.catalogue import RECIPES, Choices
from leaderboard.figures.material import Material, bare
from leaderboard.figures.model import Figure
from leaderboard.figures.names import Kind
from leaderboard.rows import Selection, Setting, select


@dataclass(frozen=True)
class Request:
    """What is to be drawn.

    Attributes:
        kind: of figure.
        out: the store.
        choices: what the kind leaves open.
        command: what asks for it again.
        data_dir: where data sets lie; None is the usual place.
    """

    kind: Kind
    out: Path
    choices: Choices
    command: str
    data_dir: Path | None = None

    def figures(
        self,
        methods: str | None = None,
        datasets: str | None = None,
        protocols: str | None = None,
        schedule: str | None = None,
    ) -> tuple[Figure, ...]:
        """A figure per setting, whose names differ where there are several; filters as for `bench table`.

        Raises:
            BenchError: for names that are not there, choices that the kind does not take, or if no setting can carry
                the figure: the message is on the first.
        """
        recipe = RECIPES[self.kind]
        recipe.check(self.kind, self.choices)
        selection = Selection.parse(methods, datasets, protocols, schedule)
        frame = read_rows(self.out)
        if recipe.across_eps:
            selection = replace(selection, protocols=_rungs(frame, selection.protocols))
        blocks = dict(_blocks(select(frame, selection), recipe.across_eps))
        store, data_dir = Store.existing(self.out), self.data_dir or default_data_dir()
        found, errors = {}, []
        for setting, rows in blocks.items():
            material = Material.of(rows, store, self.command, data_dir, selection.methods)
            try:
                found[setting] = recipe.build(material, self.choices)
            except BenchError as error:
                errors.append(error)
        if not found:
            raise errors[0]
        return tuple(_named(figure, setting, len(found)) for setting, figure in found.items())


def _rungs(frame: pd.DataFrame, protocols: tuple[str, ...]) -> tuple[str, ...]:
    """The protocols asked for, and for one without options all the rungs of its ladder."""
    there = dict.fromkeys(frame["protocol"])
    rungs = (one for name in protocols for one in there if name in (one, bare(one, "attacks", "eps")))
    return tuple(dict.fromkeys(rungs)) or protocols


def _blocks(frame: pd.DataFrame, across_eps: bool) -> Iterator[tuple[Setting, pd.DataFrame]]:
    """Rows that may stand in one figure."""
    settings = [Setting.of(record) for record in frame.to_dict("records")]
    keys = [replace(one, eps=0.0) if across_eps else one for one in settings]
    for key in sorted(set(keys), key=lambda key: key.text):
        yield key, frame[[one == key for one in keys]]


def _named(figure: Figure, setting: Setting, count: int) -> Figure:
    """With the setting in its name, where it is not the only one."""
    words = re.sub(r"[^a-z0-9.]+", "-", setting.text.lower()).strip("-")
    return replace(figure, name=f"{figure.name}-{words}") if count > 1 else figure

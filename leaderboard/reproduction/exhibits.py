"""What an exhibit of a paper is: which cells it needs, and what is made of their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from bench.errors import BenchError
from bench.grammar import expand, parse_specs
from bench.store import Store
from bench.sweep import Schedule, Sweep

if TYPE_CHECKING:
    import pandas as pd

    from leaderboard.figures.model import Figure
    from leaderboard.tables.model import Table

SWEEPS = Path(__file__).parent / "sweeps"
"""Where the exhibits' sweep files lie."""


@dataclass(frozen=True)
class Evidence:
    """What an exhibit is made of.

    Attributes:
        rows: of its own cells alone, failed ones included; columns are those of `bench.schema.Row`.
        store: where they come from, with per-image outcomes, histories and weights.
        sweeps: what was asked for.
        command: what shows the exhibit again.
        data_dir: where data sets lie.
    """

    rows: pd.DataFrame
    store: Store
    sweeps: tuple[Sweep, ...]
    command: str
    data_dir: Path

    @cached_property
    def order(self) -> tuple[str, ...]:
        """Labels of the methods as the sweeps list them, each once."""
        specs = (spec for sweep in self.sweeps for spec in parse_specs(sweep.methods))
        return tuple(dict.fromkeys(point.text for spec in specs for point in expand(spec)))


ShowTables: TypeAlias = "Callable[[Evidence], tuple[Table, ...]]"
ShowFigure: TypeAlias = "Callable[[Evidence], Figure]"


@dataclass(frozen=True)
class Exhibit:
    """A table or a figure of a paper.

    Attributes:
        name: the paper's short name and the place there: `ncp-acl/table2`.
        caption: what it shows, in our words.
        published: what of it is left to compare with.
        not_quick: why there is no short form on `digits`; empty where there is one.
    """

    name: str
    caption: str
    published: str
    not_quick: str = field(default="", kw_only=True)

    @property
    def paper(self) -> str:
        """The paper's short name."""
        return self.name.partition("/")[0]

    @property
    def file(self) -> Path:
        """The file that says what to run, as `bench run` takes it."""
        return SWEEPS / f"{self.name}.toml"

    def can(self, flags: Mapping[str, Any]) -> bool:
        """Whether there is such a form of it."""
        return not self.not_quick or flags.get("schedule", Schedule.QUICK) != Schedule.QUICK

    def sweeps(self, flags: Mapping[str, Any]) -> tuple[Sweep, ...]:
        """What to run; `flags` are options of `Sweep` that go before those of the file.

        Raises:
            BenchError: for a wrong option, or a schedule that the exhibit does not have.
        """
        if not self.can(flags):
            raise BenchError(f"'{self.name}' cannot be had with the schedule 'quick': {self.not_quick}.")
        return Sweep.all_from_toml(self.file, **flags)


@dataclass(frozen=True)
class PaperTable(Exhibit):
    """An exhibit that is printed.

    Attributes:
        show: its tables from the evidence; raises `BenchError` where the rows cannot carry it.
    """

    show: ShowTables


@dataclass(frozen=True)
class PaperFigure(Exhibit):
    """An exhibit that is drawn.

    Attributes:
        show: what is to be drawn, from the evidence; raises `BenchError` where the rows cannot carry it.
    """

    show: ShowFigure

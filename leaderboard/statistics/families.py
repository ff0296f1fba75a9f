"""Families of comparisons, written down before anything is measured, as TOML data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError

from bench.errors import BenchError, unknown
from leaderboard.rows import METRICS
from leaderboard.statistics.paired import benjamini_hochberg, holm

FAMILIES = "families.toml"
SECTION = "family"


class Place(NamedTuple):
    """One comparison of a family: the proposed method against another, somewhere."""

    other: str
    dataset: str
    protocol: str
    metric: str


class Family(BaseModel):
    """The proposed method against others, on data sets, under protocols, by metrics.

    Attributes:
        proposed: label of the method.
        against: labels of the others.
        datasets, protocols, metrics: each with each.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    proposed: str
    against: tuple[str, ...]
    datasets: tuple[str, ...]
    protocols: tuple[str, ...]
    metrics: tuple[str, ...]

    @property
    def places(self) -> tuple[Place, ...]:
        """Every comparison."""
        others = dict.fromkeys(label for label in self.against if label != self.proposed)
        return tuple(Place(*place) for place in product(others, self.datasets, self.protocols, self.metrics))

    def check(self, name: str) -> None:
        """Whether there is something to adjust.

        Raises:
            BenchError: for fewer than two comparisons, or an unknown metric.
        """
        for metric in self.metrics:
            if metric not in METRICS:
                raise unknown(f"metric of family '{name}'", metric, METRICS)
        if len(self.places) < 2:
            raise BenchError(
                f"family '{name}' has {len(self.places) or 'no'} member: there is nothing to adjust a p-value for. "
                f"List all comparisons that the claim is chosen from (against, datasets, protocols, metrics), or "
                f"leave --family out."
            )


class Adjusted(NamedTuple):
    """A p-value among those of its family.

    Attributes:
        holm: for claims.
        benjamini_hochberg: for exploration.
    """

    holm: float
    benjamini_hochberg: float


def adjust(p_values: Mapping[Any, float | None]) -> dict[Any, Adjusted]:
    """Every p-value of a family adjusted; one that is None was never measured, and counts as 1: it keeps its place."""
    raw = [1.0 if p is None else p for p in p_values.values()]
    both = zip(p_values, map(Adjusted, holm(raw), benjamini_hochberg(raw)), strict=True)
    return {place: adjusted for place, adjusted in both if p_values[place] is not None}


def load_family(text: str) -> Family:
    """The family that `--family text` names: one that ships with the package, or a TOML file's.

    Raises:
        BenchError: for an unknown name, a file that holds no family, or a family with fewer than two members.
    """
    shipped = tomllib.loads((files("results") / FAMILIES).read_text(encoding="utf-8"))
    if text.endswith(".toml"):
        content = _read(Path(text))
    elif text in shipped:
        content = shipped[text]
    else:
        raise unknown("family", text, [*shipped, "FILE.toml"])
    try:
        family = Family.model_validate(content)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"]))
        raise BenchError(f"family '{text}' cannot be read: {at}: {first['msg']}. It lists {_FIELDS}.") from error
    family.check(text)
    return family


_FIELDS = ", ".join(Family.model_fields)


def _read(path: Path) -> Any:
    """The family of a file: its section [family], or all of it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise BenchError(f"family '{path}' cannot be read ({reason}): name a file that lists {_FIELDS}.") from error
    except ValueError as error:
        raise BenchError(f"'{path}' cannot be read as TOML: {error}. It should list {_FIELDS}.") from error
    return content.get(SECTION, content)

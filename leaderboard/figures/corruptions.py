"""Accuracy by type of corruption (AMOC, Figure 4)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import pandas as pd

from bench.schema import Status
from bench.store import Store
from leaderboard.figures.contrasts import lines_of
from leaderboard.figures.material import READING, Material, mean_point, nothing_to_draw
from leaderboard.figures.model import Along, Figure, Panel, Point, Series, accuracy_axis

_APART = 0.22  # Methods on one line, in lines of the plot; less where there are many.

Means = Mapping[str, float]
"""Type to accuracy, per cent."""
Row: TypeAlias = Mapping[Hashable, Any]
Study: TypeAlias = Callable[[Store, Row], Means]


def studied(store: Store, row: Row) -> Means:
    """The accuracies of a finished cell by type, means over severities."""
    from leaderboard.studies.corruption import by_corruption  # It brings torch along, which other figures do without.

    return by_corruption(store, row).means


def build(material: Material, study: Study = studied) -> Figure:
    """A panel per data set and protocol, a line per type, methods side by side, means over severities.

    Args:
        material: rows of one setting.
        study: finds a cell's accuracies.

    Raises:
        BenchError: if no cell finished, or one met no corrupted images: the message says what to download.
    """
    fine = material.rows[material.rows["status"].eq(Status.OK.value)]
    if fine.empty:
        raise nothing_to_draw("no cell finished", "`bench table` says why they failed")
    means = {str(row["cell"]): study(material.store, row) for row in fine.to_dict("records")}
    types = list(dict.fromkeys(name for of_cell in means.values() for name in of_cell))
    panels = tuple(
        Panel(
            title=material.place_title(*place),
            x=accuracy_axis("accuracy"),
            y=lines_of([name.replace("_", " ") for name in types]),
            series=tuple(_series(material, place, means, types)),
        )
        for place in material.places
    )
    return Figure(
        name="corruptions",
        caption=f"Accuracy on corrupted test images by type, means over the severities; {material.setting}.",
        panels=(panels,),
        notes=(READING, *material.failures),
        provenance=material.provenance,
        share_y=True,
    )


def _series(
    material: Material, place: tuple[str, str], means: Mapping[str, Means], types: Sequence[str]
) -> Iterator[Series]:
    here = [label for label in material.labels if _cells(material.of_method(label, *place), means)]
    apart = min(_APART, 0.7 / len(here)) if here else 0.0
    for index, label in enumerate(here):
        cells = _cells(material.of_method(label, *place), means)
        beside = (index - (len(here) - 1) / 2) * apart
        points = tuple(
            _across(line + beside, [means[cell][name] for cell in cells if name in means[cell]])
            for line, name in enumerate(types)
        )
        yield Series(material.name_of(label), label, points, intervals=Along.X)


def _cells(rows: pd.DataFrame, means: Mapping[str, Means]) -> list[str]:
    return [cell for cell in rows["cell"].astype(str) if cell in means]


def _across(line: float, values: Sequence[float]) -> Point:
    """The mean of the seeds on a line of a dot plot."""
    mean = mean_point(0.0, values)
    return Point(mean.y, line, mean.low, mean.high)

"""Accuracy against what pre-training cost, and the front: methods that no cheaper one equals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from bench.store import Store
from leaderboard.figures.material import (
    READING,
    Material,
    accuracy,
    by_seed,
    mean_point,
    nothing_to_draw,
)
from leaderboard.figures.model import Axis, Figure, Panel, Point, Role, Scale, Series
from leaderboard.rows import believed
from leaderboard.tables.model import measure_of

PASSES = Axis("encoder passes per image", Scale.LOG)
_FRONT = "front: better than all that cost no more"
_COUNTED = (
    "Costs are of pre-training with all upstreams (a teacher that several methods share counts for each); a forward "
    "pass is 1, a backward pass to the input 1, a full one 2; hours are the wall time of the run that computed them."
)
_DOUBTED = "Open marks: a gate failed, so that the number is no robustness; the front leaves them out."


def build(material: Material, metrics: Sequence[str] = ()) -> Figure:
    """A row of panels per metric and place: accuracy against passes per image, and against hours.

    Args:
        material: rows of one setting.
        metrics: columns or attacks; by default the last of SA, RA, AA that was measured.

    Raises:
        BenchError: if fewer than two methods have both an accuracy and a cost.
    """
    names = tuple(metrics) or material.metrics()[-1:]
    material.metrics(names)
    hours = Axis(f"{_device(material.rows)}-hours", Scale.LOG)
    panels = tuple(
        tuple(
            Panel(material.place_title(*place) if axis is PASSES else "", axis, accuracy(metric), series)
            for axis in (PASSES, hours)
            if (series := tuple(_series(material, place, metric, axis)))
        )
        for metric in names
        for place in material.places
    )
    panels = tuple(row for row in panels if row)
    if not panels:
        raise nothing_to_draw("fewer than two methods have an accuracy and a cost", "run more methods")
    doubted = any(one.role is Role.OPEN for row in panels for panel in row for one in panel.series)
    headings = ", ".join(measure_of(metric).heading for metric in names)
    return Figure(
        name="cost",
        caption=f"{headings} against the cost of pre-training; {material.setting}.",
        panels=panels,
        notes=(READING, _COUNTED, *([_DOUBTED] if doubted else []), *_left_out(material, panels), *material.failures),
        provenance=material.provenance,
        share_y=True,
    )


def _left_out(material: Material, panels: Sequence[Sequence[Panel]]) -> Iterator[str]:
    shown = {series.subject for row in panels for panel in row for series in panel.series}
    if missing := [label for label in material.labels if label not in shown]:
        yield f"Without a number or a known cost, and so without a mark: {', '.join(missing)}."


def _device(rows: pd.DataFrame) -> str:
    kinds = set(rows["context_cuda"].notna())
    return "GPU" if kinds == {True} else "CPU" if kinds == {False} else "device"


def _series(material: Material, place: tuple[str, str], metric: str, axis: Axis) -> Iterator[Series]:
    """A mark per method, and the front behind them; nothing for fewer than two."""
    marks: list[Series] = []
    for label in material.labels:
        rows = material.of_method(label, *place)
        values, cost = by_seed(rows, metric), _cost(material.store, rows, axis)
        if len(values) and cost:
            role = Role.MEAN if believed(rows) else Role.OPEN
            marks.append(Series("", label, (mean_point(cost, values, label),), role))
    if len(marks) > 1:
        yield Series(_FRONT, "", front([one.points[0] for one in marks if one.role is Role.MEAN]), Role.FRONT)
        yield from marks


def front(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points of which none that costs as much or less is as good or better, by cost."""
    found: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, -point.y)):
        if not found or point.y > found[-1].y:
            found.append(Point(point.x, point.y))
    return tuple(found)


def _cost(store: Store, rows: pd.DataFrame, axis: Axis) -> float | None:
    """Mean over the rows that know it; None where none does."""
    if axis is PASSES:
        known = [float(value) for value in rows["passes"].dropna()]
    else:
        found = (_hours(store, row) for row in rows.to_dict("records"))
        known = [value for value in found if value is not None]
    return sum(known) / len(known) if known and min(known) > 0 else None


def _hours(store: Store, row: Mapping[Any, Any]) -> float | None:
    """Wall time of a row's pre-training and of every stage before it; None where one of them is gone."""
    pending, seconds = [row["pretrain_key"]], {}
    while pending:
        key = pending.pop()
        if not isinstance(key, str) or not store.has(key):
            return None
        record = store.record(key)
        seconds[key] = float(record["seconds"])
        pending += [other for other in record["upstream"].values() if other not in seconds]
    return sum(seconds.values()) / 3600

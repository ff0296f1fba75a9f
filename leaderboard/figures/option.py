"""A metric against the value of one of the methods' options (NCP-ACL, Figure 3; AMOC, Figures 6 and 7)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.errors import BenchError, unknown
from bench.grammar import parse_spec
from leaderboard.claims.claim import Form
from leaderboard.claims.counterparts import Counterpart
from leaderboard.claims.record import Record
from leaderboard.figures.histories import history
from leaderboard.figures.material import (
    READING,
    Material,
    accuracy,
    bare,
    by_seed,
    lines,
    nothing_to_draw,
)
from leaderboard.figures.model import Axis, Figure, Panel, Point, Role, Scale, Series
from leaderboard.rows import config_of
from leaderboard.tables.model import measure_of

_WIDE = 8  # Largest over smallest whole number from which an axis is logarithmic.
_OF_PAPERS = "Open marks are published numbers, of the paper's own schedule."


@dataclass
class _Curve:
    """A method with one of its options at several values.

    Attributes:
        name: its label without the option.
        labels: value of the option to the label that has it.
        own: the label that leaves the value to the method, which records what it chose.
    """

    name: str
    labels: dict[Any, str] = field(default_factory=dict)
    own: str | None = None


def build(material: Material, option: str, metrics: Sequence[str] = (), record: Record | None = None) -> Figure:
    """A row of panels per data set and protocol, a panel per metric, a line per method over the option's values.

    Args:
        material: rows of one setting.
        option: `bank_size`, as it stands in brackets on the command line.
        metrics: columns or attacks; by default all that were measured.
        record: the literature, whose numbers stand beside ours where it has any; None leaves them out.

    Raises:
        BenchError: for an option that no method has, or of which there is one value alone.
    """
    option, names = option.replace("-", "_"), material.metrics(metrics)
    curves = _curves(material, option)
    axis = _axis(option, sorted({value for curve in curves for value in curve.labels}, key=_order))
    panels = tuple(
        tuple(
            Panel(
                title=material.place_title(*place) if metric == names[0] else "",
                x=axis,
                y=accuracy(metric),
                series=tuple(_series(material, curves, option, axis, place, metric, record)),
            )
            for metric in names
        )
        for place in material.places
    )
    headings = ", ".join(measure_of(metric).heading for metric in names)
    published = any(one.role is Role.PUBLISHED for row in panels for panel in row for one in panel.series)
    return Figure(
        name=f"option-{option.replace('_', '-')}",
        caption=f"{headings} against {option} of {', '.join(curve.name for curve in curves)}; {material.setting}.",
        panels=panels,
        notes=(READING, *([_OF_PAPERS] if published else []), *material.failures),
        provenance=material.provenance,
        share_x=tuple(range(len(names))),
    )


def _curves(material: Material, option: str) -> list[_Curve]:
    """The methods that have several values of the option."""
    found: dict[str, _Curve] = {}
    options: set[str] = set()
    for label in material.labels:
        config = config_of(material.rows[material.rows["label"].eq(label)].iloc[0].to_dict())
        options |= config.keys()
        if option not in config:
            continue
        curve = found.setdefault(bare(label, option), _Curve(bare(label, option)))
        if config[option] is None:
            curve.own = label
        else:
            curve.labels.setdefault(_hashable(config[option]), label)
    if not found:
        raise unknown("option (of the methods in these results)", option, options)
    several = [curve for curve in found.values() if len(curve.labels) > 1]
    if not several:
        name, curve = next(iter(found.items()))
        raise _one_value(name, option, next(iter(curve.labels), None))
    return several


def _one_value(name: str, option: str, value: object) -> BenchError:
    return nothing_to_draw(
        f"{name} has one value of {option} alone ({value})",
        f'run several: bench run --methods "{bare(name)}[{option}=[...]]"',
    )


def _hashable(value: Any) -> Any:
    return tuple(map(_hashable, value)) if isinstance(value, list) else value


def _order(value: Any) -> tuple[bool, float, str]:
    number = _is_number(value)
    return (not number, float(value) if number else 0.0, str(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _axis(option: str, values: Sequence[Any]) -> Axis:
    """Numbers as such, whole ones that range widely on a logarithmic scale; anything else by its name."""
    if not all(map(_is_number, values)):
        return Axis(option, Scale.CATEGORIES, tuple(map(str, values)))
    whole = all(isinstance(value, int) for value in values)
    wide = whole and values[0] > 0 and values[-1] / values[0] >= _WIDE
    return Axis(option, Scale.LOG if wide else Scale.LINEAR, ticks=tuple(map(float, values)))


def _at(axis: Axis, value: Any) -> float:
    return float(axis.categories.index(str(value)) if axis.scale is Scale.CATEGORIES else value)


def _series(
    material: Material,
    curves: Sequence[_Curve],
    option: str,
    axis: Axis,
    place: tuple[str, str],
    metric: str,
    record: Record | None,
) -> Iterator[Series]:
    for curve in curves:
        numbers = {
            _at(axis, value): by_seed(material.of_method(curve.labels[value], *place), metric)
            for value in sorted(curve.labels, key=_order)
        }
        yield from lines(curve.name, curve.name, place[1], numbers)
        if (
            curve.own
            and axis.scale is not Scale.CATEGORIES
            and (points := tuple(_chosen(material, curve.own, option, place, metric)))
        ):
            yield Series(f"{curve.name}, {option} chosen by itself", curve.name, points, Role.CHOSEN)
        if record and (points := tuple(_published(record, curve, option, axis, place, metric))):
            yield Series(f"{curve.name}, published", curve.name, points, Role.PUBLISHED)


def _chosen(material: Material, label: str, option: str, place: tuple[str, str], metric: str) -> Iterator[Point]:
    """Each seed at the value that the method recorded for it."""
    rows = material.of_method(label, *place)
    for seed, value in by_seed(rows, metric).items():
        row = rows[rows["seed_pretrain"].astype(int).eq(int(str(seed)))].iloc[0].to_dict()
        chosen: Any = next((facts[option] for facts in history(material.store, row) if option in facts), None)
        if _is_number(chosen):
            yield Point(float(chosen), float(value))


def _published(
    record: Record, curve: _Curve, option: str, axis: Axis, place: tuple[str, str], metric: str
) -> Iterator[Point]:
    """Published numbers of the method at a stated value, on the data set and under a reading of the protocol."""
    for claim in record.claims:
        here = record.counterparts.of(claim)
        if not isinstance(here, Counterpart) or claim.form is not Form.VALUE:
            continue
        value: Any = parse_spec(here.label).options.get(option)
        same = (here.dataset, here.column, bare(here.label, option)) == (place[0], metric, curve.name)
        if (
            same
            and bare(place[1], "attacks") in here.protocols
            and _is_number(value)
            and axis.scale is not Scale.CATEGORIES
        ):
            yield Point(_at(axis, value), claim.value)

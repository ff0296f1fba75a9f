"""P-values of paired t-tests (AMOC, Figure 3), and beside them what they leave out: how large the differences are."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.figures.contrasts import Contrast, contrasts, differences, family_of, lines_of, notes, role_of, verdict
from leaderboard.figures.material import Material
from leaderboard.figures.model import Along, Axis, Figure, Guide, Panel, Point, Role, Scale, Series
from leaderboard.statistics.paired import ALPHA
from leaderboard.tables.model import measure_of

_P = Axis("p", Scale.LOG, high=1.0)
_DIFFERENCE = Axis("difference (points)")


def build(material: Material, metrics: Sequence[str] = (), control: str | None = None) -> Figure:
    """A row of panels per metric and place: p-values on a logarithmic axis, and differences with intervals.

    Raises:
        BenchError: as `contrasts`.
    """
    found = contrasts(material, material.metrics(metrics), control)
    groups: dict[tuple[str, str, str], list[Contrast]] = {}
    for one in found:
        groups.setdefault((one.dataset, one.protocol, one.metric), []).append(one)
    return Figure(
        name="tests",
        caption=f"P-values of paired t-tests and mean differences of {', '.join(material.labels)}; {material.setting}.",
        panels=tuple(
            _row(of_group, _title(material, *group), family_of(found)) for group, of_group in sorted(
                groups.items(), key=lambda item: material.places.index(item[0][:2]))
        ),
        notes=tuple(notes(material, found)),
        provenance=material.provenance,
        share_x=(0,),
        share_y=True,
    )  # fmt: skip


def _title(material: Material, dataset: str, protocol: str, metric: str) -> str:
    place = material.place_title(dataset, protocol)
    return ", ".join(part for part in (measure_of(metric).heading, place) if part)


def _row(found: Sequence[Contrast], title: str, family: int) -> tuple[Panel, Panel]:
    names = [one.name for one in found]
    decidable = [(float(names.index(one.name)), one) for one in found if one.p_adjusted is not None]
    raw = tuple(Point(one.test.p, y) for y, one in decidable)
    adjusted = tuple(
        Series(verdict(one, family), "", (Point(one.p_adjusted, y),), role_of(one))
        for y, one in decidable
        if one.p_adjusted is not None
    )
    p_values = (*adjusted, Series("p, unadjusted", "", raw, Role.RAW))
    intervals = tuple(differences(found, names, False, family))
    return (
        Panel(title, _P, lines_of(names), p_values, (Guide(ALPHA, Along.X, f"p = {ALPHA:g}"),)),
        Panel("", _DIFFERENCE, lines_of(names), intervals, (Guide(0.0, Along.X),)),
    )

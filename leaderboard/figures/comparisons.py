"""Critical comparisons: every method's difference from a control, or of all pairs, as intervals; never bars from 0."""

from __future__ import annotations

from collections.abc import Sequence

from leaderboard.figures.contrasts import Contrast, contrasts, differences, family_of, lines_of, notes
from leaderboard.figures.material import Material
from leaderboard.figures.model import Along, Axis, Figure, Guide, Panel
from leaderboard.tables.model import measure_of

_READING = "Filled marks are told apart after the adjustment, open ones are not; that is not the same as being equal."


def build(material: Material, metrics: Sequence[str] = (), control: str | None = None) -> Figure:
    """A row of panels per place, a panel per metric, a line per method or pair, the largest difference at the top.

    Args:
        material: rows of one setting.
        metrics: columns or attacks; by default all that were measured. The last one orders the lines.
        control: label of the method that the others are compared with; None compares all pairs.

    Raises:
        BenchError: as `contrasts`.
    """
    measured = material.metrics(metrics)
    found = contrasts(material, measured, control)
    places = [place for place in material.places if any((one.dataset, one.protocol) == place for one in found)]
    against = f"from {control}" if control else "of all pairs"
    return Figure(
        name="comparisons",
        caption=f"Mean differences {against} with 95 % intervals; {material.setting}.",
        panels=tuple(_row(material, found, place, measured, control) for place in places),
        notes=(_READING, *notes(material, found)),
        provenance=material.provenance,
        share_y=True,
    )


def _row(
    material: Material,
    found: Sequence[Contrast],
    place: tuple[str, str],
    metrics: Sequence[str],
    control: str | None,
) -> tuple[Panel, ...]:
    here = [one for one in found if (one.dataset, one.protocol) == place]
    deciding = {_line(one, control): one.test.mean_difference for metric in metrics for one in here
                if one.metric == metric}  # fmt: skip
    names = sorted(deciding, key=lambda name: -deciding[name])
    unit = f"\N{MINUS SIGN} {control} (points)" if control else "(points)"
    return tuple(
        Panel(
            title=material.place_title(*place) if metric == metrics[0] else "",
            x=Axis(f"{measure_of(metric).heading} {unit}"),
            y=lines_of(names),
            series=tuple(
                differences([one for one in here if one.metric == metric], names, bool(control), family_of(found))
            ),
            guides=(Guide(0.0, Along.X),),
        )
        for metric in metrics
    )


def _line(one: Contrast, control: str | None) -> str:
    return one.a if control else one.name

"""Where the texts beside points go: next to them, clear of marks and of each other as far as there is room."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from leaderboard.figures.artists import BEHIND
from leaderboard.figures.look import colour_of
from leaderboard.figures.model import Along, Panel, Point, Role, Series

_SIZE = 5.8  # Of the letters, points.
_MARK = 3.8  # Half of what a mark takes, points.
_DISTANCES = (5.0, 9.0, 14.0, 20.0, 28.0, 38.0)  # From a point to its text, points.
_LEADER = 9.0  # From this distance on a line leads to the text.
_ANGLES = tuple(math.radians(angle) for angle in (0, 180, 30, -30, 150, -150, 90, -90, 60, -60, 120, -120))
_OUTSIDE = 10.0  # How much worse it is to leave the panel than to lie on another text.


class _Place(NamedTuple):
    """A place for a text.

    Attributes:
        offset: from the point to the text's middle, in points.
        edge: from the point to the border of the text, in points.
        distance: of that border, in points.
        box: what the text takes there, in pixels.
    """

    offset: tuple[float, float]
    edge: tuple[float, float]
    distance: float
    box: Bbox


def place_texts(panel: Panel, axes: Axes, drawn: FigureCanvasAgg) -> None:
    """Write the texts of a panel's points, from right to left.

    Args:
        panel: whose points they are.
        axes: at its final place.
        drawn: the canvas of the whole figure, which knows how wide letters are.
    """
    points = [(point, series) for series in panel.series if series.role is not Role.SEED for point in series.points]
    reach = _MARK * drawn.figure.dpi / 72
    middles = [axes.transData.transform((point.x, point.y)) for point, _ in points]
    taken = [Bbox.from_bounds(x - reach, y - reach, 2 * reach, 2 * reach) for x, y in middles]
    taken += [_interval(point, series, axes) for point, series in points if point.low is not None]
    taken += [box for series in panel.series if series.role is Role.FRONT for box in _steps(series, axes)]
    for point, series in sorted(points, key=lambda one: (-one[0].x, one[0].y)):
        if point.text:
            taken.append(_write(point, colour_of(series.subject), axes, drawn, taken))


def _write(point: Point, colour: str, axes: Axes, drawn: FigureCanvasAgg, taken: Sequence[Bbox]) -> Bbox:
    """Write one text where it covers least; what it takes, in pixels."""
    text = axes.annotate(
        point.text, (point.x, point.y), (0, 0), textcoords="offset points", fontsize=_SIZE, color=colour,
        ha="center", va="center", annotation_clip=False, zorder=6, bbox=BEHIND,
    )  # fmt: skip
    text.set_in_layout(False)
    scale = drawn.figure.dpi / 72
    places = _places(point, text.get_window_extent(), axes, scale)
    best = min(places, key=lambda place: _cost(place, taken, axes.bbox, scale))
    text.set_position(best.offset)
    if best.distance >= _LEADER:
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkA": 0, "shrinkB": 2.5}
        axes.annotate("", (point.x, point.y), best.edge, textcoords="offset points", arrowprops=line, zorder=3)
    return best.box


def _places(point: Point, size: Bbox, axes: Axes, scale: float) -> list[_Place]:
    """All places that are tried; `scale` is pixels per point."""
    left, bottom = axes.transData.transform((point.x, point.y))
    found = []
    for distance in _DISTANCES:
        for angle in _ANGLES:
            edge = (math.cos(angle) * distance, math.sin(angle) * distance)
            x = edge[0] + math.cos(angle) * size.width / scale / 2
            y = edge[1] + math.sin(angle) * size.height / scale / 2
            corner = (left + x * scale - size.width / 2, bottom + y * scale - size.height / 2)
            found.append(_Place((x, y), edge, distance, Bbox.from_bounds(*corner, size.width, size.height)))
    return found


def _cost(place: _Place, taken: Sequence[Bbox], panel: Bbox, scale: float) -> float:
    """The area that lies on something else, or outside the panel, in square points; of two alike the nearer place."""
    covered = sum(_common(place.box, other) for other in taken)
    outside = place.box.width * place.box.height - _common(place.box, panel)
    return (covered + _OUTSIDE * outside) / scale**2 + place.distance


def _interval(point: Point, series: Series, axes: Axes) -> Bbox:
    """What a point's interval takes, a pixel wide, in pixels."""
    found = [end for end in (point.low, point.high) if end is not None]
    ends = [(end, point.y) if series.intervals is Along.X else (point.x, end) for end in found]
    return _line(ends, axes)


def _steps(series: Series, axes: Axes) -> Iterator[Bbox]:
    """What a front takes: a line to the right and one up for every step, in pixels."""
    for before, after in pairwise(series.points):
        yield _line([(before.x, before.y), (after.x, before.y)], axes)
        yield _line([(after.x, before.y), (after.x, after.y)], axes)


def _line(ends: Sequence[tuple[float, float]], axes: Axes) -> Bbox:
    """What an upright or a level line takes, in pixels."""
    (left, bottom), (right, top) = axes.transData.transform(ends)
    return Bbox.from_extents(left - 1, bottom - 1, right + 1, top + 1)


def _common(a: Bbox, b: Bbox) -> float:
    """The area that two boxes share."""
    both = Bbox.intersection(a, b)
    return both.width * both.height if both is not None else 0.0

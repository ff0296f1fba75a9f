"""Where the texts beside points go: next to them, clear of marks and of each other as far as there is room."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.transforms import Bbox

from leaderboard.figures.look import colour_of
from leaderboard.figures.model import Panel, Point, Role

_SIZE = 5.8  # Of the letters, points.
_MARK = 3.0  # Half of what a mark takes, points.
_DISTANCES = (5.0, 9.0, 14.0, 20.0, 28.0, 38.0)  # From a point to its text, points.
_LEADER = 9.0  # From this distance on a line leads to the text.
_ANGLES = tuple(math.radians(angle) for angle in (0, 180, 30, -30, 150, -150, 90, -90, 60, -60, 120, -120))
_OUTSIDE = 10.0  # How much worse it is to leave the panel than to lie on another text.


class _Place(NamedTuple):
    """A place for a text: its middle as seen from the point, how far off it is, both in points, and its pixels."""

    offset: tuple[float, float]
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
    taken = [Bbox(axes.transData.transform((point.x, point.y)) + [[-reach], [reach]]) for point, _ in points]
    for point, series in sorted(points, key=lambda one: (-one[0].x, one[0].y)):
        if point.text:
            taken.append(_write(point, colour_of(series.subject), axes, drawn, taken))


def _write(point: Point, colour: str, axes: Axes, drawn: FigureCanvasAgg, taken: Sequence[Bbox]) -> Bbox:
    """Write one text where it covers least; what it takes, in pixels."""
    text = axes.annotate(
        point.text, (point.x, point.y), (0, 0), textcoords="offset points", fontsize=_SIZE, color=colour,
        ha="center", va="center", annotation_clip=False, zorder=6,
    )  # fmt: skip
    text.set_in_layout(False)
    places = _places(point, text.get_window_extent(drawn.get_renderer()), axes, drawn.figure.dpi / 72)
    best = min(places, key=lambda place: _cost(place, taken, axes.bbox))
    text.set_position(best.offset)
    if best.distance >= _LEADER:
        line = {"arrowstyle": "-", "linewidth": 0.4, "color": colour, "shrinkA": 0, "shrinkB": 2.5}
        axes.annotate("", (point.x, point.y), best.offset, textcoords="offset points", arrowprops=line, zorder=3)
    return best.box


def _places(point: Point, size: Bbox, axes: Axes, scale: float) -> list[_Place]:
    """All places that are tried; `scale` is pixels per point."""
    start = axes.transData.transform((point.x, point.y))
    found = []
    for distance in _DISTANCES:
        for angle in _ANGLES:
            x = math.cos(angle) * (distance + size.width / scale / 2)
            y = math.sin(angle) * (distance + size.height / scale / 2)
            corner = start + [x * scale - size.width / 2, y * scale - size.height / 2]
            found.append(_Place((x, y), distance, Bbox.from_bounds(*corner, size.width, size.height)))
    return found


def _cost(place: _Place, taken: Sequence[Bbox], panel: Bbox) -> float:
    """The area that lies on something else, and outside the panel, as parts of the text's; the nearer place of two."""
    area = place.box.width * place.box.height
    covered = sum(_common(place.box, other) for other in taken)
    outside = area - _common(place.box, panel)
    return (covered + _OUTSIDE * outside) / area + place.distance / 1000


def _common(a: Bbox, b: Bbox) -> float:
    """The area that two boxes share."""
    both = Bbox.intersection(a, b)
    return both.width * both.height if both is not None else 0.0

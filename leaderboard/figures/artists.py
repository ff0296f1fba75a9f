"""Series and guides as lines and marks, and what stands for them in the legend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from leaderboard.figures.look import DASHES, colour_of, shape_of
from leaderboard.figures.model import Along, Axis, Figure, Guide, Panel, Role, Series
from leaderboard.figures.palette import GREY, INK, Dash, class_colour, dash

BEHIND: Mapping[str, Any] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.65, "pad": 0.4}
"""What lies behind a text in a panel: white, but what is below shows through."""


def draw_series(panel: Panel, axes: Axes) -> None:
    """All of a panel but its scales and the texts at its points."""
    for guide in panel.guides:
        _draw_guide(guide, axes)
    for series in panel.series:
        _DRAWN[series.role](series, axes)
        if any(point.low is not None for point in series.points):
            _draw_intervals(series, panel.x if series.intervals is Along.X else panel.y, axes)
    classes = [series for series in panel.series if series.role is Role.CLASS]
    _draw_classes(classes, axes)


def legend_entries(figure: Figure) -> dict[str, Line2D]:
    """A handle for every text, in reading order: nobody's where it is of several methods; classes have none."""
    found: dict[str, Series] = {}
    for series in (series for panel in figure.flat for series in panel.series if series.role is not Role.CLASS):
        first = found.setdefault(series.label, series)
        if first.subject != series.subject:
            found[series.label] = replace(first, subject="")
    handles = {text: _handle(series) for text, series in found.items() if text}
    return {**handles, **dict(_guides(figure))}


def _handle(series: Series) -> Line2D:
    line: Any = _dashes(series) if series.joined or series.role is Role.FRONT else "none"
    return Line2D([], [], linestyle=line, linewidth=1.1, **_mark(series))


def _guides(figure: Figure) -> Iterator[tuple[str, Line2D]]:
    for panel in figure.flat:
        for guide in panel.guides:
            if guide.text:
                yield guide.text, Line2D([], [], **_line_of(guide))


def _dashes(series: Series) -> Any:
    return DASHES[dash(series.protocol) if series.dashed else Dash.SOLID]


def _mark(series: Series) -> dict[str, Any]:
    """Shape, size and faces of a series' marks."""
    colour, shape = colour_of(series.subject), shape_of(series.subject)
    return {"color": colour, "marker": shape, "markeredgecolor": colour, **_MARKS[series.role]}


_MARKS: Mapping[Role, Mapping[str, Any]] = {
    Role.MEAN: {"markersize": 4, "markeredgewidth": 0.9},
    Role.RAW: {"markersize": 7, "markeredgewidth": 1.1, "marker": "|"},
    Role.OPEN: {"markersize": 4, "markeredgewidth": 0.9, "markerfacecolor": "white"},
    Role.SEED: {"markersize": 1.8, "markeredgewidth": 0, "marker": "o", "alpha": 0.5},
    Role.CHOSEN: {"markersize": 7.5, "markeredgewidth": 0.5, "marker": "*", "markeredgecolor": "white"},
    Role.PUBLISHED: {"markersize": 5.5, "markeredgewidth": 0.9, "marker": "d", "markerfacecolor": "white"},
    Role.LINE: {"markersize": 3.2, "markeredgewidth": 0.5},
    Role.FRONT: {"color": GREY, "marker": ""},
}


_MARKS_OF_A_LINE = 6


def _xy(series: Series) -> tuple[list[float], list[float]]:
    return [point.x for point in series.points], [point.y for point in series.points]


def _draw_marks(series: Series, axes: Axes) -> None:
    line = _dashes(series) if series.joined else "none"
    every = -(-len(series.points) // _MARKS_OF_A_LINE) if series.role is Role.LINE else 1
    axes.plot(*_xy(series), linestyle=line, linewidth=1.1, zorder=4, markevery=every, **_mark(series))


def _draw_intervals(series: Series, axis: Axis, axes: Axes) -> None:
    """From end to end, but no further than values can lie."""
    look: Any = {
        "color": colour_of(series.subject),
        "linewidth": 0.9,
        "solid_capstyle": "butt",
        "alpha": 0.6,
        "zorder": 3,
    }
    for point in series.points:
        if point.low is not None and point.high is not None:
            ends = [within(axis, point.low), within(axis, point.high)]
            across = (ends, [point.y] * 2) if series.intervals is Along.X else ([point.x] * 2, ends)
            axes.plot(*across, **look)


def within(axis: Axis, value: float) -> float:
    """The value, or the bound of the axis that it passes."""
    low = value if axis.low is None else max(value, axis.low)
    return low if axis.high is None else min(low, axis.high)


def _draw_seed(series: Series, axes: Axes) -> None:
    if series.joined:
        line = {"linewidth": 0.6, "linestyle": _dashes(series), "marker": "", "alpha": 0.4}
        axes.plot(*_xy(series), zorder=2, **{**_mark(series), **line})
    else:
        axes.plot(*_xy(series), linestyle="none", zorder=2, **_mark(series))


def _draw_front(series: Series, axes: Axes) -> None:
    axes.plot(*_xy(series), drawstyle="steps-post", linewidth=0.8, color=GREY, zorder=1)


_DRAWN: Mapping[Role, Callable[[Series, Axes], None]] = {
    Role.MEAN: _draw_marks,
    Role.OPEN: _draw_marks,
    Role.RAW: _draw_marks,
    Role.CHOSEN: _draw_marks,
    Role.PUBLISHED: _draw_marks,
    Role.SEED: _draw_seed,
    Role.LINE: _draw_marks,
    Role.FRONT: _draw_front,
    Role.CLASS: lambda series, axes: None,
}


_FEW_DOTS = 300


def _draw_classes(classes: Sequence[Series], axes: Axes) -> None:
    """The clouds, and above all of them each class's name at its middle."""
    names = tuple(dict.fromkeys(series.subject for series in classes))
    size = 1.7 if sum(len(series.points) for series in classes) > _FEW_DOTS else 2.6
    for series in classes:
        dots: Any = {"marker": "o", "markersize": size, "markeredgewidth": 0, "alpha": 0.8}
        axes.plot(*_xy(series), linestyle="none", color=class_colour(series.subject, names), **dots)
    for series in classes:
        x, y = (sorted(values)[len(values) // 2] for values in _xy(series))
        axes.text(x, y, series.label, ha="center", va="center", color=INK, fontweight="bold", bbox=BEHIND)


def _draw_guide(guide: Guide, axes: Axes) -> None:
    reach = (0.0, 0.08) if guide.tick else (0.0, 1.0)
    draw = axes.axvline if guide.along is Along.X else axes.axhline
    draw(guide.at, *reach, zorder=1, **_line_of(guide))


def _line_of(guide: Guide) -> dict[str, Any]:
    solid = {"linestyle": "-", "linewidth": 1.4}
    return {"color": colour_of(guide.subject) if guide.subject else GREY, **(solid if guide.tick else _BROKEN)}


_BROKEN = {"linestyle": DASHES[Dash.DASHED], "linewidth": 0.8}

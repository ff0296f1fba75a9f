"""Series and guides as lines and marks, and what stands for them in the legend."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke

from leaderboard.figures.look import DASHES, colour_of, shape_of
from leaderboard.figures.model import Along, Figure, Guide, Panel, Role, Series
from leaderboard.figures.palette import GREY, INK, Dash, class_colour, dash


def draw_series(panel: Panel, axes: Axes) -> None:
    """All of a panel but its scales and the texts at its points."""
    for guide in panel.guides:
        _draw_guide(guide, axes)
    for series in panel.series:
        _DRAWN[series.role](series, axes)
    classes = [series for series in panel.series if series.role is Role.CLASS]
    _draw_classes(classes, axes)


def legend_entries(figure: Figure) -> dict[str, Line2D]:
    """A handle for every text, in reading order; classes are named where they lie."""
    found: dict[str, Line2D] = {}
    for text, handle in _handles(figure):
        found.setdefault(text, handle)
    return found


def _handles(figure: Figure) -> Iterator[tuple[str, Line2D]]:
    for panel in figure.flat:
        for series in panel.series:
            if series.label and series.role is not Role.CLASS:
                line = DASHES[dash(series.protocol)] if series.joined or series.role is Role.FRONT else "none"
                yield series.label, Line2D([], [], linestyle=line, linewidth=1.1, **_mark(series))
    for panel in figure.flat:
        for guide in panel.guides:
            if guide.text:
                yield guide.text, Line2D([], [], **_line_of(guide), **({"marker": "|"} if guide.tick else {}))


def _mark(series: Series) -> dict[str, Any]:
    """Shape, size and faces of a series' marks."""
    colour, shape = colour_of(series.subject), shape_of(series.subject)
    return {"color": colour, "marker": shape, "markeredgecolor": colour, **_MARKS[series.role]}


_MARKS: Mapping[Role, Mapping[str, Any]] = {
    Role.MEAN: {"markersize": 4, "markeredgewidth": 0.9},
    Role.OPEN: {"markersize": 4, "markeredgewidth": 0.9, "markerfacecolor": "white"},
    Role.SEED: {"markersize": 1.8, "markeredgewidth": 0, "marker": "o", "alpha": 0.5},
    Role.CHOSEN: {"markersize": 7.5, "markeredgewidth": 0.5, "marker": "*", "markeredgecolor": "white"},
    Role.PUBLISHED: {"markersize": 5.5, "markeredgewidth": 0.9, "marker": "d", "markerfacecolor": "white"},
    Role.LINE: {"marker": ""},
    Role.FRONT: {"color": GREY, "marker": ""},
}


def _xy(series: Series) -> tuple[list[float], list[float]]:
    return [point.x for point in series.points], [point.y for point in series.points]


def _draw_marks(series: Series, axes: Axes) -> None:
    line = DASHES[dash(series.protocol)] if series.joined else "none"
    axes.plot(*_xy(series), linestyle=line, linewidth=1.1, zorder=4, **_mark(series))
    for point in series.points:
        if point.low is not None and point.high is not None:
            ends = [point.low, point.high]
            across = (ends, [point.y] * 2) if series.intervals is Along.X else ([point.x] * 2, ends)
            axes.plot(*across, color=colour_of(series.subject), linewidth=0.9, solid_capstyle="butt", zorder=3)


def _draw_seed(series: Series, axes: Axes) -> None:
    if series.joined:
        line = {"linewidth": 0.6, "linestyle": DASHES[dash(series.protocol)], "marker": "", "alpha": 0.4}
        axes.plot(*_xy(series), zorder=2, **{**_mark(series), **line})
    else:
        axes.plot(*_xy(series), linestyle="none", zorder=2, **_mark(series))


def _draw_front(series: Series, axes: Axes) -> None:
    axes.plot(*_xy(series), drawstyle="steps-post", linewidth=0.8, color=GREY, zorder=1)


_DRAWN: Mapping[Role, Callable[[Series, Axes], None]] = {
    Role.MEAN: _draw_marks,
    Role.OPEN: _draw_marks,
    Role.CHOSEN: _draw_marks,
    Role.PUBLISHED: _draw_marks,
    Role.SEED: _draw_seed,
    Role.LINE: _draw_marks,
    Role.FRONT: _draw_front,
    Role.CLASS: lambda series, axes: None,
}


def _draw_classes(classes: Sequence[Series], axes: Axes) -> None:
    """The clouds, and above all of them each class's name at its middle."""
    names = tuple(dict.fromkeys(series.subject for series in classes))
    for series in classes:
        dots = {"marker": "o", "markersize": 1.7, "markeredgewidth": 0, "alpha": 0.8}
        axes.plot(*_xy(series), linestyle="none", color=class_colour(series.subject, names), **dots)
    for series in classes:
        middle = [sorted(values)[len(values) // 2] for values in _xy(series)]
        text = axes.text(*middle, series.label, ha="center", va="center", color=INK, fontsize=6.5, fontweight="bold")
        text.set_path_effects([withStroke(linewidth=1.8, foreground="white")])


def _draw_guide(guide: Guide, axes: Axes) -> None:
    reach = (0.0, 0.08) if guide.tick else (0.0, 1.0)
    draw = axes.axvline if guide.along is Along.X else axes.axhline
    draw(guide.at, *reach, zorder=1, **_line_of(guide))


def _line_of(guide: Guide) -> dict[str, Any]:
    solid = {"linestyle": "-", "linewidth": 1.4}
    return {"color": colour_of(guide.subject), **(solid if guide.tick else _BROKEN)}


_BROKEN = {"linestyle": DASHES[Dash.DASHED], "linewidth": 0.8}

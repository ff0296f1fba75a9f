"""The directions of a panel: how values are placed, which ticks there are, and how far it reaches."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from leaderboard.figures.artists import within
from leaderboard.figures.model import Along, Axis, Panel, Scale

_MARGIN = 0.05  # Of a range, beyond its outermost numbers.
_MOST_TICKS = 8
_ROOM = 0.11  # Of the axis, for the number at a tick.
_STEPS = [1, 2, 2.5, 5, 10]


def set_axis(panel: Panel, along: Along, peers: Sequence[Panel], axes: Axes) -> None:
    """Scale, range and ticks of one direction.

    Args:
        panel: whose direction it is.
        along: which one.
        peers: the panels that share its range, itself included.
        axes: where it is drawn.
    """
    axis = panel.x if along is Along.X else panel.y
    if axis.scale is Scale.NONE:
        _set_nothing(along, axes)
    elif axis.scale is Scale.CATEGORIES:
        _set_categories(axis, along, axes)
    else:
        _set_numbers(axis, along, peers, axes)


def _set_nothing(along: Along, axes: Axes) -> None:
    (axes.xaxis if along is Along.X else axes.yaxis).set_visible(False)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.set_aspect("equal", adjustable="datalim")


def _set_categories(axis: Axis, along: Along, axes: Axes) -> None:
    places = range(len(axis.categories))
    if along is Along.X:
        axes.set_xticks(places, axis.categories)
        axes.set_xlim(-0.5, len(axis.categories) - 0.5)
        return
    axes.set_yticks(places, axis.categories)
    axes.set_ylim(len(axis.categories) - 0.5, -0.5)
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="both")


def _set_numbers(axis: Axis, along: Along, peers: Sequence[Panel], axes: Axes) -> None:
    target = axes.xaxis if along is Along.X else axes.yaxis
    low, high = _range(axis, along, peers)
    if axis.scale is Scale.LOG:
        (axes.set_xscale if along is Along.X else axes.set_yscale)("log")
        target.set_major_locator(LogLocator(subs=_subs(low, high), numticks=_MOST_TICKS))
        target.set_minor_locator(NullLocator())
    else:
        target.set_major_locator(MaxNLocator(5, steps=_STEPS))
    ticks = sorted({tick for peer in peers for tick in (peer.x if along is Along.X else peer.y).ticks})
    if 0 < len(ticks) <= _MOST_TICKS:
        target.set_ticks(_apart(ticks, axis.scale))
    target.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}")))
    if along is Along.Y:
        axes.grid(axis="y")
    (axes.set_xlim if along is Along.X else axes.set_ylim)(low, high)
    if axis.scale is Scale.LINEAR and (axis.low is not None or axis.high is not None):
        target.set_ticks([tick for tick in target.get_ticklocs() if low <= tick <= high and within(axis, tick) == tick])


def _apart(ticks: Sequence[float], scale: Scale) -> list[float]:
    """The ticks whose numbers have room beside the one before."""
    places = [math.log(tick) if scale is Scale.LOG else tick for tick in ticks]
    kept = [0]
    for index, place in enumerate(places):
        if place - places[kept[-1]] > _ROOM * (places[-1] - places[0]):
            kept.append(index)
    return [ticks[index] for index in kept]


def _subs(low: float, high: float) -> tuple[float, ...]:
    """Which multiples of powers of ten are ticks: fewer, the more powers there are."""
    decades = math.log10(high / low)
    return (1.0,) if decades > 3 else (1.0, 3.0) if decades > 1.5 else (1.0, 2.0, 5.0)


def _range(axis: Axis, along: Along, peers: Sequence[Panel]) -> tuple[float, float]:
    """From the lowest to the highest number with its interval, and a margin; intervals end at the axis' bounds."""
    values = [within(axis, value) for peer in peers for value in _values(peer, along)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    if axis.scale is Scale.LOG:
        factor = (high / low) ** _MARGIN if high > low else 2.0
        return low / factor, high * factor
    margin = _MARGIN * ((high - low) or abs(high)) or 1.0
    return low - margin, high + margin


def _values(panel: Panel, along: Along) -> Iterator[float]:
    for series in panel.series:
        for point in series.points:
            yield point.x if along is Along.X else point.y
            if series.intervals is along:
                yield from (end for end in (point.low, point.high) if end is not None)
    yield from (guide.at for guide in panel.guides if guide.along is along)

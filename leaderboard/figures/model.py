"""What a figure is: panels of series with intervals, and what a reader must know, but not how it is drawn."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from leaderboard.tables.model import Provenance


class Role(StrEnum):
    """What a series is in its panel."""

    MEAN = "mean"
    """A mean over seeds, or another number that stands for itself."""
    SEED = "seed"
    """The numbers of one seed, behind their mean."""
    OPEN = "open"
    """As a mean, but without the claim: not told apart, or not to be believed."""
    RAW = "raw"
    """A p-value before its adjustment."""
    CHOSEN = "chosen"
    """What a method chose for itself."""
    PUBLISHED = "published"
    """A number of the literature."""
    LINE = "line"
    """The course of means over so many values that marks would hide it."""
    FRONT = "front"
    """The steps that join what nothing else is better than."""
    CLASS = "class"
    """Images of one class; the subject is its name."""


class Scale(StrEnum):
    """How the values of an axis are placed."""

    LINEAR = "linear"
    LOG = "log"
    CATEGORIES = "categories"
    """Values are places in `Axis.categories`."""
    NONE = "none"
    """Distances along it mean nothing by themselves: no ticks."""


@dataclass(frozen=True)
class Axis:
    """One direction of a panel.

    Attributes:
        title: quantity and unit: `accuracy under AutoAttack (%)`.
        scale: how values are placed.
        categories: texts from first to last, for `Scale.CATEGORIES`; along y the first is at the top.
        ticks: the values that were tried; empty leaves the choice to the drawing.
        low, high: bounds that no value can pass, such as 0 and 100 per cent; an interval is drawn up to them.
    """

    title: str
    scale: Scale = Scale.LINEAR
    categories: tuple[str, ...] = ()
    ticks: tuple[float, ...] = ()
    low: float | None = None
    high: float | None = None


PERCENT = (0.0, 100.0)
"""The bounds of an accuracy."""


def accuracy_axis(title: str) -> Axis:
    """An axis of per cent."""
    return Axis(f"{title} (%)", low=PERCENT[0], high=PERCENT[1])


@dataclass(frozen=True)
class Point:
    """A number, or a pair of them.

    Attributes:
        x, y: in the units of the axes.
        low, high: the ends of its 95 % interval, along the direction that the series says; None without one.
        text: what stands beside it.
    """

    x: float
    y: float
    low: float | None = None
    high: float | None = None
    text: str = ""


class Along(StrEnum):
    """A direction."""

    X = "x"
    Y = "y"


@dataclass(frozen=True)
class Series:
    """Points that belong together.

    Attributes:
        label: in the legend, where series of one label share an entry; empty leaves it out.
        subject: whose colour and mark it has: a method's label as on the command line, a class, or nobody's.
        points: from first to last.
        role: what it is.
        protocol: how it was judged; empty where that is the panel's, or of no account.
        joined: whether a line joins the points.
        dashed: whether that line has the dashes of the protocol, which tells it from others of the method.
        intervals: the direction of its intervals.
    """

    label: str
    subject: str
    points: tuple[Point, ...]
    role: Role = Role.MEAN
    protocol: str = ""
    joined: bool = False
    dashed: bool = False
    intervals: Along = Along.Y


@dataclass(frozen=True)
class Guide:
    """A line across a panel.

    Attributes:
        at: where, in the units of the axis.
        along: `x` is a vertical line at x = at.
        text: what it means; the same text in several panels is one entry of the legend.
        subject: whose colour it has; empty for nobody's.
        tick: whether it is a short tick at the axis alone.
    """

    at: float
    along: Along
    text: str = ""
    subject: str = ""
    tick: bool = False


@dataclass(frozen=True)
class Panel:
    """One pair of axes.

    Attributes:
        title: what tells it from the other panels; empty where there is one.
        x, y: its axes.
        series: from back to front.
        guides: lines across it.
    """

    title: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    guides: tuple[Guide, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One figure, ready to be drawn.

    Attributes:
        name: of its files, without an ending.
        caption: what it shows; it stands beside the image, never in it.
        panels: rows of panels, from left to right; rows may differ in length.
        notes: what a reader must know to read it.
        provenance: where its numbers come from.
        share_x: columns, from 0, whose panels have one range of x.
        share_y: whether the panels of a row have one range of y.
    """

    name: str
    caption: str
    panels: tuple[tuple[Panel, ...], ...]
    notes: tuple[str, ...]
    provenance: Provenance
    share_x: tuple[int, ...] = ()
    share_y: bool = False

    @property
    def columns(self) -> int:
        """Panels of the longest row."""
        return max(map(len, self.panels))

    @property
    def flat(self) -> Iterator[Panel]:
        """All panels, in reading order."""
        return (panel for row in self.panels for panel in row)

    @property
    def text(self) -> str:
        """Caption, notes and provenance, a line each."""
        return "\n".join([self.caption, *self.notes, f"Made by: {self.provenance.text}", ""])

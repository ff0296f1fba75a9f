"""A colour and a mark for every method, the same in every figure, told apart by those who see fewer colours too.

The eight hues were searched for: each has a contrast of 3 or more on white (WCAG 2.2, 1.4.11), and any two stay at
least 25 apart in CIELAB, also as people with protanopia, deuteranopia or tritanopia see them (Machado et al. 2009).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from bench.errors import BenchError
from bench.grammar import Spec, parse_spec
from bench.keys import digest


class Hue(StrEnum):
    """The colours of methods, as sRGB."""

    INK = "#1A1A1A"
    ORANGE = "#DB7C00"
    AZURE = "#1C8DFF"
    GREEN = "#2C6C57"
    BLUE = "#001CBD"
    RUST = "#982A00"
    LAVENDER = "#917DB5"
    PURPLE = "#5A0075"


GREY = "#767676"
"""Of what belongs to no method: guides, fronts, published numbers."""
INK = Hue.INK.value
CLASSES = (
    "#332288", "#88CCEE", "#117733", "#DDCC77", "#CC6677", "#882255", "#44AA99", "#AA4499", "#999933", "#777777",
)  # fmt: skip
"""Paul Tol's muted scheme, for classes of images, whose clouds are named where they lie."""


class Mark(StrEnum):
    """The shapes of marks."""

    CIRCLE = "circle"
    SQUARE = "square"
    UP = "triangle up"
    DOWN = "triangle down"
    LEFT = "triangle left"
    RIGHT = "triangle right"
    DIAMOND = "diamond"
    PLUS = "plus"
    CROSS = "cross"
    PENTAGON = "pentagon"
    HEXAGON = "hexagon"


class Dash(StrEnum):
    """How lines are broken."""

    SOLID = "solid"
    LONG = "long dashes"
    DASHED = "dashed"
    DASH_DOT = "dash, dot"
    DOTTED = "dotted"
    DASH_DOT_DOT = "dash, dot, dot"


@dataclass(frozen=True)
class Style:
    """How a method looks."""

    hue: Hue
    mark: Mark


STYLES: Mapping[str, Style] = {
    "simclr": Style(Hue.INK, Mark.CIRCLE),
    "standard": Style(Hue.INK, Mark.CROSS),
    "checkpoint": Style(Hue.INK, Mark.PENTAGON),
    "imported": Style(Hue.INK, Mark.HEXAGON),
    "ncp": Style(Hue.RUST, Mark.CIRCLE),
    "rocl": Style(Hue.RUST, Mark.LEFT),
    "amoc": Style(Hue.BLUE, Mark.SQUARE),
    "moco": Style(Hue.AZURE, Mark.DIAMOND),
    "advcl": Style(Hue.AZURE, Mark.DOWN),
    "alp": Style(Hue.RUST, Mark.PLUS),
    "acl": Style(Hue.ORANGE, Mark.UP),
    "trades": Style(Hue.ORANGE, Mark.CIRCLE),
    "dynacl": Style(Hue.GREEN, Mark.DOWN),
    "dynacl-pp": Style(Hue.GREEN, Mark.PLUS),
    "pgd-at": Style(Hue.GREEN, Mark.DIAMOND),
    "air": Style(Hue.LAVENDER, Mark.RIGHT),
    "air-pp": Style(Hue.LAVENDER, Mark.PLUS),
    "rcs": Style(Hue.LAVENDER, Mark.HEXAGON),
    "deacl": Style(Hue.PURPLE, Mark.PENTAGON),
}
"""The methods that come along; those that papers compare have hues of their own, relatives share one."""

_DASHES: Mapping[tuple[str, bool], Dash] = {
    ("own", False): Dash.SOLID,
    ("slf", False): Dash.SOLID,
    ("slf", True): Dash.LONG,
    ("alf", False): Dash.DASHED,
    ("alf", True): Dash.DASH_DOT,
    ("aff", False): Dash.DOTTED,
    ("aff", True): Dash.DASH_DOT_DOT,
}
"""By the head, which a protocol's name begins with, and whether the protocol is a paper's."""

ItemT = TypeVar("ItemT")


def style(label: str) -> Style:
    """How a method looks, in whatever figure, whatever else is in it.

    A method that is not known here gets a look by the hash of its name; `ncp[neighbour=3]` has the hue of `ncp` and a
    mark by the hash of its options.

    Args:
        label: as on the command line; a text that is none is taken for a name.
    """
    spec = _spec(label)
    known = STYLES.get(spec.name) or Style(_picked(tuple(Hue), spec.name), _picked(tuple(Mark), f"{spec.name} mark"))
    if not spec.options:
        return known
    others = tuple(mark for mark in Mark if mark is not known.mark)
    return Style(known.hue, _picked(others, Spec("options", spec.options).text))


def _spec(label: str) -> Spec:
    try:
        return parse_spec(label)
    except BenchError:
        return Spec(label)


def _picked(choices: Sequence[ItemT], text: str) -> ItemT:
    return choices[int(digest(text), 16) % len(choices)]


def dash(protocol: str) -> Dash:
    """How the lines of a protocol are broken: solid for `slf-1` and no protocol at all."""
    family = protocol.partition("@")[0].partition("-")[0]
    return _DASHES.get((family, "@" in protocol), Dash.DOTTED) if protocol else Dash.SOLID


def class_colour(name: str, names: Sequence[str]) -> str:
    """The colour of a class among all; beyond ten they repeat."""
    return CLASSES[names.index(name) % len(CLASSES)]

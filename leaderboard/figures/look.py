"""matplotlib's settings, and what the palette's marks and dashes are there."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any

import matplotlib

from leaderboard.figures.palette import INK, Dash, Mark, style

COLUMN, PAGE = 3.3, 6.9
"""Widths in inches: of a column of a two-column page, and of the page."""
LOOK: Mapping[str, Any] = {
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 7,
    "axes.labelsize": 7,
    "axes.titlesize": 7,
    "axes.titleweight": "bold",
    "axes.linewidth": 0.6,
    "axes.edgecolor": "#444444",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.5,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 6.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "legend.fontsize": 6.5,
    "legend.frameon": False,
    "figure.constrained_layout.w_pad": 0.03,
    "figure.constrained_layout.h_pad": 0.03,
    "figure.constrained_layout.wspace": 0.03,
    "pdf.fonttype": 42,
    "svg.fonttype": "none",
    "svg.hashsalt": "acl-bench",
    "savefig.dpi": 300,
}
"""Fonts are embedded in PDF as TrueType, text stays text in SVG, and its ids are the same every time."""
MARKS: Mapping[Mark, str] = {
    Mark.CIRCLE: "o",
    Mark.SQUARE: "s",
    Mark.UP: "^",
    Mark.DOWN: "v",
    Mark.LEFT: "<",
    Mark.RIGHT: ">",
    Mark.DIAMOND: "D",
    Mark.PLUS: "P",
    Mark.CROSS: "X",
    Mark.PENTAGON: "p",
    Mark.HEXAGON: "h",
}
DASHES: Mapping[Dash, Any] = {
    Dash.SOLID: "-",
    Dash.LONG: (0, (7, 1.5)),
    Dash.DASHED: (0, (3.5, 1.5)),
    Dash.DASH_DOT: (0, (5, 1.5, 1, 1.5)),
    Dash.DOTTED: (0, (1, 1.2)),
    Dash.DASH_DOT_DOT: (0, (5, 1.5, 1, 1.5, 1, 1.5)),
}


def look() -> AbstractContextManager[None]:
    """The settings, for as long as a figure is made or written."""
    settings: Any = dict(LOOK)
    return matplotlib.rc_context(settings)


def colour_of(subject: str) -> str:
    """The colour of a method; ink for nobody's."""
    return style(subject).hue.value if subject else INK


def shape_of(subject: str) -> str:
    """The mark of a method; a circle for nobody's."""
    return MARKS[style(subject).mark] if subject else MARKS[Mark.CIRCLE]

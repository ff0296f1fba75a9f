"""A figure drawn with matplotlib, by its objects alone: no pyplot, no display, the same bytes for the same numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure as Canvas
from matplotlib.gridspec import GridSpec

from leaderboard.figures.artists import draw_series, legend_entries
from leaderboard.figures.look import COLUMN, PAGE, look
from leaderboard.figures.model import Along, Figure, Panel, Scale
from leaderboard.figures.places import place_texts
from leaderboard.figures.scales import set_axis

_ROW = 1.75  # Height of a row of panels, inches.
_ROW_WITH_TEXTS = 2.6
_CATEGORY = 0.155  # Of a line of a dot plot.
_AROUND = 0.55  # What a dot plot's axis and title take.
_LEGEND_LINE = 0.14
_CHARACTER = 0.057  # Width of a letter of the legend, inches.
_HANDLE = 0.56  # Of what stands before its text, and of the gap behind it.


def draw(figure: Figure) -> Canvas:
    """The figure at its final size: as wide as a column where its panels stand in one, else as wide as the page."""
    with look():
        entries = legend_entries(figure)
        columns = _legend_columns(entries, _width(figure))
        heights = [_height(row, figure) for row in figure.panels]
        legend = _LEGEND_LINE * -(-len(entries) // columns) + 0.08 if entries else 0.0
        canvas = Canvas(figsize=(_width(figure), sum(heights) + legend), layout="constrained")
        drawn = FigureCanvasAgg(canvas)
        placed = _draw_panels(canvas, figure, heights)
        if entries:
            canvas.legend(
                list(entries.values()), list(entries), loc="outside lower center", ncols=columns, handlelength=3.4,
                columnspacing=1.2, handletextpad=0.5, borderaxespad=0.2, labelspacing=0.3,
            )  # fmt: skip
        canvas.draw_without_rendering()  # Texts are placed where the layout left the panels.
        for panel, axes in placed:
            place_texts(panel, axes, drawn)
    return canvas


def _width(figure: Figure) -> float:
    return COLUMN if figure.columns == 1 else PAGE


def _height(row: Sequence[Panel], figure: Figure) -> float:
    """Of a row of panels with their axes, inches."""
    scale = row[0].y.scale
    if scale is Scale.CATEGORIES:
        return _AROUND + _CATEGORY * max(len(panel.y.categories) for panel in row)
    if scale is Scale.NONE:
        return _width(figure) / figure.columns + 0.15
    written = any(point.text for panel in row for series in panel.series for point in series.points)
    return _ROW_WITH_TEXTS if written else _ROW


def _legend_columns(texts: Iterable[str], width: float) -> int:
    """As many as fit beside each other."""
    longest = max(map(len, texts), default=1)
    return max(1, min(len(list(texts)), int(width / (_HANDLE + _CHARACTER * longest))))


def _draw_panels(canvas: Canvas, figure: Figure, heights: Sequence[float]) -> list[tuple[Panel, Axes]]:
    """Every panel on axes of its own; only the outer ones have the texts of a range that several share."""
    grid = GridSpec(len(figure.panels), figure.columns, canvas, height_ratios=heights)
    placed = []
    for i, row in enumerate(figure.panels):
        for j, panel in enumerate(row):
            axes = canvas.add_subplot(grid[i, j])
            column = [other[j] for other in figure.panels if j < len(other)]
            draw_series(panel, axes)
            set_axis(panel, Along.X, column if j in figure.share_x else [panel], axes)
            set_axis(panel, Along.Y, row if figure.share_y else [panel], axes)
            axes.set_title(panel.title, loc="left", pad=4)
            below, beside = column[i + 1 :], figure.share_y and j > 0
            axes.set_xlabel("" if below and below[0].x.title == panel.x.title else panel.x.title)
            axes.set_ylabel("" if beside else panel.y.title)
            axes.tick_params(labelbottom=not (below and j in figure.share_x), labelleft=not beside)
            placed.append((panel, axes))
    return placed

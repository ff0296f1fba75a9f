"""A figure's files: the image in each format, its numbers as CSV, and what it shows and where it is from as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.errors import BenchError
from leaderboard.figures.model import Axis, Figure, Panel, Point, Scale, Series
from leaderboard.figures.names import ImageFormat

COLUMNS = (
    "panel", "series", "role", "subject", "protocol", "x_axis", "y_axis", "x", "y", "low", "high", "interval", "text",
)  # fmt: skip
"""Of the CSV: a line per point; a guide's line has its place alone."""


def write(figure: Figure, folder: Path, formats: Collection[ImageFormat] = tuple(ImageFormat)) -> tuple[Path, ...]:
    """Write `NAME.svg`, `.pdf` and `.png` as asked, `NAME.csv` with all numbers, `NAME.txt` with caption and origin.

    Returns:
        The files, images first.

    Raises:
        BenchError: if the folder is a file, or cannot be written.
    """
    contents: dict[str, bytes] = {format: image(figure, format) for format in formats}
    contents |= {"csv": csv_text(figure).encode(), "txt": figure.text.encode()}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        return tuple(_file(folder / f"{figure.name}.{end}", text) for end, text in contents.items())
    except OSError as error:
        raise BenchError(
            f"'{folder}' cannot hold the figure: {error.strerror or error}. Name another folder with --write."
        ) from error


def _file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def image(figure: Figure, format: ImageFormat) -> bytes:
    """The file of one format; equal figures have equal bytes, and the file says where its numbers come from."""
    from leaderboard.figures.draw import draw
    from leaderboard.figures.look import look

    canvas, stream = draw(figure), io.BytesIO()
    with look():
        canvas.savefig(stream, format=format.value, metadata=_metadata(figure)[format])
    return stream.getvalue()


def _metadata(figure: Figure) -> Mapping[ImageFormat, dict[str, Any]]:
    """What each format can say of itself; nothing of when it was made, and by which version of the drawing."""
    origin = figure.provenance.text
    return {
        ImageFormat.SVG: {"Date": None, "Creator": None, "Title": figure.caption, "Description": origin},
        ImageFormat.PDF: {"CreationDate": None, "Creator": None, "Producer": None, "Title": figure.caption,
                          "Subject": origin},
        ImageFormat.PNG: {"Software": None, "Title": figure.caption, "Description": origin},
    }  # fmt: skip


def csv_text(figure: Figure) -> str:
    """Every number of a figure in full precision; places on an axis of categories are their texts."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for panel in figure.flat:
        writer.writerows(_lines(panel))
    return stream.getvalue()


def _lines(panel: Panel) -> Iterator[tuple[object, ...]]:
    axes = (panel.x.title, panel.y.title)
    for series in panel.series:
        facts = (panel.title, series.label, series.role, series.subject, series.protocol, *axes)
        for point in series.points:
            yield (*facts, *_numbers(panel, series, point))
    for guide in panel.guides:
        place = (guide.at, "") if guide.along == "x" else ("", guide.at)
        yield (panel.title, guide.text, "guide", guide.subject, "", *axes, *place, "", "", "", "")


def _numbers(panel: Panel, series: Series, point: Point) -> tuple[object, ...]:
    ends = ("", "") if point.low is None else (point.low, point.high)
    interval = "" if point.low is None else series.intervals
    return (_value(panel.x, point.x), _value(panel.y, point.y), *ends, interval, point.text)


def _value(axis: Axis, value: float) -> object:
    return axis.categories[round(value)] if axis.scale is Scale.CATEGORIES else value

"""How figures are drawn and written: everything is there, at its size, and the same bytes every time."""

from __future__ import annotations

import csv
import io
import re
import struct
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import matplotlib
import pytest

from bench.errors import BenchError
from leaderboard.figures.draw import draw
from leaderboard.figures.look import COLUMN, PAGE
from leaderboard.figures.model import (
    Along,
    Axis,
    Figure,
    Guide,
    Panel,
    Point,
    Role,
    Scale,
    Series,
    accuracy_axis,
)
from leaderboard.figures.names import ImageFormat
from leaderboard.figures.write import COLUMNS, csv_text, image, write
from leaderboard.tables.model import Provenance

ORIGIN = Provenance("bench figure any --methods 'ncp[neighbour=3]'", 12, "abc123")
LINES = Panel(
    "CIFAR-10",
    Axis("bank_size", Scale.LOG, ticks=(64, 128, 4096)),
    accuracy_axis("AA"),
    (
        Series("", "ncp", (Point(64, 9.0), Point(64, 12.0)), Role.SEED),
        Series("ncp", "ncp", (Point(64, 10.5, -4.0, 13.0), Point(4096, 20.0, 18.0, 22.0)), joined=True),
        Series("ncp[neighbour=3]", "ncp[neighbour=3]", (Point(64, 12.0), Point(4096, 30.0)), joined=True),
        Series("published", "ncp", (Point(128, 25.0),), Role.PUBLISHED),
        Series("chosen", "ncp", (Point(128, 15.0),), Role.CHOSEN),
    ),
    (Guide(256, Along.X, "paper's optimum", tick=True),),
)
DOTS = Panel(
    "",
    Axis("difference (points)"),
    Axis("", Scale.CATEGORIES, ("amoc", "acl")),
    (
        Series("told apart", "amoc", (Point(12.0, 0, 8.0, 16.0),), intervals=Along.X),
        Series("not told apart", "acl", (Point(1.0, 1, -3.0, 5.0),), Role.OPEN, intervals=Along.X),
        Series("p as it is", "", (Point(2.0, 1),), Role.RAW),
    ),
    (Guide(0.0, Along.X),),
)
COSTS = Panel(
    "",
    Axis("encoder passes per image", Scale.LOG),
    accuracy_axis("AA"),
    (
        Series("front", "", (Point(60, 1.0), Point(300, 60.0)), Role.FRONT),
        *(Series("", name, (Point(60 + 30 * at, 10.0 * at, text=name),)) for at, name in enumerate(("simclr", "acl"))),
    ),
)
CLOUDS = Panel(
    "amoc",
    Axis("", Scale.NONE),
    Axis("", Scale.NONE),
    tuple(Series(name, name, (Point(at, 0), Point(at, 1)), Role.CLASS) for at, name in enumerate(("cat", "dog"))),
)
CURVES = Panel(
    "", Axis("epoch"), Axis("loss"), (Series("amoc", "amoc", (Point(1, 4.0), Point(2, 2.0)), Role.LINE, joined=True),)
)
PANELS: Mapping[str, Panel] = {"lines": LINES, "dots": DOTS, "costs": COSTS, "clouds": CLOUDS, "curves": CURVES}


def figure(*panels: Panel) -> Figure:
    return Figure("made", "What it shows.", (panels,), ("A note.",), ORIGIN)


def svg(shown: Figure) -> str:
    return image(shown, ImageFormat.SVG).decode()


@pytest.mark.parametrize(
    ("panel", "texts"),
    [
        (
            "lines",
            ("CIFAR-10", "bank_size", "AA (%)", "4096", "ncp", "ncp[neighbour=3]", "published", "paper's optimum"),
        ),
        ("dots", ("difference (points)", "amoc", "acl", "told apart", "not told apart", "p as it is")),
        ("costs", ("encoder passes per image", "simclr", "acl", "front")),
        ("clouds", ("amoc", "cat", "dog")),
        ("curves", ("epoch", "loss", "amoc")),
    ],
)
def test_every_text_is_in_the_svg_as_text(panel: str, texts: tuple[str, ...]) -> None:
    drawn = svg(figure(PANELS[panel]))

    found = set(re.findall(r"<text[^>]*>([^<]*)</text>", drawn))
    assert set(texts) <= {text.replace("&#x27;", "'") for text in found}


def test_a_method_is_drawn_in_its_colour_and_a_published_number_is_hollow() -> None:
    from leaderboard.figures.palette import style

    drawn = svg(figure(LINES)).lower()

    assert f"stroke: {style('ncp').hue.lower()}" in drawn
    assert f"fill: #ffffff; stroke: {style('ncp').hue.lower()}" in drawn


def test_an_interval_ends_where_no_accuracy_can_lie() -> None:
    [axes] = draw(figure(LINES)).axes

    ends = [value for line in axes.lines for value in line.get_ydata()]  # type: ignore[union-attr]

    assert min(ends) >= 0


def test_an_entry_of_several_methods_stands_for_none_of_them() -> None:
    from leaderboard.figures.artists import legend_entries
    from leaderboard.figures.palette import INK

    both = replace(DOTS, series=tuple(replace(series, label="told apart") for series in DOTS.series[:2]))

    [handle] = legend_entries(figure(both)).values()

    assert handle.get_color() == INK


def test_texts_beside_points_do_not_lie_on_each_other() -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.transforms import Bbox

    crowd = tuple(Series("", name, (Point(100 + at, 20 + at / 5, text=name),)) for at, name in enumerate("abcdef" * 2))
    canvas = draw(figure(replace(COSTS, series=crowd)))
    FigureCanvasAgg(canvas).draw()

    boxes = [text.get_window_extent() for text in canvas.axes[0].texts if text.get_text()]

    assert len(boxes) == 12
    assert not [1 for at, a in enumerate(boxes) for b in boxes[:at] if Bbox.intersection(a, b) is not None]


@pytest.mark.parametrize(("panels", "width"), [((LINES,), COLUMN), ((LINES, DOTS), PAGE)])
def test_a_figure_is_as_wide_as_the_place_it_is_made_for(panels: tuple[Panel, ...], width: float) -> None:
    assert draw(figure(*panels)).get_size_inches()[0] == pytest.approx(width)


@pytest.mark.parametrize(
    ("format", "marks"),
    [
        (ImageFormat.SVG, (b"bench figure any", b"abc123")),
        (ImageFormat.PNG, (b"bench figure any", b"abc123")),
        (ImageFormat.PDF, (b"bench figure any", b"abc123", b"/FontFile2")),
    ],
)
def test_an_image_has_the_same_bytes_every_time_and_says_where_it_is_from(
    format: ImageFormat, marks: tuple[bytes, ...]
) -> None:
    content = image(figure(LINES), format)

    assert image(figure(LINES), format) == content
    assert all(mark in content for mark in marks)
    assert not re.search(rb"CreationDate|<dc:date>|Matplotlib v", content)


def test_a_png_has_300_dots_per_inch() -> None:
    content = image(figure(LINES), ImageFormat.PNG)

    assert struct.unpack(">I", content[16:20])[0] == pytest.approx(300 * COLUMN, abs=1)


def test_the_csv_holds_every_number() -> None:
    lines = list(csv.DictReader(io.StringIO(csv_text(figure(LINES, DOTS)))))

    assert tuple(lines[0]) == COLUMNS
    [interval] = [line for line in lines if line["series"] == "ncp" and line["x"] == "64"]
    assert (interval["y"], interval["low"], interval["high"], interval["interval"]) == ("10.5", "-4.0", "13.0", "y")
    [told] = [line for line in lines if line["series"] == "told apart"]
    assert (told["subject"], told["x"], told["y"], told["interval"]) == ("amoc", "12.0", "amoc", "x")
    assert [(line["series"], line["x"]) for line in lines if line["role"] == "guide"] == [
        ("paper's optimum", "256"), ("", "0.0"),
    ]  # fmt: skip


def test_a_figure_is_written_with_its_numbers_and_its_words(tmp_path: Path) -> None:
    paths = write(figure(LINES), tmp_path / "new" / "folder", (ImageFormat.SVG,))

    assert [path.name for path in paths] == ["made.svg", "made.csv", "made.txt"]
    words = paths[-1].read_text(encoding="utf-8")
    assert words == f"What it shows.\nA note.\nMade by: {ORIGIN.text}\n"


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()

    with pytest.raises(BenchError, match="taken' cannot hold the figure"):
        write(figure(LINES), tmp_path / "taken", ())


def test_drawing_leaves_the_settings_of_matplotlib_as_they_were() -> None:
    before = dict(matplotlib.rcParams)

    image(figure(CURVES), ImageFormat.SVG)

    assert dict(matplotlib.rcParams) == before

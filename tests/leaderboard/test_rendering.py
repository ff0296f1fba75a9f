"""Tables as text: nothing lost, nothing misread, whatever the format."""

from __future__ import annotations

import io
import re
from dataclasses import replace

import pandas as pd
import pytest
from made_tables import CLAIMED, HOSTILE, LONG, PAPER, RESULTS, STUBBED, TABLES, WIDE
from rich.console import Console

from leaderboard.layouts import Format
from leaderboard.rendering.csv_file import csv_text
from leaderboard.rendering.formats import FRAGMENT, TEXT
from leaderboard.rendering.markdown import markdown
from leaderboard.rendering.terminal import terminal
from leaderboard.tables.build import build
from leaderboard.tables.model import Table


def printed(width: int, *, styled: bool = False, tables: object = TABLES) -> str:
    console = Console(width=width, file=io.StringIO(), force_terminal=styled)
    console.print(terminal(tables, styled=styled))  # type: ignore[arg-type]
    return console.file.getvalue()  # type: ignore[attr-defined,no-any-return]


def test_the_terminal_shows_marks_spread_n_and_failures() -> None:
    lines = printed(200).splitlines()

    [best] = [line for line in lines if line.lstrip().startswith("best ")]
    assert "*46.10* ±0.80" in best
    assert " 3 " in best
    assert any("*45.87* ±0.35" in line for line in lines)
    assert any(line.lstrip().startswith("ncp[neighbour=3]") and "_29.77_ ±0.59" in line for line in lines)
    assert any("broken" in line and line.count("failed (2 of 2) [a]") == 3 for line in lines)
    assert any("partly" in line and "*1.75* ±1.06 [b]" in line for line in lines)


def test_on_a_terminal_the_mean_alone_is_bold_or_underlined() -> None:
    text = printed(200, styled=True)

    assert "\x1b[1m46.10\x1b[0m ±0.80" in text
    assert "\x1b[4m29.77\x1b[0m ±0.59" in text


def test_a_label_is_never_read_as_markup() -> None:
    assert HOSTILE in printed(250)


@pytest.mark.parametrize("width", [60, 80, 100, 120, 250])
def test_no_number_is_cut_however_narrow_the_terminal(width: int) -> None:
    numbers = re.findall(r"\d+\.\d\d(?= ±)", printed(width, tables=WIDE))

    assert sorted(numbers) == sorted(2 * 3 * ["36.10", "39.10", "76.10"])


def test_tests_that_are_too_wide_for_the_terminal_stand_column_by_column() -> None:
    wide, narrow = printed(250), printed(80)

    assert "best vs other" in wide and narrow.count("best vs other") > wide.count("best vs other")
    assert sorted(re.findall(r"\[-?\d.*?\]", narrow)) == sorted(re.findall(r"\[-?\d.*?\]", wide))


def test_markdown_has_one_row_per_method_and_escapes_its_own_signs() -> None:
    text = markdown(TABLES)
    grid = [line for line in text.splitlines() if line.startswith("|")]

    assert "| best | 3 | **86.10** ± 0.80 | **49.10** ± 0.80 | **46.10** ± 0.80 |" in grid
    assert any(line.startswith(r"| ncp\[neighbour=3\] | 3 | <ins>69.77</ins> ± 0.59") for line in grid)
    assert {len(re.findall(r"(?<!\\)\|", line)) for line in grid} == {6, 9}
    assert "<!-- bench table --out my_runs; 17 rows, hash " in text


def test_csv_has_a_line_per_cell_in_full_precision() -> None:
    table = pd.read_csv(io.StringIO(csv_text(TABLES)))

    assert len(table) == 6 * 3
    tied = table[(table.method == "tied") & (table.metric == "aa")].iloc[0]
    assert tied["mean"] == pytest.approx((45.5 + 45.9 + 46.2) / 3, abs=1e-12)
    assert (tied["n"], tied["mark"], tied["best"], tied["pairs"]) == (3, "tied", "best", 3)
    assert tied["p"] <= tied["p_adjusted"]
    assert set(table.loc[table.method == "broken", "state"]) == {"failed"}
    assert HOSTILE in set(table.method)


def test_the_same_rows_give_the_same_bytes() -> None:
    shuffled = build(RESULTS.sample(frac=1, random_state=3), command="bench table --out my_runs")

    assert {format: text(shuffled) for format, text in TEXT.items()} == {
        format: text(TABLES) for format, text in TEXT.items()
    }


def in_format(format: Format, tables: object) -> str:
    return printed(200, tables=tables) if format is Format.TERMINAL else TEXT[format](tables)  # type: ignore[arg-type]


def test_every_format_can_be_printed() -> None:
    assert {Format.TERMINAL, *TEXT} == set(Format)
    assert set(FRAGMENT) < set(TEXT)


@pytest.mark.parametrize("format", Format)
def test_every_format_says_what_prints_it_again_and_from_which_rows(format: Format) -> None:
    text = in_format(format, TABLES)

    assert "bench table --out my_runs" in text
    assert TABLES[0].provenance.rows_hash in text


@pytest.mark.parametrize("format", Format)
def test_a_unit_other_than_per_cent_is_named_and_its_decimals_are_kept(format: Format) -> None:
    text = in_format(format, STUBBED)

    assert ("time (h)" in text) == (format is not Format.CSV)
    assert ("46.8" in text, "46.75" in text) == (format is not Format.CSV, format is Format.CSV)
    assert "86.75" in text


@pytest.mark.parametrize(
    ("format", "pattern", "times"),
    [
        (Format.TERMINAL, "^ MoCo ", 1),
        (Format.LATEX, "^MoCo &", 1),
        (Format.HTML, ">MoCo<", 1),
        (Format.MARKDOWN, r"^\| MoCo \|", 3),
        (Format.CSV, ",MoCo,", 9),
    ],
)
def test_a_text_that_repeats_the_line_above_is_shown_once_where_people_read(
    format: Format, pattern: str, times: int
) -> None:
    untested = tuple(replace(table, tests=()) for table in STUBBED)

    assert len(re.findall(pattern, in_format(format, untested), re.MULTILINE)) == times


def test_csv_has_the_texts_on_the_left_and_the_protocol_of_each_line() -> None:
    table = pd.read_csv(io.StringIO(csv_text(STUBBED)))
    first = table.iloc[0]

    assert (first["method"], first["row_method"], first["row_batch_size"], first["row_epochs"]) == (
        "m0",
        "MoCo",
        128,
        200,
    )
    assert list(dict.fromkeys(table["protocol"])) == ["moco-own", "amoc†-own"]
    assert dict(zip(table["metric"], table["unit"], strict=True)) == {"sa": "%", "ra_pgd20": "%", "aa": "h"}


def test_csv_of_methods_alone_has_no_column_for_texts_on_the_left() -> None:
    assert not [name for name in csv_text(TABLES).splitlines()[0].split(",") if name.startswith("row_")]


@pytest.mark.parametrize("format", sorted(TEXT))
@pytest.mark.parametrize("tables", [WIDE, LONG, PAPER, CLAIMED], ids=["wide", "long", "paper", "claimed"])
def test_no_number_is_lost(format: Format, tables: tuple[Table, ...]) -> None:
    text = TEXT[format](tables)

    means = [cell.mean for table in tables for line in table.lines for cell in line.cells if cell.mean is not None]
    assert [f"{mean:.2f}" for mean in means if f"{mean:.2f}" not in text and str(mean) not in text] == []

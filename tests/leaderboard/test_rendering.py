"""Tables as text: nothing lost, nothing misread, and LaTeX that compiles as it stands."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from pathlib import Path

import pandas as pd
import pytest
from made_rows import failed, frame, rows
from rich.console import Console

from leaderboard.claims.record import Record
from leaderboard.layouts import Arrangement, Format
from leaderboard.rendering.csv_file import csv_text
from leaderboard.rendering.formats import TEXT
from leaderboard.rendering.latex import latex
from leaderboard.rendering.markdown import markdown
from leaderboard.rendering.terminal import terminal
from leaderboard.tables.build import build

HOSTILE = r"a_b%c&d#e{f}g~h^i\j[k]|l<m>*n`$é中[/bold]"
RESULTS = frame(
    rows("best", [46.1, 45.3, 46.9]),
    rows("tied", [45.5, 45.9, 46.2]),
    rows("ncp[neighbour=3]", [30.0, 29.1, 30.2]),
    rows(HOSTILE, [20.0, 19.0, 20.5]),
    failed("broken", 0),
    failed("broken", 1),
    rows("partly", [1.0, 2.5]),
    failed("partly", 2, error="100 % of 2_000 $ {lost} \\ & # ~ ^"),
)
TABLES = build(RESULTS, command="bench table --out my_runs")
WIDE = build(
    frame(
        *(
            rows("best", [36.1, 35.3, 36.9], dataset=name, protocol=protocol)
            for name in ("cifar10", "cifar100", "stl10")
            for protocol in ("slf-1", "alf-1")
        )
    ),
    Arrangement.BY_PROTOCOL,
)
CLAIMED = build(
    frame(
        rows(
            "ncp", [36.1, 35.3, 36.9], dataset="cifar10", dataset_like="cifar10", protocol="slf@ncp", schedule="short"
        ),
        rows("amoc", [36.1], dataset="cifar10", dataset_like="cifar10", protocol="slf@amoc", schedule="short"),
    ),
    published=Record.shipped(),
)


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


@pytest.mark.parametrize("format", sorted(TEXT))
def test_the_same_rows_give_the_same_bytes(format: Format) -> None:
    shuffled = RESULTS.sample(frac=1, random_state=3)

    assert TEXT[format](build(shuffled, command="bench table --out my_runs")) == TEXT[format](TABLES)


def test_latex_needs_booktabs_alone() -> None:
    text = latex((*TABLES, *CLAIMED))

    assert re.findall(r"\\usepackage(?:\[.*\])?\{(.*)\}", text) == ["booktabs"]
    assert r"best & 3 & \textbf{86.10}\,{\scriptsize$\pm$\,0.80}" in text
    assert r"ncp{[}neighbour=3{]} & 3 & \underline{69.77}" in text
    assert r"failed (2 of 2)\textsuperscript{a}" in text
    assert text.startswith("\\documentclass")
    assert text.endswith("\\end{document}\n")


def test_published_numbers_are_a_float_of_their_own() -> None:
    text = latex(CLAIMED, fragment=True)

    [floated] = re.findall(r"\\caption\{Published numbers: .*?\\end\{tabular\}", text, re.DOTALL)
    rows_of_it = floated.partition(r"\midrule")[2].partition(r"\bottomrule")[0].strip().splitlines()
    assert rows_of_it
    assert {line.count(" & ") for line in rows_of_it} == {7}


def test_a_latex_fragment_is_the_environments_alone() -> None:
    text = latex(TABLES, fragment=True)

    assert "documentclass" not in text
    assert "begin{document}" not in text
    assert text.startswith("% in the preamble: \\usepackage{booktabs}\n")
    assert text.count(r"\begin{table}") == text.count(r"\end{table}") == 2


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("fragment", [False, True])
def test_latex_compiles(fragment: bool, tmp_path: Path) -> None:
    text = latex((*TABLES, *WIDE, *CLAIMED), fragment=fragment)
    if fragment:
        head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}\n"
        text = f"{head}{text}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")

    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 0
    assert "Missing character" not in result.stdout

"""`bench table` from a store to standard output."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from made_rows import failed, rows
from typer.testing import CliRunner

from bench.errors import BenchError
from bench.store import Store
from leaderboard.layouts import Format
from leaderboard.tables.command import table


@pytest.fixture
def out(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "runs")
    stored = [*rows("ncp", [46.0, 45.0, 47.5]), *rows("amoc", [44.0, 45.5, 44.2]), failed("amoc", 3)]
    for number, row in enumerate(stored):
        store.add_row(row.model_copy(update={"cell": f"cell{number}"}))
    return store.root


@pytest.mark.parametrize(
    ("format", "expected"),
    [
        (Format.TERMINAL, "*46.17* ±1.26"),
        (Format.MARKDOWN, "**46.17** ± 1.26"),
        (Format.HTML, "<strong>46.17</strong>"),
        (Format.LATEX, r"\textbf{46.17} & {\scriptsize$\pm$1.26}"),
        (Format.CSV, "quick,,,,Linf,0.1,fp32,ncp,digits,slf-1,aa,46.1666"),
    ],
)
def test_a_store_is_printed_in_every_format(
    out: Path, format: Format, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    table(out=out, format=format)

    assert expected in capsys.readouterr().out


def test_methods_are_filtered_and_stand_in_the_order_given(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(out=out, format=Format.CSV, methods="ncp,amoc")

    lines = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert list(dict.fromkeys(line["method"] for line in lines)) == ["ncp", "amoc"]


def test_the_command_that_prints_it_again_stands_below(out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table(out=out, format=Format.MARKDOWN, methods="ncp", layout="ncp-acl-table3")

    expected = f"<!-- bench table --out {out} --methods ncp --layout ncp-acl/table3 --format markdown; 3 rows"
    assert expected in capsys.readouterr().out


def test_it_is_a_typer_command(out: Path) -> None:
    app = typer.Typer()
    app.command()(table)

    result = CliRunner().invoke(app, ["--out", str(out), "--format", "latex", "--fragment"])

    assert result.exit_code == 0
    assert result.output.startswith("% in the preamble")


def test_there_is_no_fragment_of_what_has_no_document(out: Path) -> None:
    with pytest.raises(BenchError, match="for latex and html alone, not for csv"):
        table(out=out, format=Format.CSV, fragment=True)


def test_an_empty_store_says_how_to_fill_it(tmp_path: Path) -> None:
    with pytest.raises(BenchError, match="bench run"):
        table(out=tmp_path)


def test_its_module_is_light_enough_for_help() -> None:
    heavy = "{'torch', 'pandas', 'scipy', 'pyarrow'}"
    code = f"import sys, leaderboard.tables.command; sys.exit(len({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

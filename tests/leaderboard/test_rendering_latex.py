"""LaTeX: compiles with booktabs alone, and keeps to the width of a column or of a page."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest
from made_rows import frame, rows
from made_tables import CLAIMED, HOSTILE, LONG, PAPER, STUBBED, TABLES, WIDE

from leaderboard.rendering.latex import latex
from leaderboard.rendering.tex import lines_of, number, prose, tex, width
from leaderboard.tables.build import build
from leaderboard.tables.model import Table

NARROW = build(frame(rows("acl", [30.0]), rows("ncp", [31.0])))
LABELS = ("ncp[neighbour=3,queue=65536,temperature=0.5,schedule=cosine]", "amoc[" + "x" * 40 + "]", HOSTILE)
LABELLED = build(frame(*(rows(label, [30.0 + i, 31.0, 33.0]) for i, label in enumerate(LABELS))))
PROTOCOLS = "slf-1[attacks=(clean,amoc-table2,autoattack)]"
TITLED = build(frame(*(rows("acl", [30.0], protocol=protocol) for protocol in ("slf-1", "alf-1", PROTOCOLS))))
SIX = build(frame(*(rows("ncp", [30.0, 31.5, 33.0], protocol=f"slf-{i}") for i in range(1, 7))))
NOTED = build(
    frame(
        *(
            rows(label, [30.0, 31.5], dataset=name, labelled_pretraining=True, external_data=True)
            for label in ("ncp[neighbour=3]", "amoc")
            for name in ("cifar10", "cifar100", "stl10")
        )
    )
)
ALL = (*TABLES, *WIDE, *CLAIMED, *STUBBED, *PAPER, *NARROW, *LABELLED, *TITLED, *SIX, *NOTED, *LONG)


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("a_b", r"a\_b"),
        ("100 % & #1", r"100 \% \& \#1"),
        ("AMOC†, ε ± 8/255", r"AMOC$\dagger$, $\varepsilon$ $\pm$ 8/255"),
        ("ä — λ ≤ 2", r"ä --- $\lambda$ $\leq$ 2"),
        ("中", "U+4E2D"),
    ],
)
def test_no_sign_is_read_as_latex(text: str, source: str) -> None:
    assert tex(text) == source


def test_a_minus_is_a_sign_and_a_hyphen_stays_one() -> None:
    assert number("[-1.50, 2.00] of slf-1") == "{[}$-$1.50, 2.00{]} of slf-1"


def test_long_words_of_prose_may_be_broken_at_their_signs() -> None:
    assert prose("of ncp[neighbour=3,queue=65536]") == (
        r"of ncp\allowbreak{}{[}neighbour=\allowbreak{}3,\allowbreak{}queue=\allowbreak{}65536{]}"
    )


def test_lines_are_no_wider_than_they_may_be() -> None:
    lines = lines_of(PROTOCOLS, 75.0)

    assert lines == ["slf-1[attacks=", "(clean,amoc-table2,", "autoattack)]"]
    assert max(map(width, lines)) <= 75.0


def test_latex_needs_booktabs_alone() -> None:
    text = latex((*TABLES, *CLAIMED))

    assert re.findall(r"\\usepackage(?:\[.*\])?\{(.*)\}", text) == ["booktabs"]
    assert r"best & 3 & \textbf{86.10} & {\scriptsize$\pm$0.80}" in text
    assert r" & 3 & \underline{69.77} & {\scriptsize$\pm$0.59}" in text
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
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2


@pytest.mark.parametrize(
    ("tables", "environment"), [(NARROW, "table"), (TABLES, "table*"), (PAPER, "table*")], ids=["narrow", "pm", "paper"]
)
def test_a_fragment_spans_two_columns_only_where_it_must(tables: Sequence[Table], environment: str) -> None:
    assert re.findall(r"\\begin\{(table\*?)\}", latex(tables, fragment=True))[0] == environment
    assert set(re.findall(r"\\begin\{(table\*?)\}", latex(tables))) == {"table"}


def test_three_data_sets_stand_side_by_side_in_smaller_type() -> None:
    text = latex(PAPER, fragment=True)
    results = text.partition(r"\end{table*}")[0]

    assert results.count(r"\begin{tabular}{") == 1
    assert r"\centering\scriptsize" in results


def test_groups_that_no_page_holds_side_by_side_stand_below_each_other() -> None:
    results = latex(SIX, fragment=True).partition(r"\end{table*}")[0]

    panels = results.split(r"\begin{tabular}{")[1:]
    assert len(panels) == 3
    assert [title for panel in panels for title in re.findall(r"slf-\d", panel)] == [f"slf-{i}" for i in range(1, 7)]
    assert all(re.search(r"^ncp & 3 &", panel, re.MULTILINE) for panel in panels)


def test_what_is_longer_than_a_page_goes_on_under_the_same_number() -> None:
    text = latex(LONG)

    assert text.count("(continued)}") == text.count(r"\addtocounter{table}{-1}") >= 2
    assert {f"method-{i:02}" for i in range(50)} == set(re.findall(r"^method-\d\d(?= & 3)", text, re.MULTILINE))


def test_a_shorter_spread_is_padded_so_that_points_stand_below_each_other() -> None:
    text = latex(build(frame(rows("a", [10.0, 40.0]), rows("b", [10.0, 11.0]))))

    assert r"$\pm$21.21}" in text
    assert r"$\pm$\phantom{0}0.71}" in text


@cache
def _typesetter() -> bool:
    """Whether pdflatex is here, with booktabs."""
    if not (shutil.which("pdflatex") and shutil.which("kpsewhich")):
        return False
    return subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not _typesetter(), reason="needs pdflatex and booktabs")
@pytest.mark.parametrize(
    "around",
    [
        pytest.param(None, id="as it stands"),
        pytest.param(r"\documentclass[twocolumn]{article}", id="two columns, letter"),
        pytest.param(r"\documentclass[twocolumn,a4paper]{article}", id="two columns, a4"),
    ],
)
def test_it_compiles_and_nothing_sticks_out(around: str | None, tmp_path: Path) -> None:
    text = latex(ALL, fragment=around is not None)
    if around:
        text = f"{around}\\usepackage{{booktabs}}\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(text, encoding="utf-8")

    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, errors="replace")

    assert result.returncode == 0, result.stdout[-2000:]
    assert (tmp_path / "table.pdf").stat().st_size > 0
    assert "Missing character" not in result.stdout
    assert "Float too large" not in result.stdout
    assert [points for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt", result.stdout) if float(points) > 1] == []

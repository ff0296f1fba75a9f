"""`bench figure` from a store to files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_rows import rows

from bench.errors import BenchError
from bench.store import Store
from leaderboard.figures.command import SHOWN, figure
from leaderboard.figures.names import Kind


@pytest.fixture
def out(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "runs")
    stored = [
        *rows("ncp", [46.0, 45.0, 47.5]),
        *rows("amoc", [44.0, 45.5, 44.2]),
        *rows("ncp", [16.0, 15.0], schedule="short"),
        *rows("amoc", [14.0, 15.5], schedule="short"),
        *rows("amoc", [30.0], protocol="alf-1"),
    ]
    for number, row in enumerate(stored):
        store.add_row(row.model_copy(update={"cell": f"cell{number}"}))
    return store.root


def test_without_a_kind_all_kinds_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    figure()

    listed = capsys.readouterr().out
    assert set(SHOWN) == set(Kind)
    assert all(kind in listed for kind in Kind)


def test_the_files_are_named_and_say_what_made_them(
    out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figure(Kind.COMPARISONS, out=out, schedule="quick", control="ncp", write=tmp_path / "made", format="svg")

    named = capsys.readouterr().out.split()
    assert [Path(name).name for name in named] == ["comparisons.svg", "comparisons.csv", "comparisons.txt"]
    command = f"bench figure comparisons --out {out} --schedule quick --control ncp"
    assert f"Made by: {command}; 7 rows" in Path(named[-1]).read_text(encoding="utf-8")


def test_settings_never_share_a_figure(out: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    figure(Kind.COMPARISONS, out=out, control="ncp", metric="aa", write=tmp_path / "made", format="svg")

    names = [Path(name).name for name in capsys.readouterr().out.split() if name.endswith(".svg")]
    assert names == [f"comparisons-schedule-{name}-linf-eps-0.1.svg" for name in ("quick", "short")]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("comparison", {}, "unknown kind of figure 'comparison': did you mean 'comparisons'"),
        (Kind.COST, {"format": "jpg"}, "unknown image format 'jpg'"),
        (Kind.COST, {"control": "ncp"}, "--control is no choice of `bench figure cost`"),
        (Kind.OPTION, {}, "needs an option of the methods"),
        (Kind.LADDER, {"metric": "sa,aa"}, "shows one metric"),
        (Kind.LADDER, {}, "at two radii"),
        (Kind.COMPARISONS, {"methods": "ncp"}, "no two methods share two seeds"),
        (Kind.COMPARISONS, {"methods": "nce"}, "did you mean 'ncp'"),
        (Kind.SILHOUETTE, {}, "nothing to draw: no pre-training here recorded a silhouette"),
    ],
)
def test_what_cannot_be_drawn_is_said_in_a_sentence(
    out: Path, tmp_path: Path, kind: str, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(BenchError, match=message) as caught:
        figure(kind, out=out, write=tmp_path / "made", **options)

    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


def test_a_folder_that_is_a_file_is_refused_before_anything_is_drawn(out: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").touch()

    with pytest.raises(BenchError, match="taken' is a file"):
        figure(Kind.COST, out=out, write=tmp_path / "taken")


def test_its_module_is_light_enough_for_help() -> None:
    heavy = "{'torch', 'pandas', 'scipy', 'pyarrow', 'matplotlib'}"
    code = f"import sys, leaderboard.figures.command; sys.exit(len({heavy} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

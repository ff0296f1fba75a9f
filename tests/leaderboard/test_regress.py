"""`bench regress` from a sweep to a verdict: two tiny cells, regressions planted into the code that really runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import pytest

from bench.attacks import pgd
from bench.protocols.recipes import PROTOCOLS
from leaderboard.regression import command
from leaderboard.regression.bands import Band
from leaderboard.regression.measured import arithmetic
from leaderboard.regression.reference import Reference
from leaderboard.regression.rerun import measure
from methods.parts import dual_stream, losses
from methods.parts.dual_stream import CLEAN, DualStreamMethod
from tests.cli.runner import invoke, whole_app
from tests.leaderboard.made_cells import measured
from tests.plugins import CHEAP

SWEEP = """
methods = "acl[epochs=1,attack_steps=2],simclr[epochs=1]"
protocols = "cheap"
limit = "train=130,test=20"
seeds = 1
jobs = 1
device = "cpu"
"""


def bench_regress(*arguments: str | Path) -> tuple[int, str, str]:
    return invoke("regress", *map(str, arguments), "--jobs", "1", app=whole_app())


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A reference that the command made; protocol `cheap` is known as long as it is used."""
    path = tmp_path_factory.mktemp("reference") / "small.parquet"
    path.with_suffix(".toml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, CHEAP.name, CHEAP)  # type: ignore[arg-type]
        code, out, err = bench_regress("--write", path)
        assert (code, f"{path}: 2 cells" in out) == (0, True), err
        yield path


@pytest.fixture
def elsewhere(reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The reference with the bands that rounding alone would teach, and a machine that says to be another."""
    found = Reference.load(reference)
    bands = {
        cell.row["label"]: {metric: Band(1e-3 * abs(number), 8) for metric, number in cell.numbers.items()}
        for cell in found.cells
    }
    replace(found, bands=bands).save(tmp_path / "banded.parquet")
    monkeypatch.setattr("leaderboard.regression.measured.arithmetic", lambda: f"not {arithmetic()}")
    return tmp_path / "banded.parquet"


def flip_the_sign_of_the_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_stream, "nt_xent", lambda *arguments: -losses.nt_xent(*arguments))


def score_the_clean_route(monkeypatch: pytest.MonkeyPatch) -> None:
    right = DualStreamMethod.encoder

    def wrong(self: Any, profile: Any) -> Any:
        encoder = right(self, profile)
        encoder.active_route = CLEAN
        return encoder

    monkeypatch.setattr(DualStreamMethod, "encoder", wrong)


def attack_in_smaller_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    right = pgd.climbed
    monkeypatch.setattr(pgd, "climbed", lambda f, x, at, attack: right(f, x, at, _smaller(attack)))


def _smaller(attack: pgd.LinfPGD) -> pgd.LinfPGD:
    return replace(attack, step_size=attack.step_size / 10)


PLANTS = [flip_the_sign_of_the_loss, score_the_clean_route, attack_in_smaller_steps]


def test_honest_code_passes_exactly_and_a_planted_regression_does_not(
    reference: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "reports" / "junit.xml"
    code, out, err = bench_regress("--against", reference, "--junit", report)
    assert (code, "in the context of the reference, so exactly: " in out) == (0, True), out + err
    assert xml.parse(report).getroot().get("failures") == "0"
    for plant in PLANTS:
        with monkeypatch.context() as patch:
            plant(patch)
            code, out, err = bench_regress("--against", reference, "--junit", report)
        assert (code, "DRIFT" in out) == (1, True), f"{plant.__name__}: {out}{err}"
        cases = [case for case in xml.parse(report).getroot().iter("testcase") if case.find("failure") is not None]
        assert {str(case.get("classname")).partition("[")[0] for case in cases} >= {"acl"}, plant.__name__


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_regression_is_caught_by_bands_in_another_context(
    plant: Callable[[pytest.MonkeyPatch], None], elsewhere: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    code, out, _ = bench_regress("--against", elsewhere)
    assert (code, "in another context (arithmetic: " in out, "DRIFT" in out) == (1, True, True), out


def test_honest_code_is_within_bands_in_another_context(elsewhere: Path) -> None:
    code, out, _ = bench_regress("--against", elsewhere)
    assert (code, "so within bands: " in out) == (0, True), out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--against", "gone.parquet"), "reference 'gone.parquet' is not there"),
        (("--against", "a.parquet", "--write", "b.parquet"), "leave one of them out"),
        (("--write", "b.parquet", "--junit", "c.xml"), "--junit reports a comparison"),
        (("--write", "b.parquet"), "sweep file 'b.toml' cannot be read"),
        (("--against", "plugin.parquet"), "method 'mine' of mine.py is no longer there"),
    ],
)
def test_bad_input_is_named_with_the_remedy(
    options: tuple[str, ...], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Reference((measured("mine", plugin="mine.py"),)).save(Path("plugin.parquet"))
    code, _, err = bench_regress(*options)
    assert (code, message in err) == (2, True), err


def test_sweeps_that_share_a_store_are_one_run(make_sweep: Any) -> None:
    cells = measure((make_sweep(seeds="0,"), make_sweep(seeds="1,")))
    assert [cell.name for cell in cells] == ["mine/digits/cheap/seed0", "mine/digits/cheap/seed1"]
    assert all(set(cell.numbers) == {"sa", "ra_pgd20", "ra_worst"} for cell in cells)  # It keeps no history.
    assert all(set(cell.bits) == {"pretrain", "head", "clean", "pgd2"} for cell in cells)
    assert cells[0].bits["pretrain"] != cells[1].bits["pretrain"]


def test_the_reference_that_ships_is_the_default() -> None:
    assert command.SHIPPED.with_suffix(".toml").is_file()

"""Black-box transfer: an attack on one finished cell, scored on another."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.executors.events import StageState
from bench.plan import SURROGATE_ENCODER, SURROGATE_HEAD
from bench.planning import plan_of
from bench.store import Store
from tests.conftest import Ran, finished_in
from tests.plugins import write_images, write_method


@dataclass(frozen=True)
class Finished:
    """A store of finished cells, and their rows."""

    store: Store
    rows: list[dict[str, Any]]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """A finished cell of a method `other`, for two seeds."""
    folder = tmp_path_factory.mktemp("other")
    return finished_in(folder, methods=write_method(folder, "other"), attacks="pgd20", seeds=2)


@pytest.fixture
def other(made: Ran, tmp_path: Path) -> Finished:
    """A copy of their store, where one test's own cells go, too."""
    return Finished(Store(Path(shutil.copytree(made.store.root, tmp_path / "runs"))), made.rows)


def transferred(plan: Any) -> dict[int, Any]:
    """The stages of the transferred attack, by seed."""
    return {stage.task.seed: stage for stage in plan.stages.values() if SURROGATE_HEAD in stage.upstream}


def test_each_seed_is_attacked_through_the_other_cell_of_that_seed(make_sweep: Any, ran: Any, other: Finished) -> None:
    done = ran(make_sweep(attacks="transfer:other", seeds=2))
    attacks = transferred(done.plan)
    for seed, row in enumerate(other.rows):
        assert attacks[seed].upstream[SURROGATE_ENCODER] == row["pretrain_key"]
        assert attacks[seed].upstream[SURROGATE_HEAD] == row["head_key"]
    for row in done.rows:
        assert set(json.loads(row["scores"])) == {"clean", "transfer:other"}
        assert row["ra_worst"] == json.loads(row["scores"])["transfer:other"] <= row["sa"]
    assert done.summary.done == 2 * (2 + 2 + 1), "nothing of the other cells is computed again"


def test_on_the_classifier_itself_it_is_pgd(make_sweep: Any, ran: Any) -> None:
    mine = ran(make_sweep(attacks="pgd20"))
    (row,) = ran(make_sweep(attacks=f"transfer:{mine.rows[0]['cell']}")).rows
    (score,) = (value for name, value in json.loads(row["scores"]).items() if name != "clean")
    assert score == pytest.approx(mine.rows[0]["ra_pgd20"], abs=100 * 2 / 20), "but for another random start"


def test_a_cell_may_be_named_in_full_and_another_one_is_another_attack(
    make_sweep: Any, ran: Any, other: Finished
) -> None:
    name = f'"transfer:other/digits/{other.rows[1]["protocol"]}/seed1"'
    plan = plan_of(make_sweep(attacks=name))
    assert transferred(plan)[0].upstream[SURROGATE_HEAD] == other.rows[1]["head_key"]
    by_label = plan_of(make_sweep(attacks="transfer:other"))
    assert transferred(by_label)[0].key != transferred(plan)[0].key


def test_an_unknown_cell_is_an_error_that_lists_those_there_are(make_sweep: Any, other: Finished) -> None:
    with pytest.raises(BenchError, match=r"no finished cell is called 'othr'.*other/digits"):
        plan_of(make_sweep(attacks="transfer:othr"))


def test_a_cell_that_failed_is_an_error(make_sweep: Any, ran: Any, tmp_path: Path) -> None:
    broken = ran(make_sweep(methods=write_method(tmp_path / "b", "broken", body="raise ValueError('no luck')")))
    assert {event.state for event in broken.events} >= {StageState.FAILED}
    with pytest.raises(BenchError, match=r"cell 'broken/digits.*which failed.*run it again"):
        plan_of(make_sweep(attacks="transfer:broken"))


def test_a_cell_that_lost_a_stage_is_an_error(make_sweep: Any, other: Finished) -> None:
    shutil.rmtree(other.store.stage(other.rows[0]["head_key"]))
    with pytest.raises(BenchError, match=f"lost its stage {other.rows[0]['head_key']}.*run it again"):
        plan_of(make_sweep(attacks="transfer:other"))


def test_a_cell_on_other_data_is_an_error(make_sweep: Any, ran: Any, tmp_path: Path) -> None:
    ran(make_sweep(attacks="clean"))
    images = write_images(tmp_path / "images", side=8)
    with pytest.raises(BenchError, match=r"cannot be transferred to 'folder:.*classes are those of 'digits'"):
        plan_of(make_sweep(attacks="transfer:mine", datasets=f"folder:{images}[like=digits]"))

"""Negative controls: each cheat is caught by the gate that is meant for it, and an honest encoder by none."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from torch import Tensor

from bench.attacks import evaluate
from bench.data.loading import data_set
from bench.errors import BenchError
from bench.gates.table import GATES
from bench.gates.verdicts import Verdict
from bench.plan import DataRef, Plan, StageKind
from bench.planning import plan_of
from bench.registry import Registry
from bench.scan import method_classes
from bench.store import Store
from tests.cheats.survey import (
    CAUGHT,
    CAUGHT_BY_AUDIT,
    CHECKED,
    DATA,
    FOLDER,
    HONEST,
    ONE_SEED,
    PREVENTED,
    REFUSED,
    TAMPERING,
    Sight,
    audited,
    broken_promise,
    plugin,
    run,
    sights,
    sweep_of,
    twins,
)

CHEAP = "slf-1[attacks=pgd20]"
"""Without AutoAttack, which takes seconds for each of them."""
METHODS = ("simclr", "amoc")
"""Some that do what they say."""
INFLATED = ("quantised", "saturated", "detached", "broken-gradient", "scaled", "misled", "shattered", 
            "attack-route", "watchful", "remembers", "stack-reader", "memory")  # fmt: skip
"""Cheats that raise the accuracy under PGD; the others err, or do not come as far as that."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    return Store.open(tmp_path_factory.mktemp("cheats") / "runs")


@pytest.fixture(scope="module")
def seen(store: Store) -> Mapping[str, Sight]:
    """All that leave each other alone, in one sweep."""
    names = dict.fromkeys([HONEST, *METHODS, *CAUGHT, *REFUSED, *CAUGHT_BY_AUDIT])
    del names[TAMPERING]
    return sights(run(sweep_of(names, store.root, CHEAP)), store)


@pytest.fixture(scope="module")
def by_class(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digits in files that are sorted by class."""
    folder = tmp_path_factory.mktemp("images")
    data = data_set(DataRef("digits", "train=200,test=64"), DATA)
    for split, images in (("train", data.train), ("test", data.test)):
        order = images.labels.argsort()
        files = [png(pixels) for pixels in images.pixels[order]]
        table = pa.table({"image": files, "label": images.labels[order].tolist()})
        pq.write_table(table, folder / f"{split}.parquet")
    return f"parquet:{folder}[like=digits]"


def png(pixels: Tensor) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(file, "PNG")
    return file.getvalue()


def error_of(sight: Sight) -> str:
    return str(sight.row["error"])


def test_each_cheat_has_something_that_is_meant_for_it() -> None:
    files = {method.name for file in FOLDER.glob("*.py") for method in method_classes(file) if method.cls == "Cheat"}
    assert files == {*CAUGHT, *CAUGHT_BY_AUDIT, *REFUSED, *CHECKED, *PREVENTED, ONE_SEED}
    assert set(CAUGHT.values()) | set(CAUGHT_BY_AUDIT.values()) <= set(GATES)


class TestEveryEvaluation:
    def test_the_undefended_encoder_is_what_it_seems(self, seen: Mapping[str, Sight]) -> None:
        honest = seen[HONEST]
        assert honest.row["sa"] > 70
        assert honest.row["ra_pgd20"] < 10
        assert (honest.row["gate_verdict"], honest.those(Verdict.WARN)) == (Verdict.OK, set())

    @pytest.mark.parametrize("name", METHODS)
    def test_no_method_of_the_literature_is_taken_for_one(self, seen: Mapping[str, Sight], name: str) -> None:
        assert (seen[name].row["status"], seen[name].those(Verdict.FAIL)) == ("ok", set())

    @pytest.mark.parametrize("name", INFLATED)
    def test_it_looks_robust(self, seen: Mapping[str, Sight], name: str) -> None:
        assert seen[name].row["ra_pgd20"] >= seen[HONEST].row["ra_pgd20"] + 10

    @pytest.mark.parametrize(("name", "gate"), CAUGHT.items())
    def test_it_is_caught_by_the_gate_meant_for_it(self, seen: Mapping[str, Sight], name: str, gate: str) -> None:
        assert gate in seen[name].those(Verdict.FAIL) | seen[name].those(Verdict.WARN)
        assert seen[name].row["gate_verdict"] == Verdict.FAIL

    @pytest.mark.parametrize(("name", "reason"), REFUSED.items())
    def test_it_is_refused_by_name(self, seen: Mapping[str, Sight], name: str, reason: str) -> None:
        assert seen[name].row["status"] == "failed"
        assert reason in error_of(seen[name])


class TestAudits:
    """What no row shows by itself."""

    def test_who_answers_attacks_otherwise_falls_to_images_of_another_network(
        self, seen: Mapping[str, Sight], store: Store
    ) -> None:
        row = self.fails(store, seen["stack-reader"], CAUGHT_BY_AUDIT["stack-reader"])
        assert row["gate_verdict"] == Verdict.FAIL

    def test_who_knows_the_test_images_stands_on_them_better_than_on_those_it_was_trained_on(
        self, seen: Mapping[str, Sight], store: Store
    ) -> None:
        self.fails(store, seen["memory"], CAUGHT_BY_AUDIT["memory"])

    def test_a_replaced_attack_cannot_even_turn_images_grey(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(evaluate, "ascend_in", evaluate.ascend_in)  # Put back in the end.
        sight = sights(run(sweep_of([TAMPERING], store.root, CHEAP)), store)[TAMPERING]
        assert sight.row["ra_pgd20"] == sight.row["sa"] > 70
        self.fails(store, sight, CAUGHT_BY_AUDIT[TAMPERING])

    def fails(self, store: Store, sight: Sight, gate: str) -> Mapping[str, Any]:
        """The cell's row after an audit that finds what was not found before."""
        assert sight.row["gate_verdict"] != Verdict.FAIL
        (result,) = audited(store, sight.row, (gate,))
        assert result.verdict is Verdict.FAIL
        return store.latest_rows()[sight.row["cell"]]


class TestTraining:
    """What the gates of an encoder cannot show."""

    @pytest.mark.parametrize("name", CHECKED)
    def test_bench_check_finds_the_promise_that_is_broken(self, name: str) -> None:
        assert broken_promise(name)

    def test_seeds_of_one_and_the_same_encoder_are_no_evidence(self, tmp_path: Path) -> None:
        reading = twins(tmp_path / "runs")
        assert (reading.number, reading.detail) == (1, f"{ONE_SEED}: seeds 0, 1")


class TestOrder:
    """Files that are sorted by class, so that an image's place in them tells its class."""

    @pytest.fixture
    def accuracy(self, store: Store, by_class: str) -> Callable[[str], float]:
        """Of the head that a cheat brings along: it is as good as what it knows of the classes."""

        def accuracy(name: str) -> float:
            plan = run(sweep_of([name], store.root, "own-1[attacks=clean]", datasets=by_class, limit=None))
            (sight,) = sights(plan, store).values()
            return float(sight.row["sa"])

        return accuracy

    def test_the_order_that_a_method_is_handed_tells_nothing(self, accuracy: Callable[[str], float]) -> None:
        assert accuracy("file-order") < 30

    def test_positions_would_tell_all_and_so_have_to_be_declared(
        self, accuracy: Callable[[str], float], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(BenchError, match=r"notes on each pre-training image \(position\).*`external_data`"):
            accuracy("positions")
        cheat = Registry.discover().find(plugin("positions")).load()
        monkeypatch.setattr(cheat, "external_data", lambda self: True)
        assert accuracy("positions") > 60


class TestStore:
    def test_weights_from_a_file_that_is_no_setting_are_found_by_computing_them_again(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        weights = tmp_path / "weights"
        monkeypatch.setenv("STALE_WEIGHTS", str(weights))
        weights.write_text("1")
        before = sights(run(sweep_of(["stale"], store.root, CHEAP)), store)["stale"]
        weights.write_text("-1")
        assert sights(run(sweep_of(["stale"], store.root, CHEAP)), store)["stale"].row == before.row
        after = sights(run(sweep_of(["stale"], store.root, CHEAP, rerun=True)), store)["stale"]
        assert after.row["status"] == "failed"
        assert "has other bits" in error_of(after)

    def test_a_stage_of_another_model_under_this_ones_key_is_refused(
        self, seen: Mapping[str, Sight], store: Store, tmp_path: Path
    ) -> None:
        swapped = Store.open(shutil.copytree(store.root, tmp_path / "runs"))
        own, other = (seen[name].row["pretrain_key"] for name in (HONEST, "quantised"))
        shutil.rmtree(swapped.stage(own))
        shutil.copytree(swapped.stage(other), swapped.stage(own))
        for key in heads_of(plan_of(sweep_of([HONEST], store.root, CHEAP))):
            shutil.rmtree(swapped.stage(key))
        sight = sights(run(sweep_of([HONEST], swapped.root, CHEAP)), swapped)[HONEST]
        assert "it is the record of another stage" in error_of(sight)


def heads_of(plan: Plan) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind is StageKind.HEAD]

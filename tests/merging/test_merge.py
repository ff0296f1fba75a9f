"""Stores of several machines become one: silently where they agree, by a rule where they do not, never by chance."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.executors.product import sound
from bench.merging.merge import Merge
from bench.plan import StageKind
from bench.store import STAGE, Folder, Store, parsed
from tests.cli.runner import invoke
from tests.plugins import write_method

SHIFTED = "encoder.linear.weight.data += float(os.environ.get('SHIFT', '0'))"
"""A pre-training whose bits depend on what no recipe knows of."""

Machine = Callable[..., Store]


@pytest.fixture
def machine(tmp_path: Path, make_sweep: Any, ran: Any, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """Carries out a sweep on a machine, whose name is its store's and its device's."""
    method = write_method(tmp_path, body=SHIFTED)

    def run(name: str, shift: float = 0.0, **options: Any) -> Store:
        monkeypatch.setenv("SHIFT", str(shift))
        store: Store = ran(make_sweep(methods=method, out=tmp_path / name, **options)).store
        return store

    return run


def elsewhere(store: Store, device: str = "another CPU") -> Store:
    """The store as if another device had computed all of it."""
    for key in store.finished():
        record = store.record(key)
        record["context"]["device"] = device
        (store.stage(key) / STAGE).write_text(json.dumps(record))
    return store


def merged(out: Path, *stores: Store, prefer: str | None = None) -> Store:
    Merge.planned([store.root for store in stores], out, prefer).carry_out()
    return Store.existing(out)


def bits(store: Store) -> Mapping[str, str]:
    return {key: store.record(key)["bits"] for key in store.finished()}


def all_sound(store: Store) -> bool:
    return all(sound(store, record_key, StageKind(store.record(record_key)["kind"])) for record_key in store.finished())


class TestAgreement:
    def test_rows_stages_and_outcomes_come_along(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one", seeds="0,"), machine("other", seeds="1,")
        both = merged(tmp_path / "both", one, other)
        assert both.latest_rows() == {**one.latest_rows(), **other.latest_rows()}
        assert bits(both) == {**bits(one), **bits(other)}
        assert all_sound(both)

    def test_the_same_numbers_merge_silently_and_only_once(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one"), elsewhere(machine("other"))
        plan = Merge.planned([one.root, other.root], tmp_path / "both", None)
        assert plan.decision.conflicts == []
        assert plan.carry_out().rows == 1
        again = Merge.planned([other.root, one.root], tmp_path / "both", None).carry_out()
        assert (again.stages, again.rows) == (0, 0)

    def test_a_run_on_the_merged_store_finds_everything_done(self, tmp_path: Path, machine: Machine) -> None:
        both = merged(tmp_path / "both", machine("one", seeds="0,"), machine("other", seeds="1,"))
        files = sorted(both.root.glob("rows/*"))
        machine("both", seeds="0,1")
        assert sorted(both.root.glob("rows/*")) == files

    def test_a_store_can_be_added_to(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one", seeds="0,"), machine("other", seeds="1,")
        merged(one.root, other)
        assert sorted(row["seed_pretrain"] for row in one.latest_rows().values()) == [0, 1]

    def test_a_failure_comes_along_and_gives_way_to_a_number(
        self, tmp_path: Path, machine: Machine, make_sweep: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        failing = machine("failing", shift=float("nan"))
        (row,) = failing.latest_rows().values()
        assert row["status"] == "failed"
        alone = merged(tmp_path / "alone", failing)
        assert [one["error"] for one in alone.failures().values()] == [row["error"]]
        with_number = merged(tmp_path / "both", failing, machine("well"), prefer="newest")
        assert [one["status"] for one in with_number.latest_rows().values()] == ["ok"]


class TestConflict:
    @pytest.fixture
    def stores(self, machine: Machine) -> tuple[Store, Store]:
        """Two machines on which a pre-training has other bits; the second one has a protocol more."""
        return machine("one"), elsewhere(machine("other", shift=0.5, protocols="cheap,cheap-alf"))

    def test_it_needs_a_rule_and_nothing_is_written(self, tmp_path: Path, stores: tuple[Store, Store]) -> None:
        with pytest.raises(BenchError, match="other numbers under the same keys .*--prefer newest"):
            merged(tmp_path / "both", *stores)
        assert not (tmp_path / "both").exists()

    def test_only_its_root_is_one(self, tmp_path: Path, stores: tuple[Store, Store]) -> None:
        plan = Merge.planned([store.root for store in stores], tmp_path / "both", None)
        ((conflict, found),) = plan.compared()
        assert conflict.copies[0].facts["kind"] == "pretrain", "heads and outcomes differ because of it"
        assert found.provenance[0].endswith("-> another CPU")
        assert any("images differ" in text for text in found.numbers)

    @pytest.mark.parametrize(("prefer", "kept"), [("first", 0), ("newest", 1), ("other", 1), ("one", 0)])
    def test_a_rule_keeps_one_version_with_all_that_rests_on_it(
        self, tmp_path: Path, stores: tuple[Store, Store], prefer: str, kept: int
    ) -> None:
        rule = prefer if prefer in ("first", "newest") else str(tmp_path / prefer)
        both = merged(tmp_path / "both", *stores, prefer=rule)
        assert bits(both) == bits(stores[kept]), "no head or outcome of the other machine's encoder"
        assert both.latest_rows().keys() == stores[kept].latest_rows().keys()

    def test_what_rests_on_the_other_version_is_named(self, tmp_path: Path, stores: tuple[Store, Store]) -> None:
        plan = Merge.planned([store.root for store in stores], tmp_path / "both", "first")
        (left,) = plan.decision.rows_left.values()
        assert left["protocol"] == "cheap-alf"

    def test_a_difference_beyond_chance_is_a_finding_and_a_warning_of_its_rows(
        self, tmp_path: Path, machine: Machine
    ) -> None:
        one, other = machine("one"), elsewhere(machine("other", shift=5.0))
        for key in other.finished():
            if other.record(key)["what"]["attack"] == "clean":
                break
        plan = Merge.planned([one.root, other.root], tmp_path / "both", "first")
        ((_, found),) = plan.compared()
        plan.carry_out()
        (row,) = Store.existing(tmp_path / "both").latest_rows().values()
        assert found.is_finding == found.beyond_chance
        assert any("has other bits in" in text for text in json.loads(row["warnings"])) == found.beyond_chance
        assert found.beyond_chance

    def test_a_store_is_never_overwritten(self, stores: tuple[Store, Store]) -> None:
        one, other = stores
        before = bits(one)
        with pytest.raises(BenchError, match="never replaced: name a new folder"):
            merged(one.root, other, prefer="newest")
        assert bits(one) == before

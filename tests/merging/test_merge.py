"""Stores of several machines become one: silently where they agree, by a rule where they do not, never by chance."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bench.errors import BenchError
from bench.executors.product import sound
from bench.merging.decisions import Kind
from bench.merging.merge import Merge
from bench.plan import StageKind
from bench.schema import Row
from bench.store import FORMAT, STAGE, Store
from bench.sweep import Sweep
from tests.cli.runner import invoke
from tests.conftest import Ran, add_cheap_protocols, cheap_sweep
from tests.plugins import write_method

SHIFTED = "encoder.linear.weight.data += float(os.environ.get('SHIFT', '0'))"
"""A pre-training whose bits depend on what no recipe knows of."""
MACHINES: Mapping[str, tuple[float, Mapping[str, Any]]] = {
    "one": (0.0, {"seeds": "0,"}),
    "other": (0.0, {"seeds": "1,"}),
    "shifted": (0.5, {"seeds": "0,", "protocols": "cheap,cheap-alf"}),
    "far": (5.0, {"seeds": "0,"}),
    "failing": (float("nan"), {"seeds": "0,"}),
}
"""By how much a machine shifts weights, and what it ran."""


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the store of each machine; not to be changed."""
    folder = tmp_path_factory.mktemp("machines")
    with pytest.MonkeyPatch.context() as patch:
        add_cheap_protocols(patch)
        for name, (shift, options) in MACHINES.items():
            patch.setenv("SHIFT", str(shift))
            method = write_method(folder, body=SHIFTED)
            Ran(cheap_sweep(folder, methods=method, out=folder / name, **options))
        yield folder


Machine = Callable[..., Store]


@pytest.fixture
def machine(machines: Path, tmp_path: Path) -> Machine:
    """A copy of a machine's store, as if it had been computed on `device`."""

    def copied(name: str, device: str | None = None, to: str | None = None) -> Store:
        store = Store(Path(shutil.copytree(machines / name, tmp_path / (to or name))))
        for key in store.finished() if device else ():
            edit(store, key, lambda record: record["context"].update(device=device))
        return store

    return copied


def edit(store: Store, key: str, change: Callable[[dict[str, Any]], object]) -> None:
    record = store.record(key)
    change(record)
    (store.stage(key) / STAGE).write_text(json.dumps(record))


def planned(out: Path, *stores: Store, prefer: str | None = None) -> Merge:
    return Merge.planned([store.root for store in stores], out, prefer)


def merged(out: Path, *stores: Store, prefer: str | None = None) -> Store:
    planned(out, *stores, prefer=prefer).carry_out()
    return Store.existing(out)


def bits(store: Store) -> Mapping[str, str]:
    return {key: store.record(key)["bits"] for key in store.finished()}


def only_row(store: Store) -> Mapping[str, Any]:
    (row,) = store.latest_rows().values()
    return row


class TestAgreement:
    def test_rows_stages_and_outcomes_come_along(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one"), machine("other")
        both = merged(tmp_path / "both", one, other)
        assert both.latest_rows() == {**one.latest_rows(), **other.latest_rows()}
        assert bits(both) == {**bits(one), **bits(other)}
        assert all(sound(both, key, StageKind(both.record(key)["kind"])) for key in both.finished())

    def test_the_same_numbers_merge_silently_and_only_once(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one"), machine("one", "another CPU", to="twin")
        plan = planned(tmp_path / "both", one, other)
        assert plan.decision.conflicts == []
        assert plan.carry_out().rows == 1
        again = planned(tmp_path / "both", other, one).carry_out()
        assert (again.stages, again.rows) == (0, 0)

    def test_a_run_on_the_merged_store_finds_everything_done(
        self, tmp_path: Path, machines: Path, machine: Machine
    ) -> None:
        both = merged(tmp_path / "both", machine("one"), machine("other"))
        files = sorted(both.root.glob("rows/*"))
        options = {"protocols": "cheap", "limit": "train=40,test=20", "device": "cpu", "jobs": 1, "seeds": "0,1"}
        Ran(Sweep.of(methods=str(machines / "mine.py"), out=both.root, data_dir=tmp_path, **options))
        assert sorted(both.root.glob("rows/*")) == files

    def test_a_store_can_be_added_to(self, machine: Machine) -> None:
        one = machine("one")
        merged(one.root, machine("other"))
        assert sorted(row["seed_pretrain"] for row in one.latest_rows().values()) == [0, 1]

    def test_a_failure_comes_along_with_its_traceback(self, tmp_path: Path, machine: Machine) -> None:
        both = merged(tmp_path / "both", machine("failing"))
        ((key, failure),) = both.failures().items()
        assert failure["error"] == only_row(both)["error"]
        assert "Error" in both.log(key).read_text()

    def test_a_failure_gives_way_to_a_number(self, tmp_path: Path, machine: Machine) -> None:
        failing, one = machine("failing"), machine("one")
        both = merged(tmp_path / "both", failing, one, prefer=str(one.root))
        assert only_row(both)["status"] == "ok"
        assert both.failures() == {}


class TestConflict:
    @pytest.fixture
    def stores(self, machine: Machine) -> tuple[Store, Store]:
        """Two machines on which a pre-training has other bits; the second one has a protocol more."""
        return machine("one"), machine("shifted", "another CPU")

    def test_it_needs_a_rule_and_nothing_is_written(self, tmp_path: Path, stores: tuple[Store, Store]) -> None:
        with pytest.raises(BenchError, match=r"other numbers under the same keys .*--prefer newest"):
            merged(tmp_path / "both", *stores)
        assert not (tmp_path / "both").exists()

    def test_only_its_root_is_one(self, tmp_path: Path, stores: tuple[Store, Store]) -> None:
        ((conflict, found),) = planned(tmp_path / "both", *stores).compared()
        assert conflict.copies[0].facts["kind"] == "pretrain", "heads and outcomes differ because of it"
        assert found.provenance[0].endswith("-> another CPU")
        assert any("images differ" in text for text in found.numbers)

    @pytest.mark.parametrize(("prefer", "kept"), [("first", 0), ("newest", 1), ("shifted", 1), ("one", 0)])
    def test_a_rule_keeps_one_version_with_all_that_rests_on_it(
        self, tmp_path: Path, stores: tuple[Store, Store], prefer: str, kept: int
    ) -> None:
        rule = prefer if prefer in ("first", "newest") else str(tmp_path / prefer)
        both = merged(tmp_path / "both", *stores, prefer=rule)
        assert bits(both) == bits(stores[kept]), "no head or outcome of the other machine's encoder"
        assert both.latest_rows().keys() == stores[kept].latest_rows().keys()

    def test_what_rests_on_the_other_version_is_named(self, tmp_path: Path, stores: tuple[Store, Store]) -> None:
        (left,) = planned(tmp_path / "both", *stores, prefer="first").decision.rows_left.values()
        assert left["protocol"] == "cheap-alf"

    def test_a_store_is_never_overwritten(self, stores: tuple[Store, Store]) -> None:
        one, other = stores
        before = bits(one)
        with pytest.raises(BenchError, match="never replaced: name a new folder"):
            merged(one.root, other, prefer="newest")
        assert bits(one) == before

    def test_rows_of_other_code_are_one_too(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one"), machine("one", to="newer")
        changes = {"sa": 1.0, "plugin_hash": "newer", "pretrain_key": "p" * 24, "head_key": None, "outcomes": "{}"}
        other.add_row(Row(**{**only_row(other), **changes, "audits": "[]"}))
        ((conflict, found),) = planned(tmp_path / "both", one, other).compared()
        assert conflict.kind is Kind.ROW
        assert any(text.endswith("-> 1.0") for text in found.numbers)
        assert any(text.startswith("plugin_hash: ") for text in found.provenance)
        assert only_row(merged(tmp_path / "both", one, other, prefer=str(other.root)))["sa"] == 1.0


class TestFindings:
    @pytest.mark.parametrize(
        ("name", "device"),
        [("far", "another CPU"), ("far", None), ("shifted", None)],
        ids=["beyond chance elsewhere", "beyond chance", "other bits in the same context"],
    )
    def test_it_is_kept_and_warns_the_rows_that_rest_on_it(
        self, tmp_path: Path, machine: Machine, name: str, device: str | None
    ) -> None:
        plan = planned(tmp_path / "both", machine("one"), machine(name, device), prefer="first")
        ((_, found),) = plan.compared()
        plan.carry_out()
        assert found.is_finding and found.broken == (device is None)
        assert any("and has other bits" in text for text in json.loads(only_row(Store(tmp_path / "both"))["warnings"]))

    def test_a_second_merge_says_it_again(self, tmp_path: Path, machine: Machine) -> None:
        stores = machine("one"), machine("far", "another CPU")
        merged(tmp_path / "both", *stores, prefer="first")
        again = planned(tmp_path / "both", *stores, prefer="first").carry_out()
        assert (again.stages, again.rows) == (0, 0)

    def test_what_chance_explains_elsewhere_is_none(self, tmp_path: Path, machine: Machine) -> None:
        one, other = machine("one"), machine("one", "another CPU", to="twin")
        (key,) = (key for key in other.finished() if other.record(key)["kind"] == "pretrain")
        edit(other, key, lambda record: record.update(bits="other"))
        plan = planned(tmp_path / "both", one, other, prefer="first")
        ((_, found),) = plan.compared()
        plan.carry_out()
        assert (found.is_finding, found.broken) == (False, False)
        assert json.loads(only_row(Store(tmp_path / "both"))["warnings"]) == json.loads(only_row(one)["warnings"])


def make_its_row_newer(store: Store) -> None:
    file = next(store.root.glob("rows/*"))
    row = pq.read_table(file).to_pydict() | {"schema_version": [99]}
    pq.write_table(pa.table(row), file)


class TestRefusals:
    @pytest.mark.parametrize(
        ("spoil", "message"),
        [
            (lambda store: (store.root / FORMAT).unlink(), "is no store of results"),
            (lambda store: (store.root / FORMAT).write_text('{"schema_version": 99}'), "schema version 99.*upgrade"),
            (lambda store: next(store.root.glob("rows/*")).write_bytes(b"PAR1"), r"is damaged \(.*run"),
            (make_its_row_newer, "rows.*schema version 99.*upgrade"),
            (lambda store: next(store.root.glob("stages/*/head*")).write_bytes(b"torn"), "is damaged.*--rerun"),
        ],
        ids=["no store", "a newer schema", "a torn row", "a newer row", "a torn product"],
    )
    def test_a_store_that_is_not_whole(
        self, tmp_path: Path, machine: Machine, spoil: Callable[[Store], object], message: str
    ) -> None:
        store = machine("one")
        spoil(store)
        with pytest.raises(BenchError, match=message):
            merged(tmp_path / "both", store, machine("other"))

    def test_an_out_of_a_newer_schema(self, machine: Machine) -> None:
        one, out = machine("one"), machine("other")
        (out.root / FORMAT).write_text('{"schema_version": 99}')
        with pytest.raises(BenchError, match="schema version 99"):
            merged(out.root, one)

    def test_a_stage_that_somebody_works_on(self, tmp_path: Path, machine: Machine) -> None:
        one, out = machine("one"), Store.open(tmp_path / "both")
        with out.lock(one.finished()[0]), pytest.raises(BenchError, match="another process works on"):
            merged(out.root, one)
        assert out.finished() == []

    @pytest.mark.parametrize(
        ("names", "prefer", "message"),
        [(("one", "one"), None, "are one store"), (("one", "other"), "frist", "did you mean 'first'")],
    )
    def test_a_slip(
        self, tmp_path: Path, machines: Path, names: tuple[str, ...], prefer: str | None, message: str
    ) -> None:
        with pytest.raises(BenchError, match=message):
            planned(tmp_path / "both", *(Store(machines / name) for name in names), prefer=prefer)


def test_on_the_command_line(tmp_path: Path, machine: Machine) -> None:
    names = [str(store.root) for store in (machine("one"), machine("shifted"))]
    code, out, err = invoke("merge", *names, "--out", str(tmp_path / "both"))
    assert code == 2 and "pretrain mine digits seed 0" in out
    assert "the bits should be the same" in out and "--prefer newest" in err
    code, out, _ = invoke("merge", *names, "--out", str(tmp_path / "both"), "--prefer", "first", "--dry-run")
    assert code == 0 and "nothing was written" in out and not (tmp_path / "both").exists()
    code, out, _ = invoke("merge", *names, "--out", str(tmp_path / "both"), "--prefer", "first")
    assert code == 1, "the context is one and deterministic"
    assert "settled by --prefer first" in out and "left out" in out and "cheap-alf" in out

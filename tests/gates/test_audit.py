"""Gates in the store: a stage of each cell, columns of its row, and what `bench audit` adds to them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.executors import execute, work
from bench.gates.table import cheap
from bench.gates.verdicts import Result, Verdict
from bench.plan import StageKind
from bench.planning import plan_of
from bench.schema import Row
from bench.store import Store
from tests.cli.runner import invoke
from tests.gates.conftest import Cell
from tests.plugins import write_method


def audit(store: Store, *arguments: str) -> tuple[int, str, str]:
    return invoke("audit", "mine", "--out", str(store.root), "--device", "cpu", *arguments)


def fail(monkeypatch: pytest.MonkeyPatch, gate: str) -> None:
    """From now on a gate fails, whatever is audited."""

    def audited(*args: Any) -> tuple[Result, ...]:
        return tuple(Result(name, Verdict.FAIL if name == gate else Verdict.OK, 1.0, 0.5, why="so") for name in args[4])

    monkeypatch.setattr(work, "audit", audited)


def test_every_evaluation_ends_with_the_cheap_gates(cell: Cell) -> None:
    row = cell.row
    gates = json.loads(row["gates"])
    assert set(gates) == set(cheap())
    assert {"verdict", "number", "threshold"} <= set(gates["R1"])
    assert row["gate_verdict"] in ("ok", "warn")
    (key,) = json.loads(row["audits"])
    assert cell.store.record(key)["kind"] == StageKind.AUDIT


def test_a_dear_gate_is_measured_once_and_kept_with_the_row(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, err = audit(cell.store, "--gates", "O3,R1", "--format", "json")
    told = json.loads(text)
    assert (code, err, told["cell"]) == (0, "", "mine/digits/cheap/seed0")
    assert list(told["gates"]) == ["O3", "R1"]
    assert set(json.loads(cell.row["gates"])) == {*cheap(), "O3"}
    before = len(cell.store.finished())
    monkeypatch.setattr(work, "audit", None)  # Measuring again would break.
    assert audit(cell.store, "--gates", "O3,R1", "--format", "json")[1] == text
    assert len(cell.store.finished()) == before
    assert len(cell.store.row_files(cell.row["cell"])) == 2


def test_a_fail_marks_the_row_and_stays_there(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "O4")
    code, text, _ = audit(cell.store, "--gates", "O3,O4")
    assert code == 1
    assert "O4" in text
    assert "fail" in text
    assert cell.row["gate_verdict"] == "fail"
    assert audit(cell.store, "--gates", "O3")[0] == 0
    assert cell.row["gate_verdict"] == "fail"


def test_a_run_that_finds_all_finished_keeps_what_was_audited(cell: Cell) -> None:
    audit(cell.store, "--gates", "O3")
    audited = cell.row
    assert execute(plan_of(cell.sweep), cell.store, cell.sweep, lambda _: None).done == 0
    assert cell.row == audited, "created included: it is the very row"


def test_garbage_collection_keeps_audits(cell: Cell) -> None:
    audit(cell.store, "--gates", "O3")
    assert len(json.loads(cell.row["audits"])) == 2
    assert invoke("gc", "--out", str(cell.store.root))[0] == 0
    for key in json.loads(cell.row["audits"]):
        assert cell.store.has(key)


def test_an_interrupted_audit_goes_on_after_the_last_gate(cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = work.audit

    def interrupted(*args: Any) -> Any:
        if args[4] == ("O7",):
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(work, "audit", interrupted)
    assert audit(cell.store, "--gates", "O3,O7")[0] == 130
    assert set(json.loads(cell.row["gates"])) == {*cheap(), "O3"}
    asked: list[Any] = []
    monkeypatch.setattr(work, "audit", lambda *args: asked.append(args[4]) or honest(*args))
    assert audit(cell.store, "--gates", "O3,O7")[0] == 0
    assert asked == [("O7",)]


WRONG = {
    "an unknown gate": (["--gates", "O99"], "unknown gate 'O99'"),
    "a cell and a campaign": (["--campaign"], "either a CELL or --campaign"),
    "a device that is not there": (["--gates", "O3", "--device", "cuda:99"], "not there"),
}


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_named(case: str, cell: Cell) -> None:
    options, told = WRONG[case]
    code, _, err = invoke("audit", "mine", "--out", str(cell.store.root), *options)
    assert code == 2
    assert told in err


def test_a_cell_that_lost_a_stage_cannot_be_audited(cell: Cell) -> None:
    key = cell.row["head_key"]
    cell.store.remove(key, cell.store.remains(key))
    code, _, err = audit(cell.store, "--gates", "O3")
    assert (code, key in err, "run it again first" in err) == (2, True, True)


def test_a_failed_cell_cannot_be_audited(cell: Cell) -> None:
    cell.store.add_row(Row(**{**cell.row, "status": "failed", "error": "the loss became NaN"}))
    code, _, err = audit(cell.store)
    assert (code, "nothing to audit" in err) == (2, True)


def test_transfer_attacks_come_from_networks_that_are_trained_for_it(
    cell: Cell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two throw-away methods take the places of the supervised and the undefended one."""
    from bench.executors import audits

    folder = cell.store.root.parent
    others = tuple(write_method(folder / name, name) for name in ("robust", "undefended"))
    monkeypatch.setattr(audits, "SURROGATES", others)
    monkeypatch.setattr(audits, "SURROGATE_PROTOCOL", "cheap")
    rows = len(cell.store.cells())
    _, text, err = audit(cell.store, "--gates", "G2", "--format", "json")
    assert err == ""
    detail = json.loads(text)["gates"]["G2"]["detail"]
    assert "robust digits seed 0" in detail
    assert "undefended digits seed 0" in detail
    assert len(cell.store.cells()) == rows, "they are nobody's rows"

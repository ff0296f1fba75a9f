"""Gates in the store: a stage of each cell, columns of its row, and what `bench audit` adds to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.executors import work
from bench.gates.table import cheap
from bench.gates.verdicts import Result, Verdict
from bench.plan import StageKind
from bench.store import Store
from tests.cli.runner import invoke
from tests.plugins import write_method

NOISY = "    def encode(self, x): ..."


@pytest.fixture
def cell(make_sweep: Any, ran: Any) -> Any:
    """A store with one finished cell, `mine`."""
    return ran(make_sweep())


def audit(store: Store, *arguments: str) -> tuple[int, str, str]:
    return invoke("audit", "mine", "--out", str(store.root), "--device", "cpu", *arguments)


def row_of(store: Store) -> dict[str, Any]:
    (row,) = store.latest_rows().values()
    return row


def fail(monkeypatch: pytest.MonkeyPatch, gate: str) -> None:
    """From now on a gate fails, whatever is audited."""

    def audited(*args: Any) -> tuple[Result, ...]:
        return tuple(Result(name, Verdict.FAIL if name == gate else Verdict.OK, 1.0, 0.5, why="so") for name in args[4])

    monkeypatch.setattr(work, "audit", audited)


def test_every_evaluation_ends_with_the_cheap_gates(cell: Any) -> None:
    row = row_of(cell.store)
    gates = json.loads(row["gates"])
    assert set(gates) == set(cheap())
    assert {"verdict", "number", "threshold"} <= set(gates["R1"])
    assert row["gate_verdict"] in ("ok", "warn")
    (key,) = json.loads(row["audits"])
    assert cell.store.record(key)["kind"] == StageKind.AUDIT


def test_a_dear_gate_is_measured_once_and_kept_with_the_row(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    code, text, err = audit(cell.store, "--gates", "O3,R1", "--format", "json")
    told = json.loads(text)
    assert (code, err, told["cell"]) == (0, "", "mine/digits/cheap/seed0")
    assert list(told["gates"]) == ["O3", "R1"]
    assert set(json.loads(row_of(cell.store)["gates"])) == {*cheap(), "O3"}
    before = len(cell.store.finished())
    monkeypatch.setattr(work, "audit", None)  # Measuring again would break.
    assert audit(cell.store, "--gates", "O3,R1", "--format", "json")[1] == text
    assert len(cell.store.finished()) == before
    assert len(cell.store.row_files(row_of(cell.store)["cell"])) == 2


def test_a_fail_marks_the_row_and_stays_there(cell: Any, make_sweep: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fail(monkeypatch, "O4")
    code, text, _ = audit(cell.store, "--gates", "O3,O4")
    assert code == 1
    assert "O4" in text
    assert "fail" in text
    assert row_of(cell.store)["gate_verdict"] == "fail"
    monkeypatch.undo()
    assert audit(cell.store, "--gates", "O3")[0] == 0


def test_a_run_that_finds_all_finished_keeps_what_was_audited(cell: Any, make_sweep: Any, ran: Any) -> None:
    audit(cell.store, "--gates", "O3")
    audited = row_of(cell.store)
    again = ran(make_sweep())
    assert again.summary.done == 0
    assert row_of(again.store) == audited, "created included: it is the very row"


def test_garbage_collection_keeps_audits(cell: Any) -> None:
    audit(cell.store, "--gates", "O3")
    assert len(json.loads(row_of(cell.store)["audits"])) == 2
    assert invoke("gc", "--out", str(cell.store.root))[0] == 0
    for key in json.loads(row_of(cell.store)["audits"]):
        assert cell.store.has(key)


def test_an_interrupted_audit_goes_on_after_the_last_gate(cell: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = work.audit

    def interrupted(*args: Any) -> Any:
        if args[4] == ("O7",):
            raise KeyboardInterrupt
        return honest(*args)

    monkeypatch.setattr(work, "audit", interrupted)
    assert audit(cell.store, "--gates", "O3,O7")[0] == 130
    assert set(json.loads(row_of(cell.store)["gates"])) == {*cheap(), "O3"}
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
def test_bad_input_is_named(case: str, cell: Any) -> None:
    options, told = WRONG[case]
    code, _, err = invoke("audit", "mine", "--out", str(cell.store.root), *options)
    assert code == 2
    assert told in err


def test_a_cell_that_lost_a_stage_cannot_be_audited(cell: Any) -> None:
    key = row_of(cell.store)["head_key"]
    cell.store.remove(key, cell.store.remains(key))
    code, _, err = audit(cell.store, "--gates", "O3")
    assert (code, key in err, "run it again first" in err) == (2, True, True)


def test_a_failed_cell_cannot_be_audited(make_sweep: Any, ran: Any, tmp_path: Path) -> None:
    failed = ran(make_sweep(methods=write_method(tmp_path, body="raise ValueError('no')")))
    code, _, err = audit(failed.store)
    assert (code, "nothing to audit" in err) == (2, True)


def test_transfer_attacks_come_from_networks_that_are_trained_for_it(
    cell: Any, monkeypatch: pytest.MonkeyPatch
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

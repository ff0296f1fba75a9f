"""`run`, `plan`, `why`, `list` and `doctor`: they show what planner, executor and store say."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest

import bench.sweep as sweeps
from bench import planning
from bench.cli import main, run
from bench.cli.doctor import doctor
from bench.cli.estimates import estimate
from bench.errors import BenchError
from bench.executors import events
from bench.executors.events import Event, StageState, Summary
from bench.plan import IDENTITY, Cell, DataRef, MethodRef, Plan, Seeds, Stage, StageKind, Task
from bench.store import Store
from bench.sweep import Sweep
from tests.cli.runner import invoke

METHOD = MethodRef("ncp", "ncp", {}, "digits")
DATA = DataRef("digits")


def stage(kind: StageKind, label: str, upstream: dict[str, str], weight: float, attack: str | None = None) -> Stage:
    return Stage(kind, label, Task(METHOD, DATA, 0, "slf-1", attack), {"label": label}, upstream, weight)


TEACHER = stage(StageKind.PRETRAIN, "simclr digits seed 0", {}, 1000)
PRETRAIN = stage(StageKind.PRETRAIN, "ncp digits seed 0", {"teacher": TEACHER.key}, 4000)
HEAD = stage(StageKind.HEAD, "ncp digits seed 0 slf-1", {"encoder": PRETRAIN.key}, 10)
ATTACK = stage(StageKind.ATTACK, "ncp digits seed 0 slf-1 clean", {"head": HEAD.key}, 100, "clean")
CELL = Cell(
    label="ncp[neighbour=3]",
    method=METHOD,
    data=DATA,
    pool=DATA,
    seeds=Seeds(0, 0, 0),
    protocol="slf-1",
    pretrain=PRETRAIN.key,
    head=HEAD.key,
    attacks={"clean": ATTACK.key},
    facts=dict.fromkeys(IDENTITY),
)
PLAN = Plan((CELL,), {made.key: made for made in (TEACHER, PRETRAIN, HEAD, ATTACK)})


def finish(store: Store, made: Stage, seconds: float, cuda: str | None = None) -> None:
    record = {"kind": made.kind, "label": made.label, "recipe": made.recipe, "upstream": made.upstream}
    ran = {"seconds": seconds, "created": "2026-01-02T03:04:05+00:00", "context": {"cuda": cuda}}
    store.put(made.key, {**record, **ran}, {})


@pytest.fixture
def out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A store's folder; every sweep has the plan above."""
    monkeypatch.setattr(planning, "plan_of", lambda *_, **__: PLAN)
    return tmp_path / "runs"


@pytest.fixture
def store(out: Path) -> Store:
    return Store.open(out)


class TestRun:
    @pytest.fixture
    def executed(
        self, out: Path, monkeypatch: pytest.MonkeyPatch
    ) -> Callable[[Summary | BaseException], tuple[int, str, str]]:
        """`bench run` with an executor that ends as told; the table is one line."""

        def table(**filters: object) -> None:
            print("table of", *filters.values())

        class Point:
            load = staticmethod(lambda: table)

        monkeypatch.setattr(run.importlib.metadata, "entry_points", lambda **_: [Point])

        def executed(ending: Summary | BaseException) -> tuple[int, str, str]:
            def execute(plan: Plan, _: Store, __: Sweep, listen: events.Listener, server: None) -> Summary:
                if isinstance(ending, BaseException):
                    raise ending
                for key in plan.stages:
                    listen(Event(key, StageState.RUNNING))
                    listen(Event(key, StageState.DONE))
                return ending

            monkeypatch.setattr("bench.executors.execute", execute)
            monkeypatch.setattr("bench.executors.warmed_up", lambda _: nullcontext())
            return invoke("run", "--methods", "ncp", "--out", str(out))

        return executed

    def test_it_shows_stages_and_the_table_of_this_sweep_alone(
        self, executed: Callable[[Summary], tuple[int, str, str]], out: Path
    ) -> None:
        code, text, _ = executed(Summary(done=4))
        assert code == 0
        assert "done    ncp digits seed 0 slf-1 clean" in text
        assert "4 computed in 0 s" in text
        assert f"table of ncp[neighbour=3] digits slf-1 quick {out}" in text.replace("\n", "")

    def test_failed_cells_are_exit_code_1_and_the_table_comes_all_the_same(
        self, executed: Callable[[Summary], tuple[int, str, str]]
    ) -> None:
        code, text, _ = executed(Summary(done=2, failed=1, blocked=1))
        assert code == 1
        assert "2 computed, 1 failed, 1 not reached" in text
        assert "table of" in text

    @pytest.mark.parametrize(
        ("error", "code"), [(BenchError("device 'cuda' is not there."), 2), (KeyboardInterrupt(), 130)]
    )
    def test_it_ends_as_any_command_does(
        self, executed: Callable[[BaseException], tuple[int, str, str]], error: BaseException, code: int
    ) -> None:
        assert executed(error)[0] == code

    def test_an_out_that_cannot_be_written_is_found_before_anything_runs(self, out: Path) -> None:
        out.write_text("a file")
        code, _, err = invoke("run", "--methods", "ncp", "--out", str(out))
        assert code == 2
        assert f"'{out}'" in err
        assert "--out" in err


class TestPlan:
    def test_it_tells_cached_stages_from_missing_ones_and_runs_nothing(self, out: Path) -> None:
        code, text, _ = invoke("plan", "--methods", "ncp", "--out", str(out), "--jobs", "2", "--device", "cpu")
        assert code == 0
        assert "missing (+1 upstream)" in text
        assert "1 cell, 4 stages, 4 to compute" in text
        assert "(rough: no finished stage" in text
        assert not out.exists()

    @pytest.mark.parametrize(
        ("options", "workers"),
        [("--device cpu --jobs 2", "2 workers"), ("--gpus 0-1", "2 workers"), ("--gpus 0-1 --jobs 1", "1 worker ")],
    )
    def test_time_is_for_the_workers_that_do_not_share_a_place(
        self, out: Path, options: str, workers: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(sweeps, "cores", lambda: 4)
        assert f"on {workers}" in invoke("plan", "--methods", "ncp", "--out", str(out), *options.split())[1]

    def test_it_knows_what_is_there(self, store: Store, out: Path) -> None:
        for made in PLAN.stages.values():
            finish(store, made, 1.0)
        assert "all there, nothing to compute" in invoke("plan", "--methods", "ncp", "--out", str(out))[1]

    def test_it_names_what_failed_before(self, store: Store, out: Path) -> None:
        store.put_failure(HEAD.key, "loss is not finite", "")
        assert "failed before" in invoke("plan", "--methods", "ncp", "--out", str(out))[1]


class TestEstimate:
    def test_finished_stages_set_the_pace_of_their_kin(self, store: Store) -> None:
        finish(store, TEACHER, 50.0)
        finish(store, ATTACK, 7.0)
        cost = estimate(PLAN, store, workers=8, cuda=False)
        assert cost.stages == 2
        assert cost.seconds == pytest.approx(4000 * 50 / 1000, rel=1e-3)
        assert not cost.measured

    def test_a_pace_holds_on_the_same_kind_of_device_alone(self, store: Store) -> None:
        rough = estimate(PLAN, store, workers=1, cuda=True)
        finish(store, TEACHER, 50.0)
        on_cpu = estimate(PLAN, store, workers=1, cuda=True).seconds
        finish(store, ATTACK, 9.0, "13.2")
        assert on_cpu < rough.seconds < 4000 * 50 / 1000

    def test_more_workers_do_not_shorten_a_chain(self, store: Store) -> None:
        one, many = (estimate(PLAN, store, workers, cuda=False).seconds for workers in (1, 8))
        assert one == many > 0

    def test_a_gpu_is_faster_and_a_missing_data_set_is_not_counted(self, store: Store) -> None:
        assert estimate(PLAN, store, 1, cuda=True).seconds < estimate(PLAN, store, 1, cuda=False).seconds
        unknown = stage(StageKind.PRETRAIN, "ncp cifar10 seed 0", {}, 0)
        assert estimate(PLAN, store, 1, cuda=False).complete
        assert not estimate(Plan((), {unknown.key: unknown}), store, 1, cuda=False).complete


def test_why_says_of_each_stage_whether_and_why(store: Store, out: Path) -> None:
    finish(store, TEACHER, 1.0)
    code, text, _ = invoke("why", "--methods", "ncp", "--out", str(out))
    assert code == 0
    assert "simclr digits seed 0: finished on 2026-01-02 03:04 UTC" in text
    assert "ncp digits seed 0: never finished" in text
    only = invoke("why", "--methods", "ncp", "--out", str(out), "--stage", "slf-1 clean")[1]
    assert "slf-1 clean" in only
    assert "simclr" not in only


class TestList:
    @pytest.mark.parametrize(
        ("arguments", "expected"),
        [
            (["methods"], ["ncp", "amoc", "simclr", "passes per image", "methods/ncp.py"]),
            (
                ["methods", "ncp"],
                ["needs first: simclr, as its teacher", "trade_off", "8/255", "digits (quick): ", "A.2.2"],
            ),
            (["methods", "ncp"], ["backward to input", "stl10, digits (quick)", "dispute", "option neighbour"]),
            (["methods", "acl"], ["crashes today", "optimizer/lars.py"]),
            (["datasets"], ["digits", "embedded in scikit-learn", "parquet:DIR[like=NAME]", "yes"]),
            (["datasets", "cifar10"], ["image_size", "32", "8/255"]),
            (["protocols"], ["slf-1", "alf-1", "slf@ncp-bn", "a paper's own"]),
            (["protocols", "own-1"], ["tables 5 and 6", "head.init", "own"]),
            (["methods", "trades"], ["beta", "linear_trades.py", "27"]),
            (["protocols", "slf-1"], ["head.rates", "0.01, 0.03, 0.1, 0.3, 1, 3, 10", "attack.autoattack"]),
            (["attacks"], ["pgd50-10", "corruption_19", "amoc-table2", "transfer:CELL"]),
            (["attacks", "slide"], ["step_fraction", "0.05", "digits 3.586, cifar10 12"]),
            (["attacks", "amoc-table2"], ["pgd20-short-step", "deepfool", "cw-l2"]),
        ],
    )
    def test_what_is_declared_is_shown(self, arguments: list[str], expected: list[str]) -> None:
        code, text, _ = invoke("list", *arguments)
        assert code == 0
        for part in expected:
            assert part in text

    @pytest.mark.parametrize("kind", ["methods", "datasets", "protocols", "attacks"])
    def test_an_unknown_name_lists_the_choices(self, kind: str) -> None:
        code, _, err = invoke("list", kind, "no-such-thing")
        assert code == 2
        assert "'no-such-thing'" in err
        assert "Available:" in err

    def test_a_broken_method_is_listed_with_its_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from bench.registry import MethodEntry, Registry

        broken = MethodEntry("odd", "methods/odd.py", "odd", "Odd", problem="class Odd has no `name`.")
        monkeypatch.setattr(Registry, "discover", lambda: Registry((broken,)))
        code, text, _ = invoke("list", "methods")
        assert code == 0
        assert "broken: method 'odd' (methods/odd.py) cannot be used: class Odd has no `name`." in text


class TestDoctor:
    @pytest.fixture(autouse=True)
    def without_robustbench(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Its import takes many seconds, and its own test covers it."""
        module = __import__("sys").modules[doctor.__module__]
        checks = tuple(check for check in module.CHECKS if check.__name__ != "_robustbench")
        monkeypatch.setattr(module, "CHECKS", checks)

    def test_a_sound_machine_is_exit_code_0(self, tmp_path: Path) -> None:
        code, text, _ = invoke("doctor", "--out", str(tmp_path / "runs"))
        assert code == 0, text
        for part in ("acl-bench", "torch", "method ncp", "data digits", "of disk are free"):
            assert part in text
        assert not (tmp_path / "runs").exists()

    def test_what_is_broken_is_exit_code_1(self, tmp_path: Path) -> None:
        file = tmp_path / "runs"
        file.write_text("a file")
        code, text, _ = invoke("doctor", "--out", str(file))
        assert code == 1
        assert "cannot be written: name another folder with --out" in text


def test_the_commands_are_those_of_the_readme() -> None:
    names = {command.name for command in main.app.registered_commands}
    assert {"run", "plan", "why", "list", "doctor"} <= names

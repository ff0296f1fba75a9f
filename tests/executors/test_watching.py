"""What a run tells of itself while it works, and that telling it moves no number."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from bench.engine import loop
from bench.errors import BenchError
from bench.executors import execute
from bench.executors import tensorboard as module
from bench.executors.events import Event, StageState
from bench.executors.product import bits_of, stored
from bench.executors.pulse import standing_of
from bench.executors.tally import Pace, Tally
from bench.history import SIGNS, series, signs_in
from bench.live import LiveRun, live_runs
from bench.plan import DataRef, MethodRef, Plan, Stage, StageKind, Task
from bench.planning import plan_of
from bench.store import HISTORY, Store
from tests.plugins import write_trained


@pytest.fixture
def trained(tmp_path: Path, make_sweep: Any) -> Any:
    """A sweep of one method on the training loop: three epochs."""
    return make_sweep(methods=write_trained(tmp_path))


def pretrain_key(plan: Plan) -> str:
    return next(key for key, stage in plan.stages.items() if stage.kind is StageKind.PRETRAIN)


def test_every_epoch_has_its_signs_in_the_history(trained: Any, ran: Any) -> None:
    done = ran(trained)
    history = json.loads(done.store.read(pretrain_key(done.plan), HISTORY))
    curves = series(history)
    assert {"loss", "learning_rate", "signs/spread", "signs/dimension", "signs/alignment"} == set(curves)
    assert {len(values) for values in curves.values()} == {3}


def test_looking_moves_no_bit(trained: Any, ran: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = ran(trained)
    monkeypatch.setattr(loop, "signs_of_life", lambda *_: {})
    blind = ran(trained.model_copy(update={"out": tmp_path / "blind"}))
    key = pretrain_key(seen.plan)
    assert not any(SIGNS in facts for facts in json.loads(blind.store.read(key, HISTORY)))
    weights = [stored(done.store, key, StageKind.PRETRAIN) for done in (seen, blind)]
    assert bits_of(weights[0]) == bits_of(weights[1])


def test_a_collapse_is_a_warning_of_the_row(trained: Any, ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "signs_of_life", lambda *_: {"epoch": 0, SIGNS: {"spread": 0.001}})
    (row,) = ran(trained).rows
    (warning,) = json.loads(row["warnings"])
    assert "collapsed" in warning


def test_a_run_at_work_is_seen_with_all_its_stages_and_gone_at_its_end(trained: Any) -> None:
    store, plan = Store.open(trained.out), plan_of(trained)
    seen: list[LiveRun] = []
    events: list[Event] = []

    def listen(event: Event) -> None:
        events.append(event)
        seen.extend(live_runs(store))

    execute(plan, store, trained, listen)
    assert {(run.pid, run.keys, run.alive) for run in seen} == {(os.getpid(), frozenset(plan.stages), True)}
    assert live_runs(store) == []
    told = [event for event in events if event.where]
    assert {event.where for event in told} == {f"cpu, pid {os.getpid()}"}


def test_a_failure_is_kept_with_what_it_blocked(make_sweep: Any, ran: Any, tmp_path: Path) -> None:
    from tests.plugins import write_method

    done = ran(make_sweep(methods=write_method(tmp_path, "bad", body="raise ValueError('no')")))
    key = pretrain_key(done.plan)
    failure = done.store.failure(key)
    assert failure["label"] == done.plan.stages[key].label
    blocked = {key: sorted(stage.upstream.values()) for key, stage in done.plan.stages.items()}
    assert failure["reads"] == blocked


class TestTensorBoard:
    def test_the_curves_are_those_of_the_history(self, trained: Any, ran: Any) -> None:
        accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
        done = ran(trained.model_copy(update={"tensorboard": True}))
        key = pretrain_key(done.plan)
        (folder,) = (done.store.root / "tensorboard").iterdir()
        assert folder.name.startswith("trained-digits-seed-0-")
        assert folder in done.store.remains(key)
        events = accumulator.EventAccumulator(str(folder)).Reload()
        curves = series(json.loads(done.store.read(key, HISTORY)))
        assert set(events.Tags()["scalars"]) == {module.tag(name) for name in curves}
        for name, values in curves.items():
            points = events.Scalars(module.tag(name))
            assert [point.step for point in points] == [1, 2, 3]
            assert [point.value for point in points] == pytest.approx(values)

    @pytest.mark.parametrize(
        ("name", "tag"),
        [("loss", "loss"), ("learning_rate", "learning_rate"), ("ccc", "parts/ccc"), ("signs/spread", "signs/spread")],
    )
    def test_parts_and_signs_stand_together(self, name: str, tag: str) -> None:
        assert module.tag(name) == tag

    def test_a_folder_that_cannot_be_written_stops_no_training_and_hides_no_error(self, tmp_path: Path) -> None:
        pytest.importorskip("tensorboard")
        (tmp_path / "file").touch()
        with module.event_log(tmp_path / "file" / "below") as record:
            record({"epoch": 0, "loss": 1.0})
        with pytest.raises(OSError, match="of the training"), module.event_log(tmp_path / "logs"):
            raise OSError("of the training")

    def test_without_the_package_nothing_runs(self, trained: Any, ran: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(module.importlib.util, "find_spec", lambda _: None)
        with pytest.raises(BenchError, match=r"pip install acl-bench\[tensorboard\]"):
            ran(trained.model_copy(update={"tensorboard": True}))
        assert Store(trained.out).finished() == []


class TestPace:
    def test_the_speed_is_that_of_the_last_half_minute(self) -> None:
        pace = Pace()
        assert pace.speed is None
        for now in range(100):
            pace.note(now, done=now if now < 50 else 50 + 3 * (now - 50))
        assert pace.speed == pytest.approx(3)

    def test_a_resumed_stage_is_not_thought_fast(self) -> None:
        pace = Pace()
        pace.note(0.0, 5000)
        assert pace.speed is None
        pace.note(2.0, 5010)
        assert pace.speed == 5


class TestStanding:
    def test_a_stage_at_work_has_speed_images_and_time_to_go(self) -> None:
        task = Task(MethodRef("mine", "mine", {"batch_size": 64}, "digits"), DataRef("digits"), 0)
        stage = Stage(StageKind.PRETRAIN, "mine digits seed 0", task, {}, weight=10)
        now = [0.0]
        tally = Tally(Plan((), {stage.key: stage}), lambda: now[0])
        facts = {"epoch": 1, "loss": float("nan"), "signs": {"spread": 0.5, "alignment": float("inf")}, "text": "x"}
        for now[0], done in ((1.0, 10), (3.0, 30)):
            tally.take(Event(stage.key, StageState.RUNNING, done, 100, "epoch 1/3", where="cpu", facts=facts))
        standing = standing_of(tally)
        (work,) = standing.at_work
        assert standing.counts == {"running": 1}
        assert (work.steps_per_s, work.images_per_s, work.left_s) == (10, 640, 7)
        assert work.facts == {"epoch": 1, "signs": {"spread": 0.5}}
        assert json.loads(json.dumps(signs_in(work.facts))) == {"spread": 0.5}

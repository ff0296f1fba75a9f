"""A run may be killed at any moment, and two may work in one store: no step is lost or done twice for nothing."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import threading
import time
from collections import Counter
from contextlib import ExitStack
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest

from bench.executors.checkpoints import decoded
from bench.executors.product import bits_of, stored
from bench.plan import Plan, StageKind
from bench.planning import plan_of
from bench.store import HISTORY, Store
from tests.plugins import write_trained
from tests.processes import DEADLINE, wait_for

NUMBERS = ("sa", "ra_pgd20", "aa", "head_rate", "pretrain_key", "head_key", "outcomes")
MOMENTS = int(os.environ.get("BENCH_KILLS", "3"))
"""How often the run is killed; `nox -s kills` does so 20 times."""
STEPS = 15
CHECKPOINTS = {StageKind.PRETRAIN: STEPS, StageKind.HEAD: 50, StageKind.ATTACK: 7}
"""What the heaviest stage of each kind leaves if it leaves all it can: after every step, epoch, batch and attack."""


@pytest.fixture
def steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in which the method's steps in other processes are written down."""
    path = tmp_path / "steps"
    path.touch()
    monkeypatch.setenv("STEPS", str(path))
    return path


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def kill(process: subprocess.Popen[str], number: signal.Signals) -> str:
    """Signal a run and its workers as a terminal does; returns what it says."""
    if process.poll() is None:
        os.killpg(process.pid, number)
    return process.communicate(timeout=DEADLINE)[1]


def outcome(store: Store) -> tuple[dict[str, str], bytes, dict[str, Any]]:
    """Weights, head, outcomes per image, records and numbers of the one cell, to the bit."""
    (row,) = store.latest_rows().values()
    kinds = {row["pretrain_key"]: StageKind.PRETRAIN, row["head_key"]: StageKind.HEAD}
    kinds |= dict.fromkeys(json.loads(row["outcomes"]).values(), StageKind.ATTACK)
    bits = {key: bits_of(stored(store, key, kind)) for key, kind in kinds.items()}
    return bits, store.read(row["pretrain_key"], HISTORY), {name: row[name] for name in NUMBERS}


def targets(plan: Plan) -> dict[str, StageKind]:
    """The stage of each kind that takes longest, in the order in which they run."""
    heaviest = {stage.kind: key for key, stage in sorted(plan.stages.items(), key=lambda item: item[1].weight)}
    return {heaviest[kind]: kind for kind in StageKind}


def at_work(store: Store) -> dict[str, int]:
    """The stages that have a checkpoint, and the number of the newest one."""
    folders = (store.root / "checkpoints").glob("*")
    numbers = {folder.name: [int(path.name.partition("-")[0]) for path in folder.iterdir()] for folder in folders}
    return {key: max(own) for key, own in numbers.items() if own}


def wait_for_checkpoint(store: Store, key: str, goal: int, since: float) -> None:
    """Until a stage was taken up after a moment and has come so far, or is finished."""
    lock = store.root / "locks" / f"{key}.lock"
    wait_for(lambda: store.has(key) or (lock.exists() and lock.stat().st_mtime > since), every=0.005)
    wait_for(lambda: store.has(key) or at_work(store).get(key, 0) >= goal, every=0.005)


def test_kill_9_at_any_moment_of_any_stage_changes_no_bit(
    start: Any, make_sweep: Any, ran: Any, tmp_path: Path, images: str, steps: Path
) -> None:
    method, draw, store = write_trained(tmp_path), random.Random(MOMENTS), Store(tmp_path / "runs")
    sweep = make_sweep(methods=method, datasets=images, limit=None, protocols="slf-1", checkpoint_every=0)
    plan, hits = plan_of(sweep), list[StageKind]()
    for moment in range(MOMENTS):
        began = time.time()
        process = start(method, "--seeds", "1", "--jobs", "1", "--checkpoint-every", "0s")
        key, kind = list(targets(plan).items())[moment * len(StageKind) // MOMENTS]
        ahead = draw.randint(0, CHECKPOINTS[kind] * len(StageKind) // MOMENTS)
        wait_for_checkpoint(store, key, at_work(store).get(key, 0) + ahead, began)
        time.sleep(draw.uniform(0, 0.1))
        kill(process, signal.SIGKILL)
        found = {plan.stages[key].kind: number for key, number in at_work(store).items()}
        hits += found
        print("killed in", ", ".join(f"{kind} at checkpoint {number}" for kind, number in found.items()) or "nothing")
    print("kills by kind of stage:", *(f"{count} {kind}" for kind, count in Counter(hits).items()))
    assert hits
    assert ran(sweep).summary.ok
    assert STEPS <= len(lines(steps)) <= STEPS + MOMENTS
    os.environ.pop("STEPS")
    assert ran(sweep.model_copy(update={"out": tmp_path / "straight"})).summary.ok
    assert outcome(store) == outcome(Store(tmp_path / "straight"))
    assert list((store.root / "checkpoints").iterdir()) == list((store.root / "locks").iterdir()) == []


@pytest.mark.parametrize(("number", "code", "jobs"), [(signal.SIGTERM, 143, "2"), (signal.SIGINT, 130, "1")])
def test_a_signal_ends_a_run_after_its_step_with_a_checkpoint(
    number: signal.Signals, code: int, jobs: str, start: Any, tmp_path: Path, steps: Path
) -> None:
    process = start(write_trained(tmp_path), "--seeds", "1", "--jobs", jobs, "--epochs", "1000")
    wait_for(lambda: len(lines(steps)) >= 2)
    error = kill(process, number)
    assert process.returncode == code, error
    assert "goes on where it stopped" in error
    assert "Traceback" not in error
    store = Store(tmp_path / "runs")
    (folder,) = (store.root / "checkpoints").iterdir()
    (content,) = store.checkpoints(folder.name)
    position = decoded(content).facts["stage"]
    assert position["epoch"] * STEPS // 3 + position["step"] == len(lines(steps))
    assert list((store.root / "failures").iterdir()) == []


def test_a_stage_that_another_run_works_on_is_waited_for_in_sight(make_sweep: Any, ran: Any) -> None:
    sweep = make_sweep()
    store = Store.open(sweep.out)
    key = next(key for key, stage in plan_of(sweep).stages.items() if stage.kind is StageKind.PRETRAIN)
    with ExitStack() as other:
        assert other.enter_context(store.lock(key))
        release = threading.Timer(1.0, other.close)
        release.start()
        done = ran(sweep)
        release.join()
    assert done.summary.ok
    states = [event.state for event in done.events if event.key == key]
    assert [state for state, _ in groupby(states)] == ["running", "elsewhere", "running", "done"]


def test_two_runs_in_one_store_do_no_step_twice_and_end_with_the_rows_of_one(
    start: Any, make_sweep: Any, ran: Any, tmp_path: Path, images: str, steps: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, protocol = write_trained(tmp_path), "slf-1[attacks=pgd20]"
    asked = (method, "--protocols", protocol, "--seeds", "3", "--jobs", "1", "--no-table")
    twins = [start(*asked) for _ in range(2)]
    said = [twin.communicate(timeout=DEADLINE) for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0], said
    assert len(lines(steps)) == 3 * STEPS
    monkeypatch.delenv("STEPS")
    rows = Store(tmp_path / "runs").latest_rows()
    sweep = make_sweep(methods=method, datasets=images, limit=None, protocols=protocol, seeds=3)
    alone = ran(sweep.model_copy(update={"out": tmp_path / "alone"}))
    assert alone.summary.ok
    for row in alone.rows:
        assert {name: rows[row["cell"]][name] for name in NUMBERS} == {name: row[name] for name in NUMBERS}
    assert ran(sweep).summary.done == 0

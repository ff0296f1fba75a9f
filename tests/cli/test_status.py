"""`bench status`: one look, from another shell, at what is at work, what died and what failed."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.live import AtWork, Standing, live_runs, shown_live
from bench.store import Store
from tests.cli.runner import invoke
from tests.processes import wait_for

WORK = AtWork(
    "k1",
    "ncp[neighbour=3] digits seed 0",
    "pretrain",
    where="cpu, pid 7",
    done=30,
    total=208,
    message="epoch 3/16",
    seconds=65.0,
    steps_per_s=2.5,
    images_per_s=320.0,
    left_s=71.2,
    facts={"loss": 5.4321, "attack_success": 1.0, "signs": {"spread": 0.004, "norm of clean bank": 1.0}},
)
STANDING = Standing(
    counts={"done": 4, "running": 1, "waiting": 6}, left_s=300.0, at_work=(WORK,), elsewhere=("amoc digits seed 0",)
)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.fixture
def run(store: Store) -> Iterator[None]:
    """A run at work in this process."""
    with shown_live(store, ["k1"], lambda: STANDING):
        wait_for(lambda: bool(live_runs(store)[0].standing.counts))
        yield


def status(store: Store, *options: str) -> str:
    code, out, err = invoke("status", "--out", str(store.root), *options)
    assert (code, err) == (0, "")
    return out


@pytest.mark.usefixtures("run")
def test_a_run_at_work_tells_how_far_how_fast_how_long_and_how_well(store: Store) -> None:
    out = status(store)
    for text in (
        "11 stages  4 done  1 running  6 waiting  about 5 min 00 s left",
        "pretrain ncp[neighbour=3] digits seed 0  cpu, pid 7, 1 min 05 s",
        "30/208  epoch 3/16  loss 5.432  1 min 11 s to go  2.5 steps/s  320 images/s",
        "spread 0.004  attack success 1  norm of clean bank 1  collapsed",
        "waiting for amoc digits seed 0: another run works on it",
    ):
        assert text in out
    assert "died" not in out


@pytest.mark.usefixtures("run")
def test_json_holds_the_same(store: Store) -> None:
    (run,) = json.loads(status(store, "--format", "json"))["runs"]
    assert run["alive"]
    assert run["standing"]["at_work"][0]["facts"]["loss"] == 5.4321


def test_a_quiet_store_says_so(store: Store) -> None:
    assert "Nothing is at work" in status(store)


def test_what_died_or_failed_is_named_with_its_remedy(store: Store) -> None:
    (store.root / "live" / "x.lock").write_text('{"pid": 7, "host": "there", "command": "bench run", "keys": []}')
    with store.lock("k1", "ncp digits seed 0"):
        store.put_checkpoint("k1", b"weights")
    store.put_failure("k2", "the loss is [nan]", "Traceback", {"label": "amoc digits seed 1"})
    out = status(store)
    assert "pid 7 on there" in out
    assert "died" in out
    assert "Nothing is at work" in out
    assert "ncp digits seed 0: pid" in out and "a checkpoint is kept" in out
    assert "amoc digits seed 1: the loss is [nan] (log: " in out


def test_a_stage_at_work_is_not_left_unfinished(store: Store) -> None:
    with store.lock("k1", "ncp digits seed 0"):
        assert "Left unfinished" not in status(store)


def test_watching_ends_with_the_last_run(store: Store) -> None:
    over = threading.Event()

    def work() -> None:
        with shown_live(store, ["k1"], lambda: STANDING):
            over.wait(10)

    thread = threading.Thread(target=work)
    thread.start()
    wait_for(lambda: any(run.alive for run in live_runs(store)))
    threading.Timer(0.5, over.set).start()
    looks = [json.loads(line) for line in status(store, "--watch", "--format", "json").splitlines()]
    thread.join()
    assert len(looks) >= 2
    assert looks[0]["runs"][0]["alive"]
    assert looks[-1]["runs"] == []


def test_a_store_that_is_not_there_is_a_slip(tmp_path: Path) -> None:
    code, _, err = invoke("status", "--out", str(tmp_path / "typo"))
    assert code == 2
    assert "there is no store" in err

"""Worker processes: the same numbers as in one process, and nothing lost or left behind when one dies."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import torch

from bench.engine.memory import released
from bench.executors.events import Event, Failure, StageState
from bench.executors.placement import Device, Placed
from bench.executors.pool import Pool, Worker
from bench.executors.work import Job, Site
from bench.keys import PROJECT
from bench.plan import DataRef, MethodRef, Stage, StageKind, Task
from bench.store import read_rows
from tests.plugins import write_method
from tests.processes import DEADLINE, is_running, wait_for

STAGE = Stage(StageKind.HEAD, "", Task(MethodRef("", "", {}, ""), DataRef(""), 0), {})
JOB = Job(STAGE, {})
HERE = Placed("k", "cpu", 0.0)


def test_workers_that_die_fail_their_cells_and_the_rest_is_bit_identical_to_one_process(
    start: Any, make_sweep: Any, ran: Any, tmp_path: Path, images: str
) -> None:
    good = write_method(tmp_path, "good")
    killed = write_method(tmp_path, "killed", body="os.kill(os.getpid(), 9)")
    crashed = write_method(tmp_path, "crashed", body="import ctypes; ctypes.string_at(0)")
    process = start(f"{killed},{crashed},{good}", "--seeds", "1", "--no-table")
    out, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 1, err
    rows = read_rows(tmp_path / "runs").set_index("label")
    assert rows["status"].to_dict() == {"good": "ok", "killed": "failed", "crashed": "failed"}
    assert "killed by SIGKILL (out of memory?" in rows.loc["killed", "error"]
    assert "killed by SIGSEGV" in rows.loc["crashed", "error"]
    assert 0 <= rows.loc["good", "aa"] <= rows.loc["good", "sa"] <= 100
    assert "done    good" in out
    again = ran(make_sweep(methods=good, datasets=images, limit=None, protocols="slf-1", rerun=True))
    assert again.summary.ok, again.rows
    assert again.rows[0]["warnings"] == rows.loc["good", "warnings"]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="looks processes up in /proc")
def test_ctrl_c_leaves_no_worker_and_no_traceback(start: Any, tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    body = f"Path({str(pid)!r}).write_text(str(os.getpid())); time.sleep(600)"
    process = start(write_method(tmp_path, body=body), "--seeds", "1")
    wait_for(lambda: pid.exists() and bool(pid.read_text()))
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130
    assert "interrupted: finished stages are kept" in err
    assert "Traceback" not in err
    wait_for(lambda: not is_running(int(pid.read_text())))
    assert list((tmp_path / "runs" / "tmp").iterdir()) == []


def test_a_worker_does_not_outlive_its_parent() -> None:
    code = "from bench.executors.pool import _die_with; _die_with(0)"
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PROJECT)}, timeout=30)
    assert done.returncode == 1


class TestDeath:
    """A worker that ends by itself, in place of one that computes."""

    @pytest.fixture
    def worker(self) -> Callable[[str], Worker]:
        def worker(code: str) -> Worker:
            ours, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()])
            return Worker(process, Connection(ours.detach()), "cpu", HERE)  # type: ignore[arg-type]

        return worker

    @pytest.mark.parametrize(
        ("code", "error"),
        [
            ("import sys; sys.exit(7)", "the worker process ended with exit code 7"),
            ("import os; os.kill(os.getpid(), 9)", "the worker process was killed by SIGKILL (out of memory?"),
            ("import os; os.kill(os.getpid(), 11)", "the worker process was killed by SIGSEGV"),
        ],
    )
    def test_how_it_died_is_the_error_and_it_is_dismissed(
        self, worker: Callable[[str], Worker], code: str, error: str
    ) -> None:
        pool = pool_of(Device("cpu"))
        pool.workers.append(worker(code))
        ((key, message),) = pool.messages()
        assert key == "k"
        assert isinstance(message, Failure)
        assert message.error.startswith(error)
        assert pool.workers == []

    def test_a_job_for_a_dead_worker_fails_instead_of_the_run(self, worker: Callable[[str], Worker]) -> None:
        one = worker("pass")
        one.process.wait()
        one.give(JOB, HERE)
        assert isinstance(one.take(), Failure)


@pytest.mark.parametrize(
    ("device", "fault", "usable"),
    [("cpu", None, True), ("cuda:1", None, True), ("cuda:1", RuntimeError("illegal memory access"), False)],
)
def test_a_gpu_that_no_longer_answers_is_noticed_after_the_stage(
    device: str, fault: Exception | None, usable: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    synchronised = Mock(side_effect=fault)
    monkeypatch.setattr(torch.cuda, "synchronize", synchronised)
    assert released(device) is usable
    assert synchronised.called is (device != "cpu")


class FakeChild:
    """A process that does nothing."""

    pid = 0

    def kill(self) -> None: ...
    def wait(self) -> int:
        return 0


class FakeServer:
    """Starts workers that are the other ends of their pipes."""

    def __init__(self) -> None:
        self.ends: list[Connection] = []

    def fork(self) -> tuple[FakeChild, Connection]:
        ours, theirs = Pipe()
        self.ends.append(theirs)
        return FakeChild(), ours

    def close(self) -> None: ...


class TestDevices:
    """Which worker gets a stage, with workers that only listen."""

    def test_each_device_has_workers_of_its_own_which_stay(self) -> None:
        pool = pool_of(Device("cuda:0"), Device("cuda:2"))
        for _ in range(2):
            placed = [pool.place_for(STAGE)]
            pool.give(JOB, placed[0])
            placed.append(pool.place_for(STAGE))
            pool.give(JOB, placed[1])
            assert [one.device for one in placed] == ["cuda:0", "cuda:2"]
            assert pool.place_for(STAGE) is None
            for end in pool.server.ends:
                end.send(Event("k", StageState.DONE))
            assert [key for key, _ in (*pool.messages(), *pool.messages(0))] == [STAGE.key] * 2
        assert [end.recv().device for end in pool.server.ends] == ["cuda:0", "cuda:2"]

    def test_one_that_died_while_it_was_idle_is_replaced(self) -> None:
        pool = pool_of(Device("cpu"))
        pool.give(JOB, HERE)
        pool.server.ends[0].send(Event("k", StageState.DONE))
        list(pool.messages())
        pool.server.ends[0].close()
        pool.give(JOB, HERE)
        assert len(pool.server.ends) == 2
        assert len(pool.workers) == 1

    def test_small_stages_share_a_device_and_jobs_caps_them(self) -> None:
        pool = pool_of(Device("cuda:0", 100), need=30.0, jobs=2)
        for _ in range(2):
            pool.give(JOB, pool.place_for(STAGE))
        assert pool.place_for(STAGE) is None
        pool.jobs = 9
        pool.give(JOB, pool.place_for(STAGE))
        assert pool.place_for(STAGE) is None, "three times 30 of 100 MiB are taken"


def pool_of(*devices: Device, need: float | None = None, jobs: int = 9) -> Any:
    site = Site(Path("runs"), Path("data"), "cpu", 1)
    return Pool(site, devices, jobs, lambda _: need, FakeServer())  # type: ignore[arg-type]

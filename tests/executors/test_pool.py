"""Worker processes: the same numbers as in one process, and nothing lost or left behind when one dies."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bench.executors.events import Failure
from bench.executors.pool import Pool, Worker
from bench.executors.work import Job
from bench.keys import PROJECT
from bench.plan import DataRef, MethodRef, Stage, StageKind, Task
from bench.store import Store, read_rows
from tests.plugins import write_method
from tests.processes import DEADLINE, wait_for


def is_running(process: int) -> bool:
    """Whether a process is there, and no zombie that nobody has waited for."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except FileNotFoundError:
        return False


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


def test_two_processes_on_one_sweep_end_with_the_same_rows(
    start: Any, make_sweep: Any, ran: Any, tmp_path: Path, images: str
) -> None:
    method = write_method(tmp_path)
    twins = [start(method, "--seeds", "3", "--jobs", "1", "--no-table") for _ in range(2)]
    ends = [twin.communicate(timeout=DEADLINE) for twin in twins]
    assert [twin.returncode for twin in twins] == [0, 0], ends
    rows = Store(tmp_path / "runs").latest_rows()
    sweep = make_sweep(methods=method, datasets=images, limit=None, protocols="slf-1", seeds=3)
    alone = ran(sweep.model_copy(update={"out": tmp_path / "alone"}))
    assert alone.summary.ok
    numbers = ("sa", "ra_pgd20", "aa", "head_rate", "pretrain_key", "head_key", "outcomes")
    for row in alone.rows:
        assert {name: rows[row["cell"]][name] for name in numbers} == {name: row[name] for name in numbers}
    assert ran(sweep).summary.done == 0


class TestDeath:
    """A worker that ends by itself, in place of one that computes."""

    @pytest.fixture
    def worker(self) -> Callable[[str], Worker]:
        import socket
        from multiprocessing.connection import Connection

        def worker(code: str) -> Worker:
            ours, theirs = socket.socketpair()
            with theirs:
                process = subprocess.Popen([sys.executable, "-c", code], pass_fds=[theirs.fileno()])
            return Worker(process, Connection(ours.detach()), key="k")

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
        pool = Pool(None, 1, [worker(code)])  # type: ignore[arg-type]
        ((key, message),) = pool.messages()
        assert key == "k"
        assert isinstance(message, Failure)
        assert message.error.startswith(error)
        assert pool.workers == []

    def test_a_job_for_a_dead_worker_fails_instead_of_the_run(self, worker: Callable[[str], Worker]) -> None:
        one = worker("pass")
        one.process.wait()
        one.give(Job(Stage(StageKind.HEAD, "", Task(MethodRef("", "", {}, ""), DataRef(""), 0), {}), {}))
        assert isinstance(one.take(), Failure)

"""The server of workers: forks on request, knows how each ended, and leaves nobody behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from bench.errors import BenchError
from bench.executors.forkserver import START, ForkServer
from bench.keys import PROJECT
from tests.processes import is_running, wait_for

ECHO = START.replace(
    "from bench.executors.pool import main; main()",
    """
import os, signal, socket, time, bench.executors.forkserver as forkserver
def life(pipe):
    while True:
        match pipe.recv():
            case "die": os.kill(os.getpid(), signal.SIGSEGV)
            case "exit": sys.exit(3)
            case "end": return
            case "signals": pipe.send([signal.getsignal(s).name for s in (signal.SIGINT, signal.SIGTERM)])
            case "threads": pipe.send(os.environ["OMP_NUM_THREADS"])
            case other: pipe.send(other)
forkserver.PRELOADED = ()
forkserver.serve(socket.socket(fileno=int(sys.argv[1])), life)
""",
)
"""A server whose workers import nothing and do what they are told."""


@pytest.fixture
def server() -> Iterator[ForkServer]:
    server = ForkServer.start(3, ECHO)
    yield server
    server.close()


def test_workers_talk_each_through_a_pipe_of_its_own(server: ForkServer) -> None:
    (one, first), (other, second) = server.fork(), server.fork()
    assert one.pid != other.pid
    first.send("first")
    second.send("second")
    assert (first.recv(), second.recv()) == ("first", "second")


def test_they_have_their_threads_and_listen_to_sigterm_but_not_to_ctrl_c(server: ForkServer) -> None:
    _, pipe = server.fork()
    pipe.send("threads")
    assert pipe.recv() == "3"
    pipe.send("signals")
    assert pipe.recv() == ["SIG_IGN", "SIG_DFL"]


@pytest.mark.parametrize(("order", "code"), [("die", -signal.SIGSEGV), ("exit", 3), ("end", 0)])
def test_how_a_worker_ended_is_known_and_the_others_go_on(server: ForkServer, order: str, code: int) -> None:
    (one, first), (_, second) = server.fork(), server.fork()
    first.send(order)
    with pytest.raises(EOFError):
        first.recv()
    assert (one.wait(), one.wait()) == (code, code)
    second.send("still here")
    assert second.recv() == "still here"


def test_a_worker_that_was_waited_for_is_sent_no_signal(server: ForkServer, monkeypatch: pytest.MonkeyPatch) -> None:
    worker, _ = server.fork()
    worker.kill()
    assert worker.wait() == -signal.SIGKILL
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("the id may be another process's by now"))
    worker.kill()
    worker.terminate()


def test_signals_to_the_whole_group_do_not_end_the_server(server: ForkServer) -> None:
    server.await_ready()
    for number in (signal.SIGINT, signal.SIGTERM):
        server.process.send_signal(number)
    _, pipe = server.fork()
    pipe.send("alive")
    assert pipe.recv() == "alive"


def test_closing_it_ends_all_workers(server: ForkServer) -> None:
    workers = [server.fork()[0] for _ in range(2)]
    server.close()
    assert not any(is_running(worker.pid) for worker in workers)


def test_nobody_outlives_a_parent_that_was_killed() -> None:
    code = """
import sys, time
from bench.executors.forkserver import ForkServer
server = ForkServer.start(1, sys.argv[1])
print(server.process.pid, server.fork()[0].pid, flush=True)
time.sleep(600)
"""
    environment = {**os.environ, "PYTHONPATH": str(PROJECT)}
    with subprocess.Popen([sys.executable, "-c", code, ECHO], stdout=subprocess.PIPE, env=environment) as parent:
        assert parent.stdout is not None
        processes = [int(pid) for pid in parent.stdout.readline().split()]
        assert [is_running(pid) for pid in processes] == [True, True]
        parent.kill()
    wait_for(lambda: not any(is_running(pid) for pid in processes))


def test_a_server_that_is_still_importing_is_not_waited_for() -> None:
    server = ForkServer.start(1, "import time; time.sleep(600)")
    began = time.monotonic()
    server.close()
    assert time.monotonic() - began < 60


def test_a_parent_that_is_gone_before_all_is_imported_is_no_error() -> None:
    slow = ECHO.replace("forkserver.serve(", "time.sleep(0.5); forkserver.serve(")
    server = ForkServer.start(1, slow)
    server.control.close()
    assert server.process.wait() == 0


def test_a_server_that_died_is_an_error_with_a_remedy(server: ForkServer) -> None:
    worker, _ = server.fork()
    server.process.kill()
    wait_for(lambda: server.process.poll() is not None)
    assert worker.wait() == 1
    with pytest.raises(BenchError, match=r"has ended \(exit code -9\): run the same command again.*--jobs 1"):
        server.fork()
    os.kill(worker.pid, signal.SIGKILL)

"""A process that imports once what every stage needs, and forks a worker from there whenever one is wanted.

A fresh interpreter imports for seconds before its first step; a fork of one that has done so starts in milliseconds.
The server does nothing else: it has one thread and never touches a GPU, as safe forks demand.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from multiprocessing.connection import Connection
from typing import NoReturn, TypeAlias

from bench.errors import BenchError

START = (
    "import signal; [signal.signal(s, signal.SIG_IGN) for s in (signal.SIGINT, signal.SIGTERM)]; "
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from bench.executors.pool import main; main()"
)
"""The server's program. It does not import the caller's `__main__` again, as multiprocessing's would, so that
`bench.run` works in a script without a guard. Signals to a whole process group are the parent's business: it tells
the workers."""
PRELOADED = ("bench.executors.attempt", "torch._inductor.config")
"""What each worker would import anyway; the latter comes with torch's deterministic mode and its optimisers."""
STDERR = 2
NUMBER = struct.Struct("q")
FORK, READY = 0, -1
"""Requests are FORK, with a file descriptor for the worker, or the id of a worker whose end is asked for. Answers are
READY once all is imported, ids of workers, and exit codes."""

Life: TypeAlias = Callable[[Connection], None]
"""What a worker does with its pipe."""


@dataclass
class Child:
    """A process that the server forked, with the part of `Popen` that its owner needs.

    Attributes:
        code: its exit code once it was waited for, negative for a signal.
    """

    pid: int
    server: ForkServer
    code: int | None = None

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL, unless it has ended."""
        self._send(signal.SIGKILL)

    def wait(self) -> int:
        """Its exit code, once it has ended."""
        if self.code is None:
            self.code = self.server.end_of(self.pid)
        return self.code

    def _send(self, number: signal.Signals) -> None:
        if self.code is None:  # Its id is its own until it was waited for.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


@dataclass
class ForkServer:
    """The parent's side: the server's process and the socket on which it answers.

    Attributes:
        is_ready: whether it has said that all is imported.
    """

    process: subprocess.Popen[bytes]
    control: socket.socket
    is_ready: bool = field(default=False, init=False)

    @classmethod
    def start(cls, threads: int, program: str = START) -> ForkServer:
        """Start a server whose workers have `threads` CPU threads; returns at once, while it imports."""
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", program, str(theirs.fileno()), json.dumps(sys.path)]
            # OpenMP reads its thread count when a process starts; torch's own setting is too late for its spin locks.
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=STDERR
            )
        return cls(process, ours)

    def await_ready(self) -> None:
        """Wait until it has imported everything.

        Raises:
            BenchError: if it has ended instead.
        """
        if not self.is_ready:
            self.is_ready = self._answer() == READY

    def fork(self) -> tuple[Child, Connection]:
        """A new worker and this side of its pipe.

        Raises:
            BenchError: if the server has ended.
        """
        self.await_ready()
        ours, theirs = socket.socketpair()
        pipe: Connection = Connection(ours.detach())
        with theirs, suppress(ConnectionError):
            socket.send_fds(self.control, [NUMBER.pack(FORK)], [theirs.fileno()])
        return Child(self._answer(), self), pipe

    def end_of(self, pid: int) -> int:
        """The exit code of a worker, once it has ended; 1 if the server has ended, which no worker outlives."""
        try:
            self.control.sendall(NUMBER.pack(pid))
            return self._answer()
        except (ConnectionError, BenchError):
            return 1

    def close(self) -> None:
        """End it and all of its workers, whatever they do."""
        self.control.close()
        if not self.is_ready:  # It imports, and has no workers.
            self.process.kill()
        self.process.wait()

    def _answer(self) -> int:
        answer = received(self.control)
        if answer is None:
            raise BenchError(
                f"the process that starts the workers has ended (exit code {self.process.wait()}): run the same "
                f"command again; it goes on where it stopped. With --jobs 1 no workers are needed."
            )
        return answer[0]


def received(control: socket.socket) -> tuple[int, list[int]] | None:
    """The next number with the file descriptors that came along; None once the other side has closed."""
    try:
        content, descriptors, _, _ = socket.recv_fds(control, NUMBER.size, 1, socket.MSG_WAITALL)
    except ConnectionError:
        return None
    return (NUMBER.unpack(content)[0], descriptors) if len(content) == NUMBER.size else None


def serve(control: socket.socket, life: Life) -> NoReturn:
    """The server's own life, until its parent closes the socket or is no more: then no child is left.

    Args:
        control: where requests come from.
        life: of each worker that it forks.
    """
    for name in PRELOADED:
        import_module(name)
    gc.freeze()  # What is never collected stays in memory that all workers share.
    _answer(control, READY)
    children: set[int] = set()
    while (request := received(control)) is not None:
        number, descriptors = request
        if number == FORK:
            answer = _forked(control, descriptors[0], life)
            children.add(answer)
        else:
            answer = _exit_code(number)
            children.remove(number)
        _answer(control, answer)
    for pid in children:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    _leave()


def _answer(control: socket.socket, number: int) -> None:
    with suppress(ConnectionError):  # A parent that is no more shows when the next request is waited for.
        control.sendall(NUMBER.pack(number))


def _forked(control: socket.socket, descriptor: int, life: Life) -> int:
    """The id of a new worker; the worker itself does not return."""
    with Connection(descriptor) as pipe:
        if not (pid := os.fork()):
            control.close()
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            life(pipe)
            _leave()
    return pid


def _leave() -> NoReturn:
    """End without taking the interpreter down: extensions complain of what `gc.freeze` has kept from collection."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _exit_code(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

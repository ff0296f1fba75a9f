"""Worker processes: fresh interpreters, one stage at a time each, replaced when one dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait

from bench.executors.attempt import attempt
from bench.executors.events import Failure, Message
from bench.executors.work import Job, Site

START = "import json, sys; sys.path[:] = json.loads(sys.argv[2]); from bench.executors.pool import main; main()"
"""A worker's program. It does not import the caller's `__main__` again, as multiprocessing's spawn would, so that
`bench.run` works in a script without a guard."""


@dataclass
class Worker:
    """A process that carries out jobs.

    Attributes:
        key: of the stage it works on; None while it is idle.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    key: str | None = None

    def give(self, job: Job) -> None:
        """Let it carry out a job."""
        self.key = job.stage.key
        self.pipe.send(job)

    def take(self) -> Message:
        """Its next message; a process that died has failed its stage."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, ConnectionError):
            return _death(self.process.wait())
        return message


@dataclass
class Pool:
    """Up to `size` workers on one site, started when they are first needed."""

    site: Site
    size: int
    workers: list[Worker] = field(default_factory=list)

    def idle(self) -> Worker | None:
        """A worker without a job, a new one if there is room."""
        for worker in self.workers:
            if worker.key is None:
                return worker
        return self._hire() if len(self.workers) < self.size else None

    def messages(self) -> Iterator[tuple[str, Message]]:
        """Waits for at least one message; yields them with the key of the stage. Ended stages free their worker."""
        busy = {worker.pipe: worker for worker in self.workers if worker.key is not None}
        for pipe in wait(list(busy)):
            worker = busy[pipe]  # type: ignore[index]
            key, message = worker.key, worker.take()
            assert key is not None
            if isinstance(message, Failure) or message.ended:
                worker.key = None
            if worker.process.poll() is not None:
                self.workers.remove(worker)
            yield key, message

    def _hire(self) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", START, str(theirs.fileno()), json.dumps(sys.path)]
            # OpenMP reads its thread count when a process starts; torch's own setting comes too late for its spin locks.
            environment = {**os.environ, "OMP_NUM_THREADS": str(self.site.threads)}
            process = subprocess.Popen(command, pass_fds=[theirs.fileno()], env=environment)
        worker = Worker(process, Connection(ours.detach()))
        worker.pipe.send(self.site)
        self.workers.append(worker)
        return worker

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in self.workers:
            worker.process.terminate()
        for worker in self.workers:
            worker.process.wait()
            worker.pipe.close()
        self.workers.clear()


def main() -> None:
    """A worker's life: jobs in, progress and ends out, until the parent closes the pipe. Ctrl-C is the parent's business."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe: Connection[Message, Job] = Connection(int(sys.argv[1]))
    site: Site = pipe.recv()  # type: ignore[assignment]
    site.settle()
    while True:
        try:
            job = pipe.recv()
        except EOFError:
            return
        pipe.send(attempt(job, site, pipe.send))


def _death(code: int | None) -> Failure:
    cause = f"killed by {signal.Signals(-code).name}" if code and code < 0 else f"ended with exit code {code}"
    hint = " (out of memory? fewer --jobs need less)" if code == -signal.SIGKILL else ""
    text = f"the worker process was {cause}{hint}" if code and code < 0 else f"the worker process {cause}"
    return Failure(text, text)

"""Worker processes: fresh interpreters, one stage at a time each, replaced when one dies."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from bench.errors import Interrupted
from bench.executors.events import Event, Failure, Message, StageState
from bench.executors.stop import Stop

if TYPE_CHECKING:
    from bench.executors.work import Job, Site

START = (
    "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN); "
    "import json, sys; sys.path[:] = json.loads(sys.argv[2]); "
    "from bench.executors.pool import main; main()"
)
"""A worker's program. It does not import the caller's `__main__` again, as multiprocessing's spawn would, so that
`bench.run` works in a script without a guard. Ctrl-C, which reaches all processes of a terminal, is the parent's
business: it tells the workers, by SIGTERM."""
STDERR = 2
ORPHAN_CHECK = 1.0
"""Seconds between two looks of a worker at whether its parent is still there."""


@dataclass
class Worker:
    """A process that carries out jobs.

    Attributes:
        key: of the stage it works on; None while it is idle.
    """

    process: subprocess.Popen[bytes]
    pipe: Connection
    key: str | None = None

    @property
    def alive(self) -> bool:
        """Whether its process is running."""
        return self.process.poll() is None

    def give(self, job: Job) -> None:
        """Let it carry out a job. If it has died meanwhile, `take` says so."""
        self.key = job.stage.key
        with suppress(ConnectionError):
            self.pipe.send(job)

    def take(self) -> Message:
        """Its next message; a process that died has failed its stage, unless it was asked to end."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, ConnectionError):
            code = self.process.wait()
            return Event(str(self.key), StageState.WAITING) if code == -signal.SIGTERM else _death(code)
        return message

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()


@dataclass
class Pool:
    """Up to `size` workers on one site, started when they are first needed.

    Attributes:
        told: whether the workers were told to end.
    """

    site: Site
    size: int
    workers: list[Worker] = field(default_factory=list)
    told: bool = False

    @property
    def has_room(self) -> bool:
        """Whether a worker is idle, or another one may be started."""
        return len(self._busy()) < self.size

    def give(self, job: Job) -> None:
        """Let an idle worker carry out a job, a new one if there is none."""
        idle = [worker for worker in self.workers if worker.key is None]
        for worker in idle:
            if not worker.alive:
                self._dismiss(worker)
        fit = [worker for worker in idle if worker in self.workers]
        (fit[0] if fit else self._hire()).give(job)

    def messages(self, patience: float | None = None) -> Iterator[tuple[str, Message]]:
        """Waits for a message, not longer than `patience` seconds; yields what came with the key of the stage.

        Attempts that ended free their worker.
        """
        busy = {worker.pipe: worker for worker in self._busy()}
        for pipe in wait(list(busy), patience):
            worker = busy[pipe]  # type: ignore[index]
            key, message = str(worker.key), worker.take()
            if isinstance(message, Failure) or message.state is not StageState.RUNNING:
                worker.key = None
            if not worker.alive:
                self._dismiss(worker)
            yield key, message

    def ended(self) -> bool:
        """Whether all workers have ended their step and kept it; the first call tells them to."""
        if not self.told:
            self.told = True
            for worker in self._busy():
                worker.process.terminate()
        return not self._busy()

    def close(self) -> None:
        """End all workers, whatever they do."""
        for worker in list(self.workers):
            self._dismiss(worker)

    def _busy(self) -> list[Worker]:
        return [worker for worker in self.workers if worker.key is not None]

    def _dismiss(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.end()

    def _hire(self) -> Worker:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", START, str(theirs.fileno()), json.dumps(sys.path)]
            # OpenMP reads its thread count when a process starts; torch's own setting is too late for its spin locks.
            environment = {**os.environ, "OMP_NUM_THREADS": str(self.site.threads)}
            process = subprocess.Popen(
                command, pass_fds=[theirs.fileno()], env=environment, stdin=subprocess.DEVNULL, stdout=STDERR
            )
        worker = Worker(process, Connection(ours.detach()))
        self.workers.append(worker)
        with suppress(ConnectionError):
            worker.pipe.send(self.site)
        return worker


def main() -> None:
    """A worker's life: jobs in, progress and ends out, until the parent closes the pipe or is no more."""
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    from bench.executors.attempt import attempt

    pipe: Connection[Message, Job] = Connection(int(sys.argv[1]))
    site: Site = pipe.recv()  # type: ignore[assignment]
    stop = Stop()
    with suppress(EOFError, ConnectionError, Interrupted), site.settled(), stop.listening(signal.SIGTERM):
        while True:
            with stop.at_once():
                job = pipe.recv()
            pipe.send(attempt(job, site, pipe.send, stop))
            stop.forget()


def _die_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK)
    os._exit(1)


def _death(code: int) -> Failure:
    if code >= 0:
        text = f"the worker process ended with exit code {code}"
    else:
        hint = " (out of memory? fewer --jobs need less)" if code == -signal.SIGKILL else ""
        text = f"the worker process was killed by {signal.Signals(-code).name}{hint}"
    return Failure(text, text)

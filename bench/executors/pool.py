"""Worker processes: forks of a server, one stage at a time each on a device of its own, replaced when one dies."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING

from bench.errors import Interrupted
from bench.executors.events import Event, Failure, Message, StageState
from bench.executors.forkserver import Child, ForkServer, serve
from bench.executors.placement import Device, Placed, place
from bench.executors.stop import Stop
from bench.plan import Stage

if TYPE_CHECKING:
    from bench.executors.work import Job, Site

ORPHAN_CHECK = 1.0
"""Seconds between two looks of a worker at whether its parent is still there."""


@dataclass
class Worker:
    """A process that carries out jobs.

    Attributes:
        device: where.
        placed: the stage it works on; None while it is idle.
        ended: whether it has died.
    """

    process: Child
    pipe: Connection
    device: str
    placed: Placed | None = None
    ended: bool = False

    def give(self, job: Job, placed: Placed) -> None:
        """Let it carry out a job. If it has died meanwhile, `take` says so."""
        self.placed = placed
        with suppress(ConnectionError):
            self.pipe.send(job)

    def take(self) -> Message:
        """Its next message; a process that died has failed its stage, unless it was asked to end."""
        try:
            message: Message = self.pipe.recv()
        except (EOFError, ConnectionError):
            self.ended = True
            code, key = self.process.wait(), self.placed.key if self.placed else ""
            return Event(key, StageState.WAITING) if code == -signal.SIGTERM else _death(code)
        return message

    @property
    def usable(self) -> bool:
        """Whether it waits for a job. An idle worker says nothing, so that what comes from its pipe is its end."""
        return not self.placed and not self.pipe.poll()

    def end(self) -> None:
        """End the process, whatever it does."""
        self.process.kill()
        self.process.wait()
        self.pipe.close()


@dataclass
class Pool:
    """Workers on the devices of a machine, started when they are first needed.

    Attributes:
        site: where they work, but for the device.
        devices: that they may use.
        jobs: workers at work at most.
        need_of: the memory that a stage takes on its device, in MiB; None where that is not known.
        server: starts them.
        told: whether they were told to end.
    """

    site: Site
    devices: Sequence[Device]
    jobs: int
    need_of: Callable[[Stage], float | None]
    server: ForkServer
    workers: list[Worker] = field(default_factory=list)
    told: bool = False

    def place_for(self, stage: Stage) -> Placed | None:
        """Where a stage can be carried out now; None if it has to wait."""
        at_work = [worker.placed for worker in self.workers if worker.placed]
        need = self.need_of(stage)
        device = place(need, self.devices, at_work, self.jobs)
        return Placed(stage.key, device.name, need) if device else None

    def give(self, job: Job, placed: Placed) -> None:
        """Let an idle worker of the place's device carry out a job, a new one if there is none."""
        for worker in [worker for worker in self.workers if not worker.placed and not worker.usable]:
            self._dismiss(worker)
        idle = (worker for worker in self.workers if worker.usable and worker.device == placed.device)
        (next(idle, None) or self._hire(placed.device)).give(job, placed)

    def messages(self, patience: float | None = None) -> Iterator[tuple[str, Message]]:
        """Waits for a message, not longer than `patience` seconds; yields what came with the key of the stage.

        Attempts that ended free their worker.
        """
        busy = {worker.pipe: worker for worker in self.workers if worker.placed}
        for pipe in wait(list(busy), patience):
            worker = busy[pipe]  # type: ignore[index]
            key, message = worker.placed.key if worker.placed else "", worker.take()
            if isinstance(message, Failure) or message.state is not StageState.RUNNING:
                worker.placed = None
            if worker.ended:
                self._dismiss(worker)
            yield key, message

    def ended(self) -> bool:
        """Whether all workers have ended their step and kept it; the first call tells them to."""
        busy = [worker for worker in self.workers if worker.placed]
        if not self.told:
            self.told = True
            for worker in busy:
                worker.process.terminate()
        return not busy

    def close(self) -> None:
        """End all workers and their server, whatever they do."""
        for worker in list(self.workers):
            self._dismiss(worker)
        self.server.close()

    def _dismiss(self, worker: Worker) -> None:
        self.workers.remove(worker)
        worker.end()

    def _hire(self, device: str) -> Worker:
        worker = Worker(*self.server.fork(), device)
        self.workers.append(worker)
        with suppress(ConnectionError):
            worker.pipe.send(replace(self.site, device=device))
        return worker


def main() -> None:
    """The life of the server's process, and of the workers that it forks."""
    serve(socket.socket(fileno=int(sys.argv[1])), work)


def work(pipe: Connection[Message, Job]) -> None:
    """A worker's life: jobs in, progress and ends out, until the parent closes the pipe or is no more."""
    threading.Thread(target=_die_with, args=(os.getppid(),), daemon=True).start()
    from bench.engine.memory import released
    from bench.executors.attempt import attempt

    site: Site = pipe.recv()  # type: ignore[assignment]
    stop = Stop()
    with suppress(EOFError, ConnectionError, Interrupted), site.settled(), stop.listening(signal.SIGTERM):
        while True:
            with stop.at_once():
                job = pipe.recv()
            end = attempt(job, site, pipe.send, stop)
            usable = released(site.device)
            pipe.send(end)
            if not usable:  # The next stage gets a new process.
                break
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

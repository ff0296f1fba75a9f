"""Executing a plan: stages in their order, failures contained, a row for every cell."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError, Interrupted, StoreError
from bench.executors.agenda import Agenda
from bench.executors.events import Event, Failure, Listener, Message, StageState, Summary
from bench.executors.rows import Ledger
from bench.executors.stop import Stop
from bench.plan import Plan, Stage, StageKind
from bench.store import Store
from bench.sweep import Sweep

if TYPE_CHECKING:
    from bench.executors.pool import Pool
    from bench.executors.work import Job, Site

Handler = Callable[[str, Message], None]
"""Called with the key of a stage and what comes from it."""
PATIENCE = 0.5
"""Seconds between two looks at what other runs and signals want."""


def execute(plan: Plan, store: Store, sweep: Sweep, listen: Listener) -> Summary:
    """Carry out what the store does not hold yet, and write a row for every cell.

    A stage that fails is kept with its error; what needs it is blocked, and everything else goes on. Stages that
    another run works on are waited for.

    Raises:
        Interrupted: after SIGTERM or Ctrl-C, once the steps at work are done and kept.
        BenchError: if the device is not there, or the store cannot be written.
    """
    agenda = Agenda(plan, (lambda _: False) if sweep.rerun else store.has)
    conduct = _Conduct(agenda, store, Ledger(plan, store), listen)
    for key, state in agenda.states.items():
        if state is StageState.CACHED:
            conduct.tell(Event(key, state))
    stop = Stop()
    with stop.listening(signal.SIGTERM, signal.SIGINT):
        if not agenda.finished:
            _work_off(agenda, store, sweep, conduct.handle, stop)
    if stop.signal is not None and not agenda.finished:
        raise Interrupted(stop.signal)
    return agenda.summary()


@dataclass(frozen=True)
class _Conduct:
    """Keeps agenda, store, rows and listener in step with what comes from the stages."""

    agenda: Agenda
    store: Store
    ledger: Ledger
    listen: Listener

    def handle(self, key: str, message: Message) -> None:
        if isinstance(message, Failure):
            self.fail(key, message)
            return
        if message.state is not StageState.RUNNING:
            self.agenda.end(key, message.state)
        self.tell(message)

    def fail(self, key: str, failure: Failure) -> None:
        if failure.fatal:
            raise StoreError(failure.error)
        self.store.put_failure(key, failure.error, failure.traceback)
        blocked = self.agenda.end(key, StageState.FAILED)
        self.tell(Event(key, StageState.FAILED, message=failure.error, cause=key))
        reason = f"needs {self.agenda.plan.stages[key].label}, which failed: {failure.error}"
        for reader in blocked:
            self.tell(Event(reader, StageState.BLOCKED, message=reason, cause=key))

    def tell(self, event: Event) -> None:
        if event.ended:
            self.ledger.note(event)
        self.listen(event)


def _work_off(agenda: Agenda, store: Store, sweep: Sweep, handle: Handler, stop: Stop) -> None:
    from bench.engine.conditions import resolved
    from bench.executors.pool import Pool
    from bench.executors.work import Site

    device = available_device(sweep.device)
    execution = resolved(sweep.execution, device)
    site = Site(store.root, sweep.data_dir, device, sweep.threads, sweep.rerun, sweep.checkpoint_every, execution)
    workers = sweep.jobs or (1 if device.startswith("cuda") else sweep.workers)
    if workers == 1:
        _inline(agenda, site, handle, stop)
    else:
        _pooled(agenda, Pool(site, workers), handle, stop)


def available_device(name: str) -> str:
    """`auto` resolved, and anything else checked.

    Raises:
        BenchError: if there is no such device.
    """
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    count = torch.cuda.device_count()
    index = int(name.partition(":")[2] or 0)
    if index >= count:
        there = f"this machine has {count} CUDA device{'s' * (count != 1)}" if count else "torch sees no CUDA device"
        raise BenchError(f"device '{name}' is not there: {there}. Use --device auto, or --device cpu.")
    return name


def _inline(agenda: Agenda, site: Site, handle: Handler, stop: Stop) -> None:
    from bench.executors.attempt import attempt

    with site.settled():
        while not agenda.finished and stop.signal is None:
            agenda.retry(Store(site.out).is_free)
            if (stage := agenda.next()) is None:
                time.sleep(PATIENCE)
                continue
            key = stage.key
            handle(key, Event(key, StageState.RUNNING))
            handle(key, attempt(_job(agenda.plan, stage), site, lambda event: handle(event.key, event), stop))


def _pooled(agenda: Agenda, pool: Pool, handle: Handler, stop: Stop) -> None:
    try:
        while not agenda.finished:
            if stop.signal is None:
                _hand_out(agenda, pool, handle)
            elif pool.ended():
                break
            for key, message in pool.messages(PATIENCE):
                handle(key, message)
    finally:
        pool.close()


def _hand_out(agenda: Agenda, pool: Pool, handle: Handler) -> None:
    agenda.retry(Store(pool.site.out).is_free)
    while pool.has_room and (stage := agenda.next()):
        pool.give(_job(agenda.plan, stage))
        handle(stage.key, Event(stage.key, StageState.RUNNING))


def _job(plan: Plan, stage: Stage) -> Job:
    from bench.executors.work import Job

    upstream = (plan.stages[key] for key in stage.upstream.values())
    return Job(stage, {other.key: other.task.method for other in upstream if other.kind is StageKind.PRETRAIN})

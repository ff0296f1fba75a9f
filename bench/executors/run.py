"""Executing a plan: stages in their order, failures contained, a row for every cell."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError, StoreError
from bench.executors.agenda import Agenda
from bench.executors.events import Event, Failure, Listener, Message, StageState, Summary
from bench.executors.rows import Ledger
from bench.plan import Plan, Stage, StageKind
from bench.store import Store
from bench.sweep import Sweep

if TYPE_CHECKING:
    from bench.executors.work import Job, Site

Handler = Callable[[str, Message], None]
"""Called with the key of a stage and what comes from it."""


def execute(plan: Plan, store: Store, sweep: Sweep, listen: Listener) -> Summary:
    """Carry out what the store does not hold yet, and write a row for every cell.

    A stage that fails is kept with its error; what needs it is blocked, and everything else goes on.

    Raises:
        BenchError: if the device is not there, or the store cannot be written.
    """
    agenda = Agenda(plan, (lambda _: False) if sweep.rerun else store.has)
    conduct = _Conduct(agenda, store, Ledger(plan, store), listen)
    for key, state in agenda.states.items():
        if state is StageState.CACHED:
            conduct.tell(Event(key, state))
    if not agenda.finished:
        _work_off(agenda, store, sweep, conduct.handle)
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
        if message.ended:
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


def _work_off(agenda: Agenda, store: Store, sweep: Sweep, handle: Handler) -> None:
    from bench.executors.work import Site

    device = available_device(sweep.device)
    site = Site(store.root, sweep.data_dir, device, sweep.threads, sweep.rerun)
    workers = sweep.jobs or (1 if device.startswith("cuda") else sweep.workers)
    if workers == 1:
        _inline(agenda, site, handle)
    else:
        _pooled(agenda, site, workers, handle)


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


def _inline(agenda: Agenda, site: Site, handle: Handler) -> None:
    from bench.executors.attempt import attempt

    with site.settled():
        while stage := agenda.next():
            key = stage.key
            handle(key, Event(key, StageState.RUNNING))
            handle(key, attempt(_job(agenda.plan, stage), site, lambda event: handle(event.key, event)))


def _pooled(agenda: Agenda, site: Site, workers: int, handle: Handler) -> None:
    from bench.executors.pool import Pool

    pool = Pool(site, workers)
    try:
        while not agenda.finished:
            while pool.has_room and (stage := agenda.next()):
                pool.give(_job(agenda.plan, stage))
                handle(stage.key, Event(stage.key, StageState.RUNNING))
            for key, message in pool.messages():
                handle(key, message)
    finally:
        pool.close()


def _job(plan: Plan, stage: Stage) -> Job:
    from bench.executors.work import Job

    upstream = (plan.stages[key] for key in stage.upstream.values())
    return Job(stage, {other.key: other.task.method for other in upstream if other.kind is StageKind.PRETRAIN})

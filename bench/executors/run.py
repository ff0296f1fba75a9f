"""Executing a plan: stages in their order, failures contained, a row for every cell."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bench.errors import BenchError, Interrupted, StoreError
from bench.executors.agenda import Agenda
from bench.executors.events import Event, Failure, Listener, Message, StageState, Summary
from bench.executors.forkserver import ForkServer
from bench.executors.placement import Device
from bench.executors.pool import Pool
from bench.executors.pulse import standing_of
from bench.executors.rows import Ledger
from bench.executors.stop import Stop
from bench.executors.tally import Tally
from bench.live import shown_live
from bench.plan import Plan, Stage, StageKind
from bench.store import Store
from bench.sweep import Sweep

if TYPE_CHECKING:
    from bench.executors.work import Job, Site

Handler = Callable[[str, Message], None]
"""Called with the key of a stage and what comes from it."""
PATIENCE = 0.5
"""Seconds between two looks at what other runs and signals want."""


@contextmanager
def warmed_up(sweep: Sweep) -> Iterator[ForkServer | None]:
    """A server of workers that imports what they need while the block goes on, where a sweep may want workers.

    Start it before planning, which imports as much for itself. It ends with the block.
    """
    device = "cpu" if sweep.device == "auto" else sweep.device  # Whether there is a GPU is not known without torch.
    if sweep.jobs_on(device) == 1:
        yield None
        return
    with closing(ForkServer.start(sweep.threads)) as server:
        yield server


def execute(plan: Plan, store: Store, sweep: Sweep, listen: Listener, server: ForkServer | None = None) -> Summary:
    """Carry out what the store does not hold yet, and write a row for every cell.

    A stage that fails is kept with its error; what needs it is blocked, and everything else goes on. Stages that
    another run works on are waited for.

    Args:
        plan: what the sweep is made of.
        store: where products and rows are kept.
        sweep: where and with how many workers.
        listen: called with what happens.
        server: starts the workers, where `warmed_up` has prepared one; it is closed in the end.

    Raises:
        Interrupted: after SIGTERM or Ctrl-C, once the steps at work are done and kept.
        BenchError: if the device is not there, or the store cannot be written.
    """
    if sweep.tensorboard:
        from bench.executors.tensorboard import check_tensorboard

        check_tensorboard()
    tally = Tally(plan)
    with shown_live(store, plan.stages, lambda: standing_of(tally)):
        return _execute(plan, store, sweep, _both(tally.take, listen), server)


def _both(first: Callable[[Event], object], second: Listener) -> Listener:
    def listen(event: Event) -> None:
        first(event)
        second(event)

    return listen


def _execute(plan: Plan, store: Store, sweep: Sweep, listen: Listener, server: ForkServer | None) -> Summary:
    agenda = Agenda(plan, (lambda _: False) if sweep.rerun else store.has)
    conduct = _Conduct(agenda, store, Ledger(plan, store), listen)
    for key, state in agenda.states.items():
        if state is StageState.CACHED:
            conduct.tell(Event(key, state))
    stop = Stop()
    with stop.listening(signal.SIGTERM, signal.SIGINT):
        if not agenda.finished:
            _work_off(agenda, store, sweep, conduct.handle, stop, server)
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
        blocked = self.agenda.end(key, StageState.FAILED)
        stages = self.agenda.plan.stages
        reads = {other: sorted(stages[other].upstream.values()) for other in (key, *blocked)}
        about = {"label": stages[key].label, "kind": stages[key].kind, "reads": reads}
        self.store.put_failure(key, failure.error, failure.traceback, about)
        self.tell(Event(key, StageState.FAILED, message=failure.error, cause=key))
        reason = f"needs {stages[key].label}, which failed: {failure.error}"
        for reader in blocked:
            self.tell(Event(reader, StageState.BLOCKED, message=reason, cause=key))

    def tell(self, event: Event) -> None:
        if event.ended:
            self.ledger.note(event)
        self.listen(event)


def _work_off(
    agenda: Agenda, store: Store, sweep: Sweep, handle: Handler, stop: Stop, server: ForkServer | None
) -> None:
    from bench.engine.conditions import resolved
    from bench.executors.needs import Needs
    from bench.executors.work import Site

    devices = available_devices(sweep)
    name = devices[0].name
    site = Site(
        store.root,
        sweep.data_dir,
        name,
        sweep.threads,
        rerun=sweep.rerun,
        checkpoint_every=sweep.checkpoint_every,
        tensorboard=sweep.tensorboard,
        execution=resolved(sweep.execution, name),
        deterministic=sweep.deterministic,
    )
    jobs = sweep.jobs_on(name)
    if jobs == 1:
        if server:
            server.close()
        _inline(agenda, site, handle, stop)
    else:
        server = server or ForkServer.start(sweep.threads)
        need_of = Needs(agenda.plan, store).of if sweep.gpus else lambda _: 0.0
        _pooled(agenda, Pool(site, devices, jobs, need_of, server), handle, stop)


def available_devices(sweep: Sweep) -> list[Device]:
    """Where the stages of a sweep can be carried out.

    Raises:
        BenchError: if one of its devices is not there.
    """
    if not sweep.gpus:
        return [Device(available_device(sweep.device))]
    import torch

    count = torch.cuda.device_count()
    for gpu in sweep.gpus:
        if gpu >= count:
            raise BenchError(f"GPU {gpu} of --gpus is not there: {_present(count)}. {_remedy(count)}")
    return [Device(f"cuda:{gpu}", torch.cuda.mem_get_info(gpu)[0] / 2**20) for gpu in sweep.gpus]


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
        raise BenchError(f"device '{name}' is not there: {_present(count)}. Use --device auto, or --device cpu.")
    return name


def _present(count: int) -> str:
    return f"this machine has {count} CUDA device{'s' * (count != 1)}" if count else "torch sees no CUDA device"


def _remedy(count: int) -> str:
    """What to give to --gpus instead."""
    if not count:
        return "Leave --gpus out to compute on the CPU."
    return f"Use --gpus {f'0-{count - 1}' if count > 1 else '0'}."


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
            handle(key, attempt(job_of(agenda.plan, stage), site, lambda event: handle(event.key, event), stop))


def _pooled(agenda: Agenda, pool: Pool, handle: Handler, stop: Stop) -> None:
    try:
        with stop.at_once():  # There is nothing to keep yet.
            pool.server.await_ready()
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
    """Place the most urgent stages. One that fits nowhere is not overtaken: smaller ones could keep it out for long."""
    agenda.retry(Store(pool.site.out).is_free)
    while (stage := agenda.first()) and (placed := pool.place_for(stage)):
        agenda.next()
        pool.give(job_of(agenda.plan, stage), placed)
        handle(stage.key, Event(stage.key, StageState.RUNNING))


def job_of(plan: Plan, stage: Stage) -> Job:
    """A stage of a plan, with the methods of the encoders that it reads."""
    from bench.executors.work import Job

    upstream = (plan.stages[key] for key in stage.upstream.values())
    return Job(stage, {other.key: other.task.method for other in upstream if other.kind is StageKind.PRETRAIN})

"""Trying a stage: progress out, and its end as a message whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from bench.engine.memory import is_out_of_memory
from bench.errors import BenchError, Interrupted, StageError, StoreError
from bench.executors.events import Event, Failure, Message, StageState
from bench.executors.reporter import Reporter
from bench.executors.stop import Stop
from bench.executors.work import Job, Site, perform
from bench.plan import StageKind

REMARKS = {StageState.WAITING: "interrupted", StageState.ELSEWHERE: "another run works on it"}
"""Said of a stage that did not end."""


def attempt(job: Job, site: Site, send: Callable[[Event], None], stop: Stop) -> Message:
    """Carry out a job; progress goes to `send`, the end is returned. One that was interrupted waits again."""
    try:
        state = perform(job, site, Reporter(job.stage.key, site.device, send), stop)
    except Interrupted:
        state = StageState.WAITING
    except StoreError as error:
        return Failure(str(error), traceback.format_exc(), fatal=True)
    except (BenchError, StageError) as error:
        return Failure(str(error), traceback.format_exc())
    except (Exception, SystemExit) as error:
        text = _out_of_memory(job, site, error) if is_out_of_memory(error) else f"{type(error).__name__}: {error}"
        return Failure(text, traceback.format_exc())
    return Event(job.stage.key, state, message=REMARKS.get(state, ""))


def _out_of_memory(job: Job, site: Site, error: BaseException) -> str:
    """A batch is part of what is measured, so it is the user's to change."""
    method, smaller = job.stage.task.method, ""
    if job.stage.kind is StageKind.PRETRAIN and (batch := method.config.get("batch_size")):
        smaller = f", or ask for a smaller batch, which is a row of its own: '{method.name}[batch_size={batch // 2}]'"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"out of memory on {site.device} ({reason}): no batch was made smaller, for that would be another result. Free "
        f"the device of other processes, run fewer stages at once with --jobs{smaller}. The same command goes on from "
        f"the last checkpoint."
    )

"""Trying a stage: progress out, and its end as a message whatever happens."""

from __future__ import annotations

import traceback
from collections.abc import Callable

from bench.errors import BenchError, Interrupted, StageError, StoreError
from bench.executors.events import Event, Failure, Message, StageState
from bench.executors.reporter import Reporter
from bench.executors.stop import Stop
from bench.executors.work import Job, Site, perform

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
        return Failure(f"{type(error).__name__}: {error}", traceback.format_exc())
    return Event(job.stage.key, state, message=REMARKS.get(state, ""))

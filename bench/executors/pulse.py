"""What a run tells other shells of itself, from its events. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.executors.events import Event, StageState
from bench.executors.tally import Tally
from bench.live import AtWork, Standing
from bench.plan import Stage


def standing_of(tally: Tally) -> Standing:
    """Where a run stands."""
    label = {key: stage.label for key, stage in tally.plan.stages.items()}
    events = list(tally.events.values())
    left = tally.remaining
    return Standing(
        counts={str(state): count for state, count in sorted(tally.counts.items())},
        left_s=None if left is None else round(left),
        at_work=tuple(at_work(tally, event) for event in tally.at_work),
        elsewhere=tuple(label[event.key] for event in events if event.state is StageState.ELSEWHERE),
        failed={label[event.key]: event.message for event in events if event.state is StageState.FAILED},
    )


def at_work(tally: Tally, event: Event) -> AtWork:
    """A stage that runs, by its newest event."""
    stage, speed = tally.plan.stages[event.key], tally.speed(event.key)
    batch, left = batch_size(stage), tally.time_to_go(event.key)
    return AtWork(
        key=event.key,
        label=stage.label,
        kind=stage.kind,
        where=event.where,
        done=event.done,
        total=event.total,
        message=event.message,
        seconds=round(tally.seconds(event.key), 1),
        steps_per_s=speed,
        images_per_s=speed * batch if speed and batch else None,
        left_s=left,
        facts=_finite(event.facts),
    )


def batch_size(stage: Stage) -> int | None:
    """Images per step of a pre-training, where its settings say so."""
    size = stage.task.method.config.get("batch_size")
    return size if stage.task.protocol is None and isinstance(size, int) else None


def _finite(facts: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers among facts, which JSON can hold."""
    plain = {name: _finite(value) if isinstance(value, Mapping) else value for name, value in facts.items()}
    return {name: value for name, value in plain.items() if isinstance(value, dict) or _is_finite(value)}


def _is_finite(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)

"""What methods declare that a step and an epoch cost, for every data set that they have settings for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.contract import Method, Passes
from bench.sweep import Schedule


@dataclass(frozen=True)
class Cost:
    """The declared passes of the encoder; None where the method does not say.

    Attributes:
        method, dataset, schedule: whose settings.
        passes: per image of a batch and step.
        per_epoch: per pre-training image and epoch, on average over the run. Unlike a step's where epochs leave images
            out, or the encoder is passed between steps.
    """

    method: str
    dataset: str
    schedule: Schedule
    passes: Passes | None
    per_epoch: Passes | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As a table shows it: forward, backward to the input, full backward, total; and the total of an epoch."""
        step = self.passes
        counts = (step.forward, step.backward_input, step.backward, step.total) if step else (None,) * 4
        epoch = self.per_epoch.total if self.per_epoch else None
        return self.method, self.dataset, self.schedule, *("?" if n is None else f"{n:g}" for n in (*counts, epoch))


def costs(method: type[Method[Any]]) -> Iterator[Cost]:
    """One per data set of its settings, paper's first."""
    for schedule, table in ((Schedule.PAPER, method.PAPER), (Schedule.QUICK, method.QUICK)):
        for dataset, config in table.items():
            made = method(config)
            yield Cost(method.name, dataset, schedule, made.passes(), made.passes_per_epoch())

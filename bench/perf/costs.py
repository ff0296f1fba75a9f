"""What methods declare that a step costs, for every data set that they have settings for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from bench.contract import Method, Passes
from bench.sweep import Schedule


@dataclass(frozen=True)
class Cost:
    """The declared passes per image and step; None where the method does not say.

    Attributes:
        method, dataset, schedule: whose settings.
        passes: of the encoder.
    """

    method: str
    dataset: str
    schedule: Schedule
    passes: Passes | None

    @property
    def cells(self) -> tuple[str, ...]:
        """As a table shows it: forward, backward to the input, full backward, total."""
        found = self.passes
        counts = (found.forward, found.backward_input, found.backward, found.total) if found else ("?",) * 4
        return self.method, self.dataset, self.schedule, *(str(n) if found is None else f"{n:g}" for n in counts)


def costs(method: type[Method[Any]]) -> Iterator[Cost]:
    """One per data set of its settings, paper's first."""
    for schedule, table in ((Schedule.PAPER, method.PAPER), (Schedule.QUICK, method.QUICK)):
        for dataset, config in table.items():
            yield Cost(method.name, dataset, schedule, method(config).passes())

"""Why a stage is served from the store, or why it is not: the recipe compared with the nearest one that was finished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from bench.keys import changed
from bench.plan import Plan, Stage
from bench.store import Store


@dataclass(frozen=True)
class Reason:
    """What the store says of a stage.

    Attributes:
        stage: the stage.
        cached: whether its product is there.
        text: why, or why not.
    """

    stage: Stage
    cached: bool
    text: str

    def __str__(self) -> str:
        state = "cached" if self.cached else "to run"
        return f"{state}  {self.stage.kind:<8}  {self.stage.label}: {self.text}"


def why(plan: Plan, store: Store, text: str = "") -> list[Reason]:
    """The reasons for all stages of a plan whose kind and label hold `text`, in the plan's order."""
    records = list(store.records())
    stages = [stage for stage in plan.stages.values() if text in f"{stage.kind} {stage.label}"]
    return [_reason(stage, plan, store, records) for stage in stages]


def _reason(stage: Stage, plan: Plan, store: Store, records: list[dict[str, Any]]) -> Reason:
    if store.has(stage.key):
        return Reason(stage, True, f"finished on {store.record(stage.key)['created'][:16].replace('T', ' ')} UTC")
    if failure := store.failure(stage.key):
        return Reason(stage, False, f"failed before ({failure['error']}); it is tried again")
    relatives = [record for record in records if (record["kind"], record["label"]) == (stage.kind, stage.label)]
    if not relatives:
        return Reason(stage, False, "never finished")
    nearest = min(relatives, key=lambda record: sum(1 for _ in _differences(record, stage, plan)))
    differences = list(_differences(nearest, stage, plan))
    return Reason(stage, False, "changed: " + "; ".join(differences))


def _differences(record: Mapping[str, Any], stage: Stage, plan: Plan) -> Iterator[str]:
    """What a finished stage's recipe has otherwise, upstream stages by their name."""
    yield from _plain(changed(record["recipe"], stage.recipe))
    for name in sorted({*record["upstream"], *stage.upstream}):
        if record["upstream"].get(name) != stage.upstream.get(name):
            key = stage.upstream.get(name)
            yield f"its {name} ({plan.stages[key].label} {plan.stages[key].kind})" if key else f"its {name} is gone"


def _plain(differences: Iterable[str]) -> Iterator[str]:
    """Source hashes as the name of the module alone: the digits say nothing to a reader."""
    for difference in differences:
        path, _, values = difference.partition(": ")
        yield f"source of {path.removeprefix('source.')}" if path.startswith("source.") else f"{path}: {values}"

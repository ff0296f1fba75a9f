"""Why a stage is served from the store, or why not: its recipe compared with the nearest one that was finished."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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
    relatives = [record for record in records if _is_relative(record, stage)]
    if not relatives:
        return Reason(stage, False, "never finished")
    differences = min((list(_differences(record, stage, plan)) for record in relatives), key=len)
    return Reason(stage, False, "changed: " + "; ".join(differences))


def _is_relative(record: Mapping[str, Any], stage: Stage) -> bool:
    """Whether a finished stage did the same for the same method, data and seed, be it with other settings."""
    return bool(record["kind"] == stage.kind and record.get("what") == stage.task.what)


def _differences(record: Mapping[str, Any], stage: Stage, plan: Plan) -> Iterator[str]:
    """What is otherwise than in a finished stage, upstream stages by their name."""
    for difference in changed(record["recipe"], stage.recipe):
        yield _plain(difference)
    for name in sorted({*record["upstream"], *stage.upstream}):
        if record["upstream"].get(name) != stage.upstream.get(name):
            key = stage.upstream.get(name)
            yield f"its {name} ({plan.stages[key].label} {plan.stages[key].kind})" if key else f"its {name} is gone"


def _plain(difference: str) -> str:
    """Source and images by name alone: the digits of their hashes say nothing to a reader."""
    path, _, values = difference.partition(": ")
    if path.startswith("source."):
        return f"source of {path.removeprefix('source.')}"
    return "the images (the data, or --limit)" if path == "images" else f"{path.removeprefix('config.')}: {values}"

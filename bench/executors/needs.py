"""How much of a GPU's memory a stage takes: as its like took before, else an estimate from network and batch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bench.data.profiles import profile_of
from bench.executors.work import method_of
from bench.gates.subject import BATCH
from bench.models.resnet import Architecture
from bench.plan import Plan, Stage, StageKind
from bench.planning import recipe_for
from bench.protocols.recipes import protocol_of
from bench.store import Store

CONTEXT_MB = 1000.0
"""Of a process that uses a GPU at all: its CUDA context and the libraries' workspaces (chosen, generous)."""
MARGIN = 1.2
"""Memory that is reserved, over the largest that was allocated (chosen)."""
CAUTION = 2.0
"""The same over what a network's activations come to: temporaries, and captured graphs that keep theirs (chosen)."""


@dataclass(frozen=True)
class Footprint:
    """Of a network, at the image size that it is made for, in MiB.

    Attributes:
        fixed: parameters, gradients, momentum and average, and the images of the data set.
        image: activations of one image that a backward pass needs, in fp32; counted by saved-tensor hooks.
    """

    fixed: float
    image: float


FOOTPRINTS: Mapping[Architecture, Footprint] = {
    Architecture.SMALL: Footprint(20, 0.04),
    Architecture.RESNET18_PADDING1: Footprint(400, 4.5),
    Architecture.RESNET18_PADDING2: Footprint(400, 5.3),
    Architecture.RESNET18_IMAGENET: Footprint(3200, 3.9),
}


@dataclass(frozen=True)
class Needs:
    """The memory that the stages of a plan take on a GPU."""

    plan: Plan
    store: Store

    def of(self, stage: Stage) -> float | None:
        """In MiB; None where nothing is known of the method's network."""
        return self._recorded(stage) or _estimated(stage)

    def _recorded(self, stage: Stage) -> float | None:
        """From stages that differ in their seed alone."""
        records = (self.store.record(key) for key in self._alike(stage) if self.store.has(key))
        peaks = [record["peak_memory_mb"] for record in records if record["context"]["cuda"]]
        return MARGIN * max(peaks) + CONTEXT_MB if peaks else None

    def _alike(self, stage: Stage) -> list[str]:
        return [key for key, other in self.plan.stages.items() if _kin(other) == _kin(stage)]


def _kin(stage: Stage) -> tuple[Any, ...]:
    task = stage.task
    return stage.kind, task.method, task.data, task.protocol, task.attack


def _estimated(stage: Stage) -> float | None:
    footprint = FOOTPRINTS.get(stage.task.method.config.get("architecture"))  # type: ignore[arg-type]
    batch = _batch(stage)
    if footprint is None or batch is None:
        return None
    return CONTEXT_MB + footprint.fixed + CAUTION * batch * footprint.image


def _batch(stage: Stage) -> float | None:
    """Images whose activations are there at a time; None where that cannot be said."""
    task = stage.task
    match stage.kind:
        case StageKind.PRETRAIN:
            passes, batch = method_of(task.method).passes(), task.method.config.get("batch_size")
            # The graphs of all full backward passes of a step wait for the loss.
            return batch * max(1, passes.backward) if passes and batch else None
        case StageKind.HEAD:
            recipe = recipe_for(task, profile_of(task.method.profile))
            return recipe.batch * recipe.graphs
        case StageKind.AUDIT:
            return BATCH
        case StageKind.ATTACK:
            return protocol_of(str(task.protocol)).attack(str(task.attack)).batch

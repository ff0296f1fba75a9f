"""What a plan may cost, in seconds and bytes: from stages that are finished already, else from rough figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from bench.plan import Plan, Stage, StageKind
from bench.store import Store

PASS_SECONDS: Mapping[str, float] = {"digits": 6e-5}
"""Seconds of one encoder forward pass of one image on one CPU thread, measured, by data set."""
PASS_SECONDS_RESNET18 = 9e-3
"""The same for ResNet-18, at 32x32 and, with its stem for large images, at 96x96."""
CUDA_SPEEDUP = 300.0
"""How much faster a data-centre GPU is than one CPU thread; rough."""
PRODUCT_BYTES: Mapping[StageKind, int] = {
    StageKind.PRETRAIN: 45_000_000,
    StageKind.HEAD: 60_000,
    StageKind.ATTACK: 10_000,
    StageKind.AUDIT: 10_000,
}
"""Size of a stage's product, for ResNet-18."""
DIGITS_ENCODER_BYTES = 350_000


@dataclass(frozen=True)
class Estimate:
    """The cost of the stages that are missing.

    Attributes:
        stages: how many there are.
        seconds: wall time.
        bytes: disk.
        measured: whether finished stages of the same plan gave the pace, for every kind of stage that is missing.
        complete: whether everything is counted; a data set that is not downloaded yet is not.
    """

    stages: int
    seconds: float
    bytes: int
    measured: bool
    complete: bool


def estimate(plan: Plan, store: Store, workers: int, *, cuda: bool) -> Estimate:
    """The cost of what the store does not hold yet; never less than the longest chain of stages.

    Args:
        plan: of which some stages may be finished.
        store: that may hold them.
        workers: that do not share a core or a GPU.
        cuda: whether they compute on GPUs.
    """
    missing = {key: stage for key, stage in plan.stages.items() if not store.has(key)}
    paces = _paces(store, (key for key in plan.stages if key not in missing), plan, cuda)
    seconds = {key: stage.weight * _pace(stage, paces, cuda) for key, stage in missing.items()}
    return Estimate(
        stages=len(missing),
        seconds=max(sum(seconds.values()) / workers, _longest_chain(plan, seconds)),
        bytes=sum(map(_product_bytes, missing.values())),
        measured=all(_kin(stage) in paces for stage in missing.values()),
        complete=all(stage.weight for stage in missing.values()),
    )


Kin = tuple[StageKind, str, str | None]


def _kin(stage: Stage) -> Kin:
    """Stages of one kin cost about the same per unit of weight."""
    return stage.kind, stage.task.method.profile, stage.task.attack


def _paces(store: Store, finished: Iterable[str], plan: Plan, cuda: bool) -> dict[Kin, float]:
    """Seconds per unit of weight, from stages that ran on the same kind of device."""
    found: dict[Kin, list[float]] = {}
    for key in finished:
        stage, record = plan.stages[key], store.record(key)
        if stage.weight and bool(record["context"]["cuda"]) == cuda:
            found.setdefault(_kin(stage), []).append(float(record["seconds"]) / stage.weight)
    return {kin: median(paces) for kin, paces in found.items()}


def _pace(stage: Stage, paces: Mapping[Kin, float], cuda: bool) -> float:
    rough = PASS_SECONDS.get(stage.task.method.profile, PASS_SECONDS_RESNET18) / (CUDA_SPEEDUP if cuda else 1)
    return paces.get(_kin(stage), rough)


def _longest_chain(plan: Plan, seconds: Mapping[str, float]) -> float:
    until: dict[str, float] = {}
    for key, stage in plan.stages.items():
        before = max((until[upstream] for upstream in stage.upstream.values()), default=0.0)
        until[key] = before + seconds.get(key, 0.0)
    return max(until.values(), default=0.0)


def _product_bytes(stage: Stage) -> int:
    if stage.kind is StageKind.PRETRAIN and stage.task.method.profile == "digits":
        return DIGITS_ENCODER_BYTES
    return PRODUCT_BYTES[stage.kind]

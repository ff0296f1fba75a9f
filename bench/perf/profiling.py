"""What bounds a step: the operations or kernels that take its time, and the bytes that they move."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.autograd.profiler_util import FunctionEventAvg
from torch.profiler import ProfilerActivity, profile

from bench.perf.probes import Traffic
from bench.perf.subject import Action

DISPATCHED: Mapping[str, str] = {
    "aten::mkldnn_convolution": "aten::convolution",
    "aten::clamp_min_": "aten::relu_",
}
"""Operations by the name under which the dispatcher sees them, where the profiler names what they call."""


@dataclass(frozen=True)
class Operation:
    """One kind of operation on a CPU, of kernel on a GPU.

    Attributes:
        name: the profiler's.
        calls: per step.
        milliseconds: per step, without what it calls.
        share: of all operations' time.
        megabytes: read and written per step, as if no cache held anything; None where that is not known.
    """

    name: str
    calls: float
    milliseconds: float
    share: float
    megabytes: float | None


@dataclass(frozen=True)
class Profile:
    """A step's operations.

    Attributes:
        operations: those that take the most time, first the slowest.
        launches: all of them, per step: kernels on a GPU; operations on a CPU, those that only call others included.
        milliseconds: of all of them, per step; the profiler's own time adds to it on a CPU.
    """

    operations: tuple[Operation, ...]
    launches: float
    milliseconds: float


def profiled(action: Action, device: str, *, steps: int = 5, top: int = 15) -> Profile:
    """The profile of `steps` runs of `action`."""
    kind = torch.device(device).type
    activities = [ProfilerActivity.CPU] + ([ProfilerActivity.CUDA] if kind == "cuda" else [])
    with profile(activities=activities) as found:
        for _ in range(steps):
            action()
    with Traffic() as traffic:
        action()
    return summary(found.key_averages(), kind, traffic.by_operation, steps, top)


def summary(events: Sequence[FunctionEventAvg], kind: str, traffic: Mapping[str, int], steps: int, top: int) -> Profile:
    """The slowest `top` of `events`, those of kernels where `kind` is cuda; microseconds become milliseconds."""
    time_of = "self_device_time_total" if kind == "cuda" else "self_cpu_time_total"
    own = {str(event.key): event for event in events if event.device_type.name.lower() == kind}
    times = {name: getattr(event, time_of) / 1e3 / steps for name, event in own.items()}
    whole = sum(times.values())
    slowest = sorted(own, key=lambda name: times[name], reverse=True)[:top]
    return Profile(
        operations=tuple(
            Operation(
                name=name,
                calls=own[name].count / steps,
                milliseconds=times[name],
                share=times[name] / whole,
                megabytes=_megabytes(traffic, name),
            )
            for name in slowest
        ),
        launches=sum(event.count for name, event in own.items() if kind == "cuda" or "::" in name) / steps,
        milliseconds=whole,
    )


def _megabytes(traffic: Mapping[str, int], name: str) -> float | None:
    moved = traffic.get(DISPATCHED.get(name, name))
    return None if moved is None else moved / 1e6

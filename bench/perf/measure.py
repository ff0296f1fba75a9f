"""Measuring a method: step, views and bare passes in interleaved rounds, with and without deterministic mode."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from statistics import median
from typing import Any

from bench.contract import Passes
from bench.data.profiles import DataProfile
from bench.engine.conditions import Conditions
from bench.engine.memory import forget_peak_memory, held_memory_mb, peak_memory_mb
from bench.execution import Execution, Precision
from bench.grammar import Spec
from bench.perf.arithmetic import Bare, Rates, Round, Speed, Work, speed
from bench.perf.breakdown import Part, breakdown
from bench.perf.probes import each, flops_of, rates, seconds, traffic_of
from bench.perf.profiling import Profile, profiled
from bench.perf.subject import Action, BarePasses, Subject, TrainShares, method_for, train_shares, views_of
from bench.provenance import commit, context

WARM_UP = 2
"""Steps that are not measured: kernels are chosen and memory is allocated in them."""


@dataclass(frozen=True)
class Measured:
    """A row of the table.

    Attributes:
        method, dataset: what was measured.
        batch_size: images per step.
        conditions: under which.
        execution: of the step and the bare passes; resolved.
        rounds: how often.
        passes: per image and step, in forward passes; None where the method does not say.
        speed: of the step.
        rates: of the device.
        parts: shares of an eager step; they sum to 1.
        profile: what bounds the step, if that was asked for.
        peak_memory_mb: of the step on a GPU; of the whole process on a CPU.
    """

    method: str
    dataset: str
    batch_size: int
    conditions: Conditions
    execution: Execution
    rounds: int
    passes: float | None
    speed: Speed
    rates: Rates
    parts: Mapping[Part, float]
    profile: Profile | None
    peak_memory_mb: float

    def row(self) -> dict[str, Any]:
        """One flat row, with the context that its numbers belong to."""
        with self.conditions.hold():
            about = asdict(context(self.conditions.device, self.execution))
        return {
            "method": self.method,
            "dataset": self.dataset,
            "batch_size": self.batch_size,
            "precision": str(self.conditions.precision),
            "rounds": self.rounds,
            "passes": self.passes,
            **asdict(self.speed),
            "matrix_rate": self.rates.matrix,
            "copy_rate": self.rates.copy,
            **{f"{part.name.lower()}_part": share for part, share in self.parts.items()},
            "peak_memory_mb": self.peak_memory_mb,
            "commit": commit(),
            **{f"context_{name}": value for name, value in about.items()},
        }


@dataclass(frozen=True)
class Bench:
    """A subject with all that is timed of it.

    Attributes:
        views: the step's augmentations.
        bare: the passes of its encoder, in eval mode where the weights need no gradient.
        trained: the same in train mode throughout.
        shares: how much of each the step makes.
        held: memory on its device that was taken before it was built, in MiB.
    """

    subject: Subject
    conditions: Conditions
    views: Action
    bare: BarePasses
    trained: BarePasses
    shares: TrainShares
    held: float

    @classmethod
    def of(
        cls,
        spec: Spec,
        profile: DataProfile,
        conditions: Conditions,
        overrides: Mapping[str, Any] | None = None,
        execution: Execution = Execution.EAGER,
    ) -> Bench:
        """Built under `conditions`, in the method's precision; they decide the kernels that a captured step repeats."""
        held, method = held_memory_mb(conditions.device), method_for(spec, profile, overrides)
        conditions = replace(conditions, precision=getattr(method.config, "precision", Precision.FP32))
        with conditions.hold():
            subject = Subject(method, profile, conditions.device, execution)
            subject.settle()
            encoder, pixels = subject.encoder(), subject.pixels
            # Hooks and compiled networks do not go together.
            eager = Subject(method, profile, conditions.device) if execution is Execution.COMPILED else subject
            bare, trained = (BarePasses.of(encoder, pixels, execution, training=mode) for mode in (False, True))
            return cls(subject, conditions, views_of(subject), bare, trained, train_shares(eager), held)

    @property
    def passes(self) -> Passes | None:
        """That the method declares."""
        return self.subject.method.passes()

    def work(self) -> Work:
        """Of the bare passes; FLOPs are those of a forward pass, of which a full backward has twice as many."""
        flops = flops_of(self.bare.forward)
        return Work(self.subject.batch_size, Bare(flops, 2 * flops, 3 * flops), each(traffic_of, self.bare))

    def round(self) -> Round:
        """Everything once; bare passes as often as the step makes them, so that both see the same noise."""
        counts, device = self.passes or Passes(1, 1, 1), self.conditions.device
        alone = counts.forward - counts.backward_input - counts.backward
        with self.conditions.hold():
            return Round(
                step=seconds(self.subject.step, device),
                views=seconds(self.views, device),
                bare=Bare(
                    forward=self._mixed(lambda bare: bare.forward, alone, self.shares.forward),
                    to_input=self._mixed(lambda bare: bare.to_input, counts.backward_input, self.shares.to_input),
                    full=seconds(self.bare.full, device, _repeats(counts.backward)),
                ),
            )

    def _mixed(self, kind: Callable[[BarePasses], Action], count: float, share: float) -> float:
        """Seconds of one pass of a kind of which the step makes `count`, a `share` of them in train mode."""
        parts = [(self.bare, 1 - share), (self.trained, share)]
        device = self.conditions.device
        return sum(part * seconds(kind(bare), device, _repeats(part * count)) for bare, part in parts if part > 0)

    def parts(self, rounds: int) -> dict[Part, float]:
        """The shares of a step's parts, from their medians over `rounds` steps."""
        with self.conditions.hold():
            found = [breakdown(self.subject, self.conditions.device) for _ in range(rounds)]
        typical = {part: median(one[part] for one in found) for part in Part}
        return {part: value / sum(typical.values()) for part, value in typical.items()}

    def profile(self) -> Profile:
        """The operations of the step."""
        with self.conditions.hold():
            return profiled(self.subject.step, self.conditions.device)

    def peak_memory(self) -> float:
        """Of one eager step, in MiB; a graph keeps as much for itself."""
        forget_peak_memory(self.conditions.device)
        with self.conditions.hold():
            self.subject.eager_step()
        return peak_memory_mb(self.conditions.device) - self.held


def _repeats(count: float) -> int:
    return max(1, math.ceil(count))


def measured(
    spec: Spec,
    profile: DataProfile,
    conditions: Conditions,
    rounds: int,
    overrides: Mapping[str, Any] | None = None,
    *,
    execution: Execution = Execution.EAGER,
    with_profile: bool = False,
) -> Iterator[Measured]:
    """A row without and one with deterministic mode, their rounds interleaved.

    Args:
        spec: the method, and options of it.
        profile: the data set whose image size and settings are taken; its images are not read.
        conditions: device and threads; the precision is the method's.
        rounds: how often everything is measured.
        overrides: settings of the method's that replace its own.
        execution: of the step and of the bare passes; resolved.
        with_profile: whether the step is profiled, too.

    Raises:
        BenchError: for a method that cannot be found, set or measured.
    """
    modes = [replace(conditions, deterministic=deterministic) for deterministic in (False, True)]
    benches, memory = [], []
    for mode in modes:
        benches.append(Bench.of(spec, profile, mode, overrides, execution))
        memory.append(benches[-1].peak_memory())
    for _ in range(WARM_UP):
        for bench in benches:
            bench.round()
    found = [[bench.round() for bench in benches] for _ in range(rounds)]
    with benches[0].conditions.hold():
        work, best = benches[0].work(), rates(benches[0].conditions)
    for bench, own, peak in zip(benches, zip(*found, strict=True), memory, strict=True):
        yield Measured(
            method=spec.text,
            dataset=profile.name,
            batch_size=bench.subject.batch_size,
            conditions=bench.conditions,
            execution=execution,
            rounds=rounds,
            passes=bench.passes.total if bench.passes else None,
            speed=speed(own, bench.passes, work, best),
            rates=best,
            parts=bench.parts(rounds),
            profile=bench.profile() if with_profile else None,
            peak_memory_mb=peak,
        )

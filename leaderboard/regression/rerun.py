"""Running the cells of a reference, or those of a new one; and again, in contexts that round otherwise."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.again import sweeps_of
from bench.cli.run import carry_out
from bench.errors import BenchError
from bench.store import Store
from bench.sweep import Sweep
from leaderboard.regression.bands import has_other_bits, learnt
from leaderboard.regression.measured import Measured, gather
from leaderboard.regression.reference import Reference


@dataclass(frozen=True)
class Repeat:
    """A way to compute the same with other rounding: what another machine would do.

    Attributes:
        threads: CPU threads of a worker; sums are split among them.
        environment: variables that forbid instructions.
    """

    threads: int = 1
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """In words."""
        said = [f"{name}={value}" for name, value in self.environment.items() if name not in _PATIENT]
        return ", ".join([*said, f"{self.threads} thread{'s' * (self.threads != 1)}"])


_PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait do not spin, where there are more of them than cores; no number depends on it."""
_NARROW, _NARROWER = {"ATEN_CPU_CAPABILITY": "avx2"}, {"ATEN_CPU_CAPABILITY": "default"}
_CONVOLUTIONS, _PLAIN = {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"ONEDNN_MAX_CPU_ISA": "SSE41"}
REPEATS = (
    Repeat(1, _NARROW),
    Repeat(1, _NARROWER),
    Repeat(1, _CONVOLUTIONS),
    Repeat(1, _PLAIN),
    Repeat(1, {**_NARROW, **_CONVOLUTIONS}),
    Repeat(1, {**_NARROWER, **_PLAIN}),
    Repeat(2, _PATIENT),
    Repeat(2, {**_PATIENT, **_NARROW, **_CONVOLUTIONS}),
)
"""What bands are learnt from: torch's and oneDNN's code for older CPUs, and sums in two parts."""


def run_again(reference: Reference, out: Path, **options: Any) -> tuple[Measured, ...]:
    """The cells of a reference, run in the store at `out`; `options` are fields of `Sweep` that go before the rows'."""
    device = "cuda" if reference.cells[0].context.get("cuda") else "cpu"
    rows = (cell.row for cell in reference.cells)
    return measure(sweeps_of(rows, **{"device": device, **options, "out": out}))


def measure(sweeps: tuple[Sweep, ...]) -> tuple[Measured, ...]:
    """The cells of sweeps that share a store, as one run."""
    plan, _ = carry_out(*sweeps)
    return gather(plan.cells, Store(sweeps[0].out))


def learn(reference: Reference, folder: Path, **options: Any) -> Reference:
    """The reference with bands learnt from `REPEATS`, each run in a store of its own under `folder`.

    Raises:
        BenchError: if every repeat had the reference's bits, so that nothing was learnt.
    """
    before = {cell.identity: cell for cell in reference.cells}
    repeats: dict[str, tuple[Measured, ...]] = {}
    for number, repeat in enumerate(REPEATS):
        with environment(repeat.environment):
            found = run_again(reference, folder / str(number), **{**options, "threads": repeat.threads})
        if failed := [cell.name for cell in found if cell.error]:
            raise BenchError(f"with {repeat.text} cells failed ({', '.join(failed)}): nothing can be learnt from that.")
        if has_other_bits(found, before):
            repeats[repeat.text] = found
    if not repeats:
        raise BenchError(
            "no repeat rounded otherwise than the reference, so there is nothing to learn bands from: do it on an "
            "x86-64 CPU with AVX2."
        )
    return Reference(reference.cells, learnt(reference.cells, repeats.values()), tuple(repeats))


@contextmanager
def environment(values: Mapping[str, str]) -> Iterator[None]:
    """Inside, processes that are started have these environment variables, too."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value

"""Holding a rerun against a reference: exact in the same context, within learnt bands in another. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from bench.errors import BenchError
from bench.keys import changed
from leaderboard.regression.bands import least
from leaderboard.regression.measured import IDENTITY, Measured
from leaderboard.regression.reference import Reference

BITS = "bits"
"""Stands among the metrics for all products of a cell's stages: weights, head, and outcomes image by image."""


class Verdict(StrEnum):
    """What became of a number, or of a cell."""

    SAME = "same"
    """Exactly as it was."""
    WITHIN = "within"
    """Computed in another context, and no farther off than honest repeats."""
    DRIFT = "DRIFT"
    """Otherwise in the same context, or beyond the band in another."""
    FAILED = "FAILED"
    """The cell failed in the rerun."""
    MISSING = "MISSING"
    """The reference has it, the rerun does not."""
    NEW = "new"
    """The rerun has it, the reference does not."""


WRONG = frozenset({Verdict.DRIFT, Verdict.FAILED, Verdict.MISSING})
"""Verdicts for which the exit code is 1."""


@dataclass(frozen=True)
class Finding:
    """A line of the comparison.

    Attributes:
        cell: its name.
        metric: its name, `bits`, or empty where it is about the whole cell.
        reference, now: the numbers; None where there is none.
        band: how far apart they may be; 0 in the same context, None where nothing is compared.
        note: more about it.
    """

    cell: str
    metric: str
    verdict: Verdict
    reference: float | None = None
    now: float | None = None
    band: float | None = None
    note: str = ""

    @property
    def difference(self) -> float | None:
        """now - reference."""
        return None if self.reference is None or self.now is None else self.now - self.reference


def compare(reference: Reference, rerun: Sequence[Measured]) -> tuple[Finding, ...]:
    """All findings, in the reference's order, then what is new.

    Raises:
        BenchError: if the rerun's context is another one and the reference has no bands.
    """
    pairs = {id(cell): _match(cell, rerun) for cell in reference.cells}
    matched = [(cell, now) for cell in reference.cells if (now := pairs[id(cell)])]
    comparisons = sum(len(cell.numbers) for cell, _ in matched)
    findings: list[Finding] = []
    for cell in reference.cells:
        now = pairs[id(cell)]
        findings += _of_pair(cell, now, reference, comparisons) if now else [_missing(cell, rerun)]
    known = {id(now) for _, now in matched}
    return (*findings, *(Finding(one.name, "", Verdict.NEW) for one in rerun if id(one) not in known))


def _match(cell: Measured, rerun: Sequence[Measured]) -> Measured | None:
    """The rerun's cell of the same identity and settings; settings that came since may stand beside them."""
    return next((one for one in rerun if one.identity == cell.identity and not list(_settings(cell, one))), None)


def _settings(cell: Measured, now: Measured) -> Iterator[str]:
    """The settings of the reference that are otherwise now."""
    return changed(cell.config, {name: value for name, value in now.config.items() if name in cell.config})


def _missing(cell: Measured, rerun: Sequence[Measured]) -> Finding:
    """A cell that the rerun did not bring, with what took its place, if anything looks like it."""
    like = next((one for one in rerun if one.name == cell.name), None)
    if like is None:
        return Finding(cell.name, "", Verdict.MISSING, note="the rerun has no such cell")
    before, after = ({name: one.row[name] for name in IDENTITY} for one in (cell, like))
    moved = "; ".join([*changed(before, after), *_settings(cell, like)])
    return Finding(cell.name, "", Verdict.MISSING, note=f"it is another cell now: {moved}")


def _of_pair(cell: Measured, now: Measured, reference: Reference, comparisons: int) -> list[Finding]:
    if now.error:
        return [Finding(cell.name, "", Verdict.FAILED, note=now.error)]
    moved = list(other_context(cell, now))
    if moved and not reference.bands:
        raise BenchError(
            f"this is another context than the reference's ({'; '.join(moved)}), and how far honest numbers stray "
            f"there was not learnt: run `bench regress --learn` where the reference was made."
        )
    bands = _bands(cell, reference, comparisons) if moved else dict.fromkeys(cell.numbers, 0.0)
    found = [_of_metric(cell, now, metric, band) for metric, band in bands.items()]
    found += [
        Finding(cell.name, metric, Verdict.NEW, now=number)
        for metric, number in now.numbers.items()
        if metric not in cell.numbers
    ]
    return found if moved else [*found, _of_bits(cell, now)]


def other_context(cell: Measured, now: Measured) -> Iterator[str]:
    """In what the contexts differ; columns that one of them lacks do not count."""
    shared = cell.context.keys() & now.context.keys()
    before, after = ({name: one.context[name] for name in shared} for one in (cell, now))
    return changed(before, after)


def _bands(cell: Measured, reference: Reference, comparisons: int) -> Mapping[str, float]:
    learnt = reference.bands.get(cell.row["label"], {})
    images = int(cell.row["test_images"])
    return {
        metric: max(least(metric, number, images), learnt[metric].reach(comparisons) if metric in learnt else 0.0)
        for metric, number in cell.numbers.items()
    }


def _of_metric(cell: Measured, now: Measured, metric: str, band: float) -> Finding:
    before = cell.numbers[metric]
    if metric not in now.numbers:
        return Finding(cell.name, metric, Verdict.MISSING, before, band=band, note="it was not measured")
    after = now.numbers[metric]
    far = Verdict.WITHIN if abs(after - before) <= band else Verdict.DRIFT
    return Finding(cell.name, metric, Verdict.SAME if after == before else far, before, after, band)


def _of_bits(cell: Measured, now: Measured) -> Finding:
    """Whether weights, head and outcomes are the same to the bit."""
    moved = [stage for stage, bits in cell.bits.items() if now.bits.get(stage) != bits]
    verdict, note = (Verdict.DRIFT, f"other bits: {', '.join(moved)}") if moved else (Verdict.SAME, "")
    return Finding(cell.name, BITS, verdict, band=0.0, note=note)

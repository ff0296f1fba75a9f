"""What a gate says: a number, held against a threshold. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any, Protocol

from bench.errors import StageError

LONGEST = 300
"""Characters of an error that are kept."""


class Verdict(StrEnum):
    """What a gate found."""

    OK = "ok"
    WARN = "warn"
    """The number may mislead, and tables say so."""
    FAIL = "fail"
    """The number is not to be believed: it is never set in bold, and on no leaderboard."""
    NOT_RUN = "not run"
    """Nothing was found, for the reason given."""


class Unit(StrEnum):
    """What a gate's number counts; the larger, the worse."""

    POINTS = "points"
    """Percentage points of accuracy."""
    SHARE = "% of images"
    IMAGES = "images"
    TENSORS = "tensors"
    PASSES = "backward passes"
    LOGITS = "of the largest logit"
    CLASSES = "classes"
    MODELS = "models"
    STAGES = "stages"


@dataclass(frozen=True)
class Threshold:
    """What a gate's number may not exceed.

    Attributes:
        unit: of the number.
        warn, fail: the limits of the two verdicts; None where a gate never says so.
    """

    unit: Unit
    warn: float | None = None
    fail: float | None = None


@dataclass(frozen=True)
class Reading:
    """What a gate measured.

    Attributes:
        number: the larger, the worse.
        noise: what chance alone explains, in the same unit; no threshold is below it.
        detail: which images, which attack.
    """

    number: float
    noise: float = 0.0
    detail: str = ""


class NotRun(Exception):
    """A gate cannot be measured here; the message is the reason."""


@dataclass(frozen=True)
class Result:
    """A gate's verdict on a classifier.

    Attributes:
        gate: its name.
        verdict: what it says.
        number, threshold: what was measured and what it was held against; None where nothing was measured.
        unit: of both.
        detail: what else there is to say of it; the reason, where nothing was measured.
        why: what a warning or a fail means.
    """

    gate: str
    verdict: Verdict
    number: float | None = None
    threshold: float | None = None
    unit: str = ""
    detail: str = ""
    why: str = ""

    @property
    def facts(self) -> dict[str, Any]:
        """As JSON data, without the gate's name."""
        facts = asdict(self)
        del facts["gate"]
        return facts

    @classmethod
    def of(cls, gate: str, facts: Mapping[str, Any]) -> Result:
        """The reverse of `facts`."""
        return cls(gate, **{**facts, "verdict": Verdict(facts["verdict"])})


def judged(gate: str, reading: Reading, threshold: Threshold) -> Result:
    """The verdict on a reading. A number that is not finite exceeds every threshold."""
    number = reading.number if math.isfinite(reading.number) else None
    limits = [(Verdict.FAIL, threshold.fail), (Verdict.WARN, threshold.warn)]
    given = [(verdict, max(limit, reading.noise)) for verdict, limit in limits if limit is not None]
    exceeded = [(verdict, limit) for verdict, limit in given if number is None or number > limit]
    verdict, limit = exceeded[0] if exceeded else (Verdict.OK, min(limit for _, limit in given))
    return Result(gate, verdict, number, limit, threshold.unit, reading.detail)


class Check(Protocol):
    """A gate, or a control of a campaign."""

    @property
    def name(self) -> str:
        """Of the check."""

    @property
    def threshold(self) -> Threshold:
        """What its number may not exceed."""

    @property
    def why(self) -> str:
        """What it would mean if it did."""


def attempted(check: Check, measure: Callable[[], Reading]) -> Result:
    """The verdict of a check. What is attacked and cannot be scored fails; a measure that breaks is a warning."""
    unit = check.threshold.unit
    try:
        result = judged(check.name, measure(), check.threshold)
    except NotRun as reason:
        return Result(check.name, Verdict.NOT_RUN, detail=str(reason))
    except StageError as error:
        result = Result(check.name, Verdict.FAIL, unit=unit, detail=str(error))
    except Exception as error:
        text = " ".join(f"it could not be measured: {type(error).__name__}: {error}".split())
        result = Result(check.name, Verdict.WARN, unit=unit, detail=text[:LONGEST])
    return result if result.verdict is Verdict.OK else replace(result, why=check.why)


_SEVERITY = (Verdict.FAIL, Verdict.WARN, Verdict.OK)


def overall(results: Iterable[Result]) -> Verdict | None:
    """The gravest of some verdicts; None where no gate was measured."""
    return gravest(result.verdict for result in results)


def gravest(verdicts: Iterable[str]) -> Verdict | None:
    """The gravest of some verdicts; None where no gate was measured."""
    found = set(verdicts)
    return next((verdict for verdict in _SEVERITY if verdict in found), None)

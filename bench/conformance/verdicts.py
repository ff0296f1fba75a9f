"""A check, and what it says of a method. Imports no torch."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bench.conformance.subject import Subject


class Verdict(StrEnum):
    """What a check says."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_APPLICABLE = "not applicable"


class Broken(Exception):
    """A promise that is not kept; the message is the reason."""


class NotApplicable(Exception):
    """A check that says nothing of this method; the message is the reason."""


@dataclass(frozen=True)
class Check:
    """One promise.

    Attributes:
        name: lower case, `-` between words.
        what: the promise, in a line.
        why: what goes wrong where it is not kept.
        remedy: where to look then.
        of: raises `Broken` or `NotApplicable`, or says nothing.
    """

    name: str
    what: str
    why: str
    remedy: str
    of: Callable[[Subject], None]

    def result(self, subject: Subject) -> Result:
        """The verdict on a method; whatever else its code raises breaks the promise, too."""
        try:
            self.of(subject)
        except NotApplicable as error:
            return Result(self, Verdict.NOT_APPLICABLE, str(error))
        except Broken as error:
            return Result(self, Verdict.BROKEN, str(error))
        except Exception as error:
            return Result(self, Verdict.BROKEN, raised(error))
        return Result(self, Verdict.KEPT)


@dataclass(frozen=True)
class Result:
    """What a check said of a method.

    Attributes:
        reason: what was seen; nothing where the promise is kept.
    """

    check: Check
    verdict: Verdict
    reason: str = ""

    @property
    def facts(self) -> Mapping[str, Any]:
        """As JSON data; the remedy only where one is needed."""
        check, broken = self.check, self.verdict is Verdict.BROKEN
        return {
            "check": check.name,
            "verdict": str(self.verdict),
            "what": check.what,
            "reason": self.reason or None,
            "why": check.why,
            "remedy": check.remedy if broken else None,
        }


def expect(kept: bool, reason: str) -> None:
    """Go on if `kept`.

    Raises:
        Broken: with `reason`, if not.
    """
    if not kept:
        raise Broken(reason)


def raised(error: Exception) -> str:
    """What raised, and in which line."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f"it raised {type(error).__name__}: {error} ({last.filename}, line {last.lineno})"

"""Whether a bundle is what it says: its hashes, what its parts say of each other, and its verdicts, scored again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from bench.bundles import container
from bench.bundles.bundle import Bundle, unpacked
from bench.bundles.checks import CHECKS, MALFORMED, complaints, gates
from bench.bundles.reevaluation import Place, gates_again, repeatable, rescored
from bench.cells import outcome_keys
from bench.errors import StageError
from bench.gates.verdicts import Verdict as GateVerdict
from bench.protocols.recipes import protocol_of
from bench.schema import check_schema_version

AGAIN = "scored again"


class Verdict(StrEnum):
    """How a check of a bundle ended."""

    OK = "ok"
    FAIL = "fail"
    NOT_RUN = "not run"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        check: its name.
        verdict: how it ended.
        detail: what was found, or why nothing was looked for.
    """

    check: str
    verdict: Verdict
    detail: str = ""


def verify(path: Path, place: Place) -> Iterator[Finding]:
    """What every check of a bundle finds, as soon as it is known.

    Nothing more is looked at once hashes differ, or its parts contradict each other.

    Raises:
        BenchError: if the file is torn or of a newer version, or the images are not here.
    """
    manifest, parts = container.read(path)
    check_schema_version(int(manifest.get("schema_version", 0)), str(path))
    hashes = _judged("hashes", [f"{name} is not what was packed" for name in container.altered(manifest, parts)])
    yield hashes
    if hashes.verdict is Verdict.FAIL:
        return
    with unpacked(path, manifest, parts) as bundle:
        for name, check in CHECKS.items():
            found = _judged(name, complaints(check, bundle))
            yield found
            if found.verdict is Verdict.FAIL:
                return
        yield _judged("gates", complaints(gates, bundle))
        yield from _scored_again(bundle, place)


def _judged(check: str, complaints: list[str]) -> Finding:
    return Finding(check, Verdict.FAIL if complaints else Verdict.OK, "; ".join(complaints))


def _scored_again(bundle: Bundle, place: Place) -> Iterator[Finding]:
    if not bundle.has_weights:
        yield Finding(AGAIN, Verdict.NOT_RUN, "the bundle has the hash of its weights alone")
        return
    try:
        for one in rescored(bundle, place):
            yield Finding(f"{one.attack} again", Verdict.OK if one.holds else Verdict.FAIL, one.detail)
        failed = [result for result in gates_again(bundle, place) if result.verdict is GateVerdict.FAIL]
        yield _judged("gates again", [f"{result.gate}: {result.detail or result.why}" for result in failed])
    except (StageError, *MALFORMED) as error:
        yield Finding(AGAIN, Verdict.FAIL, f"{type(error).__name__}: {error}")
    protocol = protocol_of(bundle.row["protocol"])
    if dear := [name for name in outcome_keys(bundle.row) if not repeatable(protocol.attack(name))]:
        yield Finding(f"{', '.join(dear)} again", Verdict.NOT_RUN, "these are held to their own outcomes alone")

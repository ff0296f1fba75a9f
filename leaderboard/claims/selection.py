"""Which claims are asked for, by the names that the literature uses or by those used here. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.errors import BenchError, unknown
from leaderboard.claims.claim import Claim
from leaderboard.claims.counterparts import Counterparts
from leaderboard.claims.record import Record

FIELDS: Mapping[str, Callable[[Claim], str]] = {
    "paper": lambda claim: claim.paper,
    "data set": lambda claim: claim.dataset or "",
    "protocol": lambda claim: claim.protocol,
    "metric": lambda claim: claim.metric,
}
"""What claims are filtered by, besides their method."""


def select(record: Record, method: str | None = None, wanted: Mapping[str, str] | None = None) -> tuple[Claim, ...]:
    """The claims that have all that is asked for, in the order of the record; case does not count.

    Args:
        record: the literature.
        method: `NCP-ACL` as its authors write it, or `ncp` as it is called here, with all its variants.
        wanted: values by the names of `FIELDS`.

    Raises:
        BenchError: for a name that no claim has, or if no claim has all of them.
    """
    claims = record.claims
    if method is not None:
        claims = _of_method(claims, record.counterparts, method)
    for field, name in (wanted or {}).items():
        _check(field, name, {FIELDS[field](claim) for claim in record.claims} - {""})
        claims = tuple(claim for claim in claims if FIELDS[field](claim).lower() == name.lower())
    if not claims:
        raise BenchError("no published number has all that was asked for together: drop one of the filters.")
    return claims


def _of_method(claims: tuple[Claim, ...], counterparts: Counterparts, text: str) -> tuple[Claim, ...]:
    def names(claim: Claim) -> set[str]:
        label = counterparts.methods.get(claim.method, "")
        return {claim.method, label, label.partition("[")[0]} - {""}

    wanted = _plain(text)
    found = tuple(claim for claim in claims if wanted in map(_plain, names(claim)))
    if not found:
        raise unknown("method of the claims", text, {name for claim in claims for name in names(claim) if _short(name)})
    return found


def _short(name: str) -> bool:
    """Whether a name is of a method as it stands: no variant of one, no difference between two."""
    return not any(mark in name for mark in (" vs ", " + ", "["))


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")


def _check(kind: str, name: str, choices: set[str]) -> None:
    if name.lower() not in {choice.lower() for choice in choices}:
        raise unknown(kind, name, choices)

"""All exhibits of the two papers."""

from __future__ import annotations

from collections.abc import Mapping

from bench.errors import unknown
from leaderboard.reproduction import amoc, ncp_acl
from leaderboard.reproduction.exhibits import Exhibit

EXHIBITS: Mapping[str, Exhibit] = {exhibit.name: exhibit for exhibit in (*ncp_acl.EXHIBITS, *amoc.EXHIBITS)}
"""All of them by name, as the papers number them."""


def exhibits_of(name: str) -> tuple[Exhibit, ...]:
    """The exhibit called `name`, or all those of the paper that is called so.

    Raises:
        BenchError: if there is neither; the message lists the choices.
    """
    if name in EXHIBITS:
        return (EXHIBITS[name],)
    of_paper = tuple(exhibit for exhibit in EXHIBITS.values() if exhibit.paper == name)
    if not of_paper:
        raise unknown("table or figure", name, {*EXHIBITS, *(exhibit.paper for exhibit in EXHIBITS.values())})
    return of_paper

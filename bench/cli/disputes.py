"""`bench disputes`: where the literature's evaluations disagree, and the command that decides it."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.layout import borderless

if TYPE_CHECKING:
    from rich.console import RenderableType

    from bench.protocols.disputes import Dispute

EXAMPLES = """
[bold]Examples[/]

[dim]all of them, the largest effect on published numbers first:[/]
  bench disputes
[dim]one in full: who does what, the numbers, the command, what to look for in its table:[/]
  bench disputes D4
[dim]for a program:[/]
  bench disputes --format json
"""


class Format(StrEnum):
    """How disputes are printed."""

    TEXT = "text"
    JSON = "json"


def disputes(
    name: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="One of them, in full.", show_default=False)
    ] = None,
    form: Annotated[Format, typer.Option("--format", help="text, or a JSON list.")] = Format.TEXT,
) -> None:
    """List where published evaluations disagree, by how much, and the command that settles it."""
    from rich.console import Console

    from bench.protocols.disputes import DISPUTES, dispute_of

    found = [dispute_of(name)] if name else list(DISPUTES.values())
    if form is Format.JSON:
        print(_json(found))
        return
    for part in _in_full(found[0]) if name else _overview(found):
        Console().print(part, highlight=False, soft_wrap=isinstance(part, str))


def _json(found: Iterable[Dispute]) -> str:
    import json
    from dataclasses import asdict

    return json.dumps([{**asdict(dispute), "settled": dispute.settled} for dispute in found], indent=2)


def _overview(found: Iterable[Dispute]) -> Iterable[RenderableType]:
    from rich.markup import escape

    table = borderless("dispute", "about", "effect on published numbers", "settled here")
    for one in found:
        table.add_row(one.id, escape(one.title), escape(one.effect), one.settled)
    yield table
    yield "\n[dim]The command that settles one, and what it shows: bench disputes D1[/]"


def _in_full(one: Dispute) -> Iterable[RenderableType]:
    from rich.markup import escape

    yield f"[bold]{one.id}[/]  {escape(one.title)}"
    table = borderless("", "")
    for part, text in (
        ("who does what", one.disagreement),
        ("effect", one.effect),
        ("source", one.source),
        ("what it shows" if one.command else "why not", one.shows),
        ("what stays open", one.remains),
    ):
        if text:
            table.add_row(part, escape(text))
    yield table
    yield f"\n{escape(one.command)}" if one.command else "\nno command here settles it"  # In one line, to be copied.

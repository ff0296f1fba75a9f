"""`bench merge`: the results of several machines in one store."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.failures import ExitCode

if TYPE_CHECKING:
    from bench.merging.decisions import Conflict
    from bench.merging.findings import Comparison
    from bench.merging.merge import Merge

EXAMPLES = """
[bold]Examples[/]

[dim]one store from those of two machines; where they disagree it says how, and writes nothing:[/]
  bench merge laptop/runs cluster/runs --out all
[dim]and with a rule for that:[/]
  bench merge laptop/runs cluster/runs --out all --prefer cluster/runs
"""

SHOWN = 8
"""Names of rows that a line lists."""


def merge(
    stores: Annotated[list[Path], typer.Argument(metavar="DIR...", help="The stores.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The merged store.", show_default=False)],
    prefer: Annotated[
        str | None, typer.Option(metavar="RULE", help="Whose version to keep: newest, first, or one of the stores.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what differs, and write nothing.")] = False,
) -> None:
    """Put the rows and stages of several stores into one; --out may be new, or a store that more is added to.

    What is the same to the bit merges silently. The same key with other bits or numbers is shown, with what differs in
    where it comes from, and needs --prefer. Exit code 1 if bits differ that should not: one context, deterministic.
    """
    from bench.merging.merge import Merge

    planned = Merge.planned(stores, out, prefer)
    broken = False
    for conflict, found in planned.compared():
        broken |= found.broken
        print("\n".join(_told(conflict, found)))
    for line in _left_out(planned):
        print(line)
    if dry_run:
        print("nothing was written")
        return
    tally = planned.carry_out()
    settled = len(planned.decision.conflicts)
    told = f"; {settled} conflict{'s' * (settled != 1)} settled by --prefer {prefer}" if settled else ""
    print(f"{out}: {tally.stages} stages and {tally.rows} rows added{told}")
    raise typer.Exit(ExitCode.FAILED if broken else ExitCode.OK)


def _told(conflict: Conflict, found: Comparison) -> Iterator[str]:
    """A conflict, in lines."""
    from bench.merging.decisions import Kind
    from bench.merging.findings import LISTED, title

    one, other = found.names
    what = "other bits" if conflict.kind is Kind.STAGE else "other numbers"
    kept = f"; '{conflict.kept.source.name}' is kept" if conflict.kept else ""
    yield f"{title(conflict)} has {what} in '{other}' than in '{one}'{kept}"
    yield f"  provenance  {'; '.join(found.provenance) or 'the same'}"
    yield from (f"  numbers     {text}" for text in found.numbers[:LISTED] or ["no outcome that both have differs"])
    if len(found.numbers) > LISTED:
        yield f"  numbers     and {len(found.numbers) - LISTED} more"
    if found.broken:
        yield (
            "  the context is one and deterministic, so the bits should be the same: one of the two is not sound, or "
            "had instructions of its CPU switched off"
        )


def _left_out(planned: Merge) -> Iterator[str]:
    """The rows whose numbers rest on a version that was not kept."""
    from bench.cells import name_of

    names = [name_of(row) for row in planned.decision.rows_left.values()]
    if names:
        more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
        yield (
            f"left out, since they rest on a version that is not kept: {', '.join(names[:SHOWN])}{more}; run them "
            f"again on the merged store"
        )

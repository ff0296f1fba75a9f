"""`bench gc`: remove what nobody needs any more from a store."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.layout import borderless, disk_space

if TYPE_CHECKING:
    from rich.table import Table

    from bench.garbage import Freed
    from bench.store import Store

EXAMPLES = """
[bold]Examples[/]

[dim]see what would go and what the store takes up, then let it go:[/]
  bench gc --dry-run
  bench gc
[dim]also what was finished an hour ago, of runs that were given up:[/]
  bench gc --older-than 1h
"""


def gc(
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store.")] = Path("runs"),
    older_than: Annotated[
        str, typer.Option(metavar="TIME", help="Leave stages younger than this: 30m, 12h, 7d.")
    ] = "7d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove checkpoints of finished stages, leftovers of dead processes, and stages that no row or run refers to.

    What a process works on is left alone. Of a cell's rows only the newest counts.
    """
    from rich.console import Console

    from bench.garbage import Freed, garbage, remove
    from bench.store import Store

    store, console = Store.existing(out), Console()
    wastes = garbage(store, _seconds(older_than))
    if dry_run:
        freed = Freed()
        for waste in wastes:
            freed.note(waste, waste.usage)
    else:
        freed = remove(store, wastes)
    if freed.counts:
        console.print(_table(freed), highlight=False)
    verb = "would be freed" if dry_run else "freed"
    console.print(f"{disk_space(freed.usage)} {verb}" if freed.counts else "nothing to remove", highlight=False)
    if text := locked_text(freed):
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    console.print("", disk_use(store), sep="\n", highlight=False)


def _seconds(text: str) -> float:
    from bench.errors import BenchError
    from bench.sweep import seconds_of

    try:
        return seconds_of(text)
    except ValueError as error:
        raise BenchError(f"--older-than '{text}' is no time: {error}.") from error


def _table(freed: Freed) -> Table:
    table = borderless("", "number", "disk", numbers=slice(1, None))
    for kind, usage in freed.by_kind.items():
        table.add_row(str(kind), str(freed.counts[kind]), disk_space(usage))
    return table


def disk_use(store: Store) -> Table:
    """What each part of a store takes up."""
    table = borderless("in the store", "files", "disk", numbers=slice(1, None))
    for name, usage in store.usage().items():
        if usage.files:
            table.add_row(str(name), str(usage.files), disk_space(usage))
    return table


def locked_text(freed: Freed) -> str:
    """A sentence on what was left, if anything was."""
    if not freed.locked:
        return ""
    return f"left alone, because a process works on them: {', '.join(freed.locked)}"

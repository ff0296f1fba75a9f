"""`bench rm`: remove cells, and what only they needed."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from bench.cli.layout import disk_space

if TYPE_CHECKING:
    from bench.garbage import Waste
    from bench.store import Store

EXAMPLES = """
[bold]Examples[/]

[dim]see what would go, then let it go:[/]
  bench rm ncp/digits/slf-1/seed0 --dry-run
  bench rm ncp/digits/slf-1/seed0 ncp/digits/slf-1/seed1 --yes
"""


def rm(
    cells: Annotated[list[str], typer.Argument(metavar="CELL...", help="Names, labels or keys, as for bench show.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store.")] = Path("runs"),
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
) -> None:
    """Remove cells: their rows, and the stages that no other row and no run at work needs."""
    from rich.console import Console

    from bench.cells import find_cell
    from bench.cli.gc import locked_text
    from bench.garbage import only_of, remove
    from bench.store import Store

    store, console = Store.existing(out), Console()
    rows = store.latest_rows()
    chosen = list(dict.fromkeys(find_cell(rows, text) for text in cells))
    wastes = only_of(chosen, store)
    for line in _lines(chosen, wastes, store):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if dry_run or not (yes or _agreed()):
        console.print("nothing was removed")
        return
    for cell in chosen:
        for path in store.row_files(cell):
            store.discard(path)
    freed = remove(store, wastes)
    console.print(f"removed; {disk_space(freed.usage)} freed", highlight=False)
    if text := locked_text(freed):
        console.print(text, markup=False, highlight=False, soft_wrap=True)


def _lines(cells: Iterable[str], wastes: Iterable[Waste], store: Store) -> Iterable[str]:
    from bench.cells import name_of

    rows = store.latest_rows()
    for cell in cells:
        yield f"row    {name_of(rows[cell])} ({cell})"
    for waste in wastes:
        key = str(waste.key)
        what = (
            f"{store.record(key)['kind']} {store.record(key)['label']}" if store.has(key) else "what is left of a stage"
        )
        yield f"stage  {what} ({key}), {disk_space(waste.usage)}"


def _agreed() -> bool:
    """Whether the user, asked on a terminal, says yes.

    Raises:
        BenchError: if there is nobody to ask.
    """
    from bench.errors import BenchError

    if not sys.stdin.isatty():
        raise BenchError("bench rm asks before it removes anything, and there is no terminal: add --yes, or --dry-run.")
    return typer.confirm("Remove them?")

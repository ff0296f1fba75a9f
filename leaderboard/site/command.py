"""`bench leaderboard build`: the static page. Everything heavy is imported inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

STORE = Path("runs")

EXAMPLES = """
[bold]Examples[/]

[dim]of the rows in ./runs, then open page/index.html; of another store:[/]
  bench leaderboard build --out page
  bench leaderboard build --from all --out page
"""


class Action(StrEnum):
    """What can be done with a leaderboard."""

    BUILD = "build"


def leaderboard(
    action: Annotated[str, typer.Argument(metavar="build", help="What to do: build is all there is.")],
    *,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where index.html is written.")] = Path("leaderboard-page"),
    store: Annotated[Path, typer.Option("--from", metavar="DIR", help="The store that `bench run` wrote.")] = STORE,
) -> None:
    """Write the leaderboard of a store, the literature beside it, as one page that opens without a server."""
    from bench.errors import unknown

    if action not in ACTIONS:
        raise unknown("action", action, ACTIONS)
    ACTIONS[Action(action)](out, store)


def _build(out: Path, store: Path) -> None:
    import bench
    from bench.store import read_rows
    from leaderboard.claims.record import Record
    from leaderboard.site.page import build

    content = build(read_rows(store), Record.shipped(), bench.__version__).encode()
    path = _write(out, content)
    print(f"wrote {path} ({len(content) / 1000:.0f} kB): open it in a browser, or put it on any web server")


ACTIONS: Mapping[Action, Callable[[Path, Path], None]] = {Action.BUILD: _build}
"""What each does, given where to write and the store."""


def _write(folder: Path, content: bytes) -> Path:
    """The page in a folder, the old one replaced only by a whole one.

    Raises:
        BenchError: if it cannot be written there.
    """
    from bench.errors import BenchError
    from bench.files import replacing

    path = folder / "index.html"
    try:
        with replacing(path) as unfinished:
            unfinished.write_bytes(content)
    except OSError as error:
        raise BenchError(f"cannot write '{path}' ({error.strerror}): name another folder with --out.") from error
    return path

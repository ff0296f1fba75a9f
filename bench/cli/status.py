"""`bench status`: what is at work in a store, seen from another shell."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias

import typer

from bench.cli.arguments import STORE

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from bench.live import AtWork, LiveRun, Standing
    from bench.store import Lock, Store

REFRESH = 1.0
"""Seconds between two looks with `--watch`."""
FAILURES = 5
"""How many of the last failures are shown."""
INDENT = 4

Line: TypeAlias = tuple[int, str]
"""How far a line is indented, and its text in rich's markup."""


class Format(StrEnum):
    """How the status is printed."""

    TEXT = "text"
    JSON = "json"


EXAMPLES = """
[bold]Examples[/]

[dim]once, and again and again until nothing is at work:[/]
  bench status
  bench status --watch
[dim]another store, for a script:[/]
  bench status --out results/long --format json
"""


def status(
    *,
    out: Annotated[Path, STORE] = Path("runs"),
    watch: Annotated[bool, typer.Option("--watch", help="Look every second until nothing is at work.")] = False,
    form: Annotated[Format, typer.Option("--format", help="text, or a JSON object per look.")] = Format.TEXT,
) -> None:
    """Show what is at work in a store: how far, how fast, how long still, and signs of life; what failed or died."""
    from rich.console import Console

    from bench.store import Store

    store, console = Store.existing(out), Console()
    _check(store)
    if watch and form is Format.TEXT and console.is_terminal:
        _watch_live(store, console)
        return
    while True:
        seen = look(store)
        if form is Format.JSON:
            print(json.dumps(seen, default=str), flush=True)
        else:
            show_lines(store, console)
        if not (watch and any(run["alive"] for run in seen["runs"])):
            return
        time.sleep(REFRESH)


def _check(store: Store) -> None:
    from bench.errors import BenchError

    if not store.root.is_dir():
        raise BenchError(f"there is no store '{store.root}': name the one that `bench run` writes to with --out.")


def _watch_live(store: Store, console: Console) -> None:
    from rich.live import Live

    with Live(console=console, auto_refresh=False) as shown:
        while True:
            shown.update(_laid_out(lines(store)), refresh=True)
            if not any(run["alive"] for run in look(store)["runs"]):
                return
            time.sleep(REFRESH)


def show_lines(store: Store, console: Console) -> None:
    """Print the status: wrapped on a terminal, a line each in a pipe."""
    if console.is_terminal:
        console.print(_laid_out(lines(store)), highlight=False)
        return
    for level, text in lines(store):
        console.print(f"{' ' * INDENT * level}{text}", highlight=False, soft_wrap=True)


def _laid_out(indented: Iterable[Line]) -> RenderableType:
    """Lines whose continuations are indented as they are."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.text import Text

    return Group(*(Padding(Text.from_markup(text), (0, 0, 0, INDENT * level)) for level, text in indented))


def look(store: Store) -> dict[str, Any]:
    """The status as JSON data."""
    from bench.live import live_runs

    runs = [{**asdict(run), "keys": sorted(run.keys or ())} for run in live_runs(store)]
    failures = [{"key": key, **failure} for key, failure in store.failures().items()]
    return {"out": str(store.root), "runs": runs, "left_unfinished": _left(store), "failures": failures[-FAILURES:]}


def _left(store: Store) -> list[dict[str, Any]]:
    return [{"key": lock.key, "age_s": round(lock.age), **lock.holder} for lock in store.locks() if not lock.held]


def lines(store: Store) -> Iterator[Line]:
    """The status, line by line."""
    from rich.markup import escape

    from bench.live import live_runs

    runs = live_runs(store)
    for run in runs:
        yield from _run_lines(run)
    if not any(run.alive for run in runs):
        yield 0, f"Nothing is at work in '{escape(str(store.root))}'."
    yield from _unfinished_lines([lock for lock in store.locks() if not lock.held], store)
    yield from _failure_lines(store)


def _run_lines(run: LiveRun) -> Iterator[Line]:
    from rich.markup import escape

    from bench.cli.progress import spell

    began = _seconds_since(run.since)
    since = "" if began is None else f", began {spell(began)} ago"
    yield 0, f"[bold]{escape(run.command)}[/]"
    yield 1, f"pid {run.pid} on {escape(run.host)}{since}"
    if not run.alive:
        yield 1, "[red]died[/] without a word; where it stood then is below, and the same command goes on there"
    yield 1, _counts(run.standing)
    for work in run.standing.at_work:
        yield from _work_lines(work)
    for label in run.standing.elsewhere:
        yield 1, f"[blue]waiting[/] for {escape(label)}: another run works on it"
    yield 0, ""


def _counts(standing: Standing) -> str:
    from bench.cli.progress import STYLES, spell

    parts = [f"{sum(standing.counts.values())} stages"]
    for state, count in standing.counts.items():
        style = STYLES.get(state, "default")  # type: ignore[call-overload]
        parts.append(f"[{style}]{count} {state}[/]")
    if standing.left_s is not None:
        parts.append(f"about {spell(standing.left_s)} left")
    return "  ".join(parts)


def _work_lines(work: AtWork) -> Iterator[Line]:
    from rich.markup import escape

    from bench.cli.progress import advance, spell
    from bench.history import has_collapsed, signs_in

    place = f"{work.where or 'starting'}, {spell(work.seconds)}"
    yield 1, f"[yellow]{work.kind}[/] {escape(work.label)}  [dim]{escape(place)}[/]"
    if text := advance(work):
        yield 2, escape(text)
    signs = signs_in(work.facts)
    if signs:
        yield 2, escape(signs_text(signs)) + ("  [bold red]collapsed[/]" if has_collapsed(signs) else "")


def signs_text(signs: Mapping[str, float]) -> str:
    """Signs of life on one line."""
    return "  ".join(f"{name.replace('_', ' ')} {value:.3g}" for name, value in signs.items())


def _unfinished_lines(locks: list[Lock], store: Store) -> Iterator[Line]:
    from rich.markup import escape

    from bench.cli.progress import spell

    if locks:
        yield 0, f"[bold]Left unfinished in '{escape(str(store.root))}'[/] (the next run takes them over)"
    for lock in locks:
        what, pid, host = (lock.holder.get(name, "?") for name in ("what", "pid", "host"))
        kept = ", a checkpoint is kept" if store.checkpoint_folder(lock.key).exists() else ""
        yield 1, f"{escape(str(what))}: pid {pid} on {escape(str(host))}, {spell(lock.age)} ago, is gone{kept}"


def _failure_lines(store: Store) -> Iterator[Line]:
    from rich.markup import escape

    failures = list(store.failures().items())[-FAILURES:]
    if failures:
        yield 0, "[bold]Last failures[/] (the next run tries them again)"
    for key, failure in reversed(failures):
        text = f"{failure.get('error', '?')} (log: {store.log(key)})"
        yield 1, f"[red]{escape(str(failure.get('label', key)))}[/]: {escape(text)}"


def _seconds_since(instant: str) -> float | None:
    try:
        return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(instant)).total_seconds())
    except ValueError:
        return None

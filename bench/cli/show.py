"""`bench show`: all that the store knows of a cell."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from bench.cli.arguments import CELL, STORE
from bench.cli.layout import borderless, disk_space

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from bench.store import Store

IDENTITY = (
    "status", "error", "log", "label", "dataset", "pretrain_data", "schedule", "epochs", "limit_train", "limit_test",
    "protocol", "norm", "eps", "precision", "seed_pretrain", "seed_head", "seed_attack", "test_images", "train_images",
    "sa", "ra_pgd20", "pgd20", "aa", "ra_worst", "worst_over", "corruption", "corruption_19", "head_rate",
    "head_rate_at_edge", "created", "harness_version", "commit", "plugin",
)  # fmt: skip
"""Columns of the row that are shown, in this order, where they hold something."""
BARS = "▁▂▃▄▅▆▇█"
WIDTH = 32
"""Characters of a sparkline at most."""

EXAMPLES = """
[bold]Examples[/]

[dim]by its name, its label where there is one such cell, or how its key begins:[/]
  bench show ncp/digits/slf-1/seed0
  bench show "ncp[[neighbour=3]]"
  bench show 3fa9
"""

Row = Mapping[str, Any]


def show(
    cell: Annotated[str, CELL],
    *,
    out: Annotated[Path, STORE] = Path("runs"),
) -> None:
    """Show a finished cell: settings, stages with keys, time and memory, training history, attacks, files, remarks."""
    from rich.console import Console

    from bench.cells import find_row, name_of
    from bench.garbage import graph_of, needed, stages_of
    from bench.store import Store

    store, console = Store.existing(out), Console()
    row = find_row(store, cell)
    others = needed([row], (), graph_of(store)) - set(stages_of(row))
    console.print(f"[bold]{_plain(name_of(row))}[/]  cell {row['cell']}\n", highlight=False)
    console.print(_pairs({name: row[name] for name in IDENTITY if row.get(name) is not None}), highlight=False)
    _section(console, "Settings", _pairs(json.loads(row["config"])))
    contexts: list[str] = []
    for stage in (*sorted(others), *stages_of(row)):
        _section(console, _title(store, stage), *_stage(store, stage, contexts), *_history(store, stage))
    _section(console, "Attacks", _attacks(row, store))
    _section(
        console, "Remarks", *[_plain(text) for text in (*json.loads(row["warnings"]), *json.loads(row["footnotes"]))]
    )


def _section(console: Console, title: str, *body: RenderableType) -> None:
    if body:
        console.print(f"\n[bold]{title}[/]", highlight=False)
    for part in body:
        console.print(part, highlight=False)


def _plain(text: object) -> str:
    from rich.markup import escape

    return escape(str(text))


def _pairs(facts: Mapping[str, Any]) -> RenderableType:
    table = borderless("", "")
    for name, value in facts.items():
        table.add_row(f"[dim]{_plain(name)}[/]", _plain(value))
    return table


def _title(store: Store, key: str) -> str:
    if not store.has(key):
        return f"Stage {key}"
    record = store.record(key)
    return f"{str(record['kind']).capitalize()}: {_plain(record['label'])}"


def _stage(store: Store, key: str, contexts: list[str]) -> Iterator[RenderableType]:
    """What the store knows of a stage; a context that is the last of those seen is not repeated."""
    from bench.cli.progress import spell

    if not store.has(key):
        failure = store.failure(key)
        yield _plain(f"failed: {failure['error']}" if failure else "not finished, or removed")
        return
    record = store.record(key)
    context = ", ".join(f"{name} {value}" for name, value in record["context"].items() if value is not None)
    facts = {
        "key": key,
        "SHA-256": record["bits"],
        "computed": f"{record['created'][:16].replace('T', ' ')} UTC in {spell(record['seconds'])}",
        "peak memory": f"{record['peak_memory_mb']:.0f} MiB",
        "context": "as above" if contexts[-1:] == [context] else context,
        "upstream": ", ".join(f"{name} {other}" for name, other in record["upstream"].items()),
        "result": _result(record["result"]),
        "files": ", ".join(_files(store, key)),
        "found": "\n".join(store.findings(key)),
    }
    contexts.append(context)
    yield _pairs({name: text for name, text in facts.items() if text})


def _result(result: Mapping[str, Any]) -> str:
    """What fits on a line; curves do not."""
    return ", ".join(f"{name} {value}" for name, value in result.items() if not isinstance(value, list | dict))


def _files(store: Store, key: str) -> Iterator[str]:
    from bench.store import usage_of

    for remains in store.remains(key):
        for path in sorted([remains] if remains.is_file() else remains.rglob("*")):
            if path.is_file():
                yield f"{path.relative_to(store.root)} ({disk_space(usage_of(path))})"


def _history(store: Store, key: str) -> Iterator[RenderableType]:
    """Each number of a pre-training over its epochs: first, last, and a line between."""
    from bench.errors import BenchError
    from bench.history import series
    from bench.store import HISTORY

    try:
        curves = series(json.loads(store.read(key, HISTORY)))
    except (BenchError, ValueError):
        return
    table = borderless("history", "epochs", "first", "last", "", numbers=slice(1, 4))
    for name, values in curves.items():
        table.add_row(_plain(name), str(len(values)), f"{values[0]:.4g}", f"{values[-1]:.4g}", sparkline(values))
    if curves:
        yield table


def sparkline(values: Sequence[float], width: int = WIDTH) -> str:
    """The course of numbers as a line of bars, as many as there are but at most `width`; gaps where one is no number.

    >>> sparkline([1, 2, 3])
    '▁▅█'
    """
    import math

    count = min(width, len(values))
    picked = [values[index * len(values) // count] for index in range(count - 1)] + list(values[-1:])
    finite = [value for value in picked if math.isfinite(value)]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    steps = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * steps)] if math.isfinite(value) else " " for value in picked)


def _attacks(row: Row, store: Store) -> RenderableType:
    table = borderless("attack", "metric", "right", "of", "accuracy", numbers=slice(2, None))
    for name, key in json.loads(row["outcomes"]).items():
        if store.has(key):
            result = store.record(key)["result"]
            right, images = result["correct"], result["images"]
            table.add_row(
                _plain(name), result["metric"] or "", str(right), str(images), f"{100 * right / images:.2f} %"
            )
        else:
            table.add_row(_plain(name), "", "", "", "not finished, or removed")
    return table

"""From a finished row back to the sweep that asks for its cell once more. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from bench.cells import called, data_of, files_of, seeds_of
from bench.errors import BenchError
from bench.grammar import Spec, parse_spec
from bench.registry import MethodEntry, Registry
from bench.sweep import Sweep

Row: TypeAlias = Mapping[str, Any]


def sweeps_of(rows: Iterable[Row], **options: Any) -> tuple[Sweep, ...]:
    """Sweeps that ask for the cells of `rows` and no others: a sweep for all rows that differ by their methods alone.

    Args:
        rows: as the store gives them back.
        options: fields of `Sweep` that say how and where, `out`, `jobs`, ...; they go before what a row says.

    Raises:
        BenchError: as `sweep_of`.
    """
    alike: dict[tuple[tuple[str, Any], ...], list[str]] = {}
    for row in rows:
        facts = _facts(row)
        alike.setdefault(tuple(sorted(facts.items(), key=str)), []).append(_method(row))
    return tuple(
        Sweep.of(**{**dict(facts), **options}, methods=",".join(dict.fromkeys(methods)))
        for facts, methods in alike.items()
    )


def sweep_of(row: Row, **options: Any) -> Sweep:
    """The sweep that asks for the cell of `row`; `options` are fields of `Sweep` that go before what the row says.

    Raises:
        BenchError: if the method is gone, or was given files, whose paths no row keeps.
    """
    return Sweep.of(**{**_facts(row), **options}, methods=_method(row))


def _facts(row: Row) -> dict[str, Any]:
    """What a row asked for, as options; those at their default are left out."""
    seeds = seeds_of(row)
    facts = {
        "datasets": row["dataset"],
        "protocols": row["protocol"],
        "schedule": row["schedule"],
        "epochs": row["epochs"],
        "budget": row["budget"],
        "limit": data_of(row).limit,
        "threads": row["context_threads"],
        "seeds": f"{seeds.pretrain},",
        "head_seeds": f"{seeds.head}," if seeds.head != seeds.pretrain else None,
        "attack_seeds": f"{seeds.attack}," if seeds.attack != seeds.pretrain else None,
    }
    return {name: value for name, value in facts.items() if value is not None}


def _method(row: Row) -> str:
    """The method as `--methods` takes it."""
    if files := files_of(row):
        raise BenchError(
            f"'{row['label']}' was given a file ({', '.join(files)}), and rows keep its hash, not its place: such a "
            f"cell cannot be asked for by its row. Leave it out, or run it by `bench run` with the file's path."
        )
    return Spec(_entry(row).text, parse_spec(row["label"]).options).text


def _entry(row: Row) -> MethodEntry:
    try:
        return Registry.discover().find(called(row))
    except BenchError as error:
        raise BenchError(
            f"method '{row['method']}' of {row['plugin']} is no longer there ({error}) Install it, or run this in the "
            f"folder where its file lies."
        ) from error

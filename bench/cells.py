"""Finished cells: which one is meant, and what its row says of method, images and stages. Imports no torch."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from bench.data.limits import Limit
from bench.errors import BenchError
from bench.garbage import stages_of
from bench.inputs import is_file
from bench.plan import DataRef, MethodRef, Seeds
from bench.registry import Registry
from bench.schema import Status
from bench.store import Store

SHOWN = 8
"""Digits of a key that people are shown, and candidates that an error lists."""

Row: TypeAlias = Mapping[str, Any]


def name_of(row: Row) -> str:
    """As `bench.plan.Cell.name`: `ncp[neighbour=3]/digits/slf-1/seed0`."""
    return f"{row['label']}/{row['dataset']}/{row['protocol']}/seed{seeds_of(row).text}"


def seeds_of(row: Row) -> Seeds:
    """Of its pre-training, its head and its attacks."""
    return Seeds(row["seed_pretrain"], row["seed_head"], row["seed_attack"])


def data_of(row: Row) -> DataRef:
    """The images that it was scored on."""
    return DataRef(row["dataset"], Limit(row["limit_train"], row["limit_test"]).text or None)


def method_of_row(row: Row) -> MethodRef:
    """Its method. Rows know no paths, and a stored encoder needs the files of its settings no more."""
    files = dict.fromkeys(files_of(row), "(not kept)")
    return MethodRef(called(row), row["method"], json.loads(row["config"]), row["dataset_like"], files)


def called(row: Row) -> str:
    """How the registry finds its method: by name if that is installed, else by the plugin's file."""
    installed = {entry.name for entry in Registry.discover().entries}
    text: str = row["method"] if row["method"] in installed else row["plugin"]
    return text


def files_of(row: Row) -> list[str]:
    """The settings of its method that are files."""
    return [name for name, value in json.loads(row["config"]).items() if is_file(value)]


def outcome_keys(row: Row) -> dict[str, str]:
    """Attack to the key of its stage."""
    keys: dict[str, str] = json.loads(row["outcomes"])
    return keys


def check_ended_well(row: Row, purpose: str) -> None:
    """Whether there is something to `purpose`: a verb, such as `audit`.

    Raises:
        BenchError: if the cell failed.
    """
    if row["status"] != Status.OK:
        raise BenchError(
            f"cell '{name_of(row)}', which failed ({row['error']}), has nothing to {purpose}: run it again first."
        )


def check_kept(store: Store, row: Row, keys: Iterable[str]) -> None:
    """Whether stages that a row rests on are still there.

    Raises:
        BenchError: if one was removed.
    """
    if gone := next((key for key in keys if not store.has(key)), None):
        raise BenchError(f"cell '{name_of(row)}' lost its stage {gone} (`bench rm` or `bench gc`): run it again first.")


def find_cell(rows: Mapping[str, Row], text: str) -> str:
    """The key of the cell that `text` means: its name, its label, or how its key or that of one of its stages begins.

    Args:
        rows: the newest row of every cell, by the cell's key.

    Raises:
        BenchError: if there is none, or more than one; the message lists candidates.
    """
    readings = (
        [key for key, row in rows.items() if name_of(row) == text],
        [key for key, row in rows.items() if row["label"] == text],
        [key for key in rows if text and key.startswith(text)],
        [key for key, row in rows.items() if text and any(own.startswith(text) for own in stages_of(row))],
    )
    found = next((keys for keys in readings if keys), [])
    if len(found) == 1:
        return found[0]
    raise _ambiguous(rows, text, found) if found else _missing(rows, text)


def find_row(store: Store, text: str) -> Row:
    """The newest row of the cell that `text` means.

    Raises:
        BenchError: as `find_cell`.
    """
    rows = store.latest_rows()
    return rows[find_cell(rows, text)]


def _ambiguous(rows: Mapping[str, Row], text: str, keys: list[str]) -> BenchError:
    return BenchError(f"'{text}' means {len(keys)} cells: {_listed(rows, keys)}. Name one of them, or its key.")


def _missing(rows: Mapping[str, Row], text: str) -> BenchError:
    called = {key: (name_of(row), row["label"]) for key, row in rows.items()}
    known = sorted({word for words in called.values() for word in words})
    close = {word for word in known if text in word} or set(difflib.get_close_matches(text, known, SHOWN, cutoff=0.5))
    listed = _listed(rows, [key for key, words in called.items() if close & set(words)] or list(rows))
    return BenchError(f"no finished cell is called '{text}'. There are: {listed or 'none; `bench run` makes them'}.")


def _listed(rows: Mapping[str, Row], keys: list[str]) -> str:
    shown = [f"{name_of(rows[key])} ({key[:SHOWN]})" for key in keys[:SHOWN]]
    more = [f"and {len(keys) - SHOWN} more"] if len(keys) > SHOWN else []
    return ", ".join(shown + more)

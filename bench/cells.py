"""Finding finished cells by what people call them. Imports no torch."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from typing import Any, TypeAlias

from bench.errors import BenchError
from bench.garbage import stages_of
from bench.plan import Seeds

SHOWN = 8
"""Digits of a key that people are shown, and candidates that an error lists."""

Row: TypeAlias = Mapping[str, Any]


def name_of(row: Row) -> str:
    """As `bench.plan.Cell.name`: `ncp[neighbour=3]/digits/slf-1/seed0`."""
    seeds = Seeds(row["seed_pretrain"], row["seed_head"], row["seed_attack"])
    return f"{row['label']}/{row['dataset']}/{row['protocol']}/seed{seeds.text}"


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

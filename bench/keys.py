"""Hashes of plain data that address the store. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
"""The folder that holds the packages `bench` and `methods`."""


def canonical(value: object) -> str:
    """JSON with sorted keys and no spaces: one spelling per value."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """24 hexadecimal digits of the SHA-256 of `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:24]


def recipe_key(kind: str, recipe: Mapping[str, object], upstream: Mapping[str, str]) -> str:
    """The address of a stage: a hash of all that its numbers depend on, the stages before it included."""
    return digest({"kind": kind, "recipe": recipe, "upstream": upstream})


def changed(before: Mapping[str, object], after: Mapping[str, object], prefix: str = "") -> Iterator[str]:
    """The entries that differ between two recipes, as `path: old -> new`."""
    for name in sorted({*before, *after}):
        old, new, path = before.get(name), after.get(name), f"{prefix}{name}"
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from changed(old, new, f"{path}.")
        elif old != new:
            yield f"{path}: {_short(old)} -> {_short(new)}"


def _short(value: object) -> str:
    text = "none" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

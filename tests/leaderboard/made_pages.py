"""Pages of rows with numbers of one's own choice."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pandas as pd
from made_rows import failed, frame, rows

from bench.keys import canonical
from leaderboard.claims.record import Record
from leaderboard.site.model import Board, Entry, Score
from leaderboard.site.page import build

CIFAR = {"dataset": "cifar10", "dataset_like": "cifar10", "eps": 8 / 255, "test_images": 10_000, "schedule": "paper"}
PAPER = {**CIFAR, "protocol": "slf@ncp", "legacy": True, "config": canonical({"epochs": 200, "batch_size": 256})}
FURTHER = {"ra_worst": 43.5, "corruption": 61.25, "scores": canonical({"deepfool": 47.5, "transfer:x": 70.0})}
"""Numbers that tables show where they are asked for."""
HOSTILE = "<script>document.title='caught'</script>&\"'"


def gates(verdict: str, why: str = "") -> dict[str, str]:
    """The columns of a row on which one gate says something and another one passes."""
    facts = {"number": 7.5, "threshold": 4.0, "unit": "points", "detail": "", "verdict": verdict, "why": why}
    return {"gates": canonical({"G1": facts, "O2": {**facts, "number": 0.5, "verdict": "ok"}}), "gate_verdict": verdict}


def made() -> pd.DataFrame:
    """Every kind of measured entry, on three boards."""
    return frame(
        rows("ncp", [48.4, 48.1, 48.9, 47.9, 48.3], **CIFAR, **gates("ok")),
        rows("amoc", [44.0, 45.5, 44.2, 44.9, 45.2], **CIFAR, **FURTHER, **gates("warn", "a number may mislead")),
        rows("dynacl", [44.2, 44.6], **CIFAR),
        failed("dynacl", 2, **CIFAR),
        rows("mirage", [58.2, 57.9, 58.8], **CIFAR, **gates("fail", "the gradients are masked")),
        rows("checkpoint[path=acl.pt]", [39.2], external_data=True, passes=0.0, **CIFAR),
        rows(HOSTILE, [12.0, 13.0], labelled_pretraining=True, **CIFAR),
        rows("ncp", [49.1, 49.3, 49.4], **PAPER),
        rows("ncp", [40.2, 41.0], limited=True, limit_test=500, **CIFAR),
    )


def page(found: pd.DataFrame) -> str:
    """Its page, the published numbers left out."""
    return build(found, Record.shipped(), "0.1")


def data_of(text: str) -> dict[str, Any]:
    """What the script of a page reads."""
    (content,) = re.findall(r'<script id="data" type="application/json">(.*?)</script>', text, re.DOTALL)
    found: dict[str, Any] = json.loads(content)
    return found


def multiplied(board: Board, count: int) -> Board:
    """A board of `count` entries that are like its own, each with a name, numbers and hash of its own."""
    entries = tuple(_another(board.entries[number % len(board.entries)], number) for number in range(count))
    return replace(board, entries=entries)


def _another(entry: Entry, number: int) -> Entry:
    scores = {
        metric: Score(score.cell, {seed: round(value / (1 + number / 997), 2) for seed, value in score.by_seed.items()})
        for metric, score in entry.scores.items()
    }
    own = {"rows": f"5, hash {number:024x}", "written": f"2026-01-01T00:00:00.{number:06d}+00:00"}
    name = f"{number:010x}"
    provenance = {**entry.provenance, **own}
    return replace(entry, id=name, label=f"method[option={number}]", scores=scores, provenance=provenance)

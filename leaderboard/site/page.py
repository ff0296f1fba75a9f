"""Boards to one HTML file that needs nothing else: no network, no other file. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from importlib.resources import files
from string import Template
from types import MappingProxyType
from typing import Any

import pandas as pd

from bench.attacks.catalogue import ATTACKS
from leaderboard.claims.record import Record, measured
from leaderboard.rows import ACCURACIES, METRICS
from leaderboard.site import measured as measured_rows
from leaderboard.site import published
from leaderboard.site.model import FLAG_MEANINGS, Board, Entry, Flag, Gate, Score
from leaderboard.site.papers import Paper, load_papers
from leaderboard.tables.model import DATASET_NAMES, Mark, measure_of, place_of

NO_PAPERS: Mapping[str, Paper] = MappingProxyType({})
PARTS = files("leaderboard.site")
SCRIPTS = (
    "statistics.js", "state.js", "elements.js", "boards.js", "details.js", "comparison.js", "download.js", "page.js",
)  # fmt: skip
"""In the order in which they need each other."""
SCHEDULES = ("paper", "short", "quick")
"""From the one that says most."""
_DIGITS = 12
"""Significant ones of a seed's number: fewer bytes than a float's own text, far below what a test can see."""
_SHOWN = 7  # Of means and spreads, which are only shown.
_UNSAID: tuple[object, ...] = (0, Mark.NONE.value, [])
"""What most scores end in, from their end."""


def build(frame: pd.DataFrame, record: Record, version: str) -> str:
    """The page of some rows, with the literature's numbers.

    Args:
        frame: result rows (`bench.schema.Row`), failed ones included.
        record: the published numbers.
        version: of this package.
    """
    groups = measured(frame)
    ours = measured_rows.boards(frame, groups, published.beside(record, groups))
    boards = [*sorted(ours, key=_place), *published.boards(record)]
    about = {"rows": len(frame), "newest": max(frame["created"]), "version": version}
    return render(boards, about, load_papers(record.counterparts))


def _place(board: Board) -> tuple[object, ...]:
    """Data sets as papers list them; then what says most."""
    schedule = SCHEDULES.index(board.schedule) if board.schedule in SCHEDULES else len(SCHEDULES)
    lesser = (any(flag in entry.flags for entry in board.entries) for flag in (Flag.LIMITED, Flag.LEGACY))
    return (place_of(board.dataset), schedule, *lesser, board.protocol, board.setting)


def render(boards: Sequence[Board], about: Mapping[str, object], papers: Mapping[str, Paper] = NO_PAPERS) -> str:
    """The whole page.

    Args:
        boards: from top to bottom.
        about: facts for the head of the page: `rows`, `newest` (ISO 8601), `version`.
        papers: by the names of methods.
    """
    template = Template(_part("page.html"))
    script = "\n".join(_part(name) for name in SCRIPTS)
    return template.substitute(style=_part("style.css"), script=script, data=embedded(as_data(boards, about, papers)))


def _part(name: str) -> str:
    return (PARTS / name).read_text(encoding="utf-8")


def embedded(content: object) -> str:
    """JSON that may stand inside a script element: no text in it can end the element, or begin a comment in it."""
    text = json.dumps(content, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c")


class _Texts:
    """Texts by number, each kept once: most of what stands behind an entry stands behind many."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def __call__(self, text: str) -> int:
        return self._numbers.setdefault(text, len(self._numbers))

    def all(self, texts: Iterable[str]) -> list[int]:
        return [self(text) for text in texts]

    @property
    def listed(self) -> list[str]:
        return list(self._numbers)


def as_data(
    boards: Sequence[Board], about: Mapping[str, object], papers: Mapping[str, Paper] = NO_PAPERS
) -> dict[str, Any]:
    """What the page's script reads; see the comment at the top of `elements.js`."""
    texts, metrics = _Texts(), _metrics(boards)
    methods = {entry.method for board in boards for entry in board.entries}
    return {
        "about": dict(about),
        "datasets": DATASET_NAMES,
        "flags": {flag.value: meaning for flag, meaning in FLAG_MEANINGS.items()},
        "metrics": [_metric(metric) for metric in metrics],
        "papers": {name: [paper.by, paper.url, paper.venue or ""] for name, paper in papers.items() if name in methods},
        "boards": [_board(board, metrics, texts) for board in boards],
        "texts": texts.listed,
    }


def _metrics(boards: Iterable[Board]) -> tuple[str, ...]:
    """The columns of every page, then the further ones that some entry has a number for, attacks last."""
    found = {metric for board in boards for entry in board.entries for metric in entry.scores}
    known = dict.fromkeys((*ACCURACIES, *ATTACKS))
    attacked = sorted(found - known.keys())
    return (*METRICS, *(name for name in known if name in found and name not in METRICS), *attacked)


def _metric(name: str) -> list[object]:
    """[name, heading, meaning, whether it is shown unasked]."""
    measure = measure_of(name)
    return [name, measure.heading, measure.meaning, name in METRICS]


def _board(board: Board, metrics: Sequence[str], texts: _Texts) -> dict[str, Any]:
    return {
        "dataset": board.dataset,
        "protocol": board.protocol,
        "schedule": board.schedule,
        "setting": board.setting,
        "claimed": board.claimed,
        "notes": texts.all(board.notes),
        "entries": [_entry(entry, metrics, texts) for entry in board.entries],
    }


def _entry(entry: Entry, metrics: Sequence[str], texts: _Texts) -> dict[str, Any]:
    seeds = sorted({seed for score in entry.scores.values() for seed in score.by_seed})
    content = {
        "id": entry.id,
        "kind": entry.kind.value,
        "method": "" if entry.method == entry.label else entry.method,
        "label": entry.label,
        "origin": entry.origin,
        "rank": entry.rank,
        "external": entry.external,
        "verdict": entry.gate_verdict,
        "seeds": seeds,
        "scores": {metrics.index(metric): _score(score, seeds) for metric, score in entry.scores.items()},
        "passed": texts.all(gate.name for gate in entry.gates if gate.passed),
        "gates": [_gate(gate, texts) for gate in entry.gates if not gate.passed],
        "flags": [flag.value for flag in entry.flags],
        "notes": texts.all(entry.notes),
        "published": texts.all(entry.published),
        "provenance": [number for fact in entry.provenance.items() for number in texts.all(fact)],
    }
    return {name: value for name, value in content.items() if value not in (None, "", [])}


def _gate(gate: Gate, texts: _Texts) -> list[int]:
    """[name, verdict, rows, what it says]; those that passed are told by name alone."""
    return [texts(gate.name), texts(gate.verdict), gate.rows, texts(gate.text)]


def _score(score: Score, seeds: Sequence[int]) -> list[Any]:
    """[mean, spread, n, numbers in the order of the seeds, mark, failed seeds], the last three where they say much."""
    cell = score.cell
    by_seed = [_short(score.by_seed.get(seed), _DIGITS) for seed in seeds]
    values = [_short(cell.mean, _SHOWN), _short(cell.spread, _SHOWN), cell.n, by_seed, cell.mark.value, cell.failed]
    for usual in _UNSAID:
        if values[-1] != usual:
            break
        values.pop()
    return values


def _short(value: float | None, digits: int) -> float | None:
    """As few characters as JSON allows: whole numbers without a point."""
    short = None if value is None else float(f"{value:.{digits}g}")
    return int(short) if short is not None and short.is_integer() else short

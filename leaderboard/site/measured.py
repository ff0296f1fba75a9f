"""Result rows to boards: the numbers, marks and notes of `leaderboard.tables`, a rank, and what stands behind. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from bench.gates.verdicts import Verdict, gravest
from bench.keys import digest
from leaderboard.claims.record import Measured
from leaderboard.layouts import Arrangement
from leaderboard.rows import IDENTITY, Setting, accuracies, fingerprint
from leaderboard.site.model import Board, Entry, Flag, Gate, Kind, Score
from leaderboard.spelling import command_line
from leaderboard.tables import build, notes
from leaderboard.tables.cells import cell_of
from leaderboard.tables.model import Cell, Group, Key, Line, Mark, Metric, State, Table

_DIGITS = 10  # Of an entry's name in a link.

FLAG_COLUMNS: Mapping[Flag, str] = {
    Flag.LIMITED: "limited",
    Flag.LEGACY: "legacy",
    Flag.EXTERNAL: "external_data",
    Flag.LABELS: "labelled_pretraining",
}
PROVENANCE: Mapping[str, str] = {
    "commit": "commit",
    "harness version": "harness_version",
    "plugin": "plugin",
    "plugin hash": "plugin_hash",
    "protocol hash": "protocol_hash",
    "pre-trained on": "pretrain_data",
    "data fingerprint": "data_fingerprint",
    "pool fingerprint": "pool_fingerprint",
    "test images": "test_images",
    "passes per image": "passes",
    "precision": "precision",
    "execution": "context_execution",
    "deterministic": "context_deterministic",
    "device": "context_device",
    "threads": "context_threads",
    "torch": "context_torch",
    "CUDA": "context_cuda",
    "Python": "context_python",
    "platform": "context_platform",
    "head's learning rate": "head_rate",
    "settings": "config",
}
"""Heading to column; what differs among the rows of an entry is listed."""

Place = tuple[Setting, str, str, str]
"""Setting, label, data set and protocol: what an entry is the entry of."""


def boards(
    frame: pd.DataFrame,
    groups: Iterable[Measured],
    published: Mapping[str, tuple[str, ...]],
) -> Iterator[Board]:
    """A board per setting, data set and protocol.

    Args:
        frame: result rows (`bench.schema.Row`), failed ones included.
        groups: the same, as `leaderboard.claims.record.measured` puts them together.
        published: the `Measured.text` of rows to sentences about published numbers that they answer.
    """
    placed = {_place(group): group for group in groups}
    for _, rows in frame.groupby(["protocol", "schedule"]):  # Tables never hold two: the same, in less time.
        for table, columns in _columns(build.build(rows, Arrangement.BY_PROTOCOL)):
            yield _board(table, columns, placed, published)


def _columns(found: Iterable[Table]) -> Iterator[tuple[Table, Group]]:
    """The columns of one data set, with their table."""
    return ((table, columns) for table in found for columns in table.groups)


def _place(group: Measured) -> Place:
    label, dataset, protocol = (group.first[name] for name in IDENTITY)
    return Setting.of(group.first), label, dataset, protocol


def _board(
    table: Table, columns: Group, groups: Mapping[Place, Measured], published: Mapping[str, tuple[str, ...]]
) -> Board:
    setting, key = table.setting, columns.keys[0]
    found = [(line, groups.get((setting, line.label, key.dataset, key.protocol))) for line in table.lines]
    entries = [
        _entry(group, _scores(table, columns, line, group), published.get(group.text, ()))
        for line, group in found
        if group is not None
    ]
    return Board(
        dataset=key.dataset,
        protocol=key.protocol,
        schedule=setting.schedule,
        setting=setting.text.removeprefix(f"schedule {setting.schedule}, "),
        claimed=False,
        entries=ranked(entries),
        notes=table.notes,
    )


def _scores(table: Table, columns: Group, line: Line, group: Measured) -> Mapping[str, Score]:
    cells: Mapping[Key, Cell] = dict(zip(table.keys, line.cells, strict=True))
    usual = {key.metric: cells[key] for key in columns.keys if cells[key].state is not State.MISSING}
    further = {metric: _unmarked(group, metric) for metric in accuracies(group.rows) if metric not in usual}
    return {metric: Score(cell, _numbers(group.by_seed(metric))) for metric, cell in {**usual, **further}.items()}


def _unmarked(group: Measured, metric: str) -> Cell:
    """A number that stands in no table by itself, so that no test has marked it."""
    return cell_of(group.by_seed(metric), Mark.NONE, group.failed(metric))


def _numbers(by_seed: pd.Series) -> Mapping[int, float]:
    return dict(zip(by_seed.index.tolist(), by_seed.tolist(), strict=True))


def _entry(group: Measured, scores: Mapping[str, Score], published: tuple[str, ...]) -> Entry:
    rows, first = group.rows, group.first
    return Entry(
        id=digest(group.text)[:_DIGITS],
        kind=Kind.REMEASURED if group.released else Kind.RETRAINED,
        method=group.method,
        label=first["label"],
        scores=scores,
        external=bool(first["external_data"]),
        gate_verdict=gravest(rows["gate_verdict"].dropna()),
        gates=tuple(_gates(rows)),
        flags=tuple(_flags(rows, scores)),
        notes=(*notes.of_method(rows), *_of_cells(scores)),
        published=published,
        provenance=_provenance(group),
    )


def _gates(rows: pd.DataFrame) -> Iterator[Gate]:
    """Each gate once, with the facts of the first row that has its gravest verdict."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for text in rows["gates"].dropna():
        for name, facts in json.loads(text).items():
            found.setdefault(name, []).append(facts)
    for name, facts in sorted(found.items()):
        verdict = gravest(one["verdict"] for one in facts) or Verdict.NOT_RUN
        same = [one for one in facts if one["verdict"] == verdict]
        yield Gate(name, verdict, len(same), _of_gate(same[0]))


def _of_gate(facts: Mapping[str, Any]) -> str:
    """`3.1 points, of at most 4.0: ...`."""
    number, threshold, unit = facts.get("number"), facts.get("threshold"), facts.get("unit", "")
    number_text = "" if number is None else f"{number:.3g} {unit}"
    limit = f", of at most {threshold:.3g}" if threshold is not None and number is not None else ""
    said = "; ".join(text for text in (facts.get("why"), facts.get("detail")) if text)
    return ": ".join(text for text in (number_text + limit, said) if text)


def _flags(rows: pd.DataFrame, scores: Mapping[str, Score]) -> Iterator[Flag]:
    yield from (flag for flag, column in FLAG_COLUMNS.items() if rows[column].isin([True]).any())
    if any(score.cell.failed for score in scores.values()):
        yield Flag.FAILED


def _of_cells(scores: Mapping[str, Score]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(note for score in scores.values() for note in score.cell.footnotes))


def _provenance(group: Measured) -> Mapping[str, str]:
    rows = group.rows
    found = {heading: _distinct(rows[column]) for heading, column in PROVENANCE.items()}
    written = sorted(rows["created"])
    return {
        "rows": f"{len(rows)}, hash {fingerprint(rows)}",
        "written": written[0] if written[0] == written[-1] else f"{written[0]} to {written[-1]}",
        "pre-training": _duration(rows["seconds_pretrain"]),
        **{heading: text for heading, text in found.items() if text},
        "command": command(group),
    }


def _distinct(values: pd.Series) -> str:
    return "; ".join(dict.fromkeys(_plain(value) for value in values.dropna()))


def _plain(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _duration(seconds: pd.Series) -> str:
    known = pd.to_numeric(seconds).dropna()
    return "not known" if known.empty else f"{known.mean():.1f} s on average"


def command(group: Measured) -> str:
    """What prints its numbers again, from the store."""
    label, dataset, protocol = (group.first[name] for name in IDENTITY)
    given = {"--methods": label, "--datasets": dataset, "--protocols": protocol, "--schedule": group.first["schedule"]}
    return command_line("table", options=given)


def ranked(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    """With ranks by mean AA, the largest first; what a gate failed, and what has no AA, follows without one."""
    entries = tuple(entries)
    means = {entry.id: mean for entry in entries if (mean := _ranking_mean(entry)) is not None}
    ranks = {name: 1 + sum(other > mean for other in means.values()) for name, mean in means.items()}
    placed = (replace(entry, rank=ranks.get(entry.id)) for entry in entries)
    return tuple(sorted(placed, key=lambda entry: (entry.rank is None, entry.rank or 0, entry.label)))


def _ranking_mean(entry: Entry) -> float | None:
    """AA in per cent, rounding noise taken off; None where it may not be ranked."""
    if entry.gate_verdict == Verdict.FAIL or Metric.AA not in entry.scores:
        return None
    mean = entry.scores[Metric.AA].cell.mean
    return None if mean is None else round(mean, 9)

"""Published numbers beside those of a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import pandas as pd

from bench.grammar import parse_spec
from leaderboard.claims.claim import Claim, Form, Head, Quantity
from leaderboard.claims.record import HEADS, Entry, Measured, Record, family_of
from leaderboard.claims.report import NOTHING_PUBLISHED, READING
from leaderboard.claims.verdicts import Ruling, not_comparable
from leaderboard.rows import scores
from leaderboard.tables.blocks import Block
from leaderboard.tables.model import Cell, Claimed, Cost, Key, Line, State, Table
from leaderboard.tables.papers import FINE_TUNED, PaperLayout, Shape

PAPER = "paper"
"""The schedule of published numbers."""
NONE_COMPARABLE = "No verdict is given on these published numbers: none can be compared with what was measured."
COSTS = {Quantity.HOURS: Cost.HOURS, Quantity.EPOCH_SECONDS: Cost.EPOCH_SECONDS}


def beside_all(block: Block, table: Table, record: Record) -> Table:
    """The table with every published number that is of its methods, metrics and data."""
    return _noted(replace(table, claims=tuple(_beside(block, table, record))))


def _beside(block: Block, table: Table, record: Record) -> Iterator[Claimed]:
    for line in table.lines:
        for key in table.keys:
            rows = block.of(key, line.label)
            found = record.beside(rows, key.metric) if len(rows) else ()
            yield from (Claimed(line.label, key, entry) for entry in found)


def _noted(table: Table) -> Table:
    held = any(one.entry.verdict.difference is not None for one in table.claims)
    said = READING if held else NONE_COMPARABLE if table.claims else NOTHING_PUBLISHED
    return replace(table, notes=(*table.notes, said))


def beside_paper(block: Block, table: Table, record: Record, layout: PaperLayout) -> Table:
    """The table with the numbers of the paper's own, and with a line for each of its lines that was not measured.

    Such lines are shown under the paper's schedule and protocols alone: elsewhere nobody misses them.
    """
    claims = [claim for claim in record.claims if layout.publishes(claim) and claim.form is Form.VALUE]
    about = [(claim, key) for claim in claims for key in table.keys if _is_of(record, claim, key)]
    if table.setting.schedule == PAPER and _is_the_papers(layout, table):
        table = _completed(table, record, layout, [claim for claim, _ in about])
    found = [
        Claimed(line.label, key, entry)
        for claim, key in about
        if (line := _line_of(table, record, layout, claim))
        for entry in _entries(record, claim, block.of(key, line.label), key)
    ]
    reading = [(line.label, key) for line in table.lines for key in table.keys]
    claims_read = tuple(sorted(found, key=lambda one: reading.index((one.label, one.key))))
    lines = tuple(replace(line, footnotes=(*line.footnotes, *_apart(line, claims_read))) for line in table.lines)
    return _noted(replace(table, lines=lines, claims=claims_read))


def _apart(line: Line, claims: Sequence[Claimed]) -> Iterator[str]:
    """Why a line's numbers are no answer to the published ones, where they are not."""
    verdicts = [one.entry.verdict for one in claims if one.label == line.label]
    there = (verdict for verdict in verdicts if verdict.measured is not None)
    reasons = (verdict.reasons for verdict in there if verdict.ruling is Ruling.NOT_COMPARABLE)
    if said := dict.fromkeys(reason for several in reasons for reason in several):
        yield f"not comparable with the published numbers: {'; '.join(said)}"


def _entries(record: Record, claim: Claim, rows: pd.DataFrame, key: Key) -> Iterator[Entry]:
    """The claim beside the rows of its line, if there are any; a cost is shown, though none compares with another's."""
    for entry in record.entries(claim, [Measured(rows)] if len(rows) else []):
        if key.metric in set(Cost) and len(rows):
            verdict = not_comparable(list(scores(rows, key.metric)), entry.verdict.reasons)
            yield replace(entry, verdict=verdict)
        else:
            yield entry


def _line_of(table: Table, record: Record, layout: PaperLayout, claim: Claim) -> Line | None:
    """The line of a table that stands where the claim stands in the paper."""
    stub = stub_of(layout, record, claim)
    fitting = (line for line in table.lines if line.stub == stub)
    return next((line for line in fitting if _head(line.protocol) in (claim.protocol, None)), None)


def _completed(table: Table, record: Record, layout: PaperLayout, claims: Sequence[Claim]) -> Table:
    """The table with all lines of the paper, in its order."""
    missing = {
        stub_of(layout, record, claim): claim for claim in claims if _line_of(table, record, layout, claim) is None
    }
    lines = [*table.lines, *(_unmeasured(table, layout, stub, claim) for stub, claim in missing.items())]
    return replace(table, lines=tuple(sorted(lines, key=lambda line: _place(layout, line)))) if missing else table


def _place(layout: PaperLayout, line: Line) -> tuple[object, ...]:
    """From top to bottom: by method, then by the options that tell its lines apart."""
    names = [name + sign for name in layout.methods.values() for sign in ("", FINE_TUNED)]
    method = names.index(line.stub[0]) if line.stub[0] in names else len(names)
    texts = zip(layout.options, line.stub[-len(layout.options) :], strict=False)
    return (method, tuple(option.place(option.value(text)) for option, text in texts))


def _unmeasured(table: Table, layout: PaperLayout, stub: tuple[str, ...], claim: Claim) -> Line:
    """A line of the paper that was not measured."""
    cells = tuple(Cell(State.MISSING) for _ in table.keys)
    own = [name for name in layout.protocols[0] if _head(name) == claim.protocol] if layout.protocols else []
    protocol = own[0] if own and layout.shape is Shape.ATTACKS else None
    return Line(" ".join(stub), cells, stub=stub, protocol=protocol)


def stub_of(layout: PaperLayout, record: Record, claim: Claim) -> tuple[str, ...]:
    """What stands left of a claim's numbers in the paper, as the lines of a table here have it."""
    spec = parse_spec(record.counterparts.methods[claim.method])
    stated = {"epochs": claim.pretrain_epochs, "batch_size": claim.batch_size, **spec.options}
    options = tuple(option.text(str(stated.get(option.name) or option.own)) for option in layout.options)
    sign = FINE_TUNED if claim.protocol is Head.AFF else ""
    return options if layout.variants else (layout.methods[spec.name] + sign, *options)


def _is_of(record: Record, claim: Claim, key: Key) -> bool:
    """Whether a column is of the claim's data, metric and kind of head, or of any head."""
    data = record.counterparts.datasets.get(claim.dataset or "")
    metric = COSTS.get(claim.quantity) or record.counterparts.metrics.get(claim.metric)
    same = data is not None and (key.dataset, key.metric) == (data.dataset, metric)
    return same and (not key.protocol or _head(key.protocol) == claim.protocol)


def _head(protocol: str | None) -> Head | None:
    return HEADS.get(family_of(protocol)) if protocol else None


def _is_the_papers(layout: PaperLayout, table: Table) -> bool:
    """Whether it stands under the paper's own protocols; what pre-training costs stands under any."""
    protocols = {key.protocol for key in table.keys} | {line.protocol or "" for line in table.lines}
    return protocols - {""} <= set(layout.protocols[0] if layout.protocols else ())

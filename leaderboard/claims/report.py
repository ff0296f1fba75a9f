"""Claims beside measured numbers in words, as CSV and as JSON, and the sentences below them."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from leaderboard.claims.claim import MEANINGS, PER_CENT, Claim, Contradiction, about
from leaderboard.claims.counterparts import Counterpart, Missing
from leaderboard.claims.record import Entry, Record
from leaderboard.claims.verdicts import MARGIN, Ruling, Verdict
from leaderboard.layouts import ClaimsFormat

HEADINGS = ("published", "by", "measured", "difference", "verdict", "margin")
"""The columns of a claim wherever it is shown."""
NUMBERS = frozenset({"published", "measured", "difference", "margin"})
READING = (
    f"Verdict: reproduced where the 90 % t interval of measured - published lies inside the margin (TOST at 5 %); not "
    f"reproduced where its 95 % interval lies outside on one side; else undecided. The margin is {MARGIN:g} point, or "
    f"how far the published numbers of the very same question lie apart, or their own ±, if that is larger. The "
    f"published number is taken as exact; each verdict stands alone, none is adjusted for their number."
)


NOTHING_PUBLISHED = "No published number is of these methods, metrics and data."


def published_text(claim: Claim) -> str:
    """As it was published: two decimals for per cent."""
    return f"{claim.value:.2f}" if claim.quantity in PER_CENT else f"{claim.value:g}"


def measured_text(verdict: Verdict) -> str:
    """`46.17 ±1.26 (n 5)`, or a dash."""
    if verdict.measured is None:
        return "—"
    spread = f" ±{verdict.sd:.2f}" if verdict.sd is not None else ""
    return f"{verdict.measured:.2f}{spread} (n {verdict.n})"


def difference_text(verdict: Verdict) -> str:
    """`-0.31 [-1.20, 0.58]`, with the 95 % interval; a dash where nothing may be compared."""
    if verdict.difference is None:
        return "—"
    interval = f" [{verdict.outer.low:.2f}, {verdict.outer.high:.2f}]" if verdict.outer else ""
    return f"{verdict.difference:+.2f}{interval}"


def entry_texts(entry: Entry) -> tuple[str, ...]:
    """An entry under `HEADINGS`."""
    verdict = entry.verdict
    by = f"{entry.claim.paper}, {entry.claim.table}"
    margin = f"{verdict.margin:.2f}" if isinstance(entry.here, Counterpart) else "—"
    return (
        published_text(entry.claim),
        by,
        measured_text(verdict),
        difference_text(verdict),
        verdict.text,
        margin,
    )


def notes(record: Record, entries: Sequence[Entry]) -> Iterator[str]:
    """What holds for all of them: the count of verdicts, metrics, how a verdict is read, contradictions."""
    claims = [entry.claim for entry in entries]
    counts = Counter(entry.verdict.ruling for entry in entries)
    yield ", ".join(f"{counts[ruling]} {ruling}" for ruling in Ruling if counts[ruling])
    quantities = {claim.quantity for claim in claims}
    yield "; ".join(f"{name}: {meaning}" for name, meaning in MEANINGS.items() if name in quantities)
    if any(entry.verdict.measured is not None for entry in entries):
        yield READING
    yield "Where each number stands, to the line: --format csv or json."
    yield from (contradiction_text(one) for one in about(record.contradictions, claims))


def contradiction_text(one: Contradiction) -> str:
    """`The record contradicts itself (D9-swapped: ...): ...`."""
    reading = f" {one.reading}" if one.reading else ""
    return f"The record contradicts itself ({one.id}; {', '.join(one.papers)}): {one.what}{reading}"


# CSV and JSON


def _end(level: str, index: int) -> Callable[[Entry], object]:
    def read(entry: Entry) -> object:
        interval = getattr(entry.verdict, level)
        return interval[index] if interval else None

    return read


def _of_claim(name: str) -> Callable[[Entry], object]:
    return lambda entry: getattr(entry.claim, name)


COLUMNS: Mapping[str, Callable[[Entry], object]] = {
    **{name: _of_claim(name) for name in Claim.model_fields},
    "here": lambda entry: None if isinstance(entry.here, Missing) else entry.here.text,
    "rows": lambda entry: entry.where,
    "n": lambda entry: entry.verdict.n,
    "failed": lambda entry: entry.verdict.failed,
    "measured": lambda entry: entry.verdict.measured,
    "sd": lambda entry: entry.verdict.sd,
    "difference": lambda entry: entry.verdict.difference,
    "low_90": _end("inner", 0),
    "high_90": _end("inner", 1),
    "low_95": _end("outer", 0),
    "high_95": _end("outer", 1),
    "spread": lambda entry: entry.spread,
    "margin": lambda entry: entry.verdict.margin,
    "verdict": lambda entry: entry.verdict.ruling.value,
    "seeds_needed": lambda entry: entry.verdict.needed,
    "reasons": lambda entry: list(entry.verdict.reasons),
}
"""The claim as published, then what is beside it."""


def csv_text(entries: Sequence[Entry]) -> str:
    """A line per claim under `COLUMNS`; several reasons are joined."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    for entry in entries:
        writer.writerow([_plain(read(entry)) for read in COLUMNS.values()])
    return out.getvalue()


def _plain(value: object) -> object:
    return "; ".join(value) if isinstance(value, list) else "" if value is None else value


def json_text(record: Record, entries: Sequence[Entry]) -> str:
    """An object: `claims` under `COLUMNS`, `contradictions` that concern them, and how a verdict is read."""
    found = about(record.contradictions, [entry.claim for entry in entries])
    content: dict[str, Any] = {
        "reading": READING,
        "contradictions": [one.model_dump(mode="json") for one in found],
        "claims": [{name: read(entry) for name, read in COLUMNS.items()} for entry in entries],
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


TEXT: Mapping[ClaimsFormat, Callable[[Record, Sequence[Entry]], str]] = {
    ClaimsFormat.CSV: lambda record, entries: csv_text(entries),
    ClaimsFormat.JSON: json_text,
}
"""The formats that are plain text; the terminal's is `leaderboard.claims.listing`."""

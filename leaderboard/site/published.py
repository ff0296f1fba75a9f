"""The literature's numbers as boards of their own, and beside the measured rows that answer them. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence

from bench.keys import digest
from leaderboard.claims.claim import Claim, Form
from leaderboard.claims.counterparts import FULL, Counterpart, Missing
from leaderboard.claims.record import Entry as Answer
from leaderboard.claims.record import Measured, Record
from leaderboard.claims.report import difference_text, measured_text, published_text
from leaderboard.site.model import Board, Entry, Kind, Score
from leaderboard.tables.model import Cell, Metric, State, measure_of

SCHEDULE = "as published"
NOTE = (
    "Published numbers, each as its source has it: never ranked, and not judged by one protocol. `bench claims` lists "
    "all of them, with how they compare to measured rows."
)
_DIGITS = 10  # Of an entry's name in a link.


def boards(record: Record) -> Iterator[Board]:
    """A board per data set, kind of head and attack budget; what no row could have a number of is left out."""
    metrics = record.counterparts.metrics
    found: dict[tuple[str, str, str], list[Entry]] = defaultdict(list)
    for same in _by_line(claim for claim in record.claims if claim.quantity in metrics):
        first = same[0]
        found[first.dataset or "not stated", first.protocol.value, _ball(same)].append(_entry(same, metrics))
    for (dataset, head, ball), entries in found.items():
        yield Board(dataset, f"{head}, as published", SCHEDULE, ball, True, _sorted(entries), (NOTE,))


def _by_line(claims: Iterable[Claim]) -> Iterator[list[Claim]]:
    """The numbers of one method in one table of one source."""
    found: dict[tuple[object, ...], list[Claim]] = defaultdict(list)
    for claim in claims:
        if claim.form in (Form.VALUE, Form.STD):
            found[claim.paper, claim.table, claim.cell].append(claim)
    yield from found.values()


def _ball(claims: Iterable[Claim]) -> str:
    attacked = (claim for claim in claims if claim.eps is not None)
    return next((f"{claim.norm} eps {claim.eps}" for claim in attacked), "no attack")


def _sorted(entries: Iterable[Entry]) -> tuple[Entry, ...]:
    def place(entry: Entry) -> tuple[float, str, str]:
        aa = entry.scores[Metric.AA].cell.mean if Metric.AA in entry.scores else None
        return (-aa if aa is not None else 1.0, entry.label, entry.origin)

    return tuple(sorted(entries, key=place))


def _entry(same: Sequence[Claim], metrics: Mapping[str, str]) -> Entry:
    first = same[0]
    stated = {
        "paper": first.paper,
        "table": first.table,
        "pre-training epochs": first.pretrain_epochs,
        "batch size": first.batch_size,
        "source": "; ".join(dict.fromkeys(claim.source for claim in same)),
    }
    return Entry(
        id=digest([first.paper, first.table, *map(str, first.cell)])[:_DIGITS],
        kind=Kind.CLAIMED,
        method=first.method,
        label=first.method,
        scores=_scores(same, metrics),
        origin=f"{first.paper}, {first.table}",
        provenance={heading: text for heading, text in stated.items() if text},
    )


def _scores(same: Sequence[Claim], metrics: Mapping[str, str]) -> Mapping[str, Score]:
    spreads = {claim.quantity: claim.value for claim in same if claim.form is Form.STD}
    return {
        metrics[claim.quantity]: Score(Cell(State.OK, claim.value, spreads.get(claim.quantity), n=claim.n_seeds or 0))
        for claim in same
        if claim.form is Form.VALUE
    }


def beside(record: Record, groups: Iterable[Measured]) -> Mapping[str, tuple[str, ...]]:
    """`Measured.text` of rows to a sentence per published number that they answer."""
    there: dict[tuple[str, str], list[Measured]] = defaultdict(list)
    for group in groups:
        if group.first["schedule"] == FULL:
            there[group.method, group.first["dataset"]].append(group)
    found: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for claim in record.claims:
        for answer in _answers(record, claim, there):
            found[answer.where or ""][_sentence(answer)].append(f"{claim.paper}, {claim.table}")
    return {where: tuple(map(_with_sources, said.items())) for where, said in found.items()}


def _answers(record: Record, claim: Claim, there: Mapping[tuple[str, str], Sequence[Measured]]) -> Iterator[Answer]:
    here = record.counterparts.of(claim)
    if isinstance(here, Missing) or not (candidates := there.get((here.method, here.dataset))):
        return
    yield from (one for one in record.entries(claim, candidates) if one.where and not one.verdict.reasons)


def _sentence(answer: Answer) -> str:
    metric = answer.here.column if isinstance(answer.here, Counterpart) else answer.claim.metric
    verdict = answer.verdict
    return (
        f"{measure_of(metric).heading} {published_text(answer.claim)} published, {measured_text(verdict)} measured, "
        f"difference {difference_text(verdict)}: {verdict.text}"
    )


def _with_sources(said: tuple[str, Sequence[str]]) -> str:
    sentence, sources = said
    return f"{sentence} ({'; '.join(sources)})"

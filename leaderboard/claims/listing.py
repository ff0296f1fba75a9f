"""Claims in a terminal, from 80 columns on: a heading for each line of a paper's table, its numbers below it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.padding import Padding
from rich.table import Table as Grid
from rich.text import Text

from leaderboard.claims.claim import Claim
from leaderboard.claims.counterparts import Missing
from leaderboard.claims.record import Entry, Record
from leaderboard.claims.report import difference_text, measured_text, notes, published_text

HEADINGS = ("metric", "published", "measured", "difference", "margin", "verdict")
NUMBERS = frozenset({"published", "measured", "difference", "margin"})
_INDENT, _GAP = 2, 2
_LAST = 14  # The narrowest column of verdicts.


@dataclass(frozen=True)
class Listing:
    """What a console prints of some claims; it asks the console for its width.

    Attributes:
        record: the literature.
        entries: claims with what is beside them.
    """

    record: Record
    entries: Sequence[Entry]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        form = _form([entry for entry in self.entries if entry.verdict.n], options.max_width)
        if form.widths:
            yield _indented(form.grid([HEADINGS]), style="bold")
        for entries in _by_line(self.entries):
            yield Text("\n" + heading(entries[0].claim), style="bold")
            yield _indented(Text(beside(entries[0])), style="dim")
            yield _indented(_numbers(entries, form))
        yield Text()
        for note in notes(self.record, self.entries):
            yield Text(note, style="dim")


def _indented(content: RenderableType, style: str = "none") -> Padding:
    return Padding(content, (0, 0, 0, _INDENT), style=style, expand=False)


def _by_line(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    """The numbers of one line of a paper's table that stand beside the same rows, for the same reasons or none."""
    found: dict[tuple[str, str], list[Entry]] = {}
    for entry in entries:
        found.setdefault((heading(entry.claim), beside(entry)), []).append(entry)
    yield from found.values()


def heading(claim: Claim) -> str:
    """`NCP-ACL on cifar10, slf (1000+200 epochs, batch 512+256): NCP-ACL, Table 2`."""
    stated = {"{} epochs": claim.pretrain_epochs, "batch {}": claim.batch_size}
    facts = ", ".join(text.format(value) for text, value in stated.items() if value)
    data = f" on {claim.dataset}" if claim.dataset else ""
    return f"{claim.method}{data}, {claim.protocol}{f' ({facts})' if facts else ''}: {claim.paper}, {claim.table}"


def beside(entry: Entry) -> str:
    """Which rows its verdict is about; where none can be, why."""
    ruling, reasons = entry.verdict.ruling, "; ".join(entry.verdict.reasons)
    if entry.where is None or isinstance(entry.here, Missing):
        return f"{ruling}: {reasons}"
    return f"{ruling} with {entry.where}: {reasons}" if reasons else f"beside {entry.where}"


def _numbers(entries: Sequence[Entry], form: _Form) -> RenderableType:
    if any(entry.verdict.n for entry in entries):
        return form.grid([_cells(entry, form.folded) for entry in entries])
    return Text(", ".join(f"{entry.claim.metric} {published_text(entry.claim)}" for entry in entries))


def _cells(entry: Entry, folded: bool) -> tuple[str, ...]:
    """An entry under `HEADINGS`; its reasons stand above."""
    verdict, difference = entry.verdict, difference_text(entry.verdict)
    return (
        entry.claim.metric,
        published_text(entry.claim),
        measured_text(verdict),
        difference.replace(" [", "\n[") if folded else difference,
        f"{verdict.margin:.2f}",
        replace(verdict, reasons=()).text,
    )


@dataclass(frozen=True)
class _Form:
    """How wide columns are, alike in all grids of a listing; and whether intervals stand below differences."""

    widths: Mapping[str, int]
    folded: bool

    def grid(self, lines: Iterable[Sequence[str]]) -> Grid:
        """Lines under `HEADINGS`."""
        grid = Grid.grid(padding=(0, _GAP, 0, 0))
        for name, width in self.widths.items():
            grid.add_column(width=width, justify="right" if name in NUMBERS else "left", overflow="fold")
        for line in lines:
            grid.add_row(*map(Text, line))
        return grid


def _form(entries: Sequence[Entry], room: int) -> _Form:
    """As wide as the numbers are; what is left over is the verdicts'."""
    for folded in (False, True):
        lines = [HEADINGS, *(_cells(entry, folded) for entry in entries)]
        columns = zip(HEADINGS, zip(*lines, strict=True), strict=True)
        widths = {name: max(len(part) for text in texts for part in text.split("\n")) for name, texts in columns}
        wanted = widths.pop(HEADINGS[-1])
        left = room - _INDENT - sum(widths.values()) - _GAP * len(widths)
        if left >= min(_LAST, wanted):
            break
    return _Form({**widths, HEADINGS[-1]: max(1, min(left, wanted))} if entries else {}, folded)

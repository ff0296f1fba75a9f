"""Tables for every format: with hostile texts, wide ones, published numbers, and several texts left of the numbers."""

from __future__ import annotations

from dataclasses import replace

from made_rows import failed, frame, rows

from leaderboard.claims.record import Record
from leaderboard.layouts import Arrangement
from leaderboard.tables.build import build
from leaderboard.tables.model import Line, Measure, Metric, Table

HOSTILE = r"a_b%c&d#e{f}g~h^i\j[k]|l<m>*n`$é中[/bold]"
RESULTS = frame(
    rows("best", [46.1, 45.3, 46.9]),
    rows("tied", [45.5, 45.9, 46.2]),
    rows("ncp[neighbour=3]", [30.0, 29.1, 30.2]),
    rows(HOSTILE, [20.0, 19.0, 20.5]),
    failed("broken", 0),
    failed("broken", 1),
    rows("partly", [1.0, 2.5]),
    failed("partly", 2, error="100 % of 2_000 $ {lost} \\ & # ~ ^"),
)
TABLES = build(RESULTS, command="bench table --out my_runs")
WIDE = build(
    frame(
        *(
            rows("best", [36.1, 35.3, 36.9], dataset=name, protocol=protocol)
            for name in ("cifar10", "cifar100", "stl10")
            for protocol in ("slf-1", "alf-1")
        )
    ),
    Arrangement.BY_PROTOCOL,
)
CLAIMED = build(
    frame(
        rows(
            "ncp", [36.1, 35.3, 36.9], dataset="cifar10", dataset_like="cifar10", protocol="slf@ncp", schedule="short"
        ),
        rows("amoc", [36.1], dataset="cifar10", dataset_like="cifar10", protocol="slf@amoc", schedule="short"),
    ),
    published=Record.shipped(),
)


def _stubbed(table: Table) -> Table:
    """The table as AMOC's Table 3: method, batch size and epochs on the left; AA becomes hours with one decimal."""
    stubs = [("MoCo", "128", "200"), ("MoCo", "128", "1000"), ("MoCo", "512", "1000"), ("AMOC†", "512", "1000")]
    named = zip(table.lines, stubs, strict=True)
    lines = tuple(
        Line(line.label, line.cells, line.footnotes, stub, protocol=f"{stub[0].lower()}-own") for line, stub in named
    )
    hours = Measure("time", "wall time", unit="h", decimals=1, higher_is_better=False)
    return replace(table, lines=lines, stub=("method", "batch size", "epochs"), measures={Metric.AA: hours})


LEVELS = (46.25, 36.25, 26.25, 16.25)
STUBBED = (_stubbed(build(frame(*(rows(f"m{i}", [aa, aa + 1]) for i, aa in enumerate(LEVELS))))[0]),)
LONG = build(frame(*(rows(f"method-{i:02}", [55.5 - i, 56.8 - i, 57.1 - i]) for i in range(50))))
PAPER = build(
    frame(
        *(
            rows(label, [30 + i, 31.5 + i, 33 + i], dataset=name)
            for i, label in enumerate(("acl", "dynacl-pp", "ncp[neighbour=3]"))
            for name in ("cifar10", "cifar100", "stl10")
        )
    )
)

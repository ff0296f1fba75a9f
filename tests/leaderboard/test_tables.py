"""Rows become tables: layout, marks that a test stands behind, and what a reader must know."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from made_rows import failed, frame, row, rows

from leaderboard.layouts import Arrangement, Layout
from leaderboard.tables.build import build
from leaderboard.tables.model import Cell, Mark, Metric, State, Table

WOBBLE = (0.4, -0.7, 0.1, 0.9, -0.3)
OTHER_WOBBLE = (-0.5, 0.8, 0.6, -0.9, 0.2)


def around(mean: float, noise: Sequence[float] = WOBBLE) -> list[float]:
    return [mean + one for one in noise]


def cell(table: Table, label: str, metric: Metric = Metric.AA) -> Cell:
    [line] = [line for line in table.lines if line.label == label]
    return line.cells[[key.metric for key in table.keys].index(metric)]


def notes(table: Table) -> str:
    return "\n".join((*table.notes, *table.footnotes))


def test_mean_sample_standard_deviation_and_n() -> None:
    [table] = build(frame(rows("ncp", [40, 42, 47])))

    aa = cell(table, "ncp")
    assert (aa.state, aa.mean, aa.n) == (State.OK, 43.0, 3)
    assert aa.spread == pytest.approx(13**0.5)
    assert cell(table, "ncp", Metric.SA).mean == 83.0


def test_one_seed_has_no_spread() -> None:
    [table] = build(frame(rows("ncp", [40])))

    assert (cell(table, "ncp").mean, cell(table, "ncp").spread) == (40.0, None)


def test_best_tied_second_and_the_rest_are_told_apart_by_the_test() -> None:
    [table] = build(
        frame(
            rows("best", around(46)),
            rows("tied", around(45.8, OTHER_WOBBLE)),
            rows("second", around(30, OTHER_WOBBLE)),
            rows("last", around(20, OTHER_WOBBLE)),
        )
    )

    marks = {line.label: cell(table, line.label).mark for line in table.lines}
    assert marks == {"best": Mark.BEST, "tied": Mark.TIED, "second": Mark.SECOND, "last": Mark.NONE}


@pytest.mark.parametrize(
    "parts",
    [
        [rows("ncp", [46]), rows("amoc", [30])],
        [rows("ncp", around(46))],
        [rows("ncp", around(46)), rows("amoc", [30])],
    ],
    ids=["one seed each", "one method", "one seed of the other"],
)
def test_nothing_is_marked_without_a_test(parts: list[Any]) -> None:
    [table] = build(frame(*parts))

    assert {one.mark for line in table.lines for one in line.cells} == {Mark.NONE}
    assert "Nothing is marked" in notes(table)


def test_what_failed_and_what_was_never_measured_is_shown_as_such() -> None:
    [table] = build(
        frame(
            rows("whole", around(40)),
            rows("partly", [41, 42, 43]),
            failed("partly", 3),
            failed("partly", 4),
            failed("broken", 0),
            failed("broken", 1),
            row("unattacked", sa=80.0),
        )
    )

    seen = {line.label: cell(table, line.label) for line in table.lines}
    assert {label: one.state for label, one in seen.items()} == {
        "whole": State.OK,
        "partly": State.PARTIAL,
        "broken": State.FAILED,
        "unattacked": State.MISSING,
    }
    assert (seen["partly"].n, seen["partly"].failed, seen["broken"].failed) == (3, 2, 2)
    assert seen["partly"].footnotes == (
        "2 of 5 seeds failed (seeds 3, 4); the numbers are of the others alone. "
        "First error: the loss became NaN at step 17",
    )
    assert cell(table, "unattacked", Metric.SA).state is State.OK


def shape(tables: Sequence[Table]) -> list[tuple[str, list[str]]]:
    return [(table.title.partition(",")[0], [group.title for group in table.groups]) for table in tables]


SETS_AND_PROTOCOLS = frame(
    row("ncp", dataset=dataset, protocol=protocol, legacy="@" in protocol, eps=8 / 255)
    for dataset in ("stl10", "cifar10", "parquet:x[like=cifar10]")
    for protocol in ("slf@ncp", "alf-1", "slf-1")
)


@pytest.mark.parametrize(
    ("arrangement", "expected"),
    [
        (
            Arrangement.BY_PROTOCOL,
            [(name, ["CIFAR-10", "STL-10", "parquet:x[like=cifar10]"]) for name in ("slf-1", "alf-1", "slf@ncp")],
        ),
        (
            Arrangement.BY_DATASET,
            [(name, ["slf-1", "alf-1", "slf@ncp"]) for name in ("CIFAR-10", "STL-10", "parquet:x[like=cifar10]")],
        ),
    ],
)
def test_arrangements(arrangement: Arrangement, expected: list[Any]) -> None:
    assert shape(build(SETS_AND_PROTOCOLS, arrangement)) == expected


def test_without_a_layout_the_rows_decide() -> None:
    one_protocol = SETS_AND_PROTOCOLS[SETS_AND_PROTOCOLS["protocol"] == "slf-1"]

    assert build(SETS_AND_PROTOCOLS) == build(SETS_AND_PROTOCOLS, Arrangement.BY_DATASET)
    assert build(one_protocol) == build(one_protocol, Arrangement.BY_PROTOCOL)


def test_columns_are_sa_ra_aa_and_a_legacy_pgd_stands_in_its_own_name() -> None:
    [table] = build(frame(row("ncp"), row("ncp", protocol="slf@amoc", legacy=True, pgd20=44.0)))

    assert [[key.metric for key in group.keys] for group in table.groups] == [
        [Metric.SA, Metric.RA, Metric.AA],
        [Metric.SA, Metric.PGD, Metric.AA],
    ]
    assert "no stand-in for RA" in notes(table)
    assert "that paper alone: slf@amoc" in notes(table)


def test_every_setting_is_a_table_of_its_own() -> None:
    tables = build(frame(rows("ncp", [40, 41]), rows("ncp", [20], limit_train=200, limited=True)))

    assert [[line.cells[-1].mean for line in table.lines] for table in tables] == [[20.0], [40.5]] or [
        [line.cells[-1].mean for line in table.lines] for table in tables
    ] == [[40.5], [20.0]]
    [limited] = [table for table in tables if table.setting.limited]
    assert "200 training images (--limit): not comparable" in notes(limited)


def test_methods_stand_in_the_order_asked_for() -> None:
    table = frame(rows("amoc", [1]), rows("ncp", [2]), rows("simclr", [3]))

    assert [line.label for line in build(table)[0].lines] == ["amoc", "ncp", "simclr"]
    assert [line.label for line in build(table, order=["simclr", "ncp"])[0].lines] == ["simclr", "ncp", "amoc"]


def two_methods(**columns: Any) -> list[Any]:
    return [*rows("ncp", around(46), **columns), *rows("amoc", around(44, OTHER_WOBBLE), **columns)]


def test_the_layout_moves_no_p_value() -> None:
    table = frame(*(two_methods(dataset=name, protocol=p) for name in ("cifar10", "stl10") for p in ("slf-1", "alf-1")))

    def p_values(layout: Arrangement) -> dict[Any, Any]:
        columns = [column for one in build(table, layout) for column in one.tests]
        return {column.key: [c.p_adjusted for c in column.comparisons] for column in columns}

    assert p_values(Arrangement.BY_PROTOCOL) == p_values(Arrangement.BY_DATASET)


class TestAttacks:
    """The layout of AMOC's Table 5: whatever the rows met."""

    @staticmethod
    def frame() -> Any:
        scores = ({"slide": 20 + seed, "deepfool": 30.0, "clean": 90.0, "autoattack": 25.0} for seed in range(3))
        return frame(row("amoc", n, sa=90, aa=25, scores=json.dumps(one)) for n, one in enumerate(scores))

    def test_every_attack_is_a_column_under_its_metrics_name_where_it_has_one(self) -> None:
        [table] = build(self.frame(), Layout.AMOC_TABLE5)
        assert [key.metric for key in table.keys] == ["sa", "deepfool", "aa", "slide"]
        assert [cell.mean for cell in table.lines[0].cells] == [90, 30, 25, 21]
        assert "SLIDE: under attack slide" in table.notes[0]

    def test_the_usual_layout_leaves_them_out(self) -> None:
        [table] = build(self.frame())
        assert [key.metric for key in table.keys] == ["sa", "ra_pgd20", "aa"]

    def test_its_tests_are_no_part_of_the_family(self) -> None:
        scores = json.dumps({"clean": 50.0, "fgsm": 40.0})
        plain, attacked = two_methods(), two_methods(scores=scores)
        [usual], [table] = build(frame(plain)), build(frame(attacked), Layout.AMOC_TABLE5)
        adjusted = {column.key.metric: [one.p_adjusted for one in column.comparisons] for column in usual.tests}
        assert {column.key.metric for column in table.tests} == {"sa", "ra_pgd20", "aa", "fgsm"}
        for column in table.tests:
            assert [one.p_adjusted for one in column.comparisons] == adjusted.get(column.key.metric, [None])


def test_the_family_is_the_sa_and_aa_columns_of_one_protocol() -> None:
    [table] = build(frame(two_methods(), two_methods(protocol="alf-1")))

    sizes = {column.key: len([c for c in column.comparisons if c.p_adjusted is not None]) for column in table.tests}
    assert sum(count for key, count in sizes.items() if key.protocol == "slf-1") == 2
    assert all(count == 0 for key, count in sizes.items() if key.metric is Metric.RA)
    assert "the 2 tests of slf-1 and the 2 tests of alf-1" in notes(table)


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (two_methods(), "n = 5: p < 0.05 needs a mean difference above 1.24 sd, and only a true difference of 1.68 sd"),
        (two_methods(), "Not significant is not equal."),
        ([*two_methods(), *rows("late", [1, 2])], "each pair is compared on the seeds it shares"),
        ([*two_methods(), row("once", aa=1.0)], "neither tested nor marked"),
        ([*rows("a", around(40)), *rows("b", around(41))], "leaves a t-test no variance"),
        ([row("ncp", 0), row("ncp", 0, seed_head=1)], "count as one number, their mean"),
        ([row("ncp", 0), row("ncp", 1, context_torch="2.15")], None),
        ([row("ncp", 0, context_torch="2.11"), row("ncp", 1, context_torch="2.15")], "torch: 2.11, 2.15"),
        ([row("ncp", labelled_pretraining=True)], "labels were used in pre-training"),
        ([row("ncp", external_data=True)], "outside the pre-training images"),
        ([row("ncp", pretrain_data="stl10")], "pre-trained on stl10, not on the default pool of digits"),
        ([row("ncp", dataset="stl10", pretrain_data="stl10:unlabelled")], "not on the default pool of stl10"),
        (
            [row("ncp", 0, head_rate=10.0, head_rate_at_edge=True), row("ncp", 1, head_rate=3.0)],
            "slf-1 on digits: the head's learning rate is 10, an edge of its grid, in some rows; no smaller rate did",
        ),
        ([row("ncp", head_rate=0.01, head_rate_at_edge=True)], "of rates that tie on the held-out slice the smallest"),
        (
            [row("ncp", head_rate=9.0, head_rate_at_edge=True, protocol="slf-0")],
            "is 9, an edge of its grid, in every row",
        ),
        ([row("ncp", footnotes='["read me"]')], "read me"),
        ([row("ncp", warnings='["Square won"]')], "warning: Square won"),
        (
            [row("ncp", 0), row("ncp", 0, config='{"k":3}', created="2026-02-01T00:00:00+00:00")],
            "1 row of older settings",
        ),
    ],
)
def test_what_a_reader_must_know_is_said(parts: list[Any], sentence: str | None) -> None:
    [table] = build(frame(parts))

    assert (sentence is None and "context" not in notes(table)) or (sentence is not None and sentence in notes(table))


def test_footnotes_are_lettered_in_reading_order_and_shared() -> None:
    [table] = build(
        frame(row("a", pretrain_data="stl10"), row("b", external_data=True), row("c", pretrain_data="stl10"))
    )

    assert list(table.footnotes.values()) == ["a", "b"]
    assert table.lines[0].footnotes == table.lines[2].footnotes


def test_the_origin_of_the_numbers_is_kept() -> None:
    [table] = build(frame(rows("ncp", [40, 41])), command="bench table --out x")

    assert table.provenance.text.startswith("bench table --out x; 2 rows, hash ")


def test_a_grid_without_an_order_goes_by_its_numbers() -> None:
    grid = frame(*(rows(f"ncp[clusters={count}]", [40.0, 41.0]) for count in (10, 2, 5)))

    [table] = build(grid)

    assert [line.label for line in table.lines] == ["ncp[clusters=2]", "ncp[clusters=5]", "ncp[clusters=10]"]

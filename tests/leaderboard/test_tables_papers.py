"""Rows in the layouts of the papers' own tables: their lines, names, headings and order, and what was added."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

import pandas as pd
import pytest
from made_rows import failed, frame, row, rows

from bench.errors import BenchError
from leaderboard.claims.claim import load_claims
from leaderboard.claims.record import Record
from leaderboard.claims.verdicts import Ruling
from leaderboard.layouts import Layout
from leaderboard.tables.build import build
from leaderboard.tables.model import Cost, Mark, State, Table
from leaderboard.tables.papers import PAPERS
from leaderboard.tables.published import stub_of

RECORD = Record.shipped()
AA = (46.1, 45.3, 46.9)
OTHER_AA = (40.0, 40.9, 39.7)


def config(**options: Any) -> str:
    return json.dumps(options)


def of(protocol: str, **columns: Any) -> dict[str, Any]:
    """Columns of rows under a protocol; a paper's own are legacy ones."""
    return {"protocol": protocol, "legacy": "@" in protocol, **columns}


def pgd(label: str, values: Sequence[float], protocol: str, **columns: Any) -> list[Any]:
    """Rows as AMOC's protocols give them: SA and PGD-20, no RA."""
    found = enumerate(values)
    return [row(label, n, sa=value + 40, pgd20=value + 3, aa=value, **of(protocol, **columns)) for n, value in found]


def stubs(table: Table) -> list[tuple[str, ...]]:
    return [line.stub for line in table.lines]


def headings(table: Table) -> list[str]:
    return [table.name_of(key) for key in table.keys]


def notes(table: Table) -> str:
    return "\n".join((*table.notes, *table.footnotes))


class TestNCPTable2:
    """Methods against data sets, a table per protocol."""

    @staticmethod
    @cache
    def tables() -> tuple[Table, ...]:
        parts = [
            rows(label, AA, **of(protocol, dataset=dataset))
            for label in ("amoc", "ncp", "dynacl-pp", "advcl[labels=x.pt,labels_from=none]", "deacl")
            for protocol in ("slf-1", "slf@ncp")
            for dataset in ("stl10", "cifar10")
        ]
        return build(frame(*parts), Layout.NCP_TABLE2)

    def test_methods_stand_in_the_papers_order_by_its_names_and_others_below(self) -> None:
        names = [("AdvCL",), ("DeACL",), ("DynACL++",), ("NCP-ACL",), ("amoc",)]
        assert [stubs(table) for table in self.tables()] == [names, names]

    def test_the_papers_protocol_and_ours_are_tables_of_their_own(self) -> None:
        assert [{key.protocol for key in table.keys} for table in self.tables()] == [{"slf@ncp"}, {"slf-1"}]
        assert self.tables()[0].title == "NCP-ACL, Table 2: slf@ncp, schedule quick, Linf eps 0.1"

    def test_data_sets_stand_side_by_side(self) -> None:
        columns = [f"{name} {metric}" for name in ("CIFAR-10", "STL-10") for metric in ("SA", "RA", "AA")]
        assert headings(self.tables()[0]) == columns

    def test_what_was_added_is_said(self) -> None:
        assert "Laid out as Table 2 of the NCP-ACL paper, which is without 1 of these methods, spread" in notes(
            self.tables()[0]
        )

    def test_the_order_asked_for_comes_first(self) -> None:
        table = frame(rows("ncp", AA), rows("deacl", AA), rows("amoc", AA))
        assert stubs(build(table, Layout.NCP_TABLE2, order=["amoc"])[0]) == [("amoc",), ("DeACL",), ("NCP-ACL",)]


def test_protocols_of_one_origin_stand_side_by_side() -> None:
    names = ("slf@ncp", "alf@ncp", "slf-1", "alf-1", "slf@deacl-2024")
    tables = build(frame(*(rows("ncp", AA, **of(name)) for name in names)), Layout.NCP_TABLE3)

    assert [[group.title for group in table.groups] for table in tables] == [
        ["SLF", "ALF"],
        ["slf-1", "alf-1"],
        ["slf@deacl-2024"],
    ]
    assert "SLF: slf@ncp; ALF: alf@ncp." in notes(tables[0])


@pytest.mark.parametrize(
    ("layout", "labels", "option", "expected"),
    [
        (
            Layout.NCP_TABLE4,
            {"ncp": "both", "ncp[strategy=toward]": "toward", "ncp[strategy=away]": "away"},
            "strategy",
            ["(i) away from its own cluster", "(ii) toward the neighbouring cluster", "(iii) both (NCP-ACL)"],
        ),
        (
            Layout.NCP_TABLE5,
            {"ncp[neighbour=5]": 5, "ncp": 2, "ncp[neighbour=3]": 3, "ncp[neighbour=10]": 10, "ncp[neighbour=7]": 7},
            "neighbour",
            ["n = 2 (NCP-ACL)", "n = 3", "n = 5", "7", "10"],
        ),
        (
            Layout.AMOC_TABLE8,
            {"amoc[branches=CAC]": "CAC", "amoc[branches=AAC]": "AAC", "amoc": "ACA"},
            "branches",
            ["ACA", "AAC", "CAC"],
        ),
    ],
)
def test_variants_of_a_method_are_named_by_their_option(
    layout: Layout, labels: dict[str, Any], option: str, expected: list[str]
) -> None:
    parts = [rows(label, AA, config=config(**{option: value})) for label, value in labels.items()]
    strangers = [rows("simclr", AA), rows("ncp[batch_size=8]", AA), rows("amoc[batch_size=8]", AA)]
    [table] = build(frame(*parts, *strangers), layout)

    assert stubs(table) == [(name,) for name in expected]


LENGTHS = (("amoc", 256, 200), ("amoc[epochs=1000]", 256, 1000), ("acl[batch_size=64,epochs=200]", 64, 200))


class TestAMOCTable3:
    """Methods by batch size and epochs, against StdEv and AdEv."""

    @staticmethod
    @cache
    def tables(**columns: Any) -> tuple[Table, ...]:
        parts = [
            pgd(label, AA, protocol, config=config(batch_size=batch, epochs=epochs), **columns)
            for label, batch, epochs in reversed(LENGTHS)
            for protocol in ("slf@amoc", "alf@amoc")
        ]
        ours = rows("acl", AA, config=config(batch_size=64, epochs=200), **columns)
        return build(frame(*parts, ours), Layout.AMOC_TABLE3, published=RECORD)

    def test_lines_are_told_apart_by_their_settings(self) -> None:
        table = self.tables()[0]
        assert table.stub == ("method", "batch size", "epochs")
        assert stubs(table) == [("ACL", "64", "200"), ("AMOC", "256", "200"), ("AMOC", "256", "1000")]
        assert table.text_of("amoc[epochs=1000]") == "AMOC 256 1000"

    def test_settings_that_depend_on_the_data_set_are_those_of_the_tables_own(self) -> None:
        sizes = {"cifar10": 256, "cifar100": 512}
        parts = (rows("amoc", AA, dataset=name, config=config(batch_size=size)) for name, size in sizes.items())
        tables = build(frame(*parts), Layout.AMOC_TABLE3)
        assert [stubs(table) for table in tables] == [[("AMOC", "256", "")], [("AMOC", "512", "")]]

    def test_columns_are_headed_as_in_the_paper(self) -> None:
        columns = [f"{protocol} {metric}" for protocol in ("StdEv", "AdEv") for metric in ("Clean", "PGD20", "AA")]
        assert headings(self.tables()[0]) == columns
        assert "which is without AA, spread, n, tests" in notes(self.tables()[0])

    def test_ours_keep_our_names_and_our_pgd(self) -> None:
        assert headings(self.tables()[1]) == ["slf-1 Clean", "slf-1 RA", "slf-1 AA"]

    def test_a_few_numbers_of_another_attack_make_no_column(self) -> None:
        met = row("acl", 0, sa=80.0, pgd20=9.0, aa=1.0, protocol="slf-1[attacks=amoc-table2]", scores='{"slide": 1.0}')
        [table] = build(frame(rows("acl", AA), met), Layout.AMOC_TABLE3)
        assert headings(table) == ["slf-1 Clean", "slf-1 RA", "slf-1 AA"]

    def test_the_papers_own_numbers_stand_beside_the_line_of_the_same_settings(self) -> None:
        table = self.tables(schedule="paper", dataset="cifar10", dataset_like="cifar10", eps=8 / 255)[0]
        beside = {
            (one.label, one.key.protocol, one.key.metric): one.entry.claim.value
            for one in table.claims
            if one.label in {label for label, *_ in LENGTHS}
        }
        assert len(beside) == 3 * 2 * 2
        assert beside["amoc[epochs=1000]", "alf@amoc", "pgd20"] == 50.28
        assert beside["acl[batch_size=64,epochs=200]", "slf@amoc", "sa"] == 70.53
        assert {one.entry.claim.table for one in table.claims} == {"Table 3"}

    def test_under_the_papers_schedule_its_other_lines_are_shown_as_missing(self) -> None:
        table = self.tables(schedule="paper", dataset="cifar10", dataset_like="cifar10", eps=8 / 255)[0]
        assert stubs(table) == [
            *(("MoCo", "256", epochs) for epochs in ("200", "1000")),
            *(("ACL", size, "200") for size in ("64", "128", "256", "512")),
            ("ACL", "512", "1000"),
            *(("AMOC", size, "200") for size in ("64", "128", "256")),
            ("AMOC", "256", "1000"),
        ]
        assert {cell.state for cell in table.lines[0].cells} == {State.MISSING}
        [verdict] = {one.entry.verdict.ruling for one in table.claims if one.label == table.lines[0].label}
        assert verdict is Ruling.NOT_MEASURED

    @pytest.mark.parametrize("columns", [{"schedule": "paper"}, {"dataset": "cifar10", "dataset_like": "cifar10"}])
    def test_elsewhere_nobody_misses_them(self, columns: dict[str, str]) -> None:
        assert len(self.tables(**columns)[0].lines) == 3


class TestAMOCTable4:
    """What pre-training cost."""

    @staticmethod
    @cache
    def table(*devices: str, **columns: Any) -> Table:
        parts = [
            row(
                label, seed, seconds_pretrain=3600.0 * (seed + 1), passes=20.0 * epochs, context_device=device,
                config=config(batch_size=batch, epochs=epochs), **of(protocol, **columns),
            )
            for (label, batch, epochs), device in zip(LENGTHS, devices, strict=True)
            for seed in range(3)
            for protocol in ("slf@amoc", "slf-1")
        ]  # fmt: skip
        [table] = build(frame(*parts), Layout.AMOC_TABLE4, published=RECORD)
        return table

    def test_each_pretraining_counts_once_however_often_it_was_judged(self) -> None:
        [_, line, _] = self.table("a", "a", "a").lines
        assert line.stub == ("AMOC", "256", "200")
        assert [cell.n for cell in line.cells] == [3, 3, 3]
        assert [cell.mean for cell in line.cells] == [2.0, 36.0, 4000.0]

    def test_units_stand_with_the_measures_and_nothing_is_tested(self) -> None:
        table = self.table("a", "a", "a")
        assert [table.measure(key).unit for key in table.keys] == ["h", "s", ""]
        assert [table.measure(key).heading for key in table.keys] == ["total time", "time per epoch", "passes"]
        assert {cell.mark for line in table.lines for cell in line.cells} == {Mark.NONE}
        assert "neither tested nor marked" in notes(table)
        assert "Legacy" not in notes(table)

    def test_the_device_is_said_and_two_of_them_are_a_warning(self) -> None:
        one, two = self.table("a GPU", "a GPU", "a GPU"), self.table("a GPU", "a GPU", "a CPU")
        assert "Times were taken on a GPU, with whatever else ran there: no other machine's" in notes(one)
        assert "on a CPU; a GPU, with whatever else ran there: these are not one machine" in notes(two)
        assert [line.footnotes for line in two.lines] == [
            ("measured on a CPU",),
            ("measured on a GPU",),
            ("measured on a GPU",),
        ]

    def test_published_times_are_shown_but_never_compared(self) -> None:
        table = self.table("a", "a", "a", schedule="paper", dataset="cifar10", dataset_like="cifar10")
        beside = {(one.label, one.key.metric): one.entry for one in table.claims}
        assert beside["amoc", Cost.HOURS].claim.value == 13.33
        assert beside["amoc", Cost.HOURS].verdict.measured == 2.0
        assert {entry.verdict.ruling for entry in beside.values()} == {Ruling.NOT_COMPARABLE}
        assert "No verdict is given" in notes(table)

    def test_lines_that_were_not_measured_stand_among_the_others(self) -> None:
        table = self.table("a", "a", "a", schedule="paper", dataset="cifar10", dataset_like="cifar10")
        assert [line.stub for line in table.lines if line.stub[2] == "200"] == [
            *(("ACL", size, "200") for size in ("64", "256", "512")),
            *(("AMOC", size, "200") for size in ("64", "256")),
        ]
        assert {line.stub: bool(line.footnotes) for line in table.lines[:2]} == {
            ("ACL", "64", "200"): False,
            ("ACL", "256", "200"): False,
        }


ATTACKED = "[attacks=(amoc-table2,autoattack)]"


def attacked(label: str, protocol: str, shift: float = 0.0) -> list[Any]:
    """Rows of a classifier that met AMOC's attacks."""
    return [
        row(
            label, seed, sa=80 + shift, pgd20=40 + shift + seed, aa=30 + shift - seed * (1 + shift / 20),
            scores=config(**{"pgd-l1": 55 + shift, "slide": 20 + shift, "pgd-l2": 50 + shift}),
            **of(protocol + ATTACKED, dataset="cifar10", dataset_like="cifar10", eps=8 / 255),
        )
        for seed in range(3)
    ]  # fmt: skip


class TestAMOCTable5:
    """Supervised methods, and AMOC before and after fine-tuning, against attacks."""

    @staticmethod
    @cache
    def tables(*protocols: str) -> tuple[Table, ...]:
        supervised = [attacked(label, "own-1", shift) for label, shift in (("trades", 3), ("standard", -9))]
        others = [attacked("amoc", protocol, shift) for shift, protocol in enumerate(protocols)]
        return build(frame(*supervised, *others), Layout.AMOC_TABLE5, published=RECORD)

    def test_protocols_stand_one_below_the_other(self) -> None:
        [table] = self.tables("alf@amoc", "aff@amoc")
        assert stubs(table) == [("Standard Training",), ("TRADES",), ("AMOC",), ("AMOC†",)]
        assert [line.protocol for line in table.lines] == ["own-1", "own-1", "alf@amoc", "aff@amoc"]
        assert [line.label for line in table.lines[2:]] == ["amoc (alf@amoc)", "amoc (aff@amoc)"]
        assert [line.cells[0].mean for line in table.lines] == [71, 83, 80, 81]
        assert "†: aff@amoc." in notes(table)
        assert "AMOC paper, which is without spread, n, tests." in notes(table)

    def test_attacks_stand_under_their_norm_and_radius(self) -> None:
        [table] = self.tables("alf@amoc")
        assert headings(table) == [
            "Clean",
            "Linf, eps 8/255 PGD20",
            "Linf, eps 8/255 AutoAttack",
            "L1, eps 12 PGD50",
            "L1, eps 12 SLIDE",
            "L2, eps 0.5 PGD50",
        ]

    def test_the_family_is_the_clean_and_autoattack_columns_of_the_table(self) -> None:
        [table] = self.tables("alf@amoc", "aff@amoc")
        adjusted = {column.key.metric for column in table.tests if any(c.p_adjusted for c in column.comparisons)}
        assert adjusted <= {"sa", "aa"}
        assert "aa" in adjusted
        assert "the 3 tests of this table" in notes(table)

    def test_supervised_methods_stand_beside_our_protocols_too_and_alone_where_there_is_nothing_else(self) -> None:
        ours = self.tables("alf@amoc", "alf-1", "slf-1")
        assert [stubs(table) for table in ours] == [
            [("Standard Training",), ("TRADES",), ("AMOC",)],
            [("Standard Training",), ("TRADES",), ("AMOC",)],
            [("AMOC",)],
        ]
        assert [stubs(table) for table in self.tables()] == [[("Standard Training",), ("TRADES",)]]
        assert [stubs(table) for table in self.tables("slf-1")] == [[("Standard Training",), ("TRADES",)], [("AMOC",)]]

    def test_published_numbers_are_told_apart_by_the_head(self) -> None:
        [table] = self.tables("alf@amoc", "aff@amoc")
        clean = {one.label: one.entry.claim.value for one in table.claims if one.key.metric == "sa"}
        assert clean == {"standard": 95.28, "trades": 81.11, "amoc (alf@amoc)": 74.36, "amoc (aff@amoc)": 82.76}


class TestOneRowPerHead:
    """Which attacks a cell met is a part of its protocol; a paper's table is about the head."""

    def test_numbers_of_one_head_are_put_together(self) -> None:
        head = {"pretrain_key": "p", "head_key": "h"}
        plain = row("amoc", 0, sa=80.0, ra_pgd20=40.0, aa=30.0, **head)
        attacked = row("amoc", 0, sa=80.0, scores='{"slide": 20.0, "clean": 80.0}', protocol="slf-1[attacks=x]", **head)
        [table] = build(frame(plain, attacked), Layout.AMOC_TABLE5)
        found = {key.metric: cell.mean for key, cell in zip(table.keys, table.lines[0].cells, strict=True)}
        assert found == {"sa": 80.0, "ra_pgd20": 40.0, "aa": 30.0, "slide": 20.0}
        assert table.provenance.rows == 1

    def test_numbers_of_two_heads_are_not(self) -> None:
        plain = row("amoc", 0, sa=80.0, aa=30.0, head_key="h")
        other = row("amoc", 0, sa=70.0, scores='{"slide": 20.0}', protocol="slf-1[attacks=x]", head_key="other")
        [table] = build(frame(plain, other), Layout.AMOC_TABLE5)
        found = {key.metric: cell.mean for key, cell in zip(table.keys, table.lines[0].cells, strict=True)}
        assert (found["sa"], found["aa"]) == (70.0, None)


@pytest.mark.parametrize(
    ("results", "layout", "parts"),
    [
        (frame(rows("simclr", AA)), Layout.AMOC_TABLE3, ("no result here belongs into amoc/table3", "moco, acl, amoc")),
        (frame(rows("ncp", AA)), Layout.NCP_TABLE5, ("compares values of 'neighbour'", "ncp[neighbour=3]")),
        (frame(failed("amoc")), Layout.AMOC_TABLE8, ("compares values of 'branches'", "only one here (amoc)")),
    ],
    ids=["nothing", "one variant", "one variant that failed"],
)
def test_what_cannot_be_laid_out_is_named(results: pd.DataFrame, layout: Layout, parts: tuple[str, ...]) -> None:
    with pytest.raises(BenchError) as error:
        build(results, layout)

    assert all(part in str(error.value) for part in parts)


ON_CIFAR10 = {"dataset": "cifar10", "dataset_like": "cifar10", "eps": 8 / 255, **of("slf@ncp")}
WARNED = json.dumps({"O8": {"verdict": "warn", "why": "PGD-20 is no stand-in for AutoAttack here"}})


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        ([*rows("ncp", AA), failed("ncp", 7, **of("slf-1"))], "1 of 4 seeds failed (seed 7)"),
        (rows("ncp", AA, gates=WARNED, gate_verdict="warn"), "gate O8 warns in every row"),
        (rows("ncp", AA, limit_test=64, limited=True), "Limited to 64 test images (--limit): not comparable"),
        (rows("ncp", AA, **ON_CIFAR10), "Legacy, a paper's own recipe, to be compared with that paper alone: slf@ncp."),
        (rows("ncp", AA, external_data=True), "data or weights from outside the pre-training images were used"),
        (rows("ncp", AA, **ON_CIFAR10), "not comparable with the published numbers: schedule quick, not paper"),
        (rows("simclr", AA, **ON_CIFAR10), "No published number is of these methods"),
    ],
)
def test_footnotes_are_those_of_every_table(parts: list[Any], sentence: str) -> None:
    [table] = build(frame(parts), Layout.NCP_TABLE2, published=RECORD)

    assert sentence in notes(table)


@pytest.mark.parametrize("name", ["ncp-acl/table2", "ncp-acl-table2", "NCP-ACL/Table2"])
def test_a_layout_has_one_name_in_several_spellings(name: str) -> None:
    assert Layout.named(name) is Layout.NCP_TABLE2


def test_an_unknown_layout_is_named() -> None:
    with pytest.raises(BenchError, match="did you mean 'amoc/table8'"):
        Layout.named("amoc/tabel8")


def test_every_layout_is_described() -> None:
    assert set(PAPERS) == set(Layout)


@pytest.mark.parametrize("layout", sorted(set(Layout) - {Layout.NCP_TABLE4}))
def test_every_published_number_of_a_table_has_a_line_in_it(layout: Layout) -> None:
    paper = PAPERS[layout]
    published = [claim for claim in load_claims() if paper.publishes(claim)]
    found = {stub_of(paper, RECORD, claim) for claim in published}

    assert published
    for index, option in enumerate(paper.options, start=len(paper.stub) - len(paper.options)):
        assert {stub[index] for stub in found} <= set(option.texts.values()) or not option.texts
    assert {claim.dataset for claim in published} == set(paper.datasets)


def test_marks_are_those_of_the_same_rows_without_a_layout() -> None:
    results = frame(rows("ncp", AA), rows("amoc", OTHER_AA))
    [plain], [paper] = build(results), build(results, Layout.NCP_TABLE2)
    marks = [{line.label: [cell.mark for cell in line.cells] for line in table.lines} for table in (plain, paper)]

    assert marks[0] == marks[1]
    assert plain.tests == paper.tests

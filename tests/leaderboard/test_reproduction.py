"""Every table and figure of the papers can be asked for by name, and shows the cells that it asks for and no others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import made_rows
import pandas as pd
import pytest

from bench.data.profiles import profile_of
from bench.data.sources import parse_sources
from bench.errors import BenchError
from bench.grammar import expand, parse_specs
from bench.keys import digest
from bench.plan import Plan
from bench.planning import plan_of
from bench.protocols.recipes import protocol_of
from bench.registry import Registry, resolve
from bench.schema import Row
from bench.store import Store
from bench.sweep import Schedule, Sweep
from leaderboard.figures.model import Axis, Figure, Panel
from leaderboard.layouts import Format
from leaderboard.reproduction.catalogue import EXHIBITS, exhibits_of
from leaderboard.reproduction.evidence import Asked, asked_of, command_of, gather, missing
from leaderboard.reproduction.exhibits import SWEEPS, Evidence, Exhibit, PaperFigure, PaperTable
from leaderboard.reproduction.presentation import present
from leaderboard.tables.build import build
from leaderboard.tables.model import Provenance
from tests.cli.runner import invoke, whole_app

LONGER = (Schedule.SHORT, Schedule.PAPER)


def reproduce(*arguments: str) -> tuple[int, str, str]:
    return invoke("reproduce", *arguments, app=whole_app())


def named(row: Row) -> Row:
    """With a cell's name as stores have them."""
    return row.model_copy(update={"cell": digest(row.cell)})


class TestSweeps:
    def test_every_exhibit_has_a_file_and_every_file_an_exhibit(self) -> None:
        files = {path.relative_to(SWEEPS).with_suffix("").as_posix() for path in SWEEPS.rglob("*.toml")}
        assert files == set(EXHIBITS)

    @pytest.mark.parametrize(
        "exhibit", [one for one in EXHIBITS.values() if not one.not_quick], ids=lambda one: one.name
    )
    def test_its_quick_form_can_be_planned_and_is_what_will_be_shown(self, exhibit: Exhibit, tmp_path: Path) -> None:
        sweeps = exhibit.sweeps({"data_dir": tmp_path, "seeds": 1})
        plan = Plan.joined(map(plan_of, sweeps))
        planned = {
            Asked(
                cell.label, cell.data.source, cell.protocol,
                (cell.seeds.pretrain, cell.seeds.head, cell.seeds.attack), "quick", None, None, None, None,
            )
            for cell in plan.cells
        }  # fmt: skip
        assert planned == asked_of(sweeps)
        assert {cell.data.source for cell in plan.cells} == {"digits"}

    @pytest.mark.parametrize("schedule", LONGER)
    @pytest.mark.parametrize("exhibit", EXHIBITS.values(), ids=lambda one: one.name)
    def test_its_longer_forms_name_what_there_is(self, exhibit: Exhibit, schedule: Schedule) -> None:
        registry = Registry.discover()
        for sweep in exhibit.sweeps({"schedule": schedule}):
            protocols = [protocol_of(one.text) for spec in parse_specs(sweep.protocol_names) for one in expand(spec)]
            for source in parse_sources(sweep.datasets):
                for protocol in protocols:
                    assert protocol.eps_for(source.profile) >= 0
                for point in (point for spec in parse_specs(sweep.methods) for point in expand(spec)):
                    entry = registry.find(point.name)
                    config = resolve(entry, point.options, source.profile, schedule, sweep.pretrain_epochs)
                    entry.load()(config).check()

    @pytest.mark.parametrize("schedule", LONGER)
    def test_tables_of_methods_stand_under_our_protocols_too(self, schedule: Schedule) -> None:
        for name in ("ncp-acl/table2", "ncp-acl/table3", "ncp-acl/table5", "amoc/table3", "amoc/table8"):
            protocols = {cell.protocol for cell in asked_of(EXHIBITS[name].sweeps({"schedule": schedule}))}
            assert "slf-1" in protocols and any("@" in protocol for protocol in protocols), name

    def test_the_ratio_of_epochs_is_that_of_the_paper_where_it_is_the_point(self) -> None:
        def epochs(schedule: Schedule, dataset: str) -> list[int]:
            (sweep,) = EXHIBITS["amoc/table3"].sweeps({"schedule": schedule})
            specs = (point for spec in parse_specs(sweep.methods) for point in expand(spec) if spec.name == "amoc")
            entry, profile = Registry.discover().find("amoc"), profile_of(dataset)
            configs = (resolve(entry, one.options, profile, schedule, sweep.pretrain_epochs) for one in specs)
            return sorted({config.model_dump()["epochs"] for config in configs})

        lengths = [
            epochs(Schedule.PAPER, "cifar10"),
            epochs(Schedule.SHORT, "cifar10"),
            epochs(Schedule.QUICK, "digits"),
        ]
        assert lengths == [[200, 1000], [20, 100], [17, 85]]

    def test_figures_share_the_cells_of_tables(self) -> None:
        def cells(name: str) -> frozenset[Asked]:
            return asked_of(EXHIBITS[name].sweeps({"schedule": Schedule.PAPER}))

        assert cells("ncp-acl/fig2") < cells("ncp-acl/table2")
        assert cells("amoc/fig2") | cells("amoc/fig3") | cells("amoc/table4") < cells("amoc/table3")


class TestNames:
    def test_a_papers_name_is_all_of_its_exhibits(self) -> None:
        assert {one.paper for one in exhibits_of("amoc")} == {"amoc"}
        assert {*exhibits_of("amoc"), *exhibits_of("ncp-acl")} == set(EXHIBITS.values())

    def test_the_papers_are_complete(self) -> None:
        named = {"ncp-acl": "table1 table2 table3 table4 table5 fig2 fig3"}
        named["amoc"] = "table3 table4 table5 table6 table8 fig2 fig3 fig4 fig5 fig6 fig7"
        assert set(EXHIBITS) == {f"{paper}/{name}" for paper, names in named.items() for name in names.split()}

    def test_without_a_name_all_are_listed_with_their_cells(self) -> None:
        code, out, _ = reproduce("--seeds", "2")
        lines = {line.split()[0]: line.split()[-3:] for line in out.splitlines()}
        assert code == 0 and set(EXHIBITS) <= set(lines)
        assert lines["ncp-acl/table5"] == ["16", "48", "48"]
        assert lines["amoc/fig4"] == ["-", "8", "8"]

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["ncp-acl/tabel2"], "unknown table or figure 'ncp-acl/tabel2': did you mean 'ncp-acl/table2'"),
            (["amoc/fig4"], "'amoc/fig4' cannot be had with the schedule 'quick'.*use --schedule short"),
            (["ncp-acl/table2", "--schedule", "long"], "unknown schedule 'long'"),
            (["ncp-acl/table2", "--seeds", "0"], "table2.toml .*'seeds' cannot be '0'"),
            (["ncp-acl/table2", "--format", "pdf"], "unknown format 'pdf'"),
            (["amoc/fig6", "--write", "{file}"], "is a file, and figures go into a folder"),
            (["amoc/fig6", "--format", "latex"], "--format is for tables, and 'amoc/fig6' is a figure"),
            (["amoc/table8", "--write", "{empty}"], "--write is for figures, and 'amoc/table8' is a table"),
            (["amoc", "--sweep"], "--sweep prints the file of one table or figure"),
            (["amoc/fig6", "--sweep", "--seeds", "2"], "give --seeds to `bench run FILE` later"),
            (["amoc/fig6", "--no-run", "--out", "{empty}"], "no results in"),
        ],
    )
    def test_bad_input_is_one_line_and_exit_code_2(self, arguments: list[str], message: str, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        places = {"file": tmp_path / "file", "empty": tmp_path / "empty"}
        code, out, err = reproduce(*(word.format(**places) for word in arguments))
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert pd.Series([err]).str.contains(message).all(), err

    def test_the_sweep_file_is_printed_to_be_changed_and_run(self, tmp_path: Path) -> None:
        code, out, _ = reproduce("amoc/table8", "--sweep")
        (tmp_path / "mine.toml").write_text(out)
        assert code == 0
        assert Sweep.all_from_toml(tmp_path / "mine.toml") == EXHIBITS["amoc/table8"].sweeps({})


class TestEvidence:
    """The rows of `ncp-acl/table5` among others."""

    @pytest.fixture
    def gathered(self, tmp_path: Path) -> Callable[..., Evidence]:
        def gathered(rows: Sequence[Row], **flags: Any) -> Evidence:
            store = Store.open(tmp_path / "runs")
            for row in rows:
                store.add_row(named(row))
            exhibit = EXHIBITS["ncp-acl/table5"]
            return gather(exhibit, exhibit.sweeps({"out": store.root, "seeds": 2, **flags}), "again")

        return gathered

    OWN = (
        *made_rows.rows("ncp", [30, 31], protocol="slf@ncp"),
        *made_rows.rows("ncp[neighbour=3]", [32, 33], protocol="slf@ncp"),
        made_rows.failed("ncp[neighbour=4]", 1, protocol="slf-1"),
    )
    OTHERS = (
        made_rows.row("ncp", 2, aa=1.0, protocol="slf@ncp"),  # A third seed.
        made_rows.row("ncp[neighbour=6]", aa=1.0, protocol="slf@ncp"),
        made_rows.row("amoc", aa=1.0, protocol="slf@ncp"),
        made_rows.row("ncp", aa=1.0, protocol="alf@ncp"),
        made_rows.row("ncp", aa=1.0, protocol="slf@ncp", dataset="cifar10"),
        made_rows.row("ncp", aa=1.0, protocol="slf@ncp", schedule="short"),
        made_rows.row("ncp", aa=1.0, protocol="slf@ncp", epochs=1, cell="cut"),
        made_rows.row("ncp", aa=1.0, protocol="slf@ncp", limit_test=64, cell="limited"),
    )

    def test_it_holds_the_exhibits_cells_alone_failed_ones_included(self, gathered: Callable[..., Evidence]) -> None:
        evidence = gathered([*self.OWN, *self.OTHERS])
        assert set(evidence.rows["cell"]) == {named(row).cell for row in self.OWN}

    def test_what_was_limited_is_asked_for_by_the_same_limit(self, gathered: Callable[..., Evidence]) -> None:
        evidence = gathered([*self.OWN, *self.OTHERS], limit="test=64")
        assert list(evidence.rows["cell"]) == [digest("limited")]

    def test_it_counts_what_is_missing(self, gathered: Callable[..., Evidence]) -> None:
        assert missing(gathered(self.OWN)) == 4 * 2 * 2 - len(self.OWN)

    def test_a_store_without_any_of_the_cells_is_named(self, gathered: Callable[..., Evidence]) -> None:
        with pytest.raises(BenchError, match=r"holds none of the 16 cells of 'ncp-acl/table5'.*--no-run"):
            gathered(self.OTHERS)

    def test_of_a_whole_paper_what_cannot_be_shown_disturbs_nothing_else(
        self, gathered: Callable[..., Evidence], tmp_path: Path
    ) -> None:
        store = gathered(self.OWN).store.root
        code, out, err = reproduce("ncp-acl", "--no-run", "--out", str(store), "--write", str(tmp_path / "figures"))
        assert code == 1
        assert "NCP-ACL, Table 5" in out and "ncp-acl/table1: " in err

    def test_methods_keep_the_order_of_the_file(self, gathered: Callable[..., Evidence]) -> None:
        assert gathered(self.OWN).order == ("ncp", *(f"ncp[neighbour={n}]" for n in (3, 4, 5)))

    def test_its_command_shows_the_same_again(self) -> None:
        flags = {"seeds": "2", "out": "my runs", "jobs": "2", "rerun": True}
        assert command_of("amoc/fig3", flags) == "bench reproduce amoc/fig3 --seeds 2 --out 'my runs'"

    @pytest.mark.parametrize("schedule", list(Schedule))
    def test_a_short_schedule_says_that_it_is_no_evidence(
        self, schedule: Schedule, gathered: Callable[..., Evidence], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        evidence = gathered([*self.OWN, *self.OTHERS])
        sweeps = tuple(sweep.model_copy(update={"schedule": schedule}) for sweep in evidence.sweeps)
        table = PaperTable("a/table", "", "", lambda one: build(one.rows))
        present(table, replace(evidence, sweeps=sweeps), Format.MARKDOWN, tmp_path)
        said = f"The schedule {schedule} is no evidence for or against the paper" in capsys.readouterr().out
        assert said == (schedule is not Schedule.PAPER)

    def test_a_figure_is_written_under_its_name_with_its_remarks(
        self, gathered: Callable[..., Evidence], capsys: pytest.CaptureFixture[str], tmp_path: Path
    ) -> None:
        drawn = Figure("any", "Ours.", ((Panel("", Axis("x"), Axis("y"), ()),),), (), Provenance("again", 5, "hash"))
        present(PaperFigure("a/fig9", "It", "", lambda _: drawn), gathered(self.OWN), Format.TERMINAL, tmp_path)
        out = capsys.readouterr().out
        assert {path.name for path in tmp_path.glob("a-fig9.*")} == {
            f"a-fig9.{end}" for end in ("svg", "pdf", "png", "csv", "txt")
        }
        assert str(tmp_path / "a-fig9.svg") in out and "It. Ours." in out
        assert "11 of the 16 cells are not in the store" in (tmp_path / "a-fig9.txt").read_text()

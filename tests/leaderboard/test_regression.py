"""What counts as drift, how far is far, and how it is told: on made-up cells."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as xml

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from rich.console import Console

from bench.errors import BenchError
from leaderboard.regression import rerun
from leaderboard.regression.bands import ALPHA, Band, learnt
from leaderboard.regression.compare import WRONG, Finding, Verdict, compare
from leaderboard.regression.measured import Measured
from leaderboard.regression.reference import Reference
from leaderboard.regression.report import junit, summary, table
from tests.leaderboard.made_cells import BITS, NUMBERS, broken, measured

BANDS = {"ncp": {"sa": Band(1.0, 16), "aa": Band(0.0, 16), "loss of epoch 1": Band(0.01, 16)}}
REFERENCE = Reference((measured(),), BANDS, ("2 threads",))
ELSEWHERE = {"arithmetic": "AVX512"}


def found(now: Measured, reference: Reference = REFERENCE) -> dict[str, Verdict]:
    """Metric to verdict, the whole cell under its empty name."""
    return {finding.metric: finding.verdict for finding in compare(reference, [now])}


def moved(**numbers: float) -> dict[str, float]:
    return {**NUMBERS, **{name.replace("_", " "): value for name, value in numbers.items()}}


class TestInTheSameContext:
    def test_equal_numbers_and_bits_are_the_same(self) -> None:
        assert set(found(measured()).values()) == {Verdict.SAME}

    @pytest.mark.parametrize(
        ("change", "drifted"),
        [
            ({"numbers": moved(sa=90.0 + 1e-9)}, {"sa"}),
            ({"numbers": moved(loss_of_epoch_1=5.0000001)}, {"loss of epoch 1"}),
            ({"bits": {**BITS, "pretrain": "a2"}}, {"bits"}),
            ({"bits": {**BITS, "clean": "c4"}}, {"bits"}),
            ({"numbers": moved(aa=26.0), "bits": {**BITS, "head": "b3"}}, {"aa", "bits"}),
        ],
    )
    def test_whatever_differs_is_drift(self, change: dict[str, Any], drifted: set[str]) -> None:
        assert {metric for metric, verdict in found(measured(**change)).items() if verdict is Verdict.DRIFT} == drifted

    def test_bits_that_differ_name_their_stage(self) -> None:
        (finding,) = (one for one in compare(REFERENCE, [measured(bits={**BITS, "head": "x"})]) if one.note)
        assert finding.note == "other bits: head"


class TestInAnotherContext:
    @pytest.mark.parametrize(
        ("numbers", "metric", "verdict"),
        [
            (moved(sa=91.9), "sa", Verdict.WITHIN),  # Two images of 100 are nothing, whatever was learnt.
            (moved(aa=27.0), "aa", Verdict.WITHIN),
            (moved(aa=27.1), "aa", Verdict.DRIFT),
            (moved(sa=93.4), "sa", Verdict.WITHIN),  # t(1 - .01 / 6, 16) = 3.43 spreads.
            (moved(sa=93.5), "sa", Verdict.DRIFT),
            (moved(sa=86.5), "sa", Verdict.DRIFT),
            (moved(loss_of_epoch_1=5.03), "loss of epoch 1", Verdict.WITHIN),
            (moved(loss_of_epoch_1=-5.0), "loss of epoch 1", Verdict.DRIFT),
            (NUMBERS, "sa", Verdict.SAME),
        ],
    )
    def test_numbers_may_stray_as_far_as_honest_ones(
        self, numbers: dict[str, float], metric: str, verdict: Verdict
    ) -> None:
        assert found(measured(numbers=numbers, **ELSEWHERE))[metric] is verdict

    def test_bits_are_not_compared(self) -> None:
        assert "bits" not in found(measured(bits={"pretrain": "other"}, **ELSEWHERE))

    @pytest.mark.parametrize("context", [{"arithmetic": "AVX512"}, {"context_torch": "2.16"}, {"context_threads": 2}])
    def test_any_part_of_the_context_makes_another(self, context: dict[str, Any]) -> None:
        assert "bits" not in found(measured(**context))

    def test_a_column_that_one_of_them_lacks_is_no_other_context(self) -> None:
        now = measured()
        later = replace(now, row={**now.row, "context_of_tomorrow": 1})
        assert "bits" in found(later)

    def test_without_bands_nothing_can_be_said(self) -> None:
        with pytest.raises(BenchError, match=r"another context .*arithmetic: AVX2 -> AVX512.*`bench regress --learn`"):
            found(measured(**ELSEWHERE), Reference((measured(),)))


class TestCells:
    @pytest.mark.parametrize(
        ("now", "verdicts", "note"),
        [
            (measured(seed=1), {Verdict.MISSING, Verdict.NEW}, "the rerun has no such cell"),
            (measured(config='{"width":2}'), {Verdict.MISSING, Verdict.NEW}, "width: 1 -> 2"),
            (measured(protocol_hash="p2"), {Verdict.MISSING, Verdict.NEW}, "protocol_hash: p1 -> p2"),
            (measured(data_fingerprint="d2"), {Verdict.MISSING, Verdict.NEW}, "data_fingerprint: d1 -> d2"),
            (broken(), {Verdict.FAILED}, "the loss became NaN at step 17"),
        ],
    )
    def test_one_that_is_not_there_any_more_is_told(self, now: Measured, verdicts: set[Verdict], note: str) -> None:
        if now.error:
            now = replace(now, row={**now.row, "config": '{"width":1}'})
        findings = compare(Reference((measured(config='{"width":1}'),)), [now])
        assert {one.verdict for one in findings} == verdicts
        assert note in findings[0].note

    @pytest.mark.parametrize("column", ["cell", "pretrain_key", "plugin_hash", "commit", "harness_version", "created"])
    def test_keys_and_code_are_no_part_of_the_identity(self, column: str) -> None:
        value = "2026-02-02T00:00:00+00:00" if column == "created" else "another"
        assert set(found(measured(**{column: value})).values()) == {Verdict.SAME}

    def test_a_setting_that_came_since_makes_no_other_cell(self) -> None:
        before, now = measured(config='{"width":1}'), measured(config='{"width":1,"depth":2}')
        assert {one.verdict for one in compare(Reference((before,)), [now])} == {Verdict.SAME}

    def test_a_metric_that_is_gone_or_new_is_told(self) -> None:
        now = measured(numbers={"sa": 90.0, "loss of epoch 1": 5.0, "ra_worst": 20.0})
        assert found(now) | {"bits": Verdict.SAME} == {
            "sa": Verdict.SAME,
            "aa": Verdict.MISSING,
            "loss of epoch 1": Verdict.SAME,
            "ra_worst": Verdict.NEW,
            "bits": Verdict.SAME,
        }

    def test_only_what_is_new_is_nothing_wrong(self) -> None:
        assert {Verdict.DRIFT, Verdict.FAILED, Verdict.MISSING} == WRONG


class TestBands:
    def test_the_spread_is_that_of_a_method_over_its_seeds_and_repeats(self) -> None:
        cells = [measured(seed=seed, numbers={"sa": 90.0}) for seed in (0, 1)]
        repeats = [
            [measured(seed=seed, numbers={"sa": 90.0 + by}) for seed, by in enumerate(two)] for two in ((3, 4), (0, -5))
        ]
        assert learnt(cells, repeats) == {"ncp": {"sa": Band(pytest.approx((50 / 4) ** 0.5), 4)}}  # type: ignore[arg-type]

    @pytest.mark.parametrize(
        ("band", "comparisons", "reach"),
        [
            (Band(1.0, 10), 1, 3.1693),  # t(.995, 10), from a table.
            (Band(2.0, 10), 1, 2 * 3.1693),
            (Band(1.0, 10), 5, 4.1437),  # t(.999, 10)
            (Band(0.0, 10), 5, 0.0),
        ],
    )
    def test_the_reach_is_a_quantile_of_t_for_all_comparisons_together(
        self, band: Band, comparisons: int, reach: float
    ) -> None:
        assert band.reach(comparisons) == pytest.approx(reach, abs=1e-4)

    def test_honest_strays_seldom_raise_an_alarm(self) -> None:
        generator, metrics, repeats, tries = np.random.default_rng(0), 20, 8, 20_000
        quantile = Band(1.0, repeats).reach(metrics)
        spreads = np.sqrt(np.square(generator.normal(0, 1, (tries, repeats, metrics))).mean(axis=1))
        alarms = (np.abs(generator.normal(0, 1, (tries, metrics))) > quantile * spreads).any(axis=1).sum()
        assert alarms / tries < ALPHA + 3 * (ALPHA / tries) ** 0.5


class TestLearning:
    @pytest.fixture
    def runs(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[Measured, ...]]:
        """Answers of the repeats, by what they find in the environment."""
        answers = {
            "": (measured(),),
            "avx2": (measured(numbers=moved(sa=93.0), bits={**BITS, "pretrain": "x"}),),
        }
        monkeypatch.setattr(rerun, "REPEATS", (rerun.Repeat(), rerun.Repeat(1, {"ATEN_CPU_CAPABILITY": "avx2"})))
        monkeypatch.setattr(rerun, "run_again", lambda *_, **__: answers[os.environ.get("ATEN_CPU_CAPABILITY", "")])
        monkeypatch.delenv("ATEN_CPU_CAPABILITY", raising=False)
        return answers

    def test_a_repeat_with_the_same_bits_teaches_nothing(
        self, runs: Mapping[str, tuple[Measured, ...]], tmp_path: Path
    ) -> None:
        found = rerun.learn(Reference((measured(),)), tmp_path)
        assert found.bands["ncp"]["sa"] == Band(3.0, 1)
        assert found.repeats == ("ATEN_CPU_CAPABILITY=avx2, 1 thread",)
        assert "ATEN_CPU_CAPABILITY" not in os.environ

    def test_if_none_rounds_otherwise_nothing_is_learnt(
        self, runs: dict[str, tuple[Measured, ...]], tmp_path: Path
    ) -> None:
        runs["avx2"] = runs[""]
        with pytest.raises(BenchError, match="no repeat rounded otherwise"):
            rerun.learn(Reference((measured(),)), tmp_path)

    def test_a_repeat_that_failed_is_no_repeat(self, runs: dict[str, tuple[Measured, ...]], tmp_path: Path) -> None:
        runs["avx2"] = (broken(),)
        with pytest.raises(BenchError, match="ATEN_CPU_CAPABILITY=avx2, 1 thread cells failed"):
            rerun.learn(Reference((measured(),)), tmp_path)


class TestReference:
    def test_it_comes_back_as_it_was_saved(self, tmp_path: Path) -> None:
        REFERENCE.save(tmp_path / "there" / "r.parquet")
        again = Reference.load(tmp_path / "there" / "r.parquet")
        assert (again.bands, again.repeats) == (REFERENCE.bands, REFERENCE.repeats)
        assert set(found(measured(), again).values()) == {Verdict.SAME}

    def test_columns_that_came_since_or_went_do_no_harm(self, tmp_path: Path) -> None:
        path = tmp_path / "r.parquet"
        REFERENCE.save(path)
        stored = parquet.read_table(path)
        other = stored.append_column("scores_of_tomorrow", pa.array(["{}"])).drop_columns(
            ["peak_memory_mb", "warnings"]
        )
        parquet.write_table(other, path)
        assert set(found(measured(), Reference.load(path)).values()) == {Verdict.SAME}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (None, "is not there: name one with --against"),
            (b"PAR1 torn", "is damaged"),
            ({"a": [1]}, "is no reference"),
            ({"schema_version": [99]}, "schema version 99"),
            ({}, "holds no cell"),
        ],
    )
    def test_a_bad_one_is_named_with_the_remedy(
        self, content: bytes | dict[str, list[int]] | None, message: str, tmp_path: Path
    ) -> None:
        path = tmp_path / "r.parquet"
        if isinstance(content, bytes):
            path.write_bytes(content)
        elif content is not None:
            parquet.write_table(pa.table(content), path)
        with pytest.raises(BenchError, match=message):
            Reference.load(path)

    def test_a_torn_copy_is_damaged(self, tmp_path: Path) -> None:
        path = tmp_path / "r.parquet"
        REFERENCE.save(path)
        path.write_bytes(path.read_bytes()[:-100])
        with pytest.raises(BenchError, match="damaged"):
            Reference.load(path)

    def test_failed_cells_are_no_reference(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match="cells that failed: ncp/digits/slf-1/seed0"):
            Reference((broken(),)).save(tmp_path / "r.parquet")
        assert not list(tmp_path.iterdir())


FINDINGS = (
    Finding("ncp/digits/slf-1/seed0", "sa", Verdict.SAME, 90.0, 90.0, 0.0),
    Finding("ncp/digits/slf-1/seed0", "aa", Verdict.DRIFT, 25.0, 0.5, 2.0),
    Finding("a[b=<1>]/digits/slf-1/seed0", "", Verdict.MISSING, note="the rerun has no such cell"),
    Finding("amoc/digits/slf-1/seed0", "", Verdict.FAILED, note="NaN & more"),
    Finding("amoc/digits/slf-1/seed1", "", Verdict.NEW),
)


class TestReport:
    def test_the_table_has_a_line_per_finding(self) -> None:
        console = Console(file=io.StringIO(), width=150)
        console.print(table(FINDINGS))
        shown = console.file.getvalue()  # type: ignore[attr-defined]
        head, *lines = [line.split() for line in shown.splitlines()]
        assert head == ["cell", "metric", "reference", "now", "difference", "band", "verdict"]
        assert lines[0] == ["ncp/digits/slf-1/seed0", "sa", "90", "90", "+0", "0", "same"]
        assert lines[1] == ["aa", "25", "0.5", "-24.5", "2", "DRIFT"]
        assert lines[2] == ["a[b=<1>]/digits/slf-1/seed0", "MISSING", "the", "rerun", "has", "no", "such", "cell"]

    def test_the_summary_counts(self) -> None:
        assert summary(FINDINGS) == "1 same, 1 DRIFT, 1 FAILED, 1 MISSING, 1 new"

    def test_junit_counts_and_classifies(self) -> None:
        facts = {"torch": "2.15"}
        root = xml.fromstring(junit(FINDINGS, 1.5, facts, "a host", "2026-01-02T03:04:05"))
        (suite,) = root
        totals = {"tests": "5", "failures": "2", "errors": "1", "skipped": "1", "time": "1.500"}
        assert dict(suite.attrib) == {
            "name": "bench regress", **totals, "hostname": "a host", "timestamp": "2026-01-02T03:04:05"
        }  # fmt: skip
        assert [one.tag for one in suite] == ["properties", *["testcase"] * 5]
        endings = [[part.tag for part in case] for case in suite.iter("testcase")]
        assert endings == [[], ["failure"], ["failure"], ["error"], ["skipped"]]

    def test_junit_has_the_attributes_that_its_schema_demands(self) -> None:
        root = xml.fromstring(junit(FINDINGS, 1.5, {}, "a host", "2026-01-02T03:04:05"))
        for case in root.iter("testcase"):
            assert set(case.attrib) == {"classname", "name", "time"} and all(case.attrib.values())
        for tag in ("failure", "error"):
            assert all(set(one.attrib) == {"message", "type"} and one.text for one in root.iter(tag))

    def test_a_failure_says_how_far_off_it_is(self) -> None:
        root = xml.fromstring(junit(FINDINGS, 1.5, {}, "a host", "2026-01-02T03:04:05"))
        message = next(root.iter("failure")).get("message")
        assert message == "25 in the reference, 0.5 now: -24.5 beyond the band of 2"


def test_numbers_are_json_in_the_file(tmp_path: Path) -> None:
    REFERENCE.save(tmp_path / "r.parquet")
    (row,) = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert json.loads(row["numbers"]) == NUMBERS

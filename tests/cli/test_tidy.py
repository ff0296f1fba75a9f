"""`show`, `rm` and `gc`: all of a cell, and nothing removed that somebody needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.cli.show import sparkline
from bench.store import Store
from tests.cli.runner import invoke
from tests.stores import add_cell, finish, finish_cell, grow_old


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two cells with a teacher in common."""
    store = Store.open(tmp_path / "runs")
    for seed, cell in enumerate(("aa11", "bb22")):
        finish_cell(store, cell, teacher="teacher")
        add_cell(store, cell, "ncp", seed, sa=70.3, config='{"neighbour":3}', warnings='["rate at the edge"]')
    return store


def bench(store: Store, *arguments: str) -> str:
    code, out, err = invoke(*arguments, "--out", str(store.root))
    assert (code, err) == (0, "")
    return out


class TestShow:
    def test_a_cell_is_shown_with_all_that_it_rests_on(self, store: Store) -> None:
        store.add_finding("aa11pretrain", "it has [other] bits.")
        out = " ".join(bench(store, "show", "ncp/digits/slf-1/seed0").split())
        for text in (
            "ncp/digits/slf-1/seed0 cell aa11",
            "sa 70.3",
            "neighbour 3",
            "Pretrain: teacher digits seed 0",
            f"key aa11pretrain SHA-256 {'b' * 64}",
            "in 1 min 15 s",
            "peak memory 512 MiB",
            "context device a CPU, threads 1",
            "context as above",
            "upstream teacher teacher",
            "stages/aa11pretrain/encoder.safetensors (1.0 kB)",
            "found it has [other] bits.",
            "loss 4 4 1 █▆▃▁",
            "clean sa 90 128 70.31 %",
            "rate at the edge",
        ):
            assert text in out

    def test_a_failed_cell_says_why(self, store: Store) -> None:
        store.put_failure("cc33pretrain", "the loss is nan", "")
        add_cell(store, "cc33", "amoc", status="failed", error="the loss is nan")
        out = bench(store, "show", "amoc")
        assert "failed: the loss is nan" in out
        assert "not finished, or removed" in out

    def test_more_than_one_cell_is_a_slip(self, store: Store) -> None:
        code, _, err = invoke("show", "ncp", "--out", str(store.root))
        assert code == 2
        assert "means 2 cells" in err


@pytest.mark.parametrize(
    ("values", "expected"),
    [([], ""), ([1.0], "▁"), ([2.0, 2.0], "▁▁"), ([0.0, 1.0, float("nan"), 7.0], "▁▂ █")],
)
def test_a_sparkline_shows_the_course_of_numbers(values: list[float], expected: str) -> None:
    assert sparkline(values) == expected


def test_a_long_course_is_thinned_and_keeps_its_ends() -> None:
    line = sparkline([0.0] * 50 + [1.0] * 49 + [2.0], width=10)
    assert line == "▁▁▁▁▁▅▅▅▅█"


class TestRm:
    def test_the_row_and_what_only_it_needs_go(self, store: Store) -> None:
        out = bench(store, "rm", "ncp/digits/slf-1/seed0", "--yes")
        assert "row    ncp/digits/slf-1/seed0 (aa11)" in out
        assert "freed" in out
        assert list(store.latest_rows()) == ["bb22"]
        assert store.finished() == ["bb22clean", "bb22head", "bb22pretrain", "teacher"]

    def test_a_dry_run_removes_nothing(self, store: Store) -> None:
        out = bench(store, "rm", "aa11", "bb22", "--dry-run")
        assert "stage  pretrain teacher digits seed 0 (teacher)" in out
        assert "nothing was removed" in out
        assert len(store.latest_rows()) == 2 and len(store.finished()) == 7

    def test_it_removes_nothing_unasked(self, store: Store) -> None:
        code, _, err = invoke("rm", "aa11", "--out", str(store.root))
        assert code == 2
        assert "--yes" in err
        assert len(store.latest_rows()) == 2

    def test_what_is_at_work_is_left_and_named(self, store: Store) -> None:
        with store.lock("aa11head"):
            out = bench(store, "rm", "aa11", "--yes")
        assert "a process works on them: aa11head" in out
        assert store.has("aa11head") and not store.has("aa11pretrain")


class TestGc:
    @pytest.fixture(autouse=True)
    def nobodys(self, store: Store) -> None:
        finish(store, "nobodys")
        store.put_checkpoint("teacher", bytes(2000))
        grow_old(store, 2)

    @pytest.mark.parametrize(
        ("options", "gone", "freed"), [((), False, "2.0 kB"), (("--older-than", "1d"), True, "3.3 kB")]
    )
    def test_what_nobody_needs_goes_if_it_is_old_enough(
        self, options: tuple[str, ...], gone: bool, freed: str, store: Store
    ) -> None:
        assert f"{freed} would be freed" in bench(store, "gc", "--dry-run", *options)
        assert store.has("nobodys") and list(store.checkpoint_folder("teacher").iterdir())
        assert f"{freed} freed" in bench(store, "gc", *options)
        assert store.has("nobodys") is not gone
        assert not store.checkpoint_folder("teacher").exists()
        assert len(store.finished()) == 7 + (not gone)
        assert "nothing to remove" in bench(store, "gc", *options)

    def test_it_says_what_the_store_takes_up(self, store: Store) -> None:
        out = " ".join(bench(store, "gc", "--dry-run").split())
        assert "stages 18" in out
        assert "checkpoints 1 2.0 kB" in out

    def test_a_time_that_is_none_is_a_slip(self, store: Store) -> None:
        code, _, err = invoke("gc", "--older-than", "soon", "--out", str(store.root))
        assert code == 2
        assert "7d" in err

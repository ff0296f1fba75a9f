"""The store: all or nothing, first come first kept, and a clear word about a disk or folder that will not do."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError, StoreError
from bench.keys import PROJECT
from bench.schema import SCHEMA_VERSION, Row, Status
from bench.store import ABANDONED, Store, read_rows

RECORD = {"kind": "pretrain", "label": "mine"}


def row(cell: str = "c", **columns: Any) -> Row:
    defaults: dict[str, Any] = {
        "status": Status.OK,
        "method": "mine",
        "config": "{}",
        "label": "mine",
        "dataset": "digits",
        "dataset_like": "digits",
        "pretrain_data": "digits",
        "schedule": "quick",
        "seed_pretrain": 0,
        "seed_head": 0,
        "seed_attack": 0,
        "protocol": "slf-1",
        "protocol_hash": "h",
        "eps": 0.1,
        "harness_version": "0",
        "plugin": "mine.py",
        "plugin_hash": "p",
        "created": datetime.now(UTC).isoformat(),
    }
    return Row(cell=cell, **{**defaults, **columns})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


def scratch(store: Store) -> list[Path]:
    return list((store.root / "tmp").iterdir())


class TestStages:
    def test_what_is_put_is_there(self, store: Store) -> None:
        assert not store.has("k")
        store.put("k", RECORD, {"a.bin": b"\x00\x01"})
        assert store.has("k")
        assert store.record("k") == RECORD
        assert store.read("k", "a.bin") == b"\x00\x01"
        assert list(store.records()) == [RECORD]
        assert scratch(store) == []

    def test_who_comes_second_leaves_what_is_there(self, store: Store) -> None:
        store.put("k", RECORD, {"a.bin": b"first"})
        store.put("k", RECORD, {"a.bin": b"second"})
        assert store.read("k", "a.bin") == b"first"
        assert scratch(store) == []

    def test_a_product_is_replaced_where_that_is_asked_for(self, store: Store) -> None:
        store.put("k", RECORD, {"a.bin": b"first", "b.bin": b"gone"})
        store.put("k", RECORD, {"a.bin": b"second"}, replace=True)
        assert store.read("k", "a.bin") == b"second"
        assert not (store.stage("k") / "b.bin").exists()
        assert scratch(store) == []

    @pytest.mark.parametrize("text", [None, "", "{", "3"])
    def test_a_stage_without_a_readable_record_is_not_there_and_makes_room(
        self, store: Store, text: str | None
    ) -> None:
        store.stage("k").mkdir()
        if text is not None:
            (store.stage("k") / "stage.json").write_text(text)
        assert not store.has("k")
        assert list(store.records()) == []
        with pytest.raises(BenchError, match="holds no finished stage"):
            store.record("k")
        store.put("k", RECORD, {})
        assert store.record("k") == RECORD

    def test_a_file_that_is_gone_is_named_with_the_remedy(self, store: Store) -> None:
        store.put("k", RECORD, {})
        with pytest.raises(BenchError, match=r"encoder\.safetensors' is damaged .*--rerun"):
            store.read("k", "encoder.safetensors")

    def test_writers_at_once_leave_one_whole_product(self, store: Store) -> None:
        def write(number: int) -> None:
            store.put("k", {"by": number}, {name: bytes([number]) * 100_000 for name in ("a", "b")})

        threads = [threading.Thread(target=write, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winner = store.record("k")["by"]
        assert {store.read("k", name) for name in ("a", "b")} == {bytes([winner]) * 100_000}
        assert scratch(store) == []

    def test_what_killed_processes_left_is_cleared_after_a_day(self, store: Store) -> None:
        for name, age in (("old", ABANDONED + 60), ("new", 60)):
            (store.root / "tmp" / name).mkdir()
            os.utime(store.root / "tmp" / name, (time.time() - age,) * 2)
        Store.open(store.root)
        assert [path.name for path in scratch(store)] == ["new"]


class TestFailures:
    def test_a_failure_keeps_its_last_reason_and_counts_tries(self, store: Store) -> None:
        assert store.failure("k") is None
        assert [store.put_failure("k", f"error {number}", "Traceback") for number in range(2)] == [1, 2]
        assert store.failure("k") == {"error": "error 1", "attempts": 2}
        assert store.log("k").read_text() == "Traceback"
        store.forget_failure("k")
        assert (store.failure("k"), store.attempts("k")) == (None, 0)

    def test_a_torn_failure_is_none(self, store: Store) -> None:
        (store.root / "failures" / "k.json").write_text("{")
        assert store.put_failure("k", "error", "") == 1

    def test_a_finding_is_kept_once(self, store: Store) -> None:
        for text in ("other bits", "other bits", "still others"):
            store.add_finding("k", text)
        store.add_finding("k2", "not mine")
        assert sorted(store.findings("k")) == ["other bits", "still others"]


class TestRows:
    def test_the_newest_row_of_a_cell_counts(self, store: Store) -> None:
        for sa in (10.0, 20.0):
            store.add_row(row("a", sa=sa))
        store.add_row(row("b", sa=30.0, seed_pretrain=1))
        assert {cell: found["sa"] for cell, found in store.latest_rows().items()} == {"a": 20.0, "b": 30.0}
        assert list(read_rows(store.root)["sa"]) == [20.0, 30.0]

    def test_a_row_comes_back_as_it_was(self, store: Store) -> None:
        one = row(sa=100 / 3, warnings='["ä"]', limited=True)
        store.add_row(one)
        assert store.latest_rows()["c"] == one.as_dict()

    def test_a_folder_name_with_an_equals_sign_makes_no_column(self, tmp_path: Path) -> None:
        store = Store.open(tmp_path / "eps=8")
        store.add_row(row(eps=0.25))
        assert store.latest_rows()["c"]["eps"] == 0.25

    def test_a_torn_row_is_named_and_does_not_hinder_a_run(self, store: Store) -> None:
        store.add_row(row("a"))
        (file,) = (store.root / "rows").iterdir()
        file.write_bytes(file.read_bytes()[:100])
        assert store.latest_rows() == {}
        with pytest.raises(BenchError, match=rf"{file.name}' is damaged .*remove it and run"):
            read_rows(store.root)

    @pytest.mark.parametrize("make", [lambda root: Store.open(root), lambda root: None])
    def test_no_rows_are_an_error_with_a_remedy(self, tmp_path: Path, make: Callable[[Path], Any]) -> None:
        make(tmp_path / "runs")
        with pytest.raises(BenchError, match=r"no results in .*`bench run` writes them"):
            read_rows(tmp_path / "runs")

    def test_a_row_of_a_newer_version_is_refused(self, store: Store) -> None:
        store.add_row(row(schema_version=SCHEMA_VERSION + 1))
        with pytest.raises(BenchError, match="upgrade it"):
            read_rows(store.root)

    def test_no_row_of_a_newer_store_is_read(self, store: Store) -> None:
        store.add_row(row())
        (store.root / "format.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
        with pytest.raises(BenchError, match="upgrade it"):
            read_rows(store.root)

    def test_a_file_is_no_store(self, tmp_path: Path) -> None:
        (tmp_path / "runs").write_text("")
        with pytest.raises(BenchError, match="runs' is a file, and results lie in a folder"):
            read_rows(tmp_path / "runs")


class TestFolder:
    @pytest.mark.parametrize(
        ("prepare", "error"),
        [
            (lambda out: out.write_text("text"), "is a file"),
            (lambda out: out.parent.joinpath("runs").write_text("text") and None, "is a file"),
            (
                lambda out: (out.mkdir(), (out / "thesis.tex").write_text("")),
                r"other things than results \(thesis.tex\)",
            ),
            (lambda out: out.symlink_to(out.parent / "nowhere" / "deep"), "cannot write results"),
        ],
    )
    def test_what_is_no_store_is_left_alone(self, tmp_path: Path, prepare: Callable[[Path], Any], error: str) -> None:
        out = tmp_path / "runs"
        prepare(out)
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(StoreError, match=error) as caught:
            Store.open(out)
        assert f"'{out}'" in str(caught.value)
        assert "--out" in str(caught.value)
        assert sorted(tmp_path.rglob("*")) == before

    def test_a_folder_below_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(StoreError, match="Not a directory"):
            Store.open(tmp_path / "file" / "runs")

    @pytest.mark.parametrize("names", [(), (".gitignore",), ("tmp",), ("rows", "stages")])
    def test_an_empty_folder_or_a_store_in_the_making_will_do(self, tmp_path: Path, names: tuple[str, ...]) -> None:
        for name in names:
            (tmp_path / "runs" / name).mkdir(parents=True)
        assert Store.open(tmp_path / "runs").root.is_dir()

    def test_a_store_may_hold_more_than_results(self, store: Store) -> None:
        (store.root / "notes.md").write_text("")
        Store.open(store.root)

    def test_a_newer_schema_is_refused(self, store: Store) -> None:
        (store.root / "format.json").write_text(json.dumps({"schema_version": SCHEMA_VERSION + 1}))
        with pytest.raises(BenchError, match="upgrade it"):
            Store.open(store.root)

    @pytest.mark.parametrize("text", ["", "{}", "[1]", '{"schema_version": "one"}'])
    def test_a_format_that_cannot_be_read_is_an_error(self, store: Store, text: str) -> None:
        (store.root / "format.json").write_text(text)
        with pytest.raises(StoreError, match=r"format\.json' cannot be read"):
            Store.open(store.root)

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_may_not_be_written(self, store: Store) -> None:
        (store.root / "tmp").chmod(0o500)
        with pytest.raises(StoreError, match="Permission denied"):
            Store.open(store.root)


class TestFullDisk:
    ACTIONS = (
        lambda store: store.put("k", RECORD, {"a.bin": bytes(2_000_000)}),
        lambda store: store.put_failure("k", "error", "x" * 2_000_000),
        lambda store: store.add_row(row(config=json.dumps(os.urandom(1_000_000).hex()))),
    )

    @pytest.fixture
    def small_disk(self, tmp_path: Path) -> Iterator[Path]:
        """A disk of one mebibyte."""
        place = tmp_path / "disk"
        place.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
        if (
            not sys.platform.startswith("linux")
            or os.geteuid()
            or subprocess.run(mount, capture_output=True).returncode
        ):
            pytest.skip("only root on Linux can make a small disk")
        yield place
        subprocess.run(["umount", "-l", str(place)], check=True)

    @pytest.mark.parametrize("action", ACTIONS)
    def test_it_is_one_paragraph_and_nothing_finished_is_lost(
        self, small_disk: Path, action: Callable[[Store], Any]
    ) -> None:
        store = Store.open(small_disk / "runs")
        store.put("finished", RECORD, {"a.bin": bytes(100_000)})
        with pytest.raises(StoreError, match="is full: nothing finished is lost"):
            action(store)
        assert scratch(store) == []
        assert store.has("finished")
        assert not store.has("k")
        store.put("later", RECORD, {"a.bin": bytes(100_000)})

    @pytest.mark.parametrize("action", ACTIONS)
    @pytest.mark.parametrize(("code", "text"), [(errno.ENOSPC, "is full"), (errno.EIO, "cannot write results")])
    def test_a_write_that_fails_leaves_nothing_half_done(
        self, store: Store, monkeypatch: pytest.MonkeyPatch, action: Callable[[Store], Any], code: int, text: str
    ) -> None:
        def fail(_: int) -> None:
            raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(StoreError, match=text):
            action(store)
        assert scratch(store) == []
        assert not store.has("k")
        assert store.latest_rows() == {}
        assert store.failure("k") is None


class TestLocks:
    def test_a_stage_has_one_worker_at_a_time(self, store: Store) -> None:
        with store.lock("k") as first, store.lock("k") as second, store.lock("other") as third:
            assert (first, second, third) == (True, False, True)
            assert not store.is_free("k")
        assert store.is_free("k")

    def test_the_file_goes_with_the_finished_stage(self, store: Store) -> None:
        with store.lock("k"):
            store.put("k", RECORD, {})
        assert list((store.root / "locks").iterdir()) == []

    def test_a_dead_process_holds_no_lock(self, store: Store) -> None:
        code = f"""
import os, signal
from pathlib import Path
from bench.store import Store
with Store(Path({str(store.root)!r})).lock("k") as held:
    assert held
    os.kill(os.getpid(), signal.SIGKILL)
"""
        child = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PROJECT)})
        assert child.returncode == -signal.SIGKILL
        assert (store.root / "locks" / "k.lock").exists()
        assert store.is_free("k")

    def test_a_file_system_without_locks_is_no_obstacle(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        def flock(*_: Any) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        monkeypatch.setattr("fcntl.flock", flock)
        with store.lock("k") as first, store.lock("k") as second:
            assert first and second


class TestCheckpoints:
    def test_two_are_kept_the_latest_first(self, store: Store) -> None:
        for content in (b"one", b"two", b"three"):
            store.put_checkpoint("k", content)
        assert list(store.checkpoints("k")) == [b"three", b"two"]
        store.forget_checkpoints("k")
        assert list(store.checkpoints("k")) == []

    def test_a_changed_one_is_none(self, store: Store) -> None:
        for content in (b"one", b"two"):
            store.put_checkpoint("k", content)
        max((store.root / "checkpoints" / "k").iterdir()).write_bytes(b"twO")
        assert list(store.checkpoints("k")) == [b"one"]

    def test_those_from_before_the_product_are_none(self, store: Store) -> None:
        store.put_checkpoint("k", b"one")
        store.put("k", RECORD, {})
        os.utime(store.stage("k") / "stage.json")
        assert list(store.checkpoints("k")) == []

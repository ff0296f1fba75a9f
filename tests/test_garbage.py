"""What may go from a store, and what never does."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.garbage import Waste, WasteKind, garbage, only_of, remove
from bench.live import Standing, shown_live
from bench.store import Store
from tests.stores import DAY, add_cell, finish, finish_cell, grow_old

GUARD = 7 * DAY


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


def keys(wastes: list[Waste], kind: WasteKind) -> set[str | None]:
    return {waste.key for waste in wastes if waste.kind is kind}


def found(store: Store) -> set[str | None]:
    """The stages that would go."""
    return keys(garbage(store, GUARD), WasteKind.STAGES)


class TestStages:
    def test_what_a_row_rests_on_stays_upstreams_included(self, store: Store) -> None:
        finish_cell(store, "c", teacher="teacher")
        add_cell(store, "c", "ncp")
        finish(store, "nobodys")
        grow_old(store, 8)
        assert found(store) == {"nobodys"}

    def test_only_the_newest_row_of_a_cell_counts(self, store: Store) -> None:
        for cell in ("old", "new"):
            finish_cell(store, cell)
        for cell in ("old", "new"):
            add_cell(store, "c", "ncp", pretrain_key=f"{cell}pretrain", head_key=f"{cell}head", outcomes={})
        grow_old(store, 8)
        assert found(store) == {"oldpretrain", "oldhead", "oldclean", "newclean"}

    def test_what_is_younger_than_the_guard_stays(self, store: Store) -> None:
        finish(store, "nobodys")
        grow_old(store, 6)
        assert found(store) == set()

    def test_the_upstreams_of_what_failed_or_was_blocked_stay(self, store: Store) -> None:
        for key in ("teacher", "labels"):
            finish(store, key)
        store.put_failure("first", "NaN", "", {"reads": {"first": ["teacher"], "cpretrain": ["first", "labels"]}})
        add_cell(store, "c", "ncp", status="failed", error="NaN")
        grow_old(store, 8)
        assert found(store) == set()

    def test_what_is_left_of_an_unfinished_stage_goes_too(self, store: Store) -> None:
        store.put_checkpoint("givenup", b"weights")
        store.put_failure("givenup", "NaN", "Traceback")
        grow_old(store, 8)
        (waste,) = (one for one in garbage(store, GUARD) if one.kind is WasteKind.STAGES)
        remove(store, [waste])
        assert store.traces() == set()

    def test_what_a_run_at_work_refers_to_stays(self, store: Store) -> None:
        finish(store, "mine")
        finish(store, "nobodys")
        grow_old(store, 8)
        with shown_live(store, ["mine"], Standing):
            assert found(store) == {"nobodys"}

    @pytest.mark.parametrize("name", ["rows/c-2.parquet", "live/x.lock"])
    def test_none_goes_where_something_that_may_refer_to_it_cannot_be_read(self, name: str, store: Store) -> None:
        finish(store, "k")
        grow_old(store, 8)
        assert found(store) == {"k"}
        with (store.root / name).open("wb") as file:
            file.write(b"torn")
            file.flush()
            fcntl.flock(file, fcntl.LOCK_EX)
            assert found(store) == set()


class TestLeftovers:
    def test_checkpoints_of_finished_stages_go_those_of_others_stay(self, store: Store) -> None:
        finish(store, "k")
        for key in ("k", "unfinished"):
            store.put_checkpoint(key, b"weights")
        assert keys(garbage(store, GUARD), WasteKind.CHECKPOINTS) == {"k"}

    def test_locks_that_nobody_holds_go(self, store: Store) -> None:
        with store.lock("left"):
            pass
        with store.lock("held"):
            wastes = garbage(store, GUARD)
        assert keys(wastes, WasteKind.LOCKS) == {"left"}

    def test_files_of_dead_runs_go(self, store: Store) -> None:
        for suffix in ("lock", "json"):
            (store.root / "live" / f"dead.{suffix}").write_text("{}")
        remove(store, garbage(store, GUARD))
        assert list((store.root / "live").iterdir()) == []

    def test_old_temporary_files_go(self, store: Store) -> None:
        for name, age in (("new", 0), ("old", 2 * 3600)):
            path = store.root / "tmp" / name
            path.write_bytes(bytes(10))
            os.utime(path, (time.time() - age,) * 2)
        assert remove(store, garbage(store, GUARD)).usage.bytes == 10
        assert [path.name for path in (store.root / "tmp").iterdir()] == ["new"]


class TestRemoving:
    def test_it_says_what_it_freed(self, store: Store) -> None:
        finish(store, "k")
        store.put_checkpoint("k", bytes(500))
        freed = remove(store, garbage(store, GUARD))
        assert freed.counts == {WasteKind.CHECKPOINTS: 1}
        assert freed.usage.bytes == 500
        assert store.has("k")

    def test_a_stage_that_was_locked_meanwhile_is_left_alone(self, store: Store) -> None:
        finish(store, "k")
        grow_old(store, 8)
        wastes = garbage(store, GUARD)
        with store.lock("k"):
            freed = remove(store, wastes)
        assert (freed.locked, freed.counts) == (["k"], {})
        assert store.has("k")

    def test_who_waits_for_a_lock_that_is_removed_gets_the_next_one(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Otherwise two processes would hold the lock of one stage, each in a file of its own."""
        from bench import store as module

        path, take = store.root / "locks" / "k.lock", module.locked

        def removed_meanwhile(file: int) -> bool:
            monkeypatch.setattr(module, "locked", take)
            path.unlink()
            return take(file)

        monkeypatch.setattr(module, "locked", removed_meanwhile)
        with store.lock("k") as first, store.lock("k") as second:
            assert (first, second) == (True, False)


class TestCells:
    @pytest.fixture
    def shared(self, store: Store) -> Callable[[str], set[str | None]]:
        """Two cells that share a teacher; the stages that only the one named needs."""
        for cell in ("one", "two"):
            finish_cell(store, cell, teacher="teacher")
            add_cell(store, cell, "ncp", 0 if cell == "one" else 1)
        return lambda *cells: keys(only_of(cells, store), WasteKind.STAGES)

    def test_what_another_row_needs_stays(self, shared: Callable[..., set[str | None]]) -> None:
        assert shared("one") == {"onepretrain", "onehead", "oneclean"}
        assert shared("one", "two") >= {"teacher", "onepretrain", "twopretrain"}

    def test_what_a_run_at_work_needs_stays(self, shared: Callable[..., set[str | None]], store: Store) -> None:
        with shown_live(store, ["onepretrain"], Standing):
            assert shared("one") == {"onehead", "oneclean"}

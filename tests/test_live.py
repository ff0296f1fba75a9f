"""What other shells see of a run: who it is, where it stands, and that it died if it did."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bench import live
from bench.keys import PROJECT
from bench.live import AtWork, Standing, live_runs, shown_live
from bench.store import Store
from tests.processes import wait_for

WORK = AtWork("k", "ncp digits seed 0", "pretrain", done=3, total=7, facts={"loss": 1.5, "signs": {"spread": 0.7}})
STANDING = Standing(counts={"running": 1, "waiting": 2}, left_s=60, at_work=(WORK,), failed={"amoc": "NaN"})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.fixture
def dead(store: Store) -> str:
    """The name of a run of the stages `a` and `b` that was killed."""
    code = f"""
import os, signal
from pathlib import Path
from bench.live import Standing, shown_live
from bench.store import Store
with shown_live(Store(Path({str(store.root)!r})), ["a", "b"], Standing):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    child = subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(PROJECT)})
    assert child.returncode == -signal.SIGKILL
    (run,) = live_runs(store)
    return run.name


def files(store: Store) -> list[str]:
    return sorted(path.name for path in (store.root / "live").iterdir())


def test_a_run_says_who_it_is_and_where_it_stands(store: Store) -> None:
    with shown_live(store, {"k", "j"}, lambda: STANDING):
        wait_for(lambda: live_runs(store)[0].standing.counts != {})
        (run,) = live_runs(store)
    assert run.alive
    assert (run.pid, run.keys) == (os.getpid(), {"k", "j"})
    assert Path(sys.argv[0]).name in run.command
    assert run.standing.updated >= run.since
    assert replace(run.standing, updated="") == STANDING


def test_nothing_of_it_stays_however_it_ends(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), shown_live(store, ["k"], lambda: STANDING):
        raise KeyboardInterrupt
    assert files(store) == []


def test_what_stands_still_is_written_once(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "WRITE_EVERY", 0.01)
    asked: list[int] = []
    written: list[bytes] = []
    write = Path.write_bytes
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: written.append(data) or write(self, data))
    with shown_live(store, ["k"], lambda: asked.append(1) or STANDING):
        wait_for(lambda: len(asked) > 5)
    assert len(written) == 1


def test_a_killed_run_is_known_to_be_dead(store: Store, dead: str) -> None:
    (run,) = live_runs(store)
    assert (run.alive, run.keys) == (False, {"a", "b"})


@pytest.mark.parametrize(("keys", "taken_over"), [(("a", "b", "c"), True), (("a", "c"), False)])
def test_a_run_of_the_same_stages_takes_over_from_a_dead_one(
    keys: tuple[str, ...], taken_over: bool, store: Store, dead: str
) -> None:
    with shown_live(store, keys, Standing):
        assert (dead in {run.name for run in live_runs(store)}) is not taken_over


@pytest.mark.parametrize("broken", ["write_bytes", "open"])
def test_a_full_disk_stops_no_run(broken: str, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Path, broken, full)
        with shown_live(store, ["k"], lambda: STANDING):
            pass
    assert files(store) == []


@pytest.mark.parametrize("content", ["", "{", "[]", '{"at_work": [{"new": 1}]}', '{"later": 1}'])
def test_a_file_of_another_version_is_no_error(content: str, store: Store) -> None:
    (store.root / "live" / "x.lock").write_text("{}")
    (store.root / "live" / "x.json").write_text(content)
    (run,) = live_runs(store)
    assert (run.standing, run.keys, run.alive) == (Standing(), None, False)

"""What goes wrong in the middle of a stage becomes a failed row or a clear end, and what was done is not lost."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from bench import store as store_module
from bench.attacks.classifier import Classifier
from bench.errors import BenchError, Interrupted, StoreError
from bench.executors.checkpoints import decoded
from bench.executors.product import bits_of, stored
from bench.plan import StageKind
from bench.protocols.heads import LinearHeads
from bench.store import Store
from tests.plugins import write_method, write_trained

Cause = Callable[[], AbstractContextManager[None]]


def products(done: Any) -> dict[str, str]:
    """The bits of every stage."""
    return {key: bits_of(stored(done.store, key, stage.kind)) for key, stage in done.plan.stages.items()}


def stage_of(plan: Any, kind: StageKind) -> str:
    """The key of the heaviest stage of a kind."""
    own = {key: stage.weight for key, stage in plan.stages.items() if stage.kind is kind}
    return max(own, key=lambda key: own[key])


@contextmanager
def no_space() -> Iterator[None]:
    """The disk is full after half of a file."""

    def write(path: Path, content: bytes) -> None:
        path.write_bytes(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store_module, "_write", write)
        yield


@contextmanager
def small_files() -> Iterator[None]:
    """The system takes no file of more than 100 bytes: no simulation, half-written as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(
    ("cause", "message", "kind", "kept"),
    [
        (no_space, "is full: nothing finished is lost", StageKind.PRETRAIN, 2),
        (no_space, "is full: nothing finished is lost", StageKind.HEAD, 2),
        (no_space, "is full: nothing finished is lost", StageKind.ATTACK, 0),
        (small_files, "large", StageKind.PRETRAIN, 1),
    ],
)
def test_a_disk_that_is_full_at_a_checkpoint_ends_the_run_and_loses_no_earlier_one(
    cause: Cause, message: str, kind: StageKind, kept: int, make_sweep: Any, ran: Any, tmp_path: Path
) -> None:
    sweep = make_sweep(methods=write_trained(tmp_path), checkpoint_every=0)
    straight = ran(sweep.model_copy(update={"out": tmp_path / "straight"}))
    stage, store = stage_of(straight.plan, kind), Store.open(sweep.out)
    honest, written = Store.put_checkpoint, 0

    def put(self: Store, key: str, content: bytes) -> None:
        nonlocal written
        if key == stage and written == kept:
            with cause():
                honest(self, key, content)
        honest(self, key, content)
        written += key == stage

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Store, "put_checkpoint", put)
        with pytest.raises(StoreError, match=message):
            ran(sweep)
    assert len(list(store.checkpoints(stage))) == kept
    assert list((store.root / "tmp").iterdir()) == []
    again = ran(sweep)
    assert again.summary.ok
    assert products(again) == products(straight)


@pytest.mark.parametrize(
    ("kind", "work", "name", "calls", "position"),
    [
        (StageKind.HEAD, LinearHeads, "step", 2, ("epoch", 1)),
        (StageKind.HEAD, LinearHeads, "step", 3, ("epoch", 0)),
        (StageKind.ATTACK, Classifier, "forward", 5, ("round", 0)),
    ],
    ids=["choice of the rate", "after it", "attack"],
)
def test_a_signal_ends_a_head_and_an_attack_where_they_are_and_keeps_what_is_done(
    kind: StageKind,
    work: type,
    name: str,
    calls: int,
    position: tuple[str, int],
    make_sweep: Any,
    ran: Any,
    tmp_path: Path,
) -> None:
    straight = ran(make_sweep(out=tmp_path / "straight"))
    honest, left = getattr(work, name), calls

    def interrupted(*arguments: Any) -> Any:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGTERM)
        return honest(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(work, name, interrupted)
        with pytest.raises(Interrupted) as caught:
            ran(make_sweep())
    assert (caught.value.signal, left) == (signal.SIGTERM, 0)
    store = Store(make_sweep().out)
    (folder,) = (store.root / "checkpoints").iterdir()
    assert straight.plan.stages[folder.name].kind is kind
    (content,) = store.checkpoints(folder.name)
    assert decoded(content).facts["stage"][position[0]] == position[1]
    again = ran(make_sweep())
    assert products(again) == products(straight)
    assert again.rows[0]["status"] == "ok"


@pytest.mark.parametrize("broken", ["nan", "inf"])
def test_a_loss_that_is_no_number_is_a_failed_row(broken: str, make_sweep: Any, ran: Any, tmp_path: Path) -> None:
    diverging = write_trained(tmp_path, f"return update(net(batch.pixels).square().mean() * float('{broken}'))")
    bad, good = ran(make_sweep(methods=f"{diverging},{write_method(tmp_path)}")).rows
    assert (bad["status"], good["status"]) == ("failed", "ok")
    assert "training diverged: the mean loss of epoch 1 is" in bad["error"]
    assert [bad["sa"], bad["ra_pgd20"]] == [None, None]


@pytest.mark.parametrize(
    "error",
    ["import torch; raise torch.OutOfMemoryError('CUDA')", "raise MemoryError", "import torch; torch.empty(2**60)"],
    ids=["device", "python", "torch on the cpu"],
)
def test_too_little_memory_for_a_training_batch_is_a_failed_row_with_a_remedy(
    error: str, make_sweep: Any, ran: Any, tmp_path: Path
) -> None:
    (row,) = ran(make_sweep(methods=write_trained(tmp_path, error))).rows
    assert row["status"] == "failed"
    assert "out of memory on cpu" in row["error"]
    assert "no batch was made smaller" in row["error"]
    assert "'trained[batch_size=4]'" in row["error"]


def test_too_little_memory_for_a_head_is_a_failed_row(make_sweep: Any, ran: Any) -> None:
    def step(*_: Any) -> None:
        raise MemoryError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(LinearHeads, "step", step)
        (row,) = ran(make_sweep()).rows
    assert row["status"] == "failed"
    assert "out of memory on cpu (MemoryError)" in row["error"]
    assert "batch_size" not in row["error"]


@pytest.mark.parametrize("size", [0, 50])
def test_a_torn_row_is_written_anew_and_torn_outcomes_are_named(size: int, make_sweep: Any, ran: Any) -> None:
    first = ran(make_sweep())
    (row,) = (first.store.root / "rows").iterdir()
    row.write_bytes(row.read_bytes()[:size])
    again = ran(make_sweep())
    assert again.summary.done == 0
    assert again.rows[0]["sa"] == first.rows[0]["sa"]
    key = stage_of(first.plan, StageKind.ATTACK)
    file = first.store.stage(key) / "outcomes.parquet"
    file.write_bytes(file.read_bytes()[:size])
    with pytest.raises(BenchError, match=r"outcomes\.parquet' is damaged .*--rerun"):
        first.store.outcomes(key)
    assert ran(make_sweep(rerun=True)).summary.ok
    assert bool(first.store.outcomes(key).any()) == bool(first.rows[0]["ra_pgd20"])

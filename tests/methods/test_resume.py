"""A pre-training that was interrupted anywhere ends with the bits of one that never was."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from tiny import bits, digits, quiet, tiny, upstream_of

from bench.contract import Method
from bench.errors import Interrupted
from bench.executors.checkpoints import Keeper
from bench.executors.stop import Stop
from bench.stages.pretrain import pretrain
from bench.store import Store

METHODS = [
    "simclr",
    "ncp[recluster_every=2]",
    "amoc[bank_size=140]",
    "deacl",
    "advcl",
    "rocl",
    "moco",
    "acl",
    "dynacl[reload_every=1]",
    "dynacl-pp",
    "air[plateau=1]",
    "air-pp",
    "rcs[fraction=0.7]",
]
STEPS = 3
"""Of an epoch; there are two."""


def method_of(text: str) -> Method[Any]:
    return tiny(text, epochs=2)


def trained(text: str, store: Store, steps: int | None = None, every: float = 1e9) -> tuple[str, list[Any]]:
    """Bits and records of a training that is asked to end after `steps` of its steps."""
    method, history, stop = method_of(text), list[Mapping[str, Any]](), Stop()
    done = 0

    def report(*_: Any) -> None:
        nonlocal done
        done += 1
        if done == steps:
            stop.receive(signal.SIGTERM)

    keeper = Keeper(store, "k", "cpu", every, stop, history, waits=True)
    encoder = pretrain(method, digits(), upstream_of(method, 0), 0, report, history.append, keeper)
    return bits(encoder), history


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


@pytest.mark.parametrize("text", METHODS)
def test_a_training_that_is_interrupted_again_and_again_equals_a_straight_one(text: str, store: Store) -> None:
    method, history = method_of(text), list[Mapping[str, Any]]()
    straight = bits(pretrain(method, digits(), upstream_of(method, 0), 0, quiet, history.append))
    for steps in (1, 1, STEPS - 2, 2):  # In the middle of an epoch, twice; at its end; in the middle of the next one.
        with pytest.raises(Interrupted):
            trained(text, store, steps)
    assert trained(text, store) == (straight, history)


def test_torn_checkpoints_are_passed_over_one_by_one(store: Store) -> None:
    straight = trained("simclr", store)
    store.forget_checkpoints("k")
    for torn in range(3):
        with pytest.raises(Interrupted):
            trained("simclr", store, 2, every=0)
        latest_first = sorted((store.root / "checkpoints" / "k").iterdir(), reverse=True)
        for path in latest_first[:torn]:
            path.write_bytes(path.read_bytes()[: -1 - 100 * torn])
        assert len(list(store.checkpoints("k"))) == 2 - torn
        assert trained("simclr", store) == straight
        store.forget_checkpoints("k")


def test_what_another_context_began_is_told(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Interrupted):
        trained("simclr", store, 2)
    monkeypatch.setattr("bench.provenance.MEMORY_FORMAT", "contiguous")
    trained("simclr", store)
    assert store.findings("k") == [
        "pre-training went on in another context (memory_format: channels_last -> contiguous)."
    ]

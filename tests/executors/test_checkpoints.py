"""Checkpoint files: every value, layout and fact comes back."""

from __future__ import annotations

import math
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from bench.contract import Checkpoint
from bench.engine.loop import Averages
from bench.engine.optim import SOLO_LEARN, Lars
from bench.engine.state import TrainingState
from bench.errors import Interrupted
from bench.executors.checkpoints import Keeper, decoded, encoded
from bench.executors.stop import Stop
from bench.store import Store

TENSORS = {
    "plain": torch.arange(6.0).view(2, 3),
    "channels last": torch.rand(2, 3, 4, 4).to(memory_format=torch.channels_last),
    "turned": torch.rand(3, 5).t(),
    "scalar": torch.tensor(math.pi, dtype=torch.float64),
    "flags": torch.tensor([True, False]),
    "none": torch.zeros(0, dtype=torch.int64),
}


def test_tensors_come_back_with_their_layout() -> None:
    found = decoded(encoded(Checkpoint(TENSORS, {"step": 3, "mean": 0.1 + 0.2})))
    assert found.facts == {"step": 3, "mean": 0.1 + 0.2}
    for name, tensor in TENSORS.items():
        assert torch.equal(found.tensors[name], tensor)
        assert (found.tensors[name].stride(), found.tensors[name].dtype) == (tensor.stride(), tensor.dtype)


def test_tensors_that_share_memory_are_kept_apart() -> None:
    one = torch.ones(3)
    assert torch.equal(decoded(encoded(Checkpoint({"a": one, "b": one}, {}))).tensors["b"], one)


@pytest.mark.parametrize("content", [b"", b"torn", b"\xff" * 40])
def test_what_is_no_checkpoint_is_an_error(content: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        decoded(content)


OPTIMISERS = {
    "sgd": lambda net: torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3),
    "adamw": lambda net: torch.optim.AdamW(net.parameters(), lr=0.1),
    "lars": lambda net: Lars(net.parameters(), lr=0.1, form=SOLO_LEARN),
}


class Net(nn.Sequential):
    """A convolution, whose momentum is channels_last, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 1, 1))
        self.to(memory_format=torch.channels_last)


def updated(net: Net, optimiser: torch.optim.Optimizer, averages: Averages) -> None:
    """A step on noise from torch's global generator."""
    optimiser.zero_grad()
    loss = net(torch.rand(2, 3, 8, 8).to(memory_format=torch.channels_last)).square().mean()
    loss.backward()
    optimiser.step()
    averages.add(loss=loss)


@pytest.mark.parametrize("name", OPTIMISERS)
def test_a_restored_state_goes_on_as_the_first_one(name: str) -> None:
    def begun() -> TrainingState[Net]:
        net = Net()
        return TrainingState(net, OPTIMISERS[name](net))

    first, second = begun(), begun()
    first.net[1].eval()
    first.net[2].bias.requires_grad_(False)
    first.epoch, first.step, first.order = 2, 3, torch.tensor([4, 1])
    updated(first.net, first.optimiser, first.averages)
    content = encoded(first.checkpoint())
    updated(first.net, first.optimiser, first.averages)
    torch.rand(7)
    second.restore(decoded(content))
    assert (second.epoch, second.step, second.order.tolist()) == (2, 3, [4, 1])  # type: ignore[union-attr]
    updated(second.net, second.optimiser, second.averages)
    assert first.averages.means() == second.averages.means()
    for one, other in zip(first.net.state_dict().values(), second.net.state_dict().values(), strict=True):
        assert torch.equal(one, other)
        assert one.stride() == other.stride()
    for one, other in zip(first.net.parameters(), second.net.parameters(), strict=True):
        kept, restored = first.optimiser.state[one], second.optimiser.state[other]
        assert {name: kept[name].stride() for name in kept} == {name: restored[name].stride() for name in restored}
    assert [module.training for module in second.net] == [True, False, True]
    assert not second.net[2].bias.requires_grad


def test_a_signal_that_comes_while_a_checkpoint_is_written_waits_for_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, stop, honest = Store.open(tmp_path / "runs"), Stop(), Store.put_checkpoint

    def put(self: Store, key: str, content: bytes) -> None:
        stop.receive(signal.SIGTERM)
        honest(self, key, content)

    monkeypatch.setattr(Store, "put_checkpoint", put)
    with pytest.raises(Interrupted), stop.at_once():
        Keeper(store, "k", "cpu", 0, stop, []).keep(Checkpoint(TENSORS, {}))
    assert len(list(store.checkpoints("k"))) == 1

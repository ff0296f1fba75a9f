"""The queue of keys: order, wrap-around, and the official AMOC code's banks after three batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from bench.errors import BenchError
from methods.parts.banks import MemoryBank

AMOC = Path(__file__).parents[1] / "golden" / "amoc.npz"
TEMPERATURE = 0.2


def basis(*directions: int, dim: int = 8) -> torch.Tensor:
    return torch.eye(dim)[list(directions)]


@pytest.mark.parametrize(
    ("name", "column", "calls"),
    [("clean", 0, slice(0, 1)), ("adv", 1, slice(1, 2))],
)
def test_follows_the_official_banks_over_three_batches(name: str, column: int, calls: slice) -> None:
    golden = np.load(AMOC)
    initial = torch.from_numpy(golden[f"bank_{name}_init"]).T
    outputs = torch.from_numpy(golden["loss/ACA_PLUS/forward_k_outputs"])[:, calls].squeeze(1)
    bank = MemoryBank(*initial.shape).double()
    bank.keys.copy_(initial)
    for batch, keys in enumerate(outputs * TEMPERATURE**0.5):
        bank.enqueue(keys)
        expected = torch.from_numpy(golden[f"loss/ACA_PLUS/bank_{name}"][batch]).T
        torch.testing.assert_close(bank.keys, expected, rtol=0, atol=1e-14)
        assert int(bank.pointer) == golden["loss/ACA_PLUS/pointers_clean_adv"][batch, column] % len(bank.keys)


def test_starts_with_random_unit_rows_that_depend_on_the_generator_alone() -> None:
    first, again, other = (MemoryBank(32, 16, torch.Generator().manual_seed(seed)).keys for seed in (0, 0, 1))
    torch.testing.assert_close(first.norm(dim=1), torch.ones(32))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_oldest_keys_are_overwritten_first() -> None:
    bank = MemoryBank(5, 8)
    for directions in [(0, 1), (2, 3), (4, 5), (6, 7)]:
        bank.enqueue(basis(*directions))
    assert torch.equal(bank.keys, basis(5, 6, 7, 3, 4))
    assert int(bank.pointer) == 3


def test_a_batch_as_large_as_the_bank_replaces_it_from_the_pointer_on() -> None:
    bank = MemoryBank(3, 8)
    bank.enqueue(basis(0))
    bank.enqueue(basis(1, 2, 3))
    assert torch.equal(bank.keys, basis(3, 1, 2))
    assert int(bank.pointer) == 1


def test_a_batch_larger_than_the_bank_is_an_error() -> None:
    with pytest.raises(BenchError, match="a memory bank of 3 keys cannot take a batch of 4"):
        MemoryBank(3, 8).enqueue(basis(0, 1, 2, 3))


def test_a_bank_without_keys_is_an_error() -> None:
    with pytest.raises(BenchError, match="0 keys"):
        MemoryBank(0, 8)


def test_keys_are_stored_detached() -> None:
    bank = MemoryBank(4, 8)
    bank.enqueue(functional.normalize(torch.randn(2, 8, requires_grad=True), dim=1))
    assert not bank.keys.requires_grad


def test_a_state_dict_resumes_the_queue_where_it_stopped() -> None:
    bank, resumed = MemoryBank(5, 8), MemoryBank(5, 8)
    bank.enqueue(basis(0, 1, 2))
    resumed.load_state_dict(bank.state_dict())
    for queue in (bank, resumed):
        queue.enqueue(basis(3, 4, 5))
    assert torch.equal(bank.keys, resumed.keys)
    assert torch.equal(bank.pointer, resumed.pointer)


def test_a_bank_that_changed_under_its_logits_cannot_be_differentiated() -> None:
    bank = MemoryBank(4, 8)
    query = torch.randn(2, 8, requires_grad=True)
    logits = query @ bank.keys.T
    bank.enqueue(basis(0, 1))
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        torch.autograd.grad(logits.sum(), query)

"""MoCo: the branch CCC of AMOC's code over three batches, and where MoCo's own algorithm differs."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny import digits, registry
from torch import Tensor, nn

from bench.data.views import ColourJitter, GaussianBlur, Grayscale, HorizontalFlip, RandomResizedCrop
from bench.engine.loop import Batch
from bench.errors import BenchError
from bench.randomness import Randomness
from bench.registry import resolve
from bench.sweep import Schedule
from methods.moco import MoCo, MoCoConfig, MoCoState
from methods.parts.momentum import Variant

GOLDEN = Path(__file__).parents[1] / "golden" / "amoc.npz"
PARTS = {"conv": "conv", "bn0": "bn", "head": "head"}
"""Names of the golden network's parts on the clean batch norm, and ours."""
TEMPERATURE = 0.2


class StandIn(nn.Module):
    """The small network of the golden file in the place of encoder and projector."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Linear(256, 16)
        self.mean, self.std = mean.view(3, 1, 1), std.view(3, 1, 1)
        self.projector = SimpleNamespace(output_dim=16)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.normalize(self.head(self.bn(self.conv((x - self.mean) / self.std)).relu().flatten(1)))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files if not name.startswith("arch")}


def official(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The golden network's tensors under `prefix`, by our names; those of its other batch norm are left out."""
    named = {key.removeprefix(prefix).partition("."): value for key, value in golden.items() if key.startswith(prefix)}
    return {f"{PARTS[part]}.{name}": value for (part, _, name), value in named.items() if part in PARTS}


@pytest.fixture
def net(golden: dict[str, Tensor]) -> MoCoState:
    state = MoCoState(StandIn(golden["mean"], golden["std"]), 16).double()  # type: ignore[arg-type]
    for branch, prefix in ((state.f_q, "standin/"), (state.f_k, "standin_key/")):
        branch.load_state_dict({**branch.state_dict(), **official(golden, prefix)})
    state.bank.keys.copy_(golden["bank_clean_init"].T)
    return state.train()


def loss_of_step(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], net: MoCoState, call: int, config: MoCoConfig
) -> float:
    """The loss of a step on a golden batch; gradients are taken, weights stay."""
    views = golden["loss/xq"][call], golden["loss/xk"][call]
    made = SimpleNamespace(each=lambda *_: views)
    monkeypatch.setattr(MoCo, "view", property(lambda self: made))
    losses: list[Tensor] = []

    def update(loss: Tensor, **_: Tensor) -> None:
        net.zero_grad()
        loss.backward()
        losses.append(loss)

    batch = Batch(golden["loss/xq"][call], torch.arange(6), Randomness(0, "pretrain"), 0, call)
    MoCo(config).step(net, batch, update)
    (loss,) = losses
    return loss.item()


def test_three_batches_of_release_are_the_official_ones(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], net: MoCoState
) -> None:
    """CCC without optimiser and EMA: losses, bank and pointer after each call, gradients of the third."""
    config = MoCoConfig(variant=Variant.RELEASE, momentum_encoder=1.0)
    for call in range(3):
        loss = loss_of_step(monkeypatch, golden, net, call, config)
        assert loss == pytest.approx(golden["loss/CCC/Lc_La_total"][call, 2].item(), abs=1e-10)
        torch.testing.assert_close(net.bank.keys.T, golden["loss/CCC/bank_clean"][call], rtol=0, atol=1e-10)
        assert int(net.bank.pointer) == golden["loss/CCC/pointers_clean_adv"][call, 0] % 16
    gradients = {name: weight.grad for name, weight in net.f_q.named_parameters()}
    for name, expected in official(golden, "loss/CCC/grad_call3/").items():
        torch.testing.assert_close(gradients[name], expected, rtol=0, atol=1e-10)


def naive_loss(query: Tensor, key: Tensor, bank: Tensor) -> float:
    """Eq. (3.1), query by query."""
    total = 0.0
    for q, positive in zip(query, key, strict=True):
        own = math.exp(float(q @ positive) / TEMPERATURE)
        total -= math.log(own / (own + sum(math.exp(float(q @ negative) / TEMPERATURE) for negative in bank)))
    return total / len(query)


@pytest.mark.parametrize(("variant", "own_keys"), [(Variant.PAPER, False), (Variant.RELEASE, True)])
def test_only_the_released_code_counts_a_query_s_own_key_among_its_negatives(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], net: MoCoState, variant: Variant, own_keys: bool
) -> None:
    before = copy.deepcopy(net)
    query, key = before.f_q(golden["loss/xq"][0]).detach(), before.f_k(golden["loss/xk"][0])
    bank = before.bank.keys.clone()
    if own_keys:
        bank[:6] = key
    loss = loss_of_step(monkeypatch, golden, net, 0, MoCoConfig(variant=variant))
    assert loss == pytest.approx(naive_loss(query, key, bank), abs=1e-10)
    torch.testing.assert_close(net.bank.keys[:6], key)
    assert torch.equal(net.bank.keys[6:], before.bank.keys[6:])


def test_the_key_encoder_follows_the_query_encoder_and_is_never_trained(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], net: MoCoState
) -> None:
    before = copy.deepcopy(net)
    loss_of_step(monkeypatch, golden, net, 0, MoCoConfig())
    for key, old, query in zip(net.f_k.parameters(), before.f_k.parameters(), before.f_q.parameters(), strict=True):
        torch.testing.assert_close(key, 0.999 * old + 0.001 * query)
        assert key.grad is None and not key.requires_grad


@pytest.mark.parametrize("method", ["moco", "amoc"])
def test_a_smaller_bank_than_the_batch_is_an_error(method: str) -> None:
    with pytest.raises(BenchError, match=r"bank of 16 keys cannot take a batch of 32; enlarge bank_size"):
        resolve(registry().find(method), {"bank_size": 16, "batch_size": 32}, digits().profile, Schedule.QUICK)


def test_the_recipe_of_amocs_table_3() -> None:
    method = MoCo(MoCo.PAPER["cifar10"])
    c = method.config
    assert (c.epochs, c.batch_size, c.bank_size, c.momentum_encoder, c.temperature) == (200, 256, 32768, 0.999, 0.2)
    assert (c.learning_rate, c.momentum, c.weight_decay) == (0.1, 0.9, 5e-4)
    assert method.view.operations == (
        RandomResizedCrop((0.2, 1.0)),
        ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8),
        Grayscale(0.2),
        GaussianBlur(sigma=(0.1, 2.0), p=0.5),
        HorizontalFlip(0.5),
    )


@pytest.mark.parametrize(("epoch", "rate"), [(0, 1e-4), (1, 0.01), (9, 0.09), (10, 0.1), (105, 0.05), (199, 6.8e-6)])
def test_the_learning_rate_is_amocs(epoch: int, rate: float) -> None:
    assert MoCo(MoCo.PAPER["cifar10"]).learning_rate()(epoch, 0, 196, 200) == pytest.approx(rate, rel=0.01)

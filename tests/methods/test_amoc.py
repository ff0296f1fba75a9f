"""AMOC: three training steps of the official code, and what the paper's Algorithm 1 does otherwise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import methods.amoc as amoc
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.models.routes import RoutedBatchNorm2d
from bench.randomness import Randomness
from methods.amoc import AMOC, AMOCConfig, AMOCState, Variant
from methods.parts.banks import MemoryBank

GOLDEN = Path(__file__).parents[1] / "golden" / "amoc.npz"
ROUTES = {"bn0": "clean", "bn1": "adv"}


class StandIn(nn.Module):
    """The small network of the golden file in the place of encoder and projector."""

    def __init__(self, mean: Tensor, std: Tensor) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = RoutedBatchNorm2d(4, tuple(ROUTES.values()))
        self.head = nn.Linear(256, 16)
        self.mean, self.std = mean.view(3, 1, 1), std.view(3, 1, 1)
        self.projector = SimpleNamespace(output_dim=16)

    def forward(self, x: Tensor, route: str) -> Tensor:
        y = self.bn(self.conv((x - self.mean) / self.std), route).relu()
        return nn.functional.normalize(self.head(y.flatten(1)))


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def state_of(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Official names under `prefix` to ours."""
    named = {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}
    return {
        name if name.partition(".")[0] not in ROUTES else f"bn.{ROUTES[name[:3]]}.{name[4:]}": value
        for name, value in named.items()
    }


def network(golden: dict[str, Tensor]) -> AMOCState:
    torch.manual_seed(0)
    net = AMOCState(StandIn(golden["mean"], golden["std"]), 16).double()  # type: ignore[arg-type]
    net.adversarial = MemoryBank(12, 16).double()
    for branch, prefix in ((net.f_q, "standin/"), (net.f_k, "standin_key/")):
        branch.load_state_dict({**branch.state_dict(), **state_of(golden, prefix)})
    net.clean.keys.copy_(golden["bank_clean_init"].T)
    net.adversarial.keys.copy_(golden["bank_adv_init"].T)
    return net.train()


def stepped(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], variant: Variant, steps: int
) -> Iterator[AMOCState]:
    """The network after each step on the golden batches, with the golden noise."""
    net = network(golden)
    config = AMOCConfig(variant=variant)
    query = net.f_q.parameters()
    optimiser = torch.optim.SGD(query, lr=0.1, momentum=config.momentum, weight_decay=config.weight_decay)
    for step in range(steps):
        views = golden["loss/xq"][step], golden["loss/xk"][step]
        noise = iter(golden["train/noise"][step].split(6))
        made = SimpleNamespace(each=lambda *_, views=views: views)
        monkeypatch.setattr(AMOC, "view", property(lambda self, made=made: made))
        monkeypatch.setattr(amoc, "uniform_start", lambda x, *_, noise=noise, **__: (x + next(noise)).clamp(0, 1))
        averages = Averages()
        batch = Batch(golden["loss/xq"][step], torch.arange(6), Randomness(0, "pretrain"), 0, step)
        AMOC(config).step(net, batch, optimiser_update(optimiser, averages))
        net.averages = averages.means()  # type: ignore[assignment]
        yield net


def test_three_steps_of_release_are_the_official_ones(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor]
) -> None:
    for step, net in enumerate(stepped(monkeypatch, golden, Variant.RELEASE, 3)):
        ccc, aca = golden["train/Lc_La"][step].tolist()
        expected = {"loss": golden["train/loss"][step].item(), "ccc": ccc, "aca": aca}
        assert net.averages == pytest.approx(expected, abs=1e-10)
        for branch, letter in ((net.f_q, "q"), (net.f_k, "k")):
            ours = branch.state_dict()
            for name, value in state_of(golden, f"train/after/{letter}/").items():
                torch.testing.assert_close(ours[name], value[step], atol=1e-10, rtol=0)
        torch.testing.assert_close(net.clean.keys.T, golden["train/bank_clean"][step], atol=1e-10, rtol=0)
        torch.testing.assert_close(net.adversarial.keys.T, golden["train/bank_adv"][step], atol=1e-10, rtol=0)


def test_paper_enqueues_after_the_update_with_the_updated_key_encoder(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor]
) -> None:
    before = network(golden)
    (net,) = stepped(monkeypatch, golden, Variant.PAPER, 1)
    assert torch.equal(net.clean.keys[6:], before.clean.keys[6:])
    key_encoder = copy.deepcopy(net.f_k).train()
    torch.testing.assert_close(net.clean.keys[:6], key_encoder(golden["loss/xk"][0], "clean"))


def test_paper_computes_its_loss_against_the_banks_of_the_step_before(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor]
) -> None:
    before = network(golden)
    query, key = before.f_q(golden["loss/xq"][0], "clean"), before.f_k(golden["loss/xk"][0], "clean")
    logits = torch.cat([(query * key).sum(1, keepdim=True), query @ before.clean.keys.T], 1) / 0.2
    expected = nn.functional.cross_entropy(logits, torch.zeros(6, dtype=torch.int64))
    (net,) = stepped(monkeypatch, golden, Variant.PAPER, 1)
    assert net.averages["ccc"] == pytest.approx(expected.item(), abs=1e-10)


def test_the_key_encoder_is_never_trained(golden: dict[str, Tensor]) -> None:
    net = network(golden)
    assert not any(weight.requires_grad for weight in net.f_k.parameters())
    assert all(weight.requires_grad for weight in net.f_q.parameters())

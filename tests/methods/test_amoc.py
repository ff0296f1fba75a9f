"""AMOC: the official code's branches and training steps, and what the paper's Algorithm 1 does otherwise."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from test_conformance import Counted, Prepared
from tiny import BATCH
from torch import Tensor, nn

import methods.amoc as amoc
from bench.contract import Passes
from bench.engine.loop import Averages, Batch, optimiser_update, take
from bench.models.routes import RoutedBatchNorm2d
from bench.randomness import Randomness
from methods.amoc import ADVERSARIAL, AMOC, CLEAN, ROLES, AMOCConfig, AMOCState, Branches, Half, Variant
from methods.parts.banks import MemoryBank

GOLDEN = Path(__file__).parents[1] / "golden" / "amoc.npz"
ROUTES = {"bn0": "clean", "bn1": "adv"}
OFFICIAL = {branch: str(branch) for branch in Branches} | {Branches.ACA: "ACA_PLUS", Branches.ACA_FROZEN: "ACA"}
"""What the released code calls them."""


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


def see(monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], step: int = 0) -> None:
    """From now on, `view` makes the golden views of this step."""
    views = golden["loss/xq"][step], golden["loss/xk"][step]
    made = SimpleNamespace(each=lambda *_: views)
    monkeypatch.setattr(AMOC, "view", property(lambda self: made))


def stepped(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], variant: Variant, steps: int
) -> Iterator[AMOCState]:
    """The network after each step on the golden batches, with the golden noise."""
    net = network(golden)
    config = AMOCConfig(variant=variant)
    query = net.f_q.parameters()
    optimiser = torch.optim.SGD(query, lr=0.1, momentum=config.momentum, weight_decay=config.weight_decay)
    for step in range(steps):
        noise = iter(golden["train/noise"][step].split(6))
        see(monkeypatch, golden, step)
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


def batch_of(golden: dict[str, Tensor], call: int = 0) -> Batch:
    return Batch(golden["loss/xq"][call], torch.arange(6), Randomness(0, "pretrain"), 0, call)


def test_the_table_is_the_one_of_the_paper() -> None:
    """Tables 7 and 8: the letters are query, key and negatives, and the adversarial halves are attacked."""
    routes = {"A": ADVERSARIAL, "C": CLEAN}
    for branch, roles in ROLES.items():
        assert (roles.query, roles.key, roles.negatives) == tuple(routes[letter] for letter in branch[:3])
        assert roles.attacked == tuple(half for half, letter in zip(Half, branch, strict=False) if letter == "A")
    assert list(ROLES) == list(Branches)


@pytest.mark.parametrize("branch", Branches)
def test_three_batches_of_a_branch_are_the_official_ones(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], branch: Branches
) -> None:
    """Given adversarial images, no optimiser, no EMA: losses, banks and pointers, and the gradients of the third."""
    net, name = network(golden), f"loss/{OFFICIAL[branch]}"
    method = AMOC(AMOCConfig(branches=branch, variant=Variant.RELEASE, momentum_encoder=1.0))
    for call in range(3):
        see(monkeypatch, golden, call)
        given = {Half.QUERY: golden["loss/xq_adv"][call], Half.KEY: golden["loss/xk_adv"][call]}
        moved = [given[half] for half in ROLES[branch].attacked]
        monkeypatch.setattr(AMOC, "perturb", lambda *_, moved=moved: torch.cat(moved))
        averages = Averages()
        still = torch.optim.SGD(net.f_q.parameters(), lr=0.0)
        method.step(net, batch_of(golden, call), optimiser_update(still, averages))
        means = averages.means()
        ours = [means["ccc"], means[branch.lower()], means["loss"]]
        assert ours == pytest.approx(golden[f"{name}/Lc_La_total"][call].tolist(), abs=1e-10)
        for bank, kind, place in ((net.clean, "clean", 0), (net.adversarial, "adv", 1)):
            torch.testing.assert_close(bank.keys.T, golden[f"{name}/bank_{kind}"][call], atol=1e-10, rtol=0)
            assert int(bank.pointer) == golden[f"{name}/pointers_clean_adv"][call, place] % len(bank.keys)
    gradients = dict(net.f_q.named_parameters())
    for key, expected in state_of(golden, f"{name}/grad_call3/").items():
        torch.testing.assert_close(gradients[key].grad, expected, atol=1e-10, rtol=0)


@pytest.mark.parametrize("branch", [branch for branch in Branches if branch is not Branches.CCC])
def test_the_attack_of_a_branch_is_the_official_one(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], branch: Branches
) -> None:
    """One start per half; the half that is not attacked keeps it, here outside what `perturb` returns."""
    ends = {Branches.ACA: golden["attack/ACA_PLUS/x_used"]}
    end = ends.get(branch, golden.get(f"attack/{OFFICIAL[branch]}/x_end"))
    assert end is not None
    noise = iter(golden["attack/noise"].split(6))
    monkeypatch.setattr(amoc, "uniform_start", lambda x, *_, **__: (x + next(noise)).clamp(0, 1))
    views = {Half.QUERY: golden["attack/xq"], Half.KEY: golden["attack/xk"]}
    method = AMOC(AMOCConfig(branches=branch, variant=Variant.RELEASE))
    halves = dict(zip(Half, end.split(6), strict=True))
    expected = torch.cat([halves[half] for half in ROLES[branch].attacked])
    ours = method.perturb(network(golden), views, batch_of(golden))
    torch.testing.assert_close(ours, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("variant", Variant)
@pytest.mark.parametrize("branch", Branches)
def test_every_branch_costs_the_passes_that_it_declares(branch: Branches, variant: Variant) -> None:
    prepared, counted = Prepared(f"amoc[branches={branch},variant={variant}]"), Counted()
    counted.watch(prepared.net)
    prepared.step()
    seen = (counted.forward, counted.backward_input, counted.backward)
    assert prepared.method.passes() == Passes(*(images / BATCH for images in seen))


@pytest.mark.parametrize(
    ("branch", "route"), [(branch, CLEAN if branch[0] == "C" else ADVERSARIAL) for branch in Branches]
)
def test_the_route_of_the_query_is_scored(branch: Branches, route: str) -> None:
    """The adversarial one of a query that is never attacked is never trained (README, `--bn_adv`)."""
    prepared = Prepared(f"amoc[branches={branch}]")
    assert prepared.method.encoder(prepared.images.profile).active_route == route


def test_ccc_is_the_first_loss_alone() -> None:
    prepared = Prepared("amoc[branches=CCC]")
    averages = Averages()
    batch = take(prepared.images, torch.arange(BATCH), Randomness(0, "pretrain"), 0, 0)
    prepared.method.step(prepared.net, batch, optimiser_update(prepared.optimiser, averages))
    assert averages.means()["loss"] == pytest.approx(averages.means()["ccc"], rel=1e-6)


def test_paper_remembers_the_attacked_key_by_the_updated_key_encoder(
    monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor]
) -> None:
    """AAA in the order of Algorithm 1: a bank holds what the key encoder says after its update."""
    net, given = network(golden), golden["loss/xk_adv"][0]
    see(monkeypatch, golden)
    monkeypatch.setattr(AMOC, "perturb", lambda *_: torch.cat([golden["loss/xq_adv"][0], given]))
    config = AMOCConfig(branches=Branches.AAA, momentum_encoder=0.5)
    optimiser = torch.optim.SGD(net.f_q.parameters(), lr=0.1)
    AMOC(config).step(net, batch_of(golden), optimiser_update(optimiser, Averages()))
    torch.testing.assert_close(net.adversarial.keys[:6], copy.deepcopy(net.f_k).train()(given, "adv"))

"""RoCL: losses, attack and three training steps of the official code, and what its two GPUs mean for one."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import batch_of, digits, seen, tiny
from torch import Tensor, nn

import methods.rocl as rocl
from bench.attacks.pgd import LinfPGD, trajectory, undisturbed
from bench.data.views import ColourJitter, Grayscale, HorizontalFlip, Interpolation, RandomResizedCrop
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.engine.optim import TORCHLARS, Lars
from bench.models.encoder import Normalisation
from bench.models.projectors import Head
from bench.randomness import Randomness
from methods.parts.losses import nt_xent, nt_xent_of_views
from methods.parts.projected import Projected
from methods.rocl import RoCL, RoCLConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "rocl.npz"
PARTS = {"conv": "conv", "bn0": "bn", "head": "head"}
"""Names of the golden network's parts, and ours."""


class StandIn(nn.Module):
    """The small network of the golden file in the place of encoder and projector."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(4)
        self.head = nn.Linear(256, 16)

    def forward(self, x: Tensor) -> Tensor:
        projection: Tensor = self.head(self.bn(self.conv(x)).relu().flatten(1))
        return projection


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files if not name.startswith("arch/")}


@pytest.fixture
def net(golden: dict[str, Tensor]) -> StandIn:
    standin = StandIn().double()
    standin.load_state_dict({**standin.state_dict(), **official(golden, "standin/")})
    return standin.train()


def official(golden: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The golden network's tensors under `prefix`, by our names."""
    return {
        f"{PARTS[part]}.{name}": value
        for key, value in golden.items()
        if key.startswith(prefix)
        for part, _, name in [key.removeprefix(prefix).partition(".")]
    }


def one_process(**settings: Any) -> RoCL:
    """As the golden runs: a single process, whose negatives are the whole batch."""
    return RoCL(RoCLConfig(negative_groups=1, **settings))


def noise_is(monkeypatch: pytest.MonkeyPatch, noise: Tensor) -> None:
    monkeypatch.setattr(rocl, "uniform_start", lambda x, *_, **__: (x + noise.to(x)).clamp(0, 1))


def views_are(monkeypatch: pytest.MonkeyPatch, *views: Tensor) -> None:
    handed = iter(views)
    monkeypatch.setattr(RoCL, "view", property(lambda self: lambda pixels, generator: next(handed)))


def batch_like(pixels: Tensor) -> Batch:
    return Batch(pixels, torch.arange(len(pixels)), Randomness(0, "pretrain"), 0, 0)


def naive_loss(views: list[Tensor], temperature: float) -> float:
    """The official loss row by row, with its 1e-8: every ordered pair of views of an image."""
    rows = [row / (row.norm() + 1e-8) for view in views for row in view]
    size, total = len(views[0]), 0.0
    for i, anchor in enumerate(rows):
        weight = [0.0 if i == k else math.exp(float(anchor @ other) / temperature) for k, other in enumerate(rows)]
        partners = [j for j in range(len(rows)) if j != i and j % size == i % size]
        total += sum(-math.log(weight[j] / (sum(weight) + 1e-8) + 1e-8) for j in partners)
    return total / len(rows)


class TestLosses:
    @pytest.mark.parametrize(
        ("z", "views", "temperature", "value", "gradient"),
        [
            ("loss2/z", 2, 0.5, "loss2/value", "loss2/grad"),
            ("loss2/z", 2, 0.2, "loss2/value_tau0.2", "loss2/grad_tau0.2"),
            ("loss3/z", 3, 0.5, "loss3/L_main", "loss3/grad_L_main"),
        ],
    )
    def test_are_the_official_ones(
        self, golden: dict[str, Tensor], z: str, views: int, temperature: float, value: str, gradient: str
    ) -> None:
        features = golden[z].clone().requires_grad_()
        loss = nt_xent_of_views(features.chunk(views), temperature, detach_keys=True)
        assert loss.item() == pytest.approx(golden[value].item(), rel=1e-6)
        torch.testing.assert_close(torch.autograd.grad(loss, features)[0], golden[gradient], rtol=0, atol=1e-6)
        assert naive_loss(list(golden[z].chunk(views)), temperature) == pytest.approx(golden[value].item(), rel=1e-12)

    def test_main_loss_sums_six_pairs_an_image_over_three_rows(self) -> None:
        """Where all rows are alike, each of the 6N pairs costs ln(3N - 1), and 3N of them make the mean."""
        same = torch.ones(7, 4, dtype=torch.float64)
        assert nt_xent_of_views([same] * 3, 0.5).item() == pytest.approx(2 * math.log(20))

    def test_regulariser_and_total(self, golden: dict[str, Tensor]) -> None:
        method, z = one_process(), golden["loss3/z"].clone().requires_grad_()
        v1, v2, adv = z.chunk(3)
        reg = method.config.regulariser_weight * method.local_nt_xent(adv, v2)
        total = reg + nt_xent_of_views((v1, v2, adv), 0.5, detach_keys=True)
        assert reg.item() == pytest.approx(golden["loss3/L_reg_shared"].item(), rel=1e-6)
        assert total.item() == pytest.approx(golden["loss3/total_shared"].item(), rel=1e-6)
        gradient = torch.autograd.grad(total, z)[0]
        torch.testing.assert_close(gradient, golden["loss3/grad_total_shared"], rtol=0, atol=1e-6)

    def test_two_processes_have_the_main_loss_of_one_batch(self, golden: dict[str, Tensor]) -> None:
        """And, averaged over the two, its gradient."""
        ranks = [golden[f"dist/rank{rank}/z"].chunk(3) for rank in range(2)]
        views = [torch.cat(parts).requires_grad_() for parts in zip(*ranks, strict=True)]
        loss = nt_xent_of_views(views, 0.5, detach_keys=True)
        gradients = torch.autograd.grad(loss, views)
        for rank in range(2):
            assert loss.item() == pytest.approx(golden[f"dist/rank{rank}/loss"].item(), rel=1e-6)
            own = torch.cat([gradient.chunk(2)[rank] for gradient in gradients])
            torch.testing.assert_close(2 * own, golden[f"dist/rank{rank}/grad"], rtol=0, atol=1e-6)

    def test_the_gradient_of_the_anchors_is_about_half_of_the_whole(self) -> None:
        """As measured on the official code: half as long, cosine .998."""
        z = torch.randn(96, 32, generator=torch.Generator().manual_seed(0)).requires_grad_()
        half, whole = (
            torch.autograd.grad(nt_xent_of_views(z.chunk(3), 0.5, detach_keys=detached), z)[0].flatten()
            for detached in (True, False)
        )
        assert half.norm() / whole.norm() == pytest.approx(0.5, abs=0.05)
        assert torch.cosine_similarity(half, whole, dim=0) > 0.98

    @pytest.mark.parametrize("stop_gradient", [True, False])
    def test_stop_gradient_moves_the_gradient_alone(self, golden: dict[str, Tensor], stop_gradient: bool) -> None:
        """Without it the two-view loss is SimCLR's; with it only anchors are pulled."""
        z = golden["loss2/z"].clone().requires_grad_()
        loss = one_process(stop_gradient=stop_gradient).local_nt_xent(*z.chunk(2))
        simclr = nt_xent(*z.chunk(2), 0.5)
        assert loss.item() == simclr.item()
        gradients = [torch.autograd.grad(value, z)[0] for value in (loss, simclr)]
        assert torch.allclose(*gradients) is not stop_gradient

    def test_in_single_precision(self, golden: dict[str, Tensor]) -> None:
        loss = nt_xent_of_views(golden["loss3/z"].float().chunk(3), 0.5, detach_keys=True)
        assert loss.item() == pytest.approx(golden["loss3/L_main"].item(), rel=1e-5)


class TestNegatives:
    def test_attack_and_regulariser_look_within_half_a_batch(self) -> None:
        z, target = torch.randn(2, 6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        halves = [naive_loss([z[part], target[part]], 0.5) for part in (slice(0, 3), slice(3, 6))]
        assert RoCL(RoCLConfig()).local_nt_xent(z, target).item() == pytest.approx(sum(halves) / 2, rel=1e-6)
        assert one_process().local_nt_xent(z, target).item() == pytest.approx(naive_loss([z, target], 0.5), rel=1e-6)

    def test_the_attack_on_one_half_ignores_the_other(self, monkeypatch: pytest.MonkeyPatch, net: StandIn) -> None:
        v1, v2 = torch.rand(2, 6, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        noise_is(monkeypatch, torch.zeros(1))
        method = RoCL(RoCLConfig(attack_steps=2))
        together = method.perturb(net, v1, v2, batch_like(v1))  # type: ignore[arg-type]
        for part in (slice(0, 3), slice(3, 6)):
            alone = one_process(attack_steps=2).perturb(net, v1[part], v2[part], batch_like(v1[part]))  # type: ignore[arg-type]
            torch.testing.assert_close(alone, together[part], rtol=0, atol=1e-12)


class TestAttack:
    def test_every_step_is_the_official_one(self, golden: dict[str, Tensor], net: StandIn) -> None:
        steps, v1 = golden["attack/rep/x_steps"], golden["attack/v1"]
        c, method = RoCLConfig(), one_process()
        attack = LinfPGD(c.eps, c.attack_steps, c.step_size)
        with undisturbed(net):
            target = net(golden["attack/v2"])
            images = trajectory(lambda x: method.local_nt_xent(net(x), target), v1, steps[0], attack)
            for image, expected in zip(images, steps[1:], strict=True):
                torch.testing.assert_close(image, expected, rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("dtype", "end"), [(torch.float64, "x_steps"), (torch.float32, "x_end_float32")])
    def test_its_end_too(
        self,
        monkeypatch: pytest.MonkeyPatch,
        golden: dict[str, Tensor],
        net: StandIn,
        dtype: torch.dtype,
        end: str,
    ) -> None:
        noise_is(monkeypatch, golden["attack/rep/noise"])
        v1, v2 = (golden[f"attack/{view}"].to(dtype) for view in ("v1", "v2"))
        image = one_process().perturb(net.to(dtype), v1, v2, batch_like(v1))  # type: ignore[arg-type]
        expected = golden[f"attack/rep/{end}"].reshape(-1, *v1.shape)[-1]
        torch.testing.assert_close(image, expected, rtol=0, atol=1e-6)


class TestTraining:
    def test_three_steps_are_the_official_ones(
        self, monkeypatch: pytest.MonkeyPatch, golden: dict[str, Tensor], net: StandIn
    ) -> None:
        """Loss, its parts, gradients, weights and running statistics, which both forward passes move."""
        method = one_process()
        optimiser = method.optimiser(net)  # type: ignore[arg-type]
        for step, lr in enumerate(golden["train/lr"].tolist()):
            optimiser.param_groups[0]["lr"] = lr
            views_are(monkeypatch, golden["train/v1"][step], golden["train/v2"][step])
            noise_is(monkeypatch, golden["train/noise"][step])
            averages = Averages()
            method.step(net, batch_like(golden["train/v1"][step]), optimiser_update(optimiser, averages))  # type: ignore[arg-type]
            main, reg, total = golden["train/losses_main_reg_total"][step].tolist()
            assert averages.means() == pytest.approx({"loss": total, "main": main, "reg": 256 * reg}, rel=1e-6)
            named = dict(net.named_parameters())
            for name, gradient in official(golden, "train/grad/").items():
                torch.testing.assert_close(named[name].grad, gradient[step], rtol=0, atol=1e-6)
            for name, value in official(golden, "train/param_after/").items():
                torch.testing.assert_close(named[name].detach(), value[step], rtol=0, atol=1e-6)
            for name in ("running_mean", "running_var"):
                torch.testing.assert_close(net.bn.get_buffer(name), golden[f"train/bn_{name}"][step], rtol=0, atol=1e-6)

    def test_the_regulariser_is_one_pass_of_the_whole_batch(self) -> None:
        """Only its similarities are split: the statistics are of both halves, as under SyncBatchNorm."""
        method = tiny("rocl")
        assert isinstance(method, RoCL)
        net, sizes = Projected(method.encoder(digits().profile), Head.ROCL), list[int]()
        batch = batch_of(seen())
        net.register_forward_hook(lambda module, inputs, output: sizes.append(len(inputs[0])))
        method.step(net, batch, lambda loss, **_: None)
        size = len(batch.pixels)
        assert sizes == [size] * (1 + method.config.attack_steps) + [2 * size, 3 * size]


class TestRecipe:
    def test_views(self) -> None:
        """The crop comes last, and nothing is blurred."""
        jitter, gray, flip, crop = RoCL(RoCL.PAPER["cifar10"]).view.operations
        assert jitter == ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
        assert (gray, flip) == (Grayscale(0.2), HorizontalFlip(0.5))
        assert crop == RandomResizedCrop((0.08, 1.0), (3 / 4, 4 / 3), Interpolation.BILINEAR)

    def test_optimiser(self) -> None:
        """torchlars, without exclusions."""
        method = tiny("rocl")
        assert isinstance(method, RoCL)
        net = Projected(method.encoder(digits().profile), Head.ROCL)
        optimiser = method.optimiser(net)
        assert isinstance(optimiser, Lars) and optimiser.form == TORCHLARS
        (group,) = optimiser.param_groups
        assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-6)
        assert len(group["params"]) == len(list(net.parameters()))

    @pytest.mark.parametrize(("epoch", "rate"), [(0, 0.24), (1, 0.38), (9, 1.5), (10, 1.5), (510, 0.75), (999, 4.5e-4)])
    def test_learning_rate(self, epoch: int, rate: float) -> None:
        schedule = RoCL(RoCL.PAPER["cifar10"]).learning_rate()
        assert schedule(epoch, 50, 98, 1000) == pytest.approx(rate, rel=0.01)

    def test_pixels_are_not_normalised(self) -> None:
        assert RoCL.PAPER["cifar10"].model_dump()["normalisation"] is Normalisation.NONE

    def test_the_paper_settings_cost_thirty_passes(self) -> None:
        """7 steps with the target encoded once, which the official code repeats: 13 + 7 + 2 x 5."""
        assert RoCL(RoCL.PAPER["cifar10"]).passes().total == 30

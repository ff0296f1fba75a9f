"""ACL: the official training steps, and what the two streams share and do not."""

from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch
from stand_in import StandIn, arrays, views_apart
from tiny import BATCH, batch_of, digits, run_of, seen, tiny
from torch import Tensor

from bench.data.views import ColourJitter, Grayscale, HorizontalFlip, Interpolation, RandomResizedCrop
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.engine.optim import Lars
from bench.models.encoder import Normalisation
from bench.models.resnet import Architecture
from bench.randomness import Randomness
from methods.acl import ACL, ACLConfig
from methods.parts import dual_stream
from methods.parts.dual_stream import ADVERSARIAL, CLEAN, Branch

ROUTES = {"bn0": CLEAN, "bn1": ADVERSARIAL}
Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return arrays("acl")


def acl(**settings: Any) -> ACL:
    method = tiny("acl", **settings)
    assert isinstance(method, ACL)
    return method


def built(method: ACL) -> Branch:
    """The network before its first step, in train mode."""
    run = run_of(method)
    with run.randomness.as_global("initialisation"):
        return method.build(seen(), run).train()


def ours(golden: Golden, prefix: str) -> Golden:
    """Official names under `prefix` to ours."""
    named = {name.removeprefix(prefix): value for name, value in golden.items() if name.startswith(prefix)}
    return {f"bn.{ROUTES[name[:3]]}.{name[4:]}" if name[:3] in ROUTES else name: named[name] for name in named}


def naive_nt_xent(z: Tensor, temperature: float) -> float:
    """Pair by pair, in float64: row i of the first half belongs to row i of the second."""
    rows = [[float(value) for value in row] for row in z]
    count = len(rows)

    def similarity(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b) / temperature

    total = 0.0
    for i, row in enumerate(rows):
        others = sum(math.exp(similarity(row, rows[j])) for j in range(count) if j != i)
        total += math.log(others) - similarity(row, rows[(i + count // 2) % count])
    return total / count


class TestGolden:
    def test_three_steps_are_the_official_ones(self, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
        """Losses, perturbed views, weights and running statistics of `train()`, train_simCLR.py:198-244."""
        method, perturbed = ACL(ACLConfig()), list[Tensor]()
        net = StandIn(tuple(ROUTES.values())).fill(ours(golden, "standin/"))
        optimiser = method.optimiser(net)  # type: ignore[arg-type]
        net.register_forward_pre_hook(lambda _, inputs: perturbed.append(inputs[0]) if net.training else None)
        for step, pixels in enumerate(golden["train/batches"]):
            views, delta = pixels.transpose(0, 1).flatten(0, 1), views_apart(golden["train/delta0"][step])
            monkeypatch.setattr(ACL, "two_views", lambda self, batch, views=views: views)
            monkeypatch.setattr(dual_stream, "uniform_start", lambda x, *_, delta=delta, **__: x + delta)
            optimiser.param_groups[0]["lr"] = golden["train/lr"][step].item()
            averages = Averages()
            batch = Batch(pixels[:, 0], torch.arange(6), Randomness(0, "pretrain"), 0, step)
            method.step(net, batch, optimiser_update(optimiser, averages))  # type: ignore[arg-type]
            expected = {**ours(golden, "train/param_after/"), **ours(golden, "train/")}
            # The official loss subtracts exp(1 / t) computed in float32, hence 1e-6.
            assert averages.means()["loss"] == pytest.approx(golden["train/loss"][step].item(), abs=1e-6)
            torch.testing.assert_close(perturbed[2 * step], views_apart(golden["train/x_adv"][step]), atol=1e-9, rtol=0)
            for name, value in net.state_dict().items():
                if "num_batches" not in name:
                    torch.testing.assert_close(value, expected[name][step], atol=1e-6, rtol=0)

    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-6), (torch.float32, 1e-5)])
    def test_the_loss_is_the_official_mean_of_two_streams(
        self, dtype: torch.dtype, tolerance: float, golden: Golden, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        streams = {CLEAN: "clean", ADVERSARIAL: "adv"}
        z = {route: golden[f"loss/z_{stream}"].to(dtype).requires_grad_() for route, stream in streams.items()}
        losses: list[Tensor] = []
        monkeypatch.setattr(ACL, "perturb", lambda self, net, x, batch: x)
        ACL(ACLConfig()).step(
            lambda x, route: views_apart(z[route]),  # type: ignore[arg-type]
            batch_of(seen()),
            lambda loss, **_: losses.append(loss),
        )
        assert losses[0].item() == pytest.approx(golden["loss/dual_total"].item(), abs=tolerance)
        for slope, stream in zip(torch.autograd.grad(losses[0], list(z.values())), streams.values(), strict=True):
            expected = golden[f"loss/dual_grad_{stream}"].to(dtype)
            torch.testing.assert_close(slope, expected, atol=tolerance, rtol=0)


class TestStep:
    def test_it_is_the_mean_of_both_streams_nt_xent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Against a naive sum over pairs in float64, on the views and perturbed views that the step makes."""
        method = acl(temperature=0.3)
        net, batch, averages = built(method).double(), batch_of(seen()), Averages()
        x = method.two_views(batch).double()
        monkeypatch.setattr(ACL, "two_views", lambda self, batch: x)
        before = copy.deepcopy(net)
        method.step(net, batch, optimiser_update(method.optimiser(net), averages))
        x_adv = method.perturb(before, x, batch)
        with torch.no_grad():
            clean, adversarial = (naive_nt_xent(before(*fed), 0.3) for fed in ((x, CLEAN), (x_adv, ADVERSARIAL)))
        expected = {"clean": clean, "adversarial": adversarial, "loss": (clean + adversarial) / 2}
        assert averages.means() == pytest.approx(expected, abs=1e-9)

    def test_each_batch_norm_sees_one_batch_of_both_views_of_its_own_stream(self) -> None:
        method, batch = acl(), batch_of(seen())
        net = built(method)
        before = copy.deepcopy(net)
        x = method.two_views(batch)
        means = {CLEAN: x, ADVERSARIAL: method.perturb(before, x, batch)}
        method.step(net, batch, optimiser_update(method.optimiser(net), Averages()))
        for route, images in means.items():
            norm = net.encoder.backbone.bn1[route]
            assert int(norm.num_batches_tracked) == 1
            stem = before.encoder.backbone.conv1(before.encoder.normalise(images))
            torch.testing.assert_close(norm.running_mean, 0.1 * stem.mean(dim=(0, 2, 3)))

    def test_the_two_views_show_the_same_image_row_by_row(self) -> None:
        method = acl(crop_scale=(1.0, 1.0), jitter_probability=0.0, gray_probability=0.0, flip_probability=0.5)
        pixels = batch_of(seen()).pixels
        for view in method.two_views(batch_of(seen())).chunk(2):
            as_it_is, mirrored = (
                torch.isclose(view, image, atol=1e-5).flatten(1).all(dim=1) for image in (pixels, pixels.flip(-1))
            )
            assert (as_it_is | mirrored).all()
            assert 0 < as_it_is.sum() < BATCH

    def test_the_last_smaller_batch_is_kept(self) -> None:
        assert not ACL.drop_last


class TestAttack:
    def test_it_raises_the_adversarial_streams_loss_by_both_views(self) -> None:
        method, batch = acl(), batch_of(seen())
        net = built(method)
        x, c = method.two_views(batch), method.config
        x_adv = method.perturb(net, x, batch)
        net.eval()
        assert method.contrast(net(x_adv, ADVERSARIAL)) > method.contrast(net(x, ADVERSARIAL)) + 0.1
        assert (x_adv - x).abs().max() <= c.eps * (1 + 1e-5)
        assert 0 <= x_adv.min() <= x_adv.max() <= 1
        assert all((half.flatten(1).abs().amax(dim=1) > c.eps / 2).all() for half in (x_adv - x).chunk(2))

    def test_the_clean_stream_plays_no_part_in_it(self) -> None:
        method, batch = acl(), batch_of(seen())
        net = built(method)
        x = method.two_views(batch)
        expected = method.perturb(net, x, batch)
        for name, value in net.state_dict().items():
            if f".{CLEAN}." in name and value.is_floating_point():
                value.mul_(3).add_(1)
        assert torch.equal(method.perturb(net, x, batch), expected)

    def test_its_start_is_not_clipped(self, monkeypatch: pytest.MonkeyPatch) -> None:
        starts: list[Tensor] = []
        monkeypatch.setattr(dual_stream, "ascend", lambda objective, x, start, attack: starts.append(start) or x)
        method, batch = acl(), batch_of(seen())
        x = method.two_views(batch)
        method.perturb(built(method), x, batch)
        noise = starts[0] - x
        assert noise.abs().max() <= method.config.eps * (1 + 1e-5)
        assert noise.std().item() == pytest.approx(method.config.eps / 3**0.5, rel=0.03)
        assert starts[0].min() < 0


class TestRecipe:
    """Of the README's command on CIFAR-10."""

    method = ACL(ACL.PAPER["cifar10"])

    def test_its_views(self) -> None:
        crop, flip, jitter, gray = self.method.view().operations
        assert crop == RandomResizedCrop((0.1, 1.0), interpolation=Interpolation.BICUBIC)
        assert flip == HorizontalFlip(0.5)
        assert jitter == ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
        assert gray == Grayscale(0.2)

    def test_its_networks(self) -> None:
        c = self.method.config
        assert (c.architecture, c.normalisation) == (Architecture.RESNET18_PADDING1, Normalisation.IMAGENET)
        with torch.device("meta"):
            net = self.method.branch(digits().profile)
        assert sum(weight.numel() for weight in net.parameters()) == 11_971_520
        assert sum(weight.numel() for weight in net.projector.parameters()) == 793_088
        assert net.encoder.routes == (CLEAN, ADVERSARIAL)
        assert self.method.export(net) is net.encoder
        assert net.encoder.active_route == ADVERSARIAL

    @pytest.mark.parametrize(
        ("epoch", "step", "rate"), [(0, 0, 5 / 980), (9, 96, 5 * 979 / 980), (9, 97, 5.0), (999, 97, 1e-6)]
    )
    def test_its_learning_rate(self, epoch: int, step: int, rate: float) -> None:
        """Stepped before the update: the first is 1 / 980 of the peak, update 980 at the peak, the last at 1e-6."""
        assert self.method.learning_rate()(epoch, step, 98, 1000) == pytest.approx(rate, rel=1e-6)

    def test_its_attack(self) -> None:
        c = self.method.config
        assert (c.eps * 255, c.attack_steps, c.eps * c.step_fraction * 255) == pytest.approx((8, 5, 2))


def test_lars_excludes_nothing() -> None:
    """First step: a weight moves by lr eta |w| whatever its gradient, a bias that starts at 0 by lr g."""
    method = acl(weight_decay=0.0)
    net = built(method)
    before = {name: weight.detach().clone() for name, weight in net.named_parameters()}
    optimiser = method.optimiser(net)
    assert isinstance(optimiser, Lars)
    optimiser.param_groups[0]["lr"] = 0.5
    method.step(net, batch_of(seen()), optimiser_update(optimiser, Averages()))
    for name in (
        "encoder.backbone.conv1.weight",
        "encoder.backbone.bn1.adv.weight",
        "projector.layers.2.linear.weight",
    ):
        weight = net.get_parameter(name)
        assert (weight - before[name]).norm().item() == pytest.approx(0.5e-3 * before[name].norm().item(), rel=1e-3)
    bias = net.get_parameter("encoder.backbone.bn1.clean.bias")
    assert bias.grad is not None
    torch.testing.assert_close(bias.detach(), -0.5 * bias.grad)

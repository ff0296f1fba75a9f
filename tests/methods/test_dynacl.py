"""DynACL: its two schedules, the momentum pair, and the official training steps."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from stand_in import StandIn, arrays, views_apart
from tiny import BATCH, batch_of, run_of, seen, tiny
from torch import Tensor, nn

from bench.data.views import ColourJitter, Grayscale, HorizontalFlip, Interpolation, RandomResizedCrop
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.models.resnet import Architecture
from bench.randomness import Randomness
from methods.dynacl import DynACL, DynACLConfig, MomentumPair, Variant
from methods.parts import dual_stream
from methods.parts.dual_stream import ADVERSARIAL, CLEAN
from methods.parts.losses import nt_xent

ROUTES = {"0": CLEAN, "1": ADVERSARIAL}
RELEASE = DynACL(DynACLConfig())
PAPER = DynACL(DynACLConfig(variant=Variant.PAPER))
Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return arrays("dynacl")


def dynacl(**settings: Any) -> DynACL:
    method = tiny("dynacl", **settings)
    assert isinstance(method, DynACL)
    return method


def built(method: DynACL, epoch: int = 0) -> MomentumPair:
    """The network before the first step of an epoch, in train mode."""
    run = run_of(method)
    with run.randomness.as_global("initialisation"):
        net = method.build(seen(), run).train()
    method.before_epoch(net, seen(), run, epoch)
    return net


def stepped(method: DynACL, net: MomentumPair, rate: float = 0.5) -> dict[str, float]:
    """One step; the numbers it reports."""
    averages, optimiser = Averages(), method.optimiser(net)
    optimiser.param_groups[0]["lr"] = rate
    method.step(net, batch_of(seen()), optimiser_update(optimiser, averages))
    return averages.means()


class TestSchedules:
    """Epochs e count from 1 here, as in the official code."""

    @pytest.mark.parametrize("epochs", [1000, 100])
    def test_strength_and_weight_are_the_official_ones(self, golden: Golden, epochs: int) -> None:
        """train_DynACL.py:217-219 and :288, in a run of 1000 epochs and of 100."""
        method = DynACL(DynACLConfig(epochs=epochs))
        strengths, weights = (
            torch.tensor([value(e - 1) for e in range(1, epochs + 1)], dtype=torch.float64)
            for value in (method.strength, method.weight)
        )
        torch.testing.assert_close(strengths, golden[f"strength_e1_to_{epochs}"], rtol=0, atol=1e-12)
        torch.testing.assert_close(weights, golden[f"weight_adv_e1_to_{epochs}"], rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("e", "s"), [(1, 1.0), (50, 1.0), (51, 0.95), (951, 0.05), (1000, 0.05)])
    def test_strength(self, e: int, s: float) -> None:
        assert RELEASE.strength(e - 1) == pytest.approx(s) == PAPER.strength(e - 1)

    @pytest.mark.parametrize(("e", "w"), [(49, 1.0), (50, 1.0333), (999, 1.6333), (1000, 1.6667)])
    def test_weight(self, e: int, w: float) -> None:
        assert RELEASE.weight(e - 1) == pytest.approx(w, abs=5e-5)

    def test_release_changes_the_weight_an_epoch_before_the_strength(self) -> None:
        def changes(value: Any) -> list[int]:
            return [e for e in range(2, 1001) if value(e - 1) != value(e - 2)]

        strengths = changes(RELEASE.strength)
        assert strengths == list(range(51, 1000, 50)) == changes(PAPER.weight)
        assert changes(RELEASE.weight) == [*(e - 1 for e in strengths), 1000]
        assert all(PAPER.weight(e) == pytest.approx(1 + 2 / 3 * (1 - PAPER.strength(e))) for e in range(1000))

    def test_a_short_run_passes_through_all_strengths(self) -> None:
        method = DynACL(DynACLConfig().with_epochs(20))
        assert [method.strength(epoch) for epoch in range(20)] == pytest.approx([1 - part / 20 for part in range(20)])

    def test_an_epoch_begins_by_setting_both(self) -> None:
        method = dynacl(epochs=4, reload_every=1)
        net = built(method, epoch=2)
        assert net.strength.item() == pytest.approx(0.5)
        assert net.weight.item() == pytest.approx(1 + 2 / 3 * 3 / 4)

    @pytest.mark.parametrize(
        ("e", "rate"), [*((e, e / 2) for e in range(1, 11)), (11, 5.0), (1000, 1.36e-5)], ids=lambda value: str(value)
    )
    def test_the_learning_rate(self, e: int, rate: float) -> None:
        schedule = RELEASE.learning_rate()
        assert [schedule(e - 1, step, 98, 1000) for step in (0, 97)] == [pytest.approx(rate, rel=2e-3)] * 2


class TestViews:
    @pytest.mark.parametrize("s", [1.0, 0.95, 0.05])
    def test_every_part_but_the_flip_fades(self, s: float) -> None:
        """train_DynACL.py:452-465, at the strength that the network holds."""
        crop, flip, jitter, gray = RELEASE.view(torch.tensor(s)).operations
        assert isinstance(crop, RandomResizedCrop)
        assert isinstance(jitter, ColourJitter)
        assert isinstance(gray, Grayscale)
        assert crop.interpolation is Interpolation.BILINEAR
        assert flip == HorizontalFlip(0.5)
        found = [*crop.scale, jitter.brightness, jitter.contrast, jitter.saturation, jitter.hue, jitter.p, gray.p]
        expected = [1 - 0.9 * s, 1, 0.4 * s, 0.4 * s, 0.4 * s, 0.1 * s, 0.8 * s, 0.2 * s]
        assert [float(value) for value in found] == pytest.approx(expected)

    def test_at_strength_0_both_views_are_the_image_itself(self) -> None:
        batch, method = batch_of(seen()), dynacl(flip_probability=0.0)
        for view in method.two_views(batch, torch.tensor(0.0)).chunk(2):
            torch.testing.assert_close(view, batch.pixels, rtol=0, atol=1e-5)

    def test_a_step_sees_views_of_the_strength_of_its_epoch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        seen_strengths: list[float] = []
        make = DynACL.two_views
        monkeypatch.setattr(
            DynACL, "two_views", lambda self, batch, s: seen_strengths.append(float(s)) or make(self, batch, s)
        )
        method = dynacl(epochs=4, reload_every=1)
        stepped(method, built(method, epoch=3))
        assert seen_strengths == pytest.approx([0.25])


def constant_features(golden: Golden, dtype: torch.dtype) -> tuple[MomentumPair, dict[str, Tensor]]:
    """A pair whose projections are the golden ones, whatever it sees."""
    streams = {CLEAN: "clean", ADVERSARIAL: "adv"}
    z = {route: golden[f"total_z_{stream}"].to(dtype).requires_grad_() for route, stream in streams.items()}

    class Pair(MomentumPair):
        def forward(self, x: Tensor, route: str) -> Tensor:
            return views_apart(z[route])

    return Pair(nn.Linear(1, 1)).to(dtype), z  # type: ignore[arg-type]


class TestGolden:
    @pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
    def test_the_loss_of_eleven_epochs(
        self, dtype: torch.dtype, tolerance: float, golden: Golden, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """train_DynACL.py:288-291 on given features."""
        monkeypatch.setattr(DynACL, "perturb", lambda self, net, x, batch: x)
        net, z = constant_features(golden, dtype)
        losses: list[Tensor] = []
        for index, e in enumerate(golden["total_epochs"].tolist()):
            RELEASE.before_epoch(net, seen(), run_of(RELEASE), e - 1)
            RELEASE.step(net, batch_of(seen()), lambda loss, **_: losses.append(loss))
            assert losses[-1].item() == pytest.approx(golden["total_loss"][index].item(), rel=tolerance)
            slopes = torch.autograd.grad(losses[-1], list(z.values()))
            for slope, stream in zip(slopes, ("clean", "adv"), strict=True):
                expected = golden[f"total_grad_{stream}"][index].to(dtype)
                torch.testing.assert_close(slope, expected, rtol=0, atol=tolerance)

    def test_two_steps_are_the_official_ones(self, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
        """Both networks after `train()`, train_DynACL.py:267-312: views, attack, BN, EMA before the update, LARS."""
        perturbed = list[Tensor]()
        net = MomentumPair(StandIn(tuple(ROUTES.values()), bias=True)).double()  # type: ignore[arg-type]
        load(net, golden, "train2_init_")
        optimiser = RELEASE.optimiser(net)
        net.register_forward_pre_hook(lambda _, inputs: perturbed.append(inputs[0]) if net.training else None)
        for step, pixels in enumerate(golden["train2_inputs"]):
            views, start = pixels.transpose(0, 1).flatten(0, 1), views_apart(golden["train2_start"][step])
            monkeypatch.setattr(DynACL, "two_views", lambda self, batch, s, views=views: views)
            monkeypatch.setattr(dual_stream, "uniform_start", lambda *_, start=start, **__: start)
            RELEASE.before_epoch(net, seen(), run_of(RELEASE), golden["train2_epochs"][step].item() - 1)  # type: ignore[arg-type]
            optimiser.param_groups[0]["lr"] = golden["train2_lr"][step].item()
            averages = Averages()
            batch = Batch(pixels[:, 0], torch.arange(3), Randomness(0, "pretrain"), 0, step)
            RELEASE.step(net, batch, optimiser_update(optimiser, averages))
            assert averages.means()["loss"] == pytest.approx(golden["train2_loss"][step].item(), rel=1e-9)
            torch.testing.assert_close(perturbed[2 * step], views_apart(golden["train2_adv"][step]), atol=1e-9, rtol=0)
            for name, slope in named(golden, f"train2_grad{step + 1}_q.").items():
                torch.testing.assert_close(net.f_q.get_parameter(name).grad, slope, atol=1e-9, rtol=0)
            for branch, letter in ((net.f_q, "q"), (net.f_k, "k")):
                for name, value in named(golden, f"train2_after{step + 1}_encoder_{letter}.").items():
                    torch.testing.assert_close(branch.state_dict()[name], value, atol=1e-9, rtol=0)


def named(golden: Golden, prefix: str) -> Golden:
    """Official names under `prefix` to ours."""
    ours = {}
    for official, value in golden.items():
        if official.startswith(prefix):
            name = official.removeprefix(prefix).replace("lin.", "head.")
            ours[name if "bn_list" not in name else f"bn.{ROUTES[name[11]]}.{name[13:]}"] = value
    return ours


def load(net: MomentumPair, golden: Golden, prefix: str) -> None:
    for branch, letter in ((net.f_q, "q"), (net.f_k, "k")):
        assert isinstance(branch, StandIn)
        branch.fill(named(golden, f"{prefix}encoder_{letter}."))


class TestMomentumPair:
    def test_first_views_go_through_f_q_and_second_ones_through_f_k(self) -> None:
        net, x = built(dynacl()), dynacl().two_views(batch_of(seen()))
        for weight in net.f_k.parameters():
            weight.mul_(1.5)
        net.eval()
        for route in (CLEAN, ADVERSARIAL):
            expected = torch.cat([net.f_q(x[:BATCH], route), net.f_k(x[BATCH:], route)])
            assert torch.equal(net(x, route), expected)
        assert not torch.allclose(net.f_q(x, CLEAN), net.f_k(x, CLEAN))

    def test_f_k_follows_f_q_as_it_was_before_the_update(self) -> None:
        method = dynacl(momentum_encoder=0.9)
        net = built(method)
        stepped(method, net)
        before = copy.deepcopy(net)
        stepped(method, net)
        for name, after in net.f_k.named_parameters():
            expected = 0.9 * before.f_k.get_parameter(name) + 0.1 * before.f_q.get_parameter(name)
            torch.testing.assert_close(after, expected, rtol=1e-5, atol=1e-7)
        assert not torch.equal(net.f_q.encoder.backbone.conv1.weight, before.f_q.encoder.backbone.conv1.weight)

    def test_f_k_keeps_statistics_of_its_own_views(self) -> None:
        method = dynacl()
        net = built(method)
        stem = net.f_k.encoder.backbone.conv1.weight.clone()
        stepped(method, net)
        _, second = method.two_views(batch_of(seen()), torch.tensor(1.0)).chunk(2)
        maps = nn.functional.conv2d(net.f_k.encoder.normalise(second), stem, padding=1)
        torch.testing.assert_close(
            net.f_k.encoder.get_buffer("backbone.bn1.clean.running_mean"), 0.1 * maps.mean(dim=(0, 2, 3))
        )

    def test_f_k_is_never_trained_and_it_is_what_is_exported(self) -> None:
        method = dynacl()
        net = built(method)
        stepped(method, net)
        assert all(weight.grad is None and not weight.requires_grad for weight in net.f_k.parameters())
        assert len(method.optimiser(net).param_groups[0]["params"]) == len(list(net.f_q.parameters()))
        assert method.export(net) is net.f_k.encoder
        assert net.f_k.encoder.active_route == ADVERSARIAL


class TestLoss:
    @pytest.mark.parametrize("variant", Variant)
    def test_it_weighs_the_two_streams(self, variant: Variant) -> None:
        method = dynacl(variant=variant, epochs=3, reload_every=1)
        net = built(method, epoch=1)
        w = 1 + 2 / 3 * (2 / 3 if variant is Variant.RELEASE else 1 / 3)
        means = stepped(method, net)
        expected = ((2 - w) * means["clean"] + w * means["adversarial"]) / 2
        assert means["loss"] == pytest.approx(expected, rel=1e-6)

    def test_the_attack_raises_it_through_both_networks(self) -> None:
        method, batch = dynacl(), batch_of(seen())
        net = built(method)
        x = method.two_views(batch, net.strength)
        x_adv = method.perturb(net, x, batch)
        net.eval()
        with torch.no_grad():
            calm, raised = (nt_xent(*net(images, ADVERSARIAL).chunk(2), 0.5) for images in (x, x_adv))
        assert raised > calm + 0.1
        for half in (x_adv - x).chunk(2):
            assert (half.flatten(1).abs().amax(dim=1) > method.config.eps / 2).all()


def test_the_settings_of_stl_10() -> None:
    """Its own stem, and the 100,000 unlabelled images alone."""
    stl = DynACL.PAPER["stl10"]
    assert (stl.architecture, stl.pretrain_pool) == (Architecture.RESNET18_IMAGENET, "stl10:unlabelled")
    assert DynACL.PAPER["cifar10"] == DynACL.PAPER["cifar100"] == DynACLConfig()

"""DeACL: the official training step, the student's start, the shared batch, and stage 1 by the recipe of its time."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import batch_of, bits, fresh, registry, run_of, seen, tiny
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

import methods.deacl
from bench.attacks.pgd import LinfPGD, trajectory
from bench.contract import Encoder
from bench.data.profiles import PROFILES
from bench.data.views import pixels_of
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.errors import StageError
from bench.grammar import parse_spec
from bench.randomness import Randomness
from bench.registry import resolve
from bench.sweep import Schedule
from methods.deacl import DeACL, DeACLConfig, DeACLState
from methods.simclr import SimCLR, SimCLRConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "deacl.npz"


class StandIn(Encoder):
    """The small network of the golden file."""

    def __init__(self) -> None:
        super().__init__()
        self.routes, self.active_route = ("main",), "main"
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.lin = nn.Linear(256, 16)

    def encode(self, x: Tensor) -> Tensor:
        features: Tensor = self.lin(self.conv(x).relu().flatten(1))
        return features


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def filled(golden: Mapping[str, Tensor], who: str, dtype: torch.dtype) -> StandIn:
    network = StandIn().to(dtype)
    names = {"conv.weight": "conv_w", "conv.bias": "conv_b", "lin.weight": "lin_w", "lin.bias": "lin_b"}
    network.load_state_dict({ours: golden[f"standin_{who}_{theirs}"] for ours, theirs in names.items()})
    return network


def official(golden: Mapping[str, Tensor], dtype: torch.dtype = torch.float64) -> DeACLState:
    student: Any = filled(golden, "student", dtype)
    return DeACLState(filled(golden, "teacher", dtype), student)


@pytest.fixture
def from_golden(golden: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Batch:
    """The golden images, of which views and random starts are the golden ones, in the precision of the pixels."""
    monkeypatch.setattr(DeACL, "weak", property(lambda self: lambda pixels, generator: pixels))
    monkeypatch.setattr(methods.deacl, "uniform_start", lambda x, *_, **__: golden["atk_start"].to(x.dtype))
    return Batch(golden["atk_x"], torch.arange(6), Randomness(0, "pretrain"), 0, 0)


class TestOfficial:
    @pytest.mark.parametrize("steps", [1, 5])
    def test_the_attack(self, steps: int, golden: Mapping[str, Tensor], from_golden: Batch) -> None:
        net, method = official(golden), DeACL(DeACLConfig(attack_steps=steps))
        t = net.teacher.encode(from_golden.pixels)
        torch.testing.assert_close(t, golden["atk_away_target"], rtol=1e-9, atol=1e-9)
        x_adv = method.perturb(net, from_golden.pixels, t, from_golden)
        torch.testing.assert_close(x_adv, golden[f"atk_result_{steps}step"], rtol=0, atol=1e-9)

    def test_the_step(self, golden: Mapping[str, Tensor], from_golden: Batch) -> None:
        net, losses = official(golden), []
        DeACL(DeACLConfig()).step(net, from_golden, lambda loss, **_: losses.append(loss))
        assert losses[0].item() == pytest.approx(golden["step_adv_loss"].item(), rel=1e-9)
        student: Any = net.student
        gradients = torch.autograd.grad(losses[0], (student.conv.weight, student.lin.weight))
        for gradient, name in zip(gradients, ("conv_w", "lin_w"), strict=True):
            torch.testing.assert_close(gradient, golden[f"step_grad_{name}"], rtol=1e-9, atol=1e-12)

    def test_the_loss_in_float32(
        self, golden: Mapping[str, Tensor], from_golden: Batch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        x_adv = golden["atk_result_5step"].float()
        monkeypatch.setattr(DeACL, "perturb", lambda *_: x_adv)
        batch = Batch(from_golden.pixels.float(), from_golden.index, from_golden.randomness, 0, 0)
        losses: list[Tensor] = []
        DeACL(DeACLConfig()).step(official(golden, torch.float32), batch, lambda loss, **_: losses.append(loss))
        assert losses[0].item() == pytest.approx(golden["step_adv_loss"].item(), abs=1e-5)


def test_the_loss_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """-mean c(s, t) - 2 mean c(s', s), image by image in float64."""

    def c(a: Tensor, b: Tensor) -> float:
        return float((a * b).sum() / (a.square().sum() * b.square().sum()).sqrt())

    s, s_adv, t = torch.randn(3, 4, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    net: Any = nn.Module()
    net.teacher, net.student = StandIn(), StandIn()
    net.teacher.encode, net.student.encode = lambda x: t, lambda x: torch.cat([s, s_adv])
    monkeypatch.setattr(DeACL, "perturb", lambda self, net, x, t, batch: x)
    losses: list[Tensor] = []
    deacl().step(net, batch_of(seen()), lambda loss, **_: losses.append(loss))
    expected = -sum(c(s[i], t[i]) + 2 * c(s_adv[i], s[i]) for i in range(4)) / 4
    assert losses[0].item() == pytest.approx(expected, rel=1e-12)


def deacl(**settings: Any) -> DeACL:
    method = tiny("deacl", **settings)
    assert isinstance(method, DeACL)
    return method


def built(method: DeACL) -> DeACLState:
    return method.build(seen(), run_of(method)).train()


class TestAttack:
    def test_features_leave_the_teachers_with_every_step(self) -> None:
        method, batch = deacl(), batch_of(seen())
        net, x = built(method).eval(), batch.pixels
        t = net.teacher.encode(x)

        def objective(x: Tensor) -> Tensor:
            return -cosine_similarity(net.student.encode(x), t).sum()

        start = methods.deacl.uniform_start(x, method.config.eps, batch.generator("attack"), clip=False)
        steps = [start, *trajectory(objective, x, start, LinfPGD(method.config.eps, 5, method.config.eps / 4))]
        torch.testing.assert_close(steps[-1], method.perturb(net, x, t, batch))
        with torch.no_grad():
            similarity = [cosine_similarity(net.student.encode(x), t).mean().item() for x in steps]
        assert all(after < before for before, after in pairwise(similarity))

    def test_it_stays_in_the_ball_and_in_the_pixel_box(self) -> None:
        method, batch = deacl(), batch_of(seen())
        net = built(method)
        x_adv = method.perturb(net, batch.pixels, net.teacher.encode(batch.pixels), batch)
        assert (x_adv - batch.pixels).abs().max() <= method.config.eps * (1 + 1e-5)
        assert 0 <= x_adv.min() <= x_adv.max() <= 1


class TestStudent:
    def test_it_starts_with_the_teachers_weights_and_running_statistics(self) -> None:
        net, teacher = built(deacl()), fresh("simclr")
        assert bits(net.student) == bits(teacher)

    def test_image_and_perturbed_image_share_their_batch_statistics(self) -> None:
        method, batch = deacl(), batch_of(seen())
        net = built(method)
        expected = copy.deepcopy(net)
        x = method.weak(batch.pixels, batch.generator("view"))
        x_adv = method.perturb(expected, x, expected.teacher.encode(x), batch)
        expected.student.encode(torch.cat([x, x_adv]))
        method.step(net, batch, lambda loss, **_: None)
        for (name, ours), theirs in zip(net.student.named_buffers(), expected.student.buffers(), strict=True):
            torch.testing.assert_close(ours, theirs, msg=name)
        assert not torch.equal(net.student.get_buffer("backbone.bn1.main.running_mean"), fresh_mean())

    def test_the_teacher_never_changes(self) -> None:
        method = deacl(epochs=2)
        run = run_of(method)
        method.pretrain(seen(), run)
        assert bits(run.upstream["teacher"]) == bits(fresh("simclr"))

    def test_no_gradient_is_stopped(self) -> None:
        method, batch = deacl(), batch_of(seen())
        net, averages = built(method), Averages()
        optimiser = method.optimiser(net)
        method.step(net, batch, optimiser_update(optimiser, averages))
        assert averages.means().keys() == {"loss", "standard", "robust"}
        assert all(weight.grad is not None for weight in net.student.parameters())
        assert all(weight.grad is None for weight in net.teacher.parameters())

    def test_a_teacher_of_another_stem_is_refused(self) -> None:
        with pytest.raises(StageError, match="architecture"):
            built(deacl(architecture="resnet18-padding1"))


def fresh_mean() -> Tensor:
    return fresh("simclr").get_buffer("backbone.bn1.main.running_mean")


class TestStatistics:
    def test_the_release_normalises_by_cifar_10_whatever_the_data(self) -> None:
        net = built(deacl(statistics="release"))
        teacher: Any = net.teacher.encoder
        for normalise in (net.student.normalise, teacher.normalise):
            assert normalise.mean.flatten().tolist() == pytest.approx([0.4914, 0.4822, 0.4465])
            assert normalise.std.flatten().tolist() == pytest.approx([0.247, 0.243, 0.261])
        x = pixels_of(seen().pixels[:4])
        torch.testing.assert_close(net.eval().student.encode(x), net.teacher.encode(x))

    def test_it_leaves_the_upstream_as_it_is_and_is_stored_with_the_weights(self) -> None:
        method = deacl(statistics="release")
        run = run_of(method)
        encoder = method.pretrain(seen(), run).eval()
        assert bits(run.upstream["teacher"]) == bits(fresh("simclr"))
        loaded = method.encoder(seen().profile).eval()
        loaded.load_state_dict(encoder.state_dict())
        x = pixels_of(seen().pixels[:4])
        torch.testing.assert_close(loaded.encode(x), encoder.encode(x))

    def test_the_default_is_the_teachers(self) -> None:
        profile = PROFILES["digits"]
        assert built(deacl()).student.normalise.mean.flatten().tolist() == pytest.approx(profile.mean)


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.003), (9, 0.5), (10, 0.5), (55, 0.25), (99, 1.5229e-4)])
def test_the_learning_rate(epoch: int, rate: float) -> None:
    """Section 9 of the official recipe: per epoch, the same in every step."""
    method = DeACL(DeACL.PAPER["cifar10"])
    assert method.config.epochs == 100
    for step in (0, 194):
        assert method.learning_rate()(epoch, step, 195, 100) == pytest.approx(rate, rel=1e-3)


def test_the_teacher_is_simclr_by_the_recipe_of_that_time() -> None:
    spec = parse_spec(DeACLConfig().teacher)
    config = resolve(registry().find(spec.name), spec.options, PROFILES["cifar10"], Schedule.PAPER)
    assert isinstance(config, SimCLRConfig)
    assert (config.epochs, config.batch_size, config.temperature, config.weight_decay) == (1000, 256, 0.2, 1e-5)
    assert (config.jitter, config.blur_probability, config.gray_probability) == ((0.8, 0.8, 0.8, 0.2), 0, 0.2)
    schedule = SimCLR(config).learning_rate()
    rates = [schedule(epoch, step, 195, 1000) for epoch, step in ((0, 0), (0, 194), (9, 0), (10, 100), (999, 194))]
    assert rates == pytest.approx([3e-5, 3e-5, 0.4, 0.4, 1.007e-6], rel=1e-3)


def test_the_official_stem_is_two_pixels_wider() -> None:
    encoder = DeACL(DeACL.PAPER["cifar10"]).encoder(PROFILES["cifar10"])
    assert encoder.backbone.conv1(torch.zeros(1, 3, 32, 32)).shape == (1, 64, 34, 34)

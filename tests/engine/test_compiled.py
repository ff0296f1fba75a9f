"""Compiled encoders: the same steps, and the same state, but for rounding."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.config import EpochLength, TrainingConfig
from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.profiles import PROFILES
from bench.engine.loop import Batch, TrainingMethod, Update, train
from bench.engine.schedules import StepDecay
from bench.execution import Execution
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture
from bench.randomness import Randomness

COMPILER = pytest.mark.skipif(
    "BENCH_COMPILE" not in os.environ, reason="compiles for a minute; set BENCH_COMPILE=1, with a C++ compiler here"
)


class Config(TrainingConfig):
    """Two steps."""

    epochs: EpochLength = 1
    """Chosen."""
    batch_size: int = 16
    """Chosen."""


class Attacked(TrainingMethod[Config, ResNetEncoder]):
    """All that a step does with an encoder: both modes, both routes, frozen and not, with and without gradients."""

    name = "attacked"
    Config = Config

    def encoder(self, profile: Any) -> ResNetEncoder:
        return resnet_encoder(Architecture.SMALL, profile, routes=("clean", "adv"))

    def build(self, images: UnlabelledImages, run: Run) -> ResNetEncoder:
        return self.encoder(images.profile)

    def optimiser(self, net: ResNetEncoder) -> torch.optim.Optimizer:
        return torch.optim.SGD(net.parameters(), lr=0.1)

    def learning_rate(self) -> StepDecay:
        return StepDecay(0.01)

    def step(self, net: ResNetEncoder, batch: Batch, update: Update) -> None:
        net.eval().requires_grad_(False)
        leaf = batch.pixels.clone().requires_grad_()
        (slope,) = torch.autograd.grad(net.features(leaf, "adv").square().sum(), leaf)
        net.train().requires_grad_(True)
        with torch.no_grad():
            target = net.features(batch.pixels, "clean")
        update((net.features(batch.pixels + slope, "adv") - target).square().mean())

    def export(self, net: ResNetEncoder) -> Encoder:
        return net


def trained(execution: Execution) -> dict[str, Tensor]:
    pixels = torch.arange(32 * 192).mul(37).remainder(256).to(torch.uint8).view(32, 3, 8, 8)
    run = Run(Randomness(0, "pretrain"), torch.device("cpu"), {}, lambda *_: None, lambda _: None)
    images = UnlabelledImages(pixels, PROFILES["digits"])
    return train(Attacked(Config()), images, replace(run, execution=execution)).state_dict()


def compare() -> None:
    one, other = trained(Execution.EAGER), trained(Execution.COMPILED)
    assert list(one) == list(other)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-5)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")  # dynamo looks at every input's
def test_the_networks_of_an_encoder_are_traced_without_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    """With dynamo's backend that compiles nothing."""
    real, asked = nn.Module.compile, []

    def traced(self: nn.Module, **options: Any) -> None:
        asked.append((type(self).__name__, options))
        real(self, backend="eager", fullgraph=True, **options)

    monkeypatch.setattr(nn.Module, "compile", traced)
    compare()
    assert asked == [("ResNet", {"dynamic": False})]


@COMPILER
@pytest.mark.filterwarnings("ignore")
def test_compiled_kernels_differ_by_rounding_alone() -> None:
    compare()

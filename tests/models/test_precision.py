"""Mixed precision reaches networks and nothing else."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from bench.data.profiles import PROFILES
from bench.engine.conditions import Conditions
from bench.execution import Precision
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.precision import follows_precision, in_network_precision, mixed_precision
from bench.models.projectors import Head, Projector
from bench.models.resnet import Architecture


@pytest.fixture
def encoder() -> ResNetEncoder:
    torch.manual_seed(0)
    return resnet_encoder(Architecture.SMALL, PROFILES["digits"])


@pytest.fixture
def x() -> Tensor:
    return torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def dtypes_inside(net: nn.Module) -> list[torch.dtype]:
    """Of what every convolution and linear map returns, as they are called."""
    seen: list[torch.dtype] = []
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_hook(lambda part, inputs, output: seen.append(output.dtype))
    return seen


@pytest.mark.parametrize("precision", Precision)
def test_products_inside_follow_it_and_features_are_fp32(
    encoder: ResNetEncoder, x: Tensor, precision: Precision
) -> None:
    projector = Projector(Head.SIMCLR, encoder.feature_dim, encoder.routes)
    seen = dtypes_inside(nn.ModuleList([encoder, projector]))
    with Conditions(precision=precision).hold():
        features = encoder.encode(x)
        projection = projector(features, "main")
        product = features @ features.T
    assert set(seen) == {torch.bfloat16 if precision is Precision.BF16 else torch.float32}
    assert {features.dtype, projection.dtype, product.dtype} == {torch.float32}


def test_gradients_of_pixels_and_parameters_are_fp32_and_near(encoder: ResNetEncoder, x: Tensor) -> None:
    slopes = []
    for mixed in (False, True):
        net, leaf = copy.deepcopy(encoder), x.clone().requires_grad_()
        with mixed_precision(mixed):
            torch.autograd.backward(net.encode(leaf).square().sum())
        slopes.append([leaf.grad, *(weight.grad for weight in net.parameters())])
    for exact, rounded in zip(*slopes, strict=True):
        assert exact is not None and rounded is not None and rounded.dtype is torch.float32
        cosine = torch.cosine_similarity(exact.flatten(), rounded.flatten(), dim=0)
        assert cosine > 0.98


def test_statistics_stay_fp32_and_no_cast_outlives_a_change_of_weights(encoder: ResNetEncoder, x: Tensor) -> None:
    with mixed_precision(True):
        encoder.train().encode(x)
        assert {buffer.dtype for buffer in encoder.buffers()} == {torch.float32, torch.int64}
        before = encoder.eval().encode(x)
        with torch.no_grad():
            encoder.backbone.conv1.weight.mul_(2)
        assert not torch.equal(encoder.encode(x), before)


def test_fp32_moves_no_bit(encoder: ResNetEncoder, x: Tensor) -> None:
    plain = encoder.encode(x)
    with mixed_precision(True), mixed_precision(False):
        assert torch.equal(encoder.encode(x), plain)


class Own(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x


class Marked(Own):
    @in_network_precision
    def forward(self, x: Tensor) -> Tensor:
        return x @ x


def test_what_follows_precision_can_be_told(encoder: ResNetEncoder) -> None:
    assert follows_precision(nn.Sequential(nn.Linear(1, 1), encoder))
    assert follows_precision(Marked())
    assert not follows_precision(nn.Sequential(nn.Linear(1, 1), Own()))

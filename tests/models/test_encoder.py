"""The residual encoder: routes, normalisation, initialisation, sizes."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from bench.data.profiles import PROFILES
from bench.errors import BenchError
from bench.models.encoder import Normalisation, ResNetEncoder, resnet_encoder, with_routes
from bench.models.projectors import Head, Projector
from bench.models.resnet import Architecture, Init
from bench.models.routes import RoutedBatchNorm1d, RoutedBatchNorm2d

DIGITS, CIFAR = PROFILES["digits"], PROFILES["cifar10"]


@pytest.fixture
def images() -> Tensor:
    return torch.rand(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def small(*routes: str, active_route: str | None = None) -> ResNetEncoder:
    torch.manual_seed(0)
    return resnet_encoder(Architecture.SMALL, DIGITS, routes=routes or ("main",), active_route=active_route)


@pytest.mark.parametrize(
    ("architecture", "routes", "parameters"),
    [
        (Architecture.RESNET18_PADDING1, ("main",), 11_168_832),
        (Architecture.RESNET18_PADDING1, ("clean", "adv"), 11_178_432),
        (Architecture.RESNET18_PADDING2, ("main",), 11_168_832),
        (Architecture.SMALL, ("main",), 77_392),
    ],
)
def test_parameters(architecture: Architecture, routes: tuple[str, ...], parameters: int) -> None:
    with torch.device("meta"):
        encoder = resnet_encoder(architecture, CIFAR, routes=routes)
    assert sum(weight.numel() for weight in encoder.parameters()) == parameters


@pytest.mark.parametrize(
    ("head", "parameters", "outputs", "outputs_of_64"),
    [
        (Head.SIMCLR, 512 * 2048 + 2048 + 2048 * 256 + 256, 256, 32),
        (Head.ROCL, 1_312_896, 128, 16),
        (Head.AMOC, 328_320, 128, 16),
        (Head.ACL, 793_088, 512, 64),
        (Head.ACL_TWO_LAYERS, 793_088 - 512 * 512 - 4 * 512, 512, 64),
    ],
)
def test_heads_scale_with_the_features(head: Head, parameters: int, outputs: int, outputs_of_64: int) -> None:
    projector = Projector(head, 512, ("normal", "pgd"))
    assert sum(weight.numel() for weight in projector.parameters()) == parameters
    assert projector.output_dim == outputs
    assert Projector(head, 64, ("main",))(torch.zeros(3, 64), "main").shape == (3, outputs_of_64)


@pytest.mark.parametrize(
    ("architecture", "size", "maps"),
    [
        (Architecture.RESNET18_PADDING1, 32, 32),
        (Architecture.RESNET18_PADDING2, 32, 34),
        (Architecture.RESNET18_IMAGENET, 96, 24),
        (Architecture.SMALL, 8, 8),
    ],
)
def test_the_stem_gives_maps_of_the_published_size(architecture: Architecture, size: int, maps: int) -> None:
    backbone = resnet_encoder(architecture, CIFAR).backbone
    assert backbone.pool(backbone.conv1(torch.zeros(1, 3, size, size))).shape[-1] == maps


def test_encode_takes_the_active_route(images: Tensor) -> None:
    encoder = small("clean", "adv", active_route="adv")
    encoder.train().features(images, "adv")
    encoder.eval()
    assert encoder.encode(images).shape == (16, encoder.feature_dim) == (16, 64)
    assert torch.equal(encoder(images), encoder.features(images, "adv"))
    assert not torch.equal(encoder(images), encoder.features(images, "clean"))


def test_another_route_is_the_same_encoder(images: Tensor) -> None:
    encoder = small("clean", "adv")
    other = encoder.route("adv")
    assert (encoder.active_route, other.active_route) == ("clean", "adv")
    assert all(a is b for a, b in zip(encoder.parameters(), other.parameters(), strict=True))
    assert torch.equal(other.eval().encode(images), encoder.eval().features(images, "adv"))


def test_a_pass_updates_the_statistics_of_its_own_route_only(images: Tensor) -> None:
    encoder = small("clean", "adv")
    encoder.train().features(images, "adv")
    counters = {name: int(value) for name, value in encoder.state_dict().items() if name.endswith("batches_tracked")}
    assert all(count == (1 if ".adv." in name else 0) for name, count in counters.items())


@pytest.mark.parametrize(
    "mistake",
    [
        lambda: small("clean", "adv").route("avd"),
        lambda: small("clean", "adv").features(torch.zeros(1, 3, 8, 8), "avd"),
        lambda: small("clean", "adv", active_route="avd"),
        lambda: with_routes(small("clean", "adv"), ("a", "b"), source="avd"),
    ],
)
def test_an_unknown_route_names_the_choices(mistake: Callable[[], object]) -> None:
    with pytest.raises(BenchError, match=r"unknown batch-norm route 'avd'.*did you mean 'adv'.*adv, clean"):
        mistake()


@pytest.mark.parametrize("routes", [(), ("clean", "clean")])
def test_routes_are_distinct_and_at_least_one(routes: tuple[str, ...]) -> None:
    with pytest.raises(BenchError, match="distinct"):
        RoutedBatchNorm2d(4, routes)
    with pytest.raises(BenchError, match="distinct"):
        RoutedBatchNorm1d(4, routes)


def test_more_routes_start_as_copies_and_part_in_training(images: Tensor) -> None:
    teacher = small("main").train()
    teacher(images)
    teacher.eval().requires_grad_(False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    student = with_routes(teacher, ("clean", "adv"), active_route="adv")

    assert student.training and all(weight.requires_grad for weight in student.parameters())
    for route in ("clean", "adv"):
        assert torch.equal(student.eval().features(images, route), teacher(images))

    torch.autograd.backward(student.train().features(images, "adv").square().sum())
    torch.optim.SGD(student.parameters(), lr=0.1).step()
    after = student.state_dict()
    assert not torch.equal(after["backbone.bn1.adv.weight"], after["backbone.bn1.clean.weight"])
    assert torch.equal(after["backbone.bn1.clean.running_mean"], before["backbone.bn1.main.running_mean"])
    assert all(torch.equal(value, before[name]) for name, value in teacher.state_dict().items())
    assert not any(weight.requires_grad for weight in teacher.parameters())


def test_weights_load_strictly_and_bring_their_normalisation(images: Tensor) -> None:
    stored = small("clean", "adv").eval()
    loaded = resnet_encoder(Architecture.SMALL, CIFAR, routes=("clean", "adv")).eval()
    loaded.load_state_dict(stored.state_dict())
    assert torch.equal(loaded(images), stored(images))
    with pytest.raises(RuntimeError, match="Missing key"):
        small("main").load_state_dict(stored.state_dict())


@pytest.mark.parametrize(
    ("normalisation", "expected"),
    [
        (Normalisation.DATASET, (0.5 - 0.4914) / 0.2470),
        (Normalisation.IMAGENET, (0.5 - 0.485) / 0.229),
        (Normalisation.NONE, 0.5),
    ],
)
def test_pixels_are_normalised_inside(normalisation: Normalisation, expected: float) -> None:
    encoder = resnet_encoder(Architecture.SMALL, CIFAR, normalisation=normalisation)
    assert encoder.normalise(torch.full((1, 3, 2, 2), 0.5))[0, 0, 0, 0].item() == pytest.approx(expected, rel=1e-5)


def test_memory_format_and_precision_move_only_rounding(images: Tensor) -> None:
    encoder = small().eval()
    features = encoder(images)
    channels_last = encoder.to(memory_format=torch.channels_last)(images.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(channels_last, features, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(encoder.double()(images.double()).float(), features, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("init", "stem_bound", "block_std"),
    [
        (Init.TORCH, 1 / math.sqrt(27), 1 / math.sqrt(3 * 9 * 64)),
        (Init.SOLO, 1 / math.sqrt(27), math.sqrt(2 / (9 * 64))),
        (Init.KAIMING_FAN_OUT, None, math.sqrt(2 / (9 * 64))),
    ],
)
def test_convolutions_start_as_published(init: Init, stem_bound: float | None, block_std: float) -> None:
    torch.manual_seed(0)
    backbone = resnet_encoder(Architecture.RESNET18_PADDING2, CIFAR, init=init).backbone
    stem, block = backbone.conv1.weight, backbone.get_parameter("blocks.0.conv1.weight")
    assert block.std().item() == pytest.approx(block_std, rel=0.02)
    if stem_bound is None:
        assert stem.std().item() == pytest.approx(math.sqrt(2 / (9 * 64)), rel=0.05)
    else:
        assert 0.95 * stem_bound < stem.abs().max().item() <= stem_bound


def test_an_imagenet_stem_is_initialised_like_the_rest() -> None:
    torch.manual_seed(0)
    stem = resnet_encoder(Architecture.RESNET18_IMAGENET, CIFAR, init=Init.SOLO).backbone.conv1.weight
    assert stem.std().item() == pytest.approx(math.sqrt(2 / (49 * 64)), rel=0.05)

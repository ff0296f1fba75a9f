"""Every published network, filled with the same numbers, computes the features that the official code computed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.data.profiles import DataProfile
from bench.models.encoder import Normalisation, ResNetEncoder, resnet_encoder
from bench.models.projectors import Head, Projector
from bench.models.resnet import Architecture

GOLDEN = Path(__file__).parents[1] / "golden"

CIFAR_AS_DEACL = DataProfile("cifar10", 10, 32, (0.4914, 0.4822, 0.4465), (0.247, 0.243, 0.261))

RENAMES = (
    (r"^backbone\.", ""),
    (r"layer([1-4])\.([01])\.", lambda m: f"blocks.{2 * int(m[1]) - 2 + int(m[2])}."),
    (r"shortcut\.", "downsample."),
    (r"downsample\.0\.", "downsample.conv."),
    (r"downsample\.1\.", "downsample.bn."),
    (r"^(?:fc\.fc|linear_)(\d)\.", lambda m: f"layers.{int(m[1]) - 1}.linear."),
    (r"^fc\.bn(\d)\.", lambda m: f"layers.{int(m[1]) - 1}.bn."),
    (r"^(?:projector|head)\.(\d)\.", lambda m: f"layers.{int(m[1]) // 2}.linear."),
    (r"bn_list\.0\.", "normal."),
    (r"bn_list\.1\.", "pgd."),
    (r"\.bn_(clean|adv)\.", lambda m: f".{m[1]}."),
    (r"(bn\d?)\.(weight|bias|running_mean|running_var|num_batches_tracked)$", r"\1.main.\2"),
)
"""Official parameter names to ours, applied in order."""

Outputs = Mapping[str, str]
"""Batch-norm route -> the golden array that holds what this route gives."""


@dataclass(frozen=True)
class Official:
    """A network of an official repository and its recorded outputs.

    Attributes:
        name: for the test's id.
        arrays: the .npz file.
        keys: the state_dict file and the entries in it that are numbered together, one or two of them.
        architecture, head, routes, normalisation, size: the network; `size` is the side of its images.
        features, projections: what it gives in eval mode.
        trained: the same features in train mode.
        means: the stem's running means after that pass.
        rule: how weights and images are filled.
        constants: the precision of the normalisation's constants.
    """

    name: str
    arrays: str
    keys: tuple[str, ...]
    architecture: Architecture
    head: Head | None
    features: Outputs
    projections: Outputs
    trained: Outputs
    means: Outputs
    rule: str = "arch"
    routes: tuple[str, ...] = ("main",)
    normalisation: Normalisation = Normalisation.NONE
    size: int = 32
    constants: torch.dtype = torch.float64


def only(name: str) -> Outputs:
    return {"main": name}


def each(pattern: str, *routes: str) -> Outputs:
    return {route: pattern.format(route) for route in routes}


def solo_learn(data: str, rule: str, architecture: Architecture, size: int) -> Official:
    return Official(
        f"solo-learn-{data}-{rule}",
        "sololearn",
        (f"sololearn_{data}_resnet18_simclr",),
        architecture,
        Head.SIMCLR,
        features=only(f"{rule}_{data}_features"),
        projections=only(f"{rule}_{data}_z"),
        trained=only(f"{rule}_{data}_features_train"),
        means=only(f"arch_{data}_bn1_running_mean_after") if rule == "arch" else {},
        rule=rule,
        size=size,
    )


def deacl(rule: str) -> Official:
    return Official(
        f"deacl-{rule}",
        "deacl",
        ("deacl_resnet18",),
        Architecture.RESNET18_PADDING2,
        None,
        features=only(f"{rule}_features_eval"),
        projections={},
        trained=only(f"{rule}_features_train"),
        means=only(f"{rule}_bn1_running_mean_after_train"),
        rule=rule,
        normalisation=Normalisation.DATASET,
    )


def dynacl(data: str, rule: str, architecture: Architecture, size: int) -> Official:
    return Official(
        f"dynacl-{data}-{rule}",
        "dynacl",
        (f"dynacl_{data}_resnet18",),
        architecture,
        Head.ACL,
        features=each(f"{rule}_{data}_features_{{}}", "normal", "pgd"),
        projections=each(f"{rule}_{data}_proj_{{}}", "normal", "pgd"),
        trained={"pgd": f"{rule}_{data}_features_train_pgd"},
        means={
            "pgd": f"{rule}_{data}_bn1_1_running_mean_after",
            "normal": f"{rule}_{data}_bn1_0_running_mean_after",
        },
        rule=rule,
        routes=("normal", "pgd"),
        normalisation=Normalisation.IMAGENET,
        size=size,
    )


OFFICIAL = (
    *(solo_learn("cifar", rule, Architecture.RESNET18_PADDING2, 32) for rule in ("arch", "archB")),
    *(solo_learn("stl", rule, Architecture.RESNET18_IMAGENET, 96) for rule in ("arch", "archB")),
    *(deacl(rule) for rule in ("arch", "archB")),
    *(dynacl("cifar", rule, Architecture.RESNET18_PADDING1, 32) for rule in ("arch", "archB")),
    *(dynacl("stl", rule, Architecture.RESNET18_IMAGENET, 96) for rule in ("arch", "archB")),
    Official(
        "acl",
        "acl",
        ("acl/pretrain_model",),
        Architecture.RESNET18_PADDING1,
        Head.ACL,
        features=each("arch/features_eval_{}", "normal", "pgd"),
        projections=each("arch/projection_eval_{}", "normal", "pgd"),
        trained=each("arch/features_train_{}", "normal", "pgd"),
        means=each("arch/bn1_running_mean_after_train_{}", "normal", "pgd"),
        routes=("normal", "pgd"),
        normalisation=Normalisation.IMAGENET,
        constants=torch.float32,
    ),
    Official(
        "acl-two-layers",
        "acl",
        ("acl/pretrain_model",),
        Architecture.RESNET18_PADDING1,
        Head.ACL_TWO_LAYERS,
        features={},
        projections=each("arch_twoLayerProj/projection_eval_{}", "normal", "pgd"),
        trained={},
        means={},
        routes=("normal", "pgd"),
        normalisation=Normalisation.IMAGENET,
        constants=torch.float32,
    ),
    Official(
        "amoc",
        "amoc",
        ("amoc/encoder", "amoc/projector"),
        Architecture.RESNET18_PADDING1,
        Head.AMOC,
        features=each("arch/features_eval_{}", "clean", "adv"),
        projections=each("arch/projection_eval_{}", "clean", "adv"),
        trained=each("arch/features_train_{}", "clean", "adv"),
        means=each("arch/bn1_running_mean_after_train_{}", "clean", "adv"),
        routes=("clean", "adv"),
    ),
    Official(
        "rocl",
        "rocl",
        ("rocl/encoder", "rocl/projector"),
        Architecture.RESNET18_PADDING1,
        Head.ROCL,
        features=only("arch/features_eval"),
        projections=only("arch/projection_eval"),
        trained=only("arch/features_train"),
        means=only("arch/bn1_running_mean_after_train"),
    ),
)


@pytest.fixture(params=OFFICIAL, ids=lambda official: official.name)
def official(request: pytest.FixtureRequest) -> Official:
    case: Official = request.param
    return case


def test_the_network_computes_what_the_official_one_computes(official: Official) -> None:
    encoder, projector = filled_networks(official)
    x = FILLS[official.rule].image(official.size)
    with torch.no_grad(), np.load(GOLDEN / f"{official.arrays}.npz") as golden:
        for route, name in official.features.items():
            close(encoder.eval().features(x, route), golden[name])
        for route, name in official.projections.items():
            close(projector.eval()(encoder.eval().features(x, route), route), golden[name])
        for route, name in official.trained.items():
            close(encoder.train().features(x, route), golden[name])
        for route, name in official.means.items():
            close(encoder.get_buffer(f"backbone.bn1.{route}.running_mean"), golden[name])


def test_padding_1_and_2_load_into_each_other_and_are_different_functions() -> None:
    case = deacl("archB")
    encoder, _ = filled_networks(case)
    other = resnet_encoder(Architecture.RESNET18_PADDING1, CIFAR_AS_DEACL).double()
    other.load_state_dict(encoder.state_dict())
    x = FILLS["archB"].image(32)
    with torch.no_grad():
        difference = (encoder.eval().encode(x) - other.eval().encode(x)).abs().max()
        assert encoder.backbone.conv1(x).shape[-1] == 34
    assert difference > 10


def filled_networks(official: Official) -> tuple[ResNetEncoder, nn.Module]:
    """The encoder and head in float64, every tensor filled by the rule under its official name."""
    torch.set_default_dtype(official.constants)
    try:
        encoder = resnet_encoder(
            official.architecture, CIFAR_AS_DEACL, routes=official.routes, normalisation=official.normalisation
        )
        head = nn.Identity() if official.head is None else Projector(official.head, 512, official.routes)
    finally:
        torch.set_default_dtype(torch.float32)
    ours: dict[str, Tensor] = {}
    for entry in official.keys:
        ours |= filled(entry, official.rule, official.head)
    encoder.double().backbone.load_state_dict({k: v for k, v in ours.items() if not k.startswith("layers.")})
    head.double().load_state_dict({k: v for k, v in ours.items() if k.startswith("layers.")})
    return encoder, head


def filled(entry: str, rule: str, head: Head | None) -> dict[str, Tensor]:
    """Our names and filled tensors for one entry of a state_dict file."""
    fill = FILLS[rule].tensor
    shapes = official_shapes(entry)
    if head is Head.ACL_TWO_LAYERS:
        shapes = {name: shape for name, shape in shapes.items() if not name.startswith(("fc.fc3", "fc.bn3"))}
    floating = [name for name in sorted(shapes) if not name.endswith("num_batches_tracked")]
    tensors = {translated(name): fill(name, shapes[name], index) for index, name in enumerate(floating)}
    counters = {translated(name): torch.tensor(0) for name in shapes if name.endswith("num_batches_tracked")}
    return tensors | counters


def official_shapes(entry: str) -> dict[str, tuple[int, ...]]:
    """Official names and shapes but for the normalisation's; `entry` is `file` or `file/part`."""
    file, _, part = entry.partition("/")
    stored: dict[str, Any] = json.loads((GOLDEN / f"{file}_state_dict.json").read_text())
    tensors = stored[part] if part else {tensor["key"]: tensor for tensor in stored["tensors"]}
    return {name: tuple(facts["shape"]) for name, facts in tensors.items() if not name.startswith("normalize.")}


def translated(name: str) -> str:
    for pattern, replacement in RENAMES:
        name = re.sub(pattern, replacement, name)
    return name


def is_scale(name: str, shape: tuple[int, ...]) -> bool:
    return name.endswith("running_var") or (name.endswith("weight") and len(shape) == 1)


def wave(shape: tuple[int, ...], step: float, offset: float) -> Tensor:
    return torch.sin(step * torch.arange(int(np.prod(shape)), dtype=torch.float64) + offset).view(shape)


def wave_tensor(name: str, shape: tuple[int, ...], index: int) -> Tensor:
    s = wave(shape, 0.37, index)
    if is_scale(name, shape):
        return 1 + 0.1 * s
    return (0.1 if name.endswith("running_mean") else 0.05) * s


def hashed(shape: tuple[int, ...], index: int) -> Tensor:
    """Numbers in [0, 1) from 32-bit integer arithmetic."""
    a = (np.arange(int(np.prod(shape)), dtype=np.uint64) + np.uint64(1000003 * index)) & np.uint64(0xFFFFFFFF)
    a = (a * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    a ^= a >> np.uint64(15)
    a = (a * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    a ^= a >> np.uint64(13)
    return torch.from_numpy(a.astype(np.float64) / 2**32).view(shape)


def hashed_tensor(name: str, shape: tuple[int, ...], index: int) -> Tensor:
    u = hashed(shape, index) - 0.5
    if is_scale(name, shape):
        return 1 + 0.2 * u
    if len(shape) > 1:
        return u * (24 * shape[0] / np.prod(shape)) ** 0.5
    return 0.2 * u


@dataclass(frozen=True)
class Fill:
    """How a golden network's weights and its two images are made."""

    tensor: Callable[[str, tuple[int, ...], int], Tensor]
    image: Callable[[int], Tensor]


FILLS = {
    "arch": Fill(wave_tensor, lambda size: 0.5 + 0.5 * wave((2, 3, size, size), 0.01, 0)),
    "archB": Fill(hashed_tensor, lambda size: hashed((2, 3, size, size), 999)),
}


def close(actual: Tensor, expected: np.ndarray) -> None:
    torch.testing.assert_close(actual, torch.from_numpy(expected), rtol=1e-9, atol=1e-9)

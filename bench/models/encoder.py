"""The residual encoder that methods return: normalisation, backbone, named batch-norm routes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

import torch
from torch import Tensor, nn

from bench.contract import Encoder
from bench.data.profiles import Channels, DataProfile
from bench.errors import unknown
from bench.models.precision import in_network_precision
from bench.models.resnet import Architecture, Init, ResNet, resnet
from bench.models.routes import checked, forked


class Normalisation(StrEnum):
    """The statistics that pixels are normalised with inside the encoder."""

    DATASET = "dataset"
    """Per channel, of the data set (solo-learn, DeACL, AMOC, NCP-ACL)."""
    IMAGENET = "imagenet"
    """ImageNet's, whatever the data (ACL, DynACL, AIR, RCS)."""
    NONE = "none"
    """Pixels enter as they are (RoCL, AdvCL)."""


Statistics = tuple[Channels, Channels]

STATISTICS: Mapping[Normalisation, Callable[[DataProfile], Statistics]] = {
    Normalisation.DATASET: lambda profile: (profile.mean, profile.std),
    Normalisation.IMAGENET: lambda profile: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    Normalisation.NONE: lambda profile: ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
}
"""Mean and standard deviation per channel, of pixels in [0, 1]."""


class Normalise(nn.Module):
    """(x - mean) / std per channel. The statistics are buffers: stored weights bring their own."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Channels, std: Channels) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, 3, H, W]."""
        return (x - self.mean) / self.std


class ResNetEncoder(Encoder):
    """Pixels in [0, 1] to the features of a residual network.

    Attributes:
        normalise: the statistics of pixels.
        backbone: the network, without a projector.
        feature_dim: width of the features.
    """

    def __init__(self, normalise: Normalise, backbone: ResNet, routes: Sequence[str], active_route: str) -> None:
        super().__init__()
        self.normalise = normalise
        self.backbone = backbone
        self.routes = checked(routes)
        self.active_route = one_of(self.routes, active_route)

    @property
    def feature_dim(self) -> int:
        """Width of the features."""
        return self.backbone.feature_dim

    def encode(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, feature_dim], on the active route."""
        return self.features(x, self.active_route)

    @in_network_precision
    def features(self, x: Tensor, route: str) -> Tensor:
        """[B, 3, H, W] in [0, 1] -> [B, feature_dim], on `route`: for training, which uses several."""
        features: Tensor = self.backbone(self.normalise(x), route)
        return features


def resnet_encoder(
    architecture: Architecture,
    profile: DataProfile,
    *,
    routes: Sequence[str] = ("main",),
    active_route: str | None = None,
    normalisation: Normalisation = Normalisation.DATASET,
    init: Init = Init.TORCH,
) -> ResNetEncoder:
    """A new encoder; `active_route` is the first of `routes` unless named. Weights come from torch's global generator.

    Raises:
        BenchError: if routes repeat, or the active one is not among them.
    """
    normalise = Normalise(*STATISTICS[normalisation](profile))
    return ResNetEncoder(normalise, resnet(architecture, checked(routes), init), routes, active_route or routes[0])


def with_routes(
    encoder: ResNetEncoder, routes: Sequence[str], *, active_route: str | None = None, source: str | None = None
) -> ResNetEncoder:
    """A trainable copy of `encoder` with other routes, each starting as a copy of its route `source`.

    Args:
        encoder: stays as it is, frozen or not.
        routes: of the copy.
        active_route: of the copy; the first of `routes` unless named.
        source: a route of `encoder`; its active one unless named.

    Raises:
        BenchError: if a route is not there.
    """
    backbone = forked(encoder.backbone, routes, one_of(encoder.routes, source or encoder.active_route))
    copied = ResNetEncoder(copy.deepcopy(encoder.normalise), backbone, routes, active_route or routes[0])
    return copied.requires_grad_(True).train()


def one_of(routes: Sequence[str], route: str) -> str:
    """`route`, if it is one of `routes`.

    Raises:
        BenchError: if it is not; the message lists them.
    """
    if route not in routes:
        raise unknown("batch-norm route", route, routes)
    return route

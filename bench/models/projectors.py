"""Projection heads: the small networks between the features and a contrastive loss, thrown away afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch.nn.functional as F
from torch import Tensor, nn

from bench.models.precision import in_network_precision
from bench.models.routes import RoutedBatchNorm1d


class Head(StrEnum):
    """The published projection heads; widths for features of 512."""

    SIMCLR = "simclr"
    """512-2048-256 (solo-learn solo/methods/simclr.py:48-52)."""
    ROCL = "rocl"
    """512-2048-128 (RoCL src/models/projector.py:9-17)."""
    AMOC = "amoc"
    """512-512-128 (AMOC models/components.py:9-20)."""
    ADVCL = "advcl"
    """512-512-128, a batch norm within (AdvCL models/resnet_cifar_multibn_ensembleFC.py:274-279)."""
    ACL = "acl"
    """512-512-512-512, each layer with a routed batch norm, the last without ReLU (ACL resnet_multi_bn.py:181-216)."""
    ACL_TWO_LAYERS = "acl-two-layers"
    """ACL's without the third layer (its option --twoLayerProj)."""


@dataclass(frozen=True)
class Layer:
    """One layer of a head.

    Attributes:
        width: outputs per feature of the encoder, so that a head scales with its encoder.
        bias: whether the linear map has one.
        norm: whether a batch norm follows.
        relu: whether a ReLU follows.
    """

    width: float
    bias: bool = True
    norm: bool = False
    relu: bool = False


LAYERS: Mapping[Head, tuple[Layer, ...]] = {
    Head.SIMCLR: (Layer(4, relu=True), Layer(0.5)),
    Head.ROCL: (Layer(4, relu=True), Layer(0.25)),
    Head.AMOC: (Layer(1, relu=True), Layer(0.25)),
    Head.ADVCL: (Layer(1, norm=True, relu=True), Layer(0.25)),
    Head.ACL: (
        Layer(1, norm=True, relu=True),
        Layer(1, bias=False, norm=True, relu=True),
        Layer(1, bias=False, norm=True),
    ),
    Head.ACL_TWO_LAYERS: (Layer(1, norm=True, relu=True), Layer(1, bias=False, norm=True)),
}


class ProjectorLayer(nn.Module):
    """Linear map, batch norm and ReLU, as its `Layer` says."""

    def __init__(self, inputs: int, outputs: int, layer: Layer, routes: Sequence[str]) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, outputs, bias=layer.bias)
        self.bn = RoutedBatchNorm1d(outputs, routes) if layer.norm else None
        self.relu = layer.relu

    def forward(self, z: Tensor, route: str) -> Tensor:
        """[B, inputs] -> [B, outputs]."""
        z = self.linear(z)
        z = z if self.bn is None else self.bn(z, route)
        return F.relu(z) if self.relu else z


class Projector(nn.Module):
    """A projection head. Its outputs are not normalised: the losses do that.

    Attributes:
        output_dim: width of what it returns.
    """

    def __init__(self, head: Head, feature_dim: int, routes: Sequence[str]) -> None:
        super().__init__()
        outputs = [round(layer.width * feature_dim) for layer in LAYERS[head]]
        shapes = zip([feature_dim, *outputs], outputs, LAYERS[head], strict=False)
        self.layers = nn.ModuleList(ProjectorLayer(*shape, routes) for shape in shapes)
        self.output_dim = outputs[-1]

    @in_network_precision
    def forward(self, z: Tensor, route: str) -> Tensor:
        """[B, feature_dim] -> [B, output_dim], batch norms, where there are any, on `route`."""
        for layer in self.layers:
            z = layer(z, route)
        return z

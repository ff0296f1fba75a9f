"""Batch norm with named routes: one network, several sets of statistics and affine parameters.

Adversarial and clean images have different statistics, so adversarial contrastive methods give each its own batch norm
and share all other weights ("dual BN", ACL; "TriggerBN", AMOC). The route is an argument of every forward pass here,
not a switch inside the network: nothing can be left in the wrong position.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor, nn

from bench.errors import BenchError, unknown

ModuleT = TypeVar("ModuleT", bound=nn.Module)


class RoutedBatchNorm(nn.ModuleDict):
    """One batch norm per route, by the route's name: its keys in a state_dict are `<route>.weight` and so on."""

    def __init__(self, norms: dict[str, nn.Module]) -> None:
        super().__init__(norms)

    def forward(self, x: Tensor, route: str) -> Tensor:
        """`x` normalised by the statistics and affine parameters of `route`; in train mode only those are updated.

        Raises:
            BenchError: if there is no such route; the message lists them.
        """
        if route not in self:
            raise unknown("batch-norm route", route, self.keys())
        normalised: Tensor = self[route](x)
        return normalised

    def fork(self, routes: Sequence[str], source: str) -> None:
        """Replace all routes by `routes`, each an independent copy of what `source` is now.

        Raises:
            BenchError: if there is no route `source`.
        """
        if source not in self:
            raise unknown("batch-norm route", source, self.keys())
        copies = {route: copy.deepcopy(self[source]) for route in checked(routes)}
        self.clear()
        self.update(copies)


class RoutedBatchNorm2d(RoutedBatchNorm):
    """For maps [B, C, H, W]."""

    def __init__(self, channels: int, routes: Sequence[str]) -> None:
        super().__init__({route: nn.BatchNorm2d(channels) for route in checked(routes)})


class RoutedBatchNorm1d(RoutedBatchNorm):
    """For vectors [B, C]."""

    def __init__(self, channels: int, routes: Sequence[str]) -> None:
        super().__init__({route: nn.BatchNorm1d(channels) for route in checked(routes)})


def checked(routes: Sequence[str]) -> tuple[str, ...]:
    """`routes` as a tuple, if they are distinct and at least one.

    Raises:
        BenchError: otherwise.
    """
    if not routes or len(set(routes)) < len(routes):
        raise BenchError(f"batch-norm routes must be distinct names, at least one; got {list(routes)}.")
    return tuple(routes)


def forked(module: ModuleT, routes: Sequence[str], source: str) -> ModuleT:
    """A copy of `module` whose batch norms all have `routes`, each starting as a copy of the route `source`.

    So a network that was trained with one batch norm becomes the start of one with several (NCP-ACL: both batch norms
    of the student start as the teacher's). `module` itself stays as it is.

    Raises:
        BenchError: if a batch norm of `module` has no route `source`.
    """
    other = copy.deepcopy(module)
    for part in other.modules():
        if isinstance(part, RoutedBatchNorm):
            part.fork(routes, source)
    return other

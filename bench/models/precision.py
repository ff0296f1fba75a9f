"""Mixed precision, which belongs to networks: inside them products are bfloat16, around them everything is fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Concatenate, ParamSpec, TypeVar, cast

import torch
from torch import Tensor, nn

Rest = ParamSpec("Rest")
NetT = TypeVar("NetT", bound=nn.Module)
Pass = Callable[Concatenate[NetT, Tensor, Rest], Tensor]
"""A network's pass: a tensor in, a tensor out, whatever else it takes."""

_MIXED: ContextVar[bool] = ContextVar("mixed precision", default=False)
_MARK = "follows_precision"


@contextmanager
def mixed_precision(wanted: bool) -> Iterator[None]:
    """Inside, networks compute in bfloat16 where that is `wanted`, in their parameters' type otherwise."""
    token = _MIXED.set(wanted)
    try:
        yield
    finally:
        _MIXED.reset(token)


def in_network_precision(forward: Pass[NetT, Rest]) -> Pass[NetT, Rest]:
    """Marks a network's pass as one that follows `mixed_precision`; what it returns is fp32 again.

    So losses, banks and clusterings never see a rounded product, and gradients of pixels are fp32. Without a cache of
    casted weights: it would outlive the optimiser's update, and freezing for an attack.
    """

    @wraps(forward)
    def passed(net: NetT, x: Tensor, *args: Rest.args, **kwargs: Rest.kwargs) -> Tensor:
        if not _MIXED.get():
            return forward(net, x, *args, **kwargs)
        with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
            return forward(net, x, *args, **kwargs).float()

    setattr(passed, _MARK, True)
    return cast("Pass[NetT, Rest]", passed)


def follows_precision(net: nn.Module) -> bool:
    """Whether any part of `net` has a pass that is marked, so that bfloat16 reaches it."""
    kinds = {type(part) for part in net.modules()}
    return any(getattr(getattr(kind, name, None), _MARK, False) for kind in kinds for name in dir(kind))

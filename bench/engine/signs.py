"""Signs of life of a training: measured without labels at an epoch's end, leaving no trace in what comes after."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from bench.attacks.watch import attacks_seen
from bench.contract import Encoder, UnlabelledImages
from bench.data.views import pixels_of
from bench.engine.state import TrainingState
from bench.history import SIGNS, Sign

MOST, LEAST, SHARE = 256, 16, 1 / 64
"""How many images are looked at: a share of them, so that it costs next to nothing, but within these bounds."""
SHIFT = 1 / 8
"""How far an image is moved to see whether its features stay, as a share of its width."""


def signs_of_life(
    encoder: Encoder, state: TrainingState[Any], images: UnlabelledImages
) -> Mapping[str, float | Mapping[str, float]]:
    """The epoch's signs and last learning rate, for the history.

    The first images are looked at, which are a random sample: a run's images come shuffled.
    """
    pixels = pixels_of(images.pixels[: sample_size(len(images))])
    devices = range(torch.cuda.device_count())
    with torch.no_grad(), in_eval_mode(state.net, encoder), torch.random.fork_rng(devices):
        features, moved = unit_rows(encoder.encode(torch.cat([pixels, shifted(pixels)]))).chunk(2)
        measured = {
            Sign.SPREAD: spread(features),
            Sign.DIMENSION: dimension(features),
            Sign.ALIGNMENT: (features * moved).sum(dim=1).mean(),
            **dict(bank_norms(state.net)),
        }
    rate = float(state.optimiser.param_groups[0]["lr"])
    values = {str(name): float(value) for name, value in measured.items()}
    return {"epoch": state.epoch, "learning_rate": rate, SIGNS: values}


@contextmanager
def in_eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Inside the block; afterwards every part is in the mode that it was in. For `torch.no_grad`: freezes nothing."""
    training = [part for module in modules for part in module.modules() if part.training]
    try:
        for part in training:
            part.training = False
        yield
    finally:
        for part in training:
            part.training = True


def sample_size(images: int) -> int:
    """How many of `images` are looked at."""
    return min(images, MOST, max(LEAST, int(SHARE * images)))


def unit_rows(features: Tensor) -> Tensor:
    """[B, d] in any precision -> float32 [B, d], rows of length 1."""
    return normalize(features.flatten(1).float(), dim=1)


def shifted(pixels: Tensor) -> Tensor:
    """[B, 3, H, W] moved to the right by an eighth of the width, at least a pixel; the edge is repeated."""
    by = max(1, int(SHIFT * pixels.shape[-1]))
    return torch.cat([pixels[..., :1].expand(*pixels.shape[:-1], by), pixels[..., :-by]], dim=-1)


def spread(features: Tensor) -> Tensor:
    """Of unit rows [B, d]: 0 if all are the same, near 1 if they are uniform on the sphere; see `Sign`."""
    return features.std(dim=0, correction=0).mean() * math.sqrt(features.shape[1])


def dimension(features: Tensor) -> Tensor:
    """Of rows [B, d]: the participation ratio of their covariance, between 1 and min(B - 1, d); 0 without variance."""
    centred = features - features.mean(dim=0)
    gram = centred @ centred.T
    return gram.trace().square() / gram.square().sum().clamp(min=torch.finfo(gram.dtype).tiny)


def bank_norms(net: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Mean length of the keys of each memory bank: a module with the buffers `keys` [size, dim] and `pointer`."""
    for name, module in net.named_modules():
        buffers = dict(module.named_buffers(recurse=False))
        if {"keys", "pointer"} <= buffers.keys():
            yield f"norm of {name} bank", buffers["keys"].float().norm(dim=1).mean()


def attack_signs() -> Mapping[str, Tensor]:
    """Of the attacks since the last call, scalars on the device; nothing where there were none."""
    rises = [end.double() - start.double() for start, end in attacks_seen()]
    if not rises:
        return {}
    gains = torch.stack(rises)
    return {str(Sign.ATTACK_GAIN): gains.mean(), str(Sign.ATTACK_SUCCESS): (gains > 0).double().mean()}

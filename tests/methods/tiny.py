"""Methods made small enough to train in a test: a few digits, a few steps, nothing on disk."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.config import MethodConfig, TrainingConfig
from bench.contract import Encoder, LabelledImages, Method, Record, Report, Run, UnlabelledImages
from bench.data.loading import data_set
from bench.engine.loop import Batch, take
from bench.grammar import parse_specs
from bench.plan import DataRef
from bench.randomness import Randomness
from bench.registry import Registry, resolve
from bench.stages.pretrain import pretrain, shuffled
from bench.sweep import Schedule

IMAGES, BATCH = 96, 32


def quiet(*_: Any) -> None:
    """Reports and records that nobody reads."""


@cache
def digits() -> LabelledImages:
    """A fixed, stratified subset of `digits`, whose classes the stage hands to methods that are `labelled` alone."""
    return data_set(DataRef("digits", f"train={IMAGES}"), Path("data")).train


@cache
def registry() -> Registry:
    """The methods that are installed."""
    return Registry.discover()


def tiny(text: str, **settings: Any) -> Method[Any]:
    """The method that `--methods text` names, with its `quick` settings cut to one epoch of three steps."""
    spec = parse_specs(text)[0]
    entry = registry().find(spec.name)
    cls = entry.load()
    if "digits" in cls.QUICK:
        config = resolve(entry, spec.options, digits().profile, Schedule.QUICK, epochs=1)
    else:
        config = cls.Config.model_validate(spec.options).with_epochs(1)
    return cls(resized(config, settings))


def resized(config: MethodConfig, settings: Mapping[str, Any]) -> MethodConfig:
    """`config` with small batches and `settings`, validated again."""
    small = {"batch_size": BATCH} if isinstance(config, TrainingConfig) else {}
    return type(config).model_validate({**config.model_dump(), **small, **settings})


def upstream_of(method: Method[Any], seed: int) -> Mapping[str, Encoder]:
    """What `method` needs, trained; its own to change."""
    return {name: fresh(need.method, seed) for name, need in method.requires().items()}


def fresh(text: str, seed: int = 0) -> Encoder:
    """A trained encoder that shares nothing with `trained`."""
    return copy.deepcopy(trained(text, seed))


@cache
def trained(text: str, seed: int = 0) -> Encoder:
    """The encoder of a run that nothing disturbed; not to be changed."""
    return pretrained(tiny(text), seed)


def pretrained(
    method: Method[Any],
    seed: int = 0,
    images: UnlabelledImages | None = None,
    report: Report = quiet,
    record: Record = quiet,
) -> Encoder:
    """The whole stage, upstreams first."""
    return pretrain(method, images or digits(), upstream_of(method, seed), seed, report, record)


def run_of(method: Method[Any], seed: int = 0, record: Record = quiet) -> Run:
    """What the stage hands to `method`."""
    upstream = {name: encoder.requires_grad_(False).eval() for name, encoder in upstream_of(method, seed).items()}
    return Run(Randomness(seed, "pretrain"), torch.device("cpu"), upstream, quiet, record)


def seen(seed: int = 0, *, labelled: bool = False) -> UnlabelledImages:
    """`digits` in the order in which the stage hands them to a method."""
    return shuffled(digits(), Randomness(seed, "pretrain"), labelled=labelled)


def batch_of(images: UnlabelledImages, first: int = 0, step: int = 0) -> Batch:
    """A batch of consecutive images."""
    return take(images, torch.arange(first, first + BATCH), Randomness(0, "pretrain"), 0, step)


def pixels(count: int = 16) -> Tensor:
    """float32 [count, 3, 8, 8] in [0, 1]."""
    return digits().pixels[:count].float() / 255


def bits(encoder: torch.nn.Module) -> str:
    """A hash of every parameter and buffer."""
    return bits_of(encoder.state_dict())


def bits_of(tensors: Mapping[str, Tensor]) -> str:
    """A hash of named tensors."""
    state = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        state.update(name.encode() + tensor.contiguous().numpy().tobytes())
    return state.hexdigest()

"""A finished cell as RobustBench takes models: a Python module that needs torch alone, its weights, its facts."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from fractions import Fraction
from importlib import resources
from typing import Any

import torch
from torch import Tensor

from bench import __version__
from bench.exports.cells import Row, Trained
from bench.models.encoder import ResNetEncoder
from bench.models.portable import architecture_of
from bench.models.resnet import Architecture
from bench.protocols.heads import classifier_of

ARCHITECTURES: Mapping[Architecture, str] = {
    Architecture.RESNET18_PADDING1: "ResNet-18",
    Architecture.RESNET18_PADDING2: "ResNet-18",
    Architecture.RESNET18_IMAGENET: "ResNet-18",
    Architecture.SMALL: "ResNet-8",
}
"""As leaderboards call them; the small one has three blocks: 7 convolutions and the linear layer."""


def as_robustbench(trained: Trained) -> dict[str, bytes]:
    """The files of a model by suffix: `.py`, `.pt` and `.json`."""
    source = resources.files("bench.exports").joinpath("standalone.py").read_bytes()
    info = json.dumps(model_info(trained.row, architecture_of(trained.encoder)), indent=2)
    return {".py": source, ".pt": _weights(trained), ".json": info.encode()}


def model_info(row: Row, architecture: Architecture) -> dict[str, Any]:
    """The fields of RobustBench's `ModelInfo`, as its model_info/*.json spell them; null where nothing is known."""
    return {
        "link": None,
        "name": row["label"],
        "authors": None,
        "additional_data": row["external_data"],
        "number_forward_passes": 1,
        "dataset": row["dataset_like"],
        "venue": "Unpublished",
        "architecture": ARCHITECTURES[architecture],
        "eps": _eps(row["eps"]),
        "clean_acc": _percent(row["sa"]),
        "reported": _percent(row["aa"]),
        "autoattack_acc": _percent(row["aa"]),
        "unreliable": False,
        "footnote": (
            f"Head by protocol {row['protocol']}, seed {row['seed_pretrain']}, scored on {row['test_images']} images "
            f"of {row['dataset']} by acl-bench {__version__}."
        ),
    }


def _percent(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}"


def _eps(eps: float) -> str:
    """`8/255` where it is a whole number of grey levels."""
    levels = round(eps * 255)
    return f"{levels}/255" if levels and abs(levels - eps * 255) < 1e-9 else str(Fraction(eps).limit_denominator(1000))


def _weights(trained: Trained) -> bytes:
    classifier = classifier_of(trained.encoder, trained.head)
    encoder = classifier.encoder
    assert isinstance(encoder, ResNetEncoder)
    buffer = io.BytesIO()
    weights = {name: value.detach().cpu().contiguous().clone() for name, value in _single_route(encoder)}
    weights |= {"fc.weight": classifier.weight.cpu(), "fc.bias": classifier.bias.cpu()}
    torch.save({"network": _network(encoder, classifier.classes), "weights": weights}, buffer)
    return buffer.getvalue()


def _network(encoder: ResNetEncoder, classes: int) -> dict[str, Any]:
    """The arguments of `bench.exports.standalone.Classifier`."""
    layout = encoder.backbone.layout
    stem = layout.stem
    return {
        "kernel": stem.kernel,
        "stride": stem.stride,
        "padding": stem.padding,
        "pool": stem.pool,
        "widths": list(layout.widths),
        "depth": layout.depth,
        "classes": classes,
    }


def _single_route(encoder: ResNetEncoder) -> list[tuple[str, Tensor]]:
    """Tensors by the names of `bench.exports.standalone`, with the batch norms of the active route alone."""
    others = tuple(f".{route}." for route in encoder.routes if route != encoder.active_route)
    return [
        (name.removeprefix("backbone.").removeprefix("normalise.").replace(f".{encoder.active_route}.", "."), value)
        for name, value in encoder.state_dict().items()
        if not any(other in name for other in others)
    ]

"""An encoder in one safetensors file that says itself what it is.

Beside the tensors (`encoder.` and what the encoder's state_dict names them; `head.` for a linear head), the file's
metadata holds under `acl-bench` what the network is to be built from, and where it comes from.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from safetensors.torch import save
from torch import Tensor

from bench.errors import BenchError
from bench.models.encoder import ResNetEncoder
from bench.models.resnet import LAYOUTS, Architecture

METADATA = "acl-bench"
FORMAT = 1
ENCODER, HEAD = "encoder.", "head."
"""Prefixes of the file's tensors."""


@dataclass(frozen=True)
class Card:
    """What a file says of its encoder.

    Attributes:
        architecture, routes, active_route: what the network is built from.
        origin: method, settings, data, protocol, hashes: JSON data for people.
    """

    architecture: Architecture
    routes: tuple[str, ...]
    active_route: str
    origin: Mapping[str, Any] = field(default_factory=dict)


def pack(encoder: ResNetEncoder, others: Mapping[str, Tensor], origin: Mapping[str, Any]) -> bytes:
    """The content of a file with an encoder, its normalisation included, and `others`.

    Args:
        encoder: of an architecture that has a name.
        others: further tensors, by the name they get in the file.
        origin: JSON data.
    """
    tensors = {ENCODER + name: value for name, value in encoder.state_dict().items()} | dict(others)
    card = {
        "format": FORMAT,
        "architecture": architecture_of(encoder),
        "routes": encoder.routes,
        "active_route": encoder.active_route,
        "mean": encoder.normalise.mean.flatten().tolist(),
        "std": encoder.normalise.std.flatten().tolist(),
        "origin": origin,
    }
    plain = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return save(plain, metadata={METADATA: json.dumps(card)})


def architecture_of(encoder: ResNetEncoder) -> Architecture:
    """The name of what an encoder was built from.

    Raises:
        BenchError: if it has none.
    """
    for architecture, layout in LAYOUTS.items():
        if layout == encoder.backbone.layout:
            return architecture
    raise BenchError(
        f"this encoder ({encoder.backbone.layout}) is none of the architectures that a file can name: "
        f"{', '.join(LAYOUTS)}."
    )


def card_of(content: bytes) -> Card | None:
    """What the content of a safetensors file says of its encoder; None where nothing of ours does."""
    text = _metadata(content).get(METADATA)
    if text is None:
        return None
    facts = json.loads(text)
    if facts["format"] > FORMAT:
        raise BenchError(
            f"the file was exported by a newer acl-bench (format {facts['format']}, this one reads {FORMAT}): upgrade."
        )
    routes: Sequence[str] = facts["routes"]
    return Card(Architecture(facts["architecture"]), tuple(routes), facts["active_route"], facts["origin"])


def is_safetensors(content: bytes) -> bool:
    """Whether a content begins as the safetensors format does: 8 bytes of length, then a JSON object."""
    return len(content) > 8 and content[8:9] == b"{"


def _metadata(content: bytes) -> Mapping[str, str]:
    if not is_safetensors(content):
        return {}
    (length,) = struct.unpack("<Q", content[:8])
    try:
        header: dict[str, Any] = json.loads(content[8 : 8 + length])
    except ValueError:
        return {}
    metadata: Mapping[str, str] = header.get("__metadata__", {})
    return metadata

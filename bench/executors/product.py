"""What a stage leaves behind: tensors, the file that holds them, and the hash that tells whether they are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench.errors import BenchError
from bench.keys import recipe_key
from bench.plan import StageKind
from bench.store import CORRECT, OUTCOMES, STAGE, Store, parquet

FILES: Mapping[StageKind, str] = {
    StageKind.PRETRAIN: "encoder.safetensors",
    StageKind.HEAD: "head.safetensors",
    StageKind.ATTACK: OUTCOMES,
    StageKind.AUDIT: "numbers.safetensors",
}
"""The file of each kind of stage."""

Tensors: TypeAlias = Mapping[str, Tensor]


@dataclass(frozen=True)
class Product:
    """The outcome of a stage.

    Attributes:
        tensors: what other stages read.
        result: JSON data for its record.
        notes: further files, name to content.
        earlier: seconds that earlier processes spent on it.
    """

    tensors: Tensors
    result: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, bytes] = field(default_factory=dict)
    earlier: float = 0.0

    def files(self, kind: StageKind) -> dict[str, bytes]:
        """Name and content of all its files."""
        encode = _to_parquet if kind is StageKind.ATTACK else _to_safetensors
        return {FILES[kind]: encode(self.tensors), **self.notes}


def bits_of(tensors: Tensors) -> str:
    """SHA-256 over names, types, shapes and contents, whatever the file format: equal where every bit is."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        plain = tensor.detach().cpu().contiguous()
        digest.update(f"{name} {plain.dtype} {tuple(plain.shape)}\n".encode())
        digest.update(plain.reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def stored(store: Store, key: str, kind: StageKind) -> dict[str, Tensor]:
    """The tensors of a finished stage, on the CPU, to the bit as they were stored.

    Raises:
        BenchError: if the file is torn, its content was changed, or all of it is another stage's.
    """
    record = store.record(key)
    if recipe_key(record["kind"], record["recipe"], record["upstream"]) != key:
        raise store.damaged(key, STAGE, "it is the record of another stage")
    tensors = _outcomes(store, key) if kind is StageKind.ATTACK else _weights(store, key, FILES[kind])
    if bits_of(tensors) != record.get("bits"):
        raise store.damaged(key, FILES[kind], "its content is not what was stored")
    return tensors


def sound(store: Store, key: str, kind: StageKind) -> bool:
    """Whether a stage is finished and its product is as it was stored."""
    try:
        stored(store, key, kind)
    except BenchError:
        return False
    return True


def _weights(store: Store, key: str, name: str) -> dict[str, Tensor]:
    try:
        return load(store.read(key, name))
    except (SafetensorError, ValueError, KeyError) as error:
        raise store.damaged(key, name, str(error)) from error


def _outcomes(store: Store, key: str) -> dict[str, Tensor]:
    return {CORRECT: torch.from_numpy(store.outcomes(key))}


def _to_safetensors(tensors: Tensors) -> bytes:
    # Copies: two names may share memory, which the format does not allow.
    return save({name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()})


def _to_parquet(tensors: Tensors) -> bytes:
    import pyarrow as pa

    return parquet(pa.table({CORRECT: tensors[CORRECT].numpy()}))

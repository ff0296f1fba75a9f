"""Checkpoints of a stage in the store: when one is due, and what it looks like on disk."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench.contract import Checkpoint
from bench.execution import Execution
from bench.executors.stop import Stop
from bench.keys import changed
from bench.provenance import context
from bench.store import Store

FACTS = "facts"
"""The one entry of the file's metadata: JSON."""


@dataclass
class Keeper:
    """Keeps the checkpoints of one stage; see `bench.contract.Checkpoints`.

    Attributes:
        every: seconds from one to the next.
        history: what the stage noted so far; goes with the checkpoint, and comes back with it.
        what: what the stage does, as a finding calls it.
        waits: whether a signal waits for the next `keep`, or ends the stage where it is: whoever works then keeps its
            latest state by itself (see `Milestones`).
        execution: of the stage's steps; part of its context.
        earlier: seconds that were worked before the checkpoint that this process went on from.
    """

    store: Store
    key: str
    device: str
    every: float
    stop: Stop
    history: list[Any]
    what: str = "pre-training"
    waits: bool = False
    execution: Execution = Execution.EAGER
    earlier: float = 0.0
    began: float = field(default_factory=time.monotonic)
    last: float = field(default_factory=time.monotonic)

    def latest(self) -> Checkpoint | None:
        """The newest checkpoint that is whole. From here on a signal waits for the next step's end, if it is to."""
        if self.waits:
            self.stop.defer()
        for content in self.store.checkpoints(self.key):
            try:
                checkpoint = decoded(content)
                begun = Checkpoint(checkpoint.tensors, checkpoint.facts["stage"])
            except (SafetensorError, ValueError, KeyError):
                continue
            self._resume(checkpoint.facts)
            return begun
        return None

    def due(self) -> bool:
        """Whether the time has come, or the end."""
        return self.stop.signal is not None or time.monotonic() - self.last >= self.every

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint.

        Raises:
            Interrupted: when it is written, if the run is to end.
            StoreError: if the disk is full or cannot be written.
        """
        facts = {
            "stage": checkpoint.facts,
            "history": self.history,
            "seconds": self.earlier + time.monotonic() - self.began,
            "context": asdict(context(self.device, self.execution)),
        }
        with self.stop.deferred():
            self.store.put_checkpoint(self.key, encoded(Checkpoint(checkpoint.tensors, facts)))
        self.last = time.monotonic()
        self.stop.check()

    def _resume(self, facts: Mapping[str, Any]) -> None:
        self.history[:] = facts["history"]
        self.earlier = facts["seconds"]
        if moved := list(changed(facts["context"], asdict(context(self.device, self.execution)))):
            self.store.add_finding(self.key, f"{self.what} went on in another context ({'; '.join(moved)}).")


def encoded(checkpoint: Checkpoint) -> bytes:
    """A checkpoint as the content of a safetensors file, which knows no strides: they go into the metadata."""
    tensors = {name: value.detach().cpu() for name, value in checkpoint.tensors.items()}
    plain = {name: value.clone(memory_format=torch.contiguous_format) for name, value in tensors.items()}
    strides = {name: value.stride() for name, value in tensors.items() if value.stride() != plain[name].stride()}
    return save(plain, {FACTS: json.dumps({"strides": strides, **checkpoint.facts})})


def decoded(content: bytes) -> Checkpoint:
    """A checkpoint from a file's content.

    Raises:
        SafetensorError, ValueError, KeyError: if it is not one.
    """
    end = 8 + int.from_bytes(content[:8], "little")  # The format's header: its length, then JSON.
    facts = json.loads(json.loads(content[8:end])["__metadata__"][FACTS])
    strides = facts.pop("strides")
    return Checkpoint({name: _laid_out(value, strides.get(name)) for name, value in load(content).items()}, facts)


def _laid_out(value: Tensor, strides: list[int] | None) -> Tensor:
    if strides is None:
        return value
    return torch.empty_strided(value.shape, strides, dtype=value.dtype).copy_(value)

"""On which device a stage is put. Pure; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Device:
    """Where stages can be carried out.

    Attributes:
        name: `cpu`, `cuda:1`.
        memory: that all its stages together may take, in MiB.
    """

    name: str
    memory: float = math.inf


@dataclass(frozen=True)
class Placed:
    """A stage at work.

    Attributes:
        key: of the stage.
        device: name of the device.
        need: memory that it takes there, in MiB; None where that is not known.
    """

    key: str
    device: str
    need: float | None


def place(need: float | None, devices: Sequence[Device], at_work: Sequence[Placed], jobs: int) -> Device | None:
    """The device for a stage that takes `need` MiB of memory; None if it has to wait for others to end.

    An idle device comes first, the one of the most memory among several; it is taken whatever the need, as nothing
    better will come. A stage joins others on a device only where the needs of all are known and fit. No more than
    `jobs` are at work at a time.
    """
    if len(at_work) >= jobs:
        return None
    busy = {placed.device for placed in at_work}
    idle = [device for device in devices if device.name not in busy]
    if idle:
        return max(idle, key=lambda device: device.memory)
    open_to_it = [device for device in devices if need is not None and need <= _room(device, at_work)]
    return max(open_to_it, key=lambda device: _room(device, at_work), default=None)


def _room(device: Device, at_work: Sequence[Placed]) -> float:
    """Memory left on a device, in MiB; less than nothing where somebody's need is not known."""
    needs = [math.inf if placed.need is None else placed.need for placed in at_work if placed.device == device.name]
    return device.memory - sum(needs) if math.inf not in needs else -math.inf

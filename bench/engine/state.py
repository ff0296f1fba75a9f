"""All that the rest of a training depends on, as a checkpoint and back, to the bit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeAlias, TypeVar

import torch
from torch import Tensor, nn

from bench.contract import Checkpoint

NetT = TypeVar("NetT", bound=nn.Module)
Facts: TypeAlias = dict[str, Any]
Tensors: TypeAlias = dict[str, Tensor]

PLAIN = (bool, int, float, str, type(None))
"""What of an optimiser's state is kept as JSON."""


class Averages:
    """Means over an epoch, summed on the device so that no step waits for the host.

    The sums stay where they are for good, so that a captured step may add to them.

    Attributes:
        sums: by name, float64 scalars.
        counts: by name, how often it was added in this epoch: a part may be missing from some steps.
    """

    def __init__(self) -> None:
        self.sums: dict[str, Tensor] = {}
        self.counts: dict[str, int] = {}

    def add(self, **values: Tensor) -> None:
        """Add one step's values."""
        for name, value in values.items():
            if name not in self.sums:
                self.sums[name] = torch.zeros((), dtype=torch.float64, device=value.device)
            self.sums[name].add_(value.detach())
            self.counts[name] = self.counts.get(name, 0) + 1

    def means(self) -> dict[str, float]:
        """The means so far, on the host."""
        return {name: float(self.sums[name]) / count for name, count in self.counts.items()}

    def reset(self) -> None:
        """Begin another epoch."""
        self.counts.clear()
        for total in self.sums.values():
            total.zero_()


class TrainingState(Generic[NetT]):
    """Where a training stands.

    Attributes:
        net: everything that training changes.
        optimiser: over what is trained.
        epoch: the one that is at work, from 0.
        step: the steps of this epoch that are done; 0 is before `before_epoch`.
        order: of this epoch, if the method brought its own.
        averages: over this epoch so far.
    """

    def __init__(self, net: NetT, optimiser: torch.optim.Optimizer) -> None:
        self.net = net
        self.optimiser = optimiser
        self.epoch = 0
        self.step = 0
        self.order: Tensor | None = None
        self.averages = Averages()

    def end_epoch(self) -> None:
        """On to the next epoch."""
        self.epoch, self.step, self.order = self.epoch + 1, 0, None
        self.averages.reset()

    def checkpoint(self) -> Checkpoint:
        """The state as it is now; its tensors are shared with the training, not copied."""
        tensors, facts = optimiser_state(self.optimiser)
        sums = {name: self.averages.sums[name] for name in self.averages.counts}
        tensors |= _named("net", self.net.state_dict()) | _named("mean", sums) | random_states()
        if self.order is not None:
            tensors["order"] = self.order
        position = {"epoch": self.epoch, "step": self.step, "counts": dict(self.averages.counts)}
        return Checkpoint(tensors, {**facts, **position, **modes(self.net)})

    def restore(self, checkpoint: Checkpoint) -> None:
        """Become the state that was kept; network and optimiser are as `build` and `optimiser` made them."""
        tensors, facts = checkpoint.tensors, checkpoint.facts
        self.net.load_state_dict(_of("net", tensors))
        set_modes(self.net, facts)
        load_optimiser(self.optimiser, tensors, facts)
        device = next(self.net.parameters()).device
        self.epoch, self.step = facts["epoch"], facts["step"]
        self.order = tensors["order"].to(device) if "order" in tensors else None
        sums = _of("mean", tensors)
        self.averages.counts = dict(facts["counts"])
        self.averages.sums = {name: sums[name].to(device) for name in facts["counts"]}
        set_random_states(tensors)


def optimiser_state(optimiser: torch.optim.Optimizer) -> tuple[Tensors, Facts]:
    """An optimiser's state as tensors and JSON data."""
    state = optimiser.state_dict()
    entries = [(index, name, value) for index, own in state["state"].items() for name, value in own.items()]
    tensors = {f"optimiser.{index}.{name}": value for index, name, value in entries if isinstance(value, Tensor)}
    plain = [[index, name, value] for index, name, value in entries if isinstance(value, PLAIN)]
    groups = [{name: value for name, value in group.items() if _is_plain(value)} for group in state["param_groups"]]
    return tensors, {"optimiser": plain, "groups": groups}


def load_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Give a new optimiser the state that was kept."""
    state: dict[int, Facts] = {}
    for path, value in _of("optimiser", tensors).items():
        index, _, name = path.partition(".")
        state.setdefault(int(index), {})[name] = value
    for index, name, value in facts["optimiser"]:
        state.setdefault(index, {})[name] = value
    fresh = optimiser.state_dict()["param_groups"]
    groups = [{**group, **kept} for group, kept in zip(fresh, facts["groups"], strict=True)]
    optimiser.load_state_dict({"state": state, "param_groups": groups})


def modes(net: nn.Module) -> Facts:
    """What of a network's state is no tensor: modules in eval mode, parameters without a gradient."""
    return {
        "eval": [name for name, module in net.named_modules() if not module.training],
        "frozen": [name for name, parameter in net.named_parameters() if not parameter.requires_grad],
    }


def set_modes(net: nn.Module, facts: Mapping[str, Any]) -> None:
    """The modes that were kept."""
    resting, frozen = set(facts["eval"]), set(facts["frozen"])
    for name, module in net.named_modules():
        module.training = name not in resting
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(name not in frozen)


def random_states() -> Tensors:
    """Torch's global generators, for methods that draw from them."""
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    return {"random.cpu": torch.get_rng_state()} | {f"random.{index}": state for index, state in enumerate(cuda)}


def set_random_states(tensors: Mapping[str, Tensor]) -> None:
    """The generators as they were kept; those of devices that are no longer there are left out."""
    states = _of("random", tensors)
    torch.set_rng_state(states.pop("cpu"))
    for index, state in states.items():
        if int(index) < torch.cuda.device_count():
            torch.cuda.set_rng_state(state, int(index))


def _is_plain(value: object) -> bool:
    return isinstance(value, PLAIN)


def _named(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _of(prefix: str, tensors: Mapping[str, Tensor]) -> Tensors:
    """The tensors that `_named` gave a prefix, without it."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}

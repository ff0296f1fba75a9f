"""The sweep as data: cells, and the graph of stages that they share. Pure; imports no torch."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from bench.keys import canonical, digest, recipe_key

IDENTITY = (
    "schedule",
    "epochs",
    "limit_train",
    "limit_test",
    "data_fingerprint",
    "pool_fingerprint",
    "protocol_hash",
    "eps",
    "precision",
)
"""Facts of a cell that are part of what was asked for."""
IF_GIVEN = ("budget",)
"""Those that came later: part of it where they are given, so that older rows keep their identity."""

SURROGATE_ENCODER, SURROGATE_HEAD = "surrogate_encoder", "surrogate_head"
"""Upstreams of a transferred attack: the classifier that its images are made on."""


class StageKind(StrEnum):
    """What a stage does."""

    PRETRAIN = "pretrain"
    HEAD = "head"
    ATTACK = "attack"
    AUDIT = "audit"
    """The gates that a scored classifier passes through."""


@dataclass(frozen=True)
class MethodRef:
    """A method with its resolved settings, ready to cross a process.

    Attributes:
        text: how the registry finds it: a name, or `FILE:Class`.
        name: its canonical name.
        config: every field of its settings, as JSON data, files by their content alone.
        profile: name of the data set whose facts apply.
        files: where the files of its settings lie, by field.
    """

    text: str
    name: str
    config: Mapping[str, Any]
    profile: str
    files: Mapping[str, str] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """`config` with the paths of its files: what its `Config` is validated from."""
        return {**self.config, **{name: {**self.config[name], "path": path} for name, path in self.files.items()}}

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, wherever it and its files were found."""
        return {"text": None, "name": self.name, "config": self.config, "profile": self.profile}


@dataclass(frozen=True)
class DataRef:
    """Images by source text, and how many of them.

    Attributes:
        source: canonical text of the source.
        limit: canonical text of the limit, or None for all.
    """

    source: str
    limit: str | None = None


@dataclass(frozen=True)
class Task:
    """What a worker needs to carry out a stage.

    Attributes:
        method: whose encoder is pre-trained or judged.
        data: images to pre-train on, or to judge with.
        seed: of this stage.
        protocol: name, for a head or an attack.
        attack: name within the protocol, for an attack.
        gates: names, for an audit.
    """

    method: MethodRef
    data: DataRef
    seed: int
    protocol: str | None = None
    attack: str | None = None
    gates: tuple[str, ...] = ()

    @property
    def what(self) -> dict[str, Any]:
        """Which stage this is, whatever its settings: what `bench why` looks for an earlier version of."""
        return {
            "method": self.method.name,
            "data": self.data.source,
            "seed": self.seed,
            "protocol": self.protocol,
            "attack": self.attack,
            **({"gates": list(self.gates)} if self.gates else {}),
        }


@dataclass(frozen=True)
class Stage:
    """A unit of work with one product in the store.

    Attributes:
        kind: what it does.
        label: for people.
        task: what a worker needs.
        recipe: everything that the product depends on, kept as JSON data; its hash is the key.
        upstream: name -> key of the stages whose products it reads.
        weight: cost in encoder forward passes of one image, an estimate.
    """

    kind: StageKind
    label: str
    task: Task
    recipe: Mapping[str, Any]
    upstream: Mapping[str, str] = field(default_factory=dict)
    weight: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "recipe", json.loads(canonical(self.recipe)))

    @cached_property
    def key(self) -> str:
        """The recipe key."""
        return recipe_key(self.kind, self.recipe, self.upstream)


@dataclass(frozen=True)
class Seeds:
    """The seeds of a cell, one per source of randomness."""

    pretrain: int
    head: int
    attack: int

    @property
    def text(self) -> str:
        """For names: `0` where one seed sets all, else `0,head3,attack1`."""
        shared = self.pretrain == self.head == self.attack
        return f"{self.pretrain}" if shared else f"{self.pretrain},head{self.head},attack{self.attack}"


@dataclass(frozen=True)
class Cell:
    """One row to be.

    Attributes:
        label: the method as tables show it, e.g. `ncp[neighbour=3]`.
        data, pool: evaluation and pre-training images.
        facts: further columns of the row that are known before anything runs.
        pretrain, head: keys of its stages.
        attacks: attack name -> key.
        audit: key of the gates that are part of every evaluation.
    """

    label: str
    method: MethodRef
    data: DataRef
    pool: DataRef
    seeds: Seeds
    protocol: str
    pretrain: str
    head: str
    attacks: Mapping[str, str]
    facts: Mapping[str, Any]
    audit: str | None = None

    @cached_property
    def key(self) -> str:
        """Its identity: what was asked for, whatever code answers. Its newest row takes the place of older ones."""
        return digest(
            {
                "label": self.label,
                "method": self.method.identity,
                "seeds": asdict(self.seeds),
                "protocol": self.protocol,
                **{name: self.facts[name] for name in IDENTITY},
                **{name: self.facts[name] for name in IF_GIVEN if self.facts.get(name) is not None},
            }
        )

    @property
    def stages(self) -> tuple[str, ...]:
        """Keys of its own stages, in order; upstreams of the pre-training are reached through the plan."""
        return (self.pretrain, self.head, *self.attacks.values(), *([self.audit] if self.audit else []))

    @property
    def name(self) -> str:
        """How `bench why` and logs call it."""
        return f"{self.label}/{self.data.source}/{self.protocol}/seed{self.seeds.text}"


@dataclass(frozen=True)
class Plan:
    """The cells of a sweep and the stages they share, each stage once, after its upstreams."""

    cells: tuple[Cell, ...]
    stages: Mapping[str, Stage]

    @classmethod
    def joined(cls, plans: Iterable[Plan]) -> Plan:
        """The cells of several plans, and each of their stages once."""
        cells: dict[str, Cell] = {}
        stages: dict[str, Stage] = {}
        for plan in plans:
            cells |= {cell.key: cell for cell in plan.cells}
            stages |= {key: stage for key, stage in plan.stages.items() if key not in stages}
        return cls(tuple(cells.values()), stages)

    def needs(self, key: str) -> Iterator[str]:
        """Keys of all stages that the stage `key` rests on, itself last, each once."""
        found: set[str] = set()
        waiting = [key]
        while waiting:
            found.add(one := waiting.pop())
            waiting += set(self.stages[one].upstream.values()) - found
        return (one for one in self.stages if one in found)

    @cached_property
    def downstream(self) -> Mapping[str, tuple[str, ...]]:
        """Keys of the stages that read each stage's product."""
        readers: dict[str, list[str]] = {key: [] for key in self.stages}
        for key, stage in self.stages.items():
            for upstream in dict.fromkeys(stage.upstream.values()):
                readers[upstream].append(key)
        return {key: tuple(keys) for key, keys in readers.items()}

    def urgency(self, todo: Collection[str]) -> dict[str, float]:
        """Weight of the heaviest chain of stages to do that begins with each of them: what to start first."""
        urgency: dict[str, float] = {}
        for key in reversed(list(self.stages)):
            if key in todo:
                after = max((urgency.get(reader, 0.0) for reader in self.downstream[key]), default=0.0)
                urgency[key] = self.stages[key].weight + after
        return urgency

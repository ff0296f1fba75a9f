"""From what a user asks for to a plan: finds methods, reads the data's fingerprints, and writes every stage's recipe."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from bench.attacks.threats import AttackKind, AttackSpec
from bench.config import MethodConfig
from bench.data.limits import Limit
from bench.data.loading import DataFacts, data_facts, pool_facts
from bench.data.profiles import DataProfile
from bench.errors import BenchError
from bench.grammar import Spec, expand, parse_specs
from bench.keys import PROJECT_SOURCES, Sources, closure, digest, plugin_sources
from bench.plan import Cell, DataRef, MethodRef, Plan, Seeds, Stage, StageKind, Task
from bench.protocols.recipes import HeadRecipe, Objective, Protocol, protocol_of
from bench.registry import MethodEntry, Registry, resolve
from bench.sweep import Sweep

PRECISION = "fp32"
AUTOATTACK_PASSES = 4000
"""Forward passes that AutoAttack standard spends on a test image, on average: an estimate for plans alone."""


def plan_of(sweep: Sweep, *, download: bool = False, registry: Registry | None = None) -> Plan:
    """The plan of a sweep.

    Args:
        sweep: what the user asks for.
        download: fetch data sets that are not here; without it their stages count as to be computed.
        registry: where methods are found; the standard places by default.

    Raises:
        BenchError: for anything in the sweep that cannot be run.
    """
    planner = _Planner(sweep, download, registry or Registry.discover())
    protocols = [protocol_of(spec.name) for spec in parse_specs(sweep.protocol_names)]
    methods = [point for spec in parse_specs(sweep.methods) for point in expand(spec)]
    for dataset in parse_specs(sweep.datasets):
        data = planner.data(dataset.text)
        for spec in methods:
            chosen = planner.choose(spec, data.profile)
            for seed in sweep.seeds:
                planner.add_cells(chosen, data, protocols, seed)
    return Plan(tuple(planner.cells.values()), planner.stages)


@dataclass(frozen=True)
class _Chosen:
    """A method with its settings for one data set."""

    entry: MethodEntry
    ref: MethodRef
    config: MethodConfig
    label: str
    source: Mapping[str, str]

    @property
    def recipe(self) -> dict[str, Any]:
        return {"method": self.ref.name, "config": self.ref.config, "profile": self.ref.profile}


@dataclass
class _Planner:
    """Collects stages; each is added after its upstreams, and once."""

    sweep: Sweep
    download: bool
    registry: Registry
    stages: dict[str, Stage] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)

    @cached_property
    def limit(self) -> Limit | None:
        return Limit.parse(self.sweep.limit) if self.sweep.limit else None

    def data(self, source: str) -> DataFacts:
        ref = DataRef(source, self.limit.text if self.limit else None)
        return data_facts(ref, self.sweep.data_dir, self.download)

    def pool(self, source: str) -> DataFacts:
        limit = Limit(train=self.limit.train) if self.limit and self.limit.train else None
        return pool_facts(DataRef(source, limit.text if limit else None), self.sweep.data_dir, self.download)

    @cached_property
    def environment(self) -> dict[str, Any]:
        """What every stage's numbers depend on beside its own recipe."""
        return {"precision": PRECISION, "threads": self.sweep.threads}

    def choose(self, spec: Spec, profile: DataProfile) -> _Chosen:
        entry = self.registry.find(spec.name)
        config = resolve(entry, spec.options, profile, self.sweep.schedule, self.sweep.pretrain_epochs)
        ref = MethodRef(entry.text, entry.name, config.model_dump(mode="json"), profile.name)
        label = Spec(entry.name, spec.options).text
        return _Chosen(entry, ref, config, label, _method_source(entry))

    def add_cells(self, chosen: _Chosen, data: DataFacts, protocols: list[Protocol], seed: int) -> None:
        pretrain = self.pretraining(chosen, data, seed)
        for protocol in protocols:
            _check_classes(protocol, data)
            head = self.head(chosen, data, protocol, seed, pretrain)
            attacks = {spec.name: self.attack(chosen, data, protocol, spec, seed, pretrain, head) for spec in protocol.attacks}
            pool = self.pool(chosen_pool(chosen, data))
            cell = Cell(
                label=chosen.label,
                method=chosen.ref,
                data=data.ref,
                pool=pool.ref,
                seeds=Seeds(seed, seed, seed),
                protocol=protocol.name,
                pretrain=pretrain,
                head=head,
                attacks=attacks,
                facts=self.facts(chosen, data, pool, protocol),
            )
            self.cells[cell.key] = cell

    def pretraining(self, chosen: _Chosen, data: DataFacts, seed: int) -> str:
        """The stage that trains the method's encoder, after those it requires."""
        method = chosen.entry.load()(chosen.config)
        upstream = {
            name: self.pretraining(self.choose(*_single(need.method, data.profile)), data, seed)
            for name, need in method.requires().items()
        }
        pool = self.pool(chosen_pool(chosen, data))
        passes, epochs = method.passes(), getattr(chosen.config, "epochs", 1)
        return self.add(
            Stage(
                StageKind.PRETRAIN,
                f"{chosen.label} {data.ref.source} seed {seed}",
                Task(chosen.ref, pool.ref, seed),
                {**chosen.recipe, **self.environment, "seed": seed, "images": pool.fingerprint, "source": chosen.source},
                upstream,
                (passes.total if passes else 1.0) * epochs * pool.train_images,
            )
        )

    def head(self, chosen: _Chosen, data: DataFacts, protocol: Protocol, seed: int, pretrain: str) -> str:
        """The stage that fits the protocol's head, after the one that lends its rate."""
        recipe, upstream = protocol.recipe, {"encoder": pretrain}
        if recipe.rate_by_dataset:
            recipe.rate_for(data.profile.name)
        if recipe.rate_from:
            upstream["rate"] = self.head(chosen, data, protocol_of(recipe.rate_from), seed, pretrain)
        return self.add(
            Stage(
                StageKind.HEAD,
                f"{chosen.label} {data.ref.source} seed {seed} {protocol.name}",
                Task(chosen.ref, data.ref, seed, protocol.name),
                {
                    **self.environment,
                    "recipe": asdict(recipe),
                    "profile": data.profile.name,
                    "eps": data.profile.eps if recipe.objective is Objective.ADVERSARIAL else None,
                    "seed": seed,
                    "images": data.fingerprint,
                    "source": _stage_source("head"),
                },
                upstream,
                _head_passes(recipe) * data.train_images,
            )
        )

    def attack(
        self,
        chosen: _Chosen,
        data: DataFacts,
        protocol: Protocol,
        spec: AttackSpec,
        seed: int,
        pretrain: str,
        head: str,
    ) -> str:
        """The stage that scores the head under one attack."""
        return self.add(
            Stage(
                StageKind.ATTACK,
                f"{chosen.label} {data.ref.source} seed {seed} {protocol.name} {spec.name}",
                Task(chosen.ref, data.ref, seed, protocol.name, spec.name),
                {
                    **self.environment,
                    "attack": asdict(spec),
                    "eps": data.profile.eps,
                    "seed": seed,
                    "images": data.fingerprint,
                    "source": _stage_source("attack"),
                },
                {"encoder": pretrain, "head": head},
                _attack_passes(spec) * data.test_images,
            )
        )

    def add(self, stage: Stage) -> str:
        self.stages.setdefault(stage.key, stage)
        return stage.key

    def facts(self, chosen: _Chosen, data: DataFacts, pool: DataFacts, protocol: Protocol) -> dict[str, Any]:
        """Columns of the row that are known before anything runs."""
        limit = self.limit or Limit()
        return {
            "label": chosen.label,
            "method": chosen.ref.name,
            "dataset": data.ref.source,
            "dataset_like": data.profile.name,
            "pretrain_data": pool.ref.source,
            "schedule": str(self.sweep.schedule),
            "epochs": self.sweep.epochs,
            "limit_train": limit.train,
            "limit_test": limit.test,
            "limited": self.limit is not None,
            "protocol": protocol.name,
            "protocol_hash": protocol.hash,
            "legacy": protocol.legacy,
            "eps": data.profile.eps,
            "plugin": chosen.entry.origin,
            "plugin_hash": digest(chosen.source),
            "data_fingerprint": data.fingerprint,
            "pool_fingerprint": pool.fingerprint,
            "precision": PRECISION,
        }


def chosen_pool(chosen: _Chosen, data: DataFacts) -> str:
    """The source of the pre-training images: the one its settings name, else the data set's own."""
    return getattr(chosen.config, "pretrain_pool", None) or data.ref.source


def _single(text: str, profile: DataProfile) -> tuple[Spec, DataProfile]:
    specs = parse_specs(text)
    if len(specs) != 1 or len(expand(specs[0])) != 1:
        raise BenchError(f"'{text}' names several methods where one upstream is needed; name one, e.g. 'simclr'.")
    return specs[0], profile


def _method_source(entry: MethodEntry) -> dict[str, str]:
    """Source closure of a method and of the stage that runs it."""
    if entry.module is None:
        assert entry.file is not None
        return closure(("bench.stages.pretrain",), (entry.file,), plugin_sources(entry.file))
    return closure((entry.module, "bench.stages.pretrain"), sources=_with_package(entry.module))


def _with_package(module: str) -> Sources:
    """The project's sources and those of the installed package that `module` belongs to."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if top in dict(PROJECT_SOURCES.roots) or spec is None or spec.origin is None:
        return PROJECT_SOURCES
    file = Path(spec.origin)
    return Sources((*PROJECT_SOURCES.roots, (top, file.parent.parent if file.name == "__init__.py" else file.parent)))


def _stage_source(name: str) -> dict[str, str]:
    return closure((f"bench.stages.{name}",))


def _check_classes(protocol: Protocol, data: DataFacts) -> None:
    if data.classes < 4 and any(spec.kind is AttackKind.AUTOATTACK for spec in protocol.attacks):
        raise BenchError(
            f"protocol '{protocol.name}' scores with AutoAttack, whose DLR loss needs at least 4 classes; "
            f"'{data.ref.source}' has {data.classes}. Use data with 4 classes or more."
        )


def _head_passes(recipe: HeadRecipe) -> float:
    if recipe.cacheable:
        return 2.0
    attack = 2 * recipe.inner.steps if recipe.objective is Objective.ADVERSARIAL else 0
    return float(recipe.epochs * (1 + attack))


def _attack_passes(spec: AttackSpec) -> float:
    if spec.kind is AttackKind.AUTOATTACK:
        return float(AUTOATTACK_PASSES)
    return 1.0 + 2 * spec.steps * spec.restarts



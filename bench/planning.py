"""From what a user asks for to a plan: finds methods, reads the data's fingerprints, writes every stage's recipe."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.attacks.threats import AttackKind, AttackSpec, Part, check_classes
from bench.budget import Trained, epochs_within
from bench.closure import PROJECT_SOURCES, Sources, Target, closure
from bench.config import MethodConfig, TrainingConfig
from bench.data.limits import Limit
from bench.data.loading import NOT_HERE, DataFacts, corrupted_images, data_facts, training_facts
from bench.data.profiles import DataProfile
from bench.data.sources import parse_source, parse_sources
from bench.errors import BenchError
from bench.execution import Precision
from bench.grammar import Spec, expand, parse_spec, parse_specs
from bench.keys import digest
from bench.plan import SURROGATE_ENCODER, SURROGATE_HEAD, Cell, DataRef, MethodRef, Plan, Seeds, Stage, StageKind, Task
from bench.protocols.recipes import HeadInit, HeadRecipe, Protocol, Routes, protocol_of
from bench.registry import MethodEntry, Registry, resolve
from bench.store import Store
from bench.surrogates import surrogate
from bench.sweep import Sweep

if TYPE_CHECKING:
    from bench.contract import Method

AUTOATTACK_PASSES = 4000
"""Forward passes that AutoAttack standard spends on a test image, on average: an estimate for plans alone."""
AUDIT_PASSES = 30
"""The same of the gates that are part of every evaluation."""
DEEPFOOL_CANDIDATES, SEARCHES = 9, 9
"""Classes that a step of DeepFool looks at, and binary searches of C&W."""


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
    protocols = [protocol_of(one.text) for spec in parse_specs(sweep.protocol_names) for one in expand(spec)]
    methods = [point for spec in parse_specs(sweep.methods) for point in expand(spec)]
    for source in parse_sources(sweep.datasets):
        chosen = [planner.asked(spec, source.profile) for spec in methods]  # before any download
        data = planner.data(source.name)
        for method in chosen:
            for seeds in seeds_of(sweep):
                planner.add_cells(_Subject(method, data, seeds), protocols)
    return Plan(tuple(planner.cells.values()), planner.stages)


OUTCOME = "outcome."
"""Marks an audit's upstreams that are attacks."""


def outcomes_of(protocol: Protocol, attacks: Mapping[str, str]) -> dict[str, str]:
    """The keys of those attacks as upstreams of an audit whose outcomes are of the test images, one each."""
    corruptions = {spec.name for spec in protocol.attacks if spec.kind is AttackKind.CORRUPTION}
    return {OUTCOME + name: key for name, key in attacks.items() if name not in corruptions}


def audit_recipe(gates: Sequence[str], protocol: Protocol, eps: float, seed: int, images: str) -> dict[str, Any]:
    """What the verdicts of some gates depend on, the source of their code and the number of threads left aside.

    Args:
        gates: names.
        protocol: by which the classifier was scored.
        eps: radius of the ball, in units of [0, 1] pixels.
        seed: of what the gates draw.
        images: fingerprint of the evaluation data.
    """
    facts = {"eps": eps, "seed": seed, "images": images, "encoder_mode": str(protocol.recipe.encoder_mode)}
    return {"gates": list(gates), **facts, **_computed_in(protocol.precision)}


def seeds_of(sweep: Sweep) -> Iterator[Seeds]:
    """The seeds of a sweep's cells: pre-training, head and attack are crossed where they were asked for apart."""
    for pretrain in sweep.seeds:
        for head in sweep.head_seeds or (pretrain,):
            for attack in sweep.attack_seeds or (pretrain,):
                yield Seeds(pretrain, head, attack)


def source_of(kind: StageKind, entry: MethodEntry) -> dict[str, str]:
    """Hashes of the source that a stage depends on: its own code, and for pre-training the method's."""
    return _method_source(entry) if kind is StageKind.PRETRAIN else stage_source(kind)


def stage_source(kind: StageKind) -> dict[str, str]:
    """Hashes of the source of a stage whose code no method has a part in."""
    return closure([_code_of(kind)])


def _method_source(entry: MethodEntry) -> dict[str, str]:
    code = _code_of(StageKind.PRETRAIN)
    if entry.file is not None and entry.module is None:
        return closure([code], PROJECT_SOURCES.beside(entry.file), entry.file)
    module = str(entry.module)
    return closure([(module, entry.cls.partition(".")[0]), code], _with_package(module))


def _code_of(kind: StageKind) -> Target:
    """The function that computes a stage of this kind."""
    return f"bench.stages.{kind}", str(kind)


def _with_package(module: str) -> Sources:
    """The project's sources and those of the installed package that `module` belongs to."""
    top = module.partition(".")[0]
    spec = importlib.util.find_spec(top)
    if spec is None or spec.origin is None:
        return PROJECT_SOURCES
    file = Path(spec.origin)
    return PROJECT_SOURCES.including(top, file.parent.parent if file.name == "__init__.py" else file.parent)


@dataclass(frozen=True)
class _Chosen:
    """A method with its settings for one data set.

    Attributes:
        spec: how it was asked for.
        source: hashes of what pre-training depends on.
        lengths: the epochs that a budget gives it and its upstreams, by the text of their specs; none without one.
    """

    spec: Spec
    entry: MethodEntry
    method: Method[Any]
    ref: MethodRef
    label: str
    profile: DataProfile
    source: Mapping[str, str]
    lengths: Mapping[str, int]

    @property
    def config(self) -> MethodConfig:
        config: MethodConfig = self.method.config
        return config

    @property
    def epochs(self) -> int | None:
        """Of its training; None where it is none."""
        return getattr(self.config, "epochs", None)

    @property
    def passes(self) -> float | None:
        """Of the encoder per image and epoch; None where it does not say."""
        with _blamed(self.entry):
            passes = self.method.passes_per_epoch()
        return passes.total if passes else None


@dataclass(frozen=True)
class _Subject:
    """Who is pre-trained, to be judged on which images, from which seeds."""

    chosen: _Chosen
    data: DataFacts
    seeds: Seeds

    @property
    def label(self) -> str:
        return f"{self.chosen.label} {self.data.ref.source} seed {self.seeds.pretrain}"

    def of_head(self, protocol: Protocol) -> str:
        """The label of the head; a seed of its own is part of it."""
        return f"{self.label} {protocol.name}" + self._own("head", self.seeds.head)

    def of_attack(self, protocol: Protocol, attack: str) -> str:
        return f"{self.of_head(protocol)} {attack}" + self._own("attack", self.seeds.attack)

    def _own(self, kind: str, seed: int) -> str:
        return f" {kind} seed {seed}" if seed != self.seeds.pretrain else ""

    @property
    def pool(self) -> str:
        """The source of the pre-training images: the one that the settings name, else the data set's own."""
        return getattr(self.chosen.config, "pretrain_pool", None) or parse_source(self.data.ref.source).pool

    def head_task(self, protocol: Protocol) -> Task:
        return Task(self.chosen.ref, self.data.ref, self.seeds.head, protocol.name)

    def attack_task(self, protocol: Protocol, attack: str | None = None) -> Task:
        return Task(self.chosen.ref, self.data.ref, self.seeds.attack, protocol.name, attack)


@dataclass
class _Planner:
    """Collects stages; each is added after its upstreams, and once."""

    sweep: Sweep
    download: bool
    registry: Registry
    stages: dict[str, Stage] = field(default_factory=dict)
    cells: dict[str, Cell] = field(default_factory=dict)
    named: dict[str, MethodEntry] = field(default_factory=dict)
    helpers: dict[str, Path] = field(default_factory=dict)
    choices: dict[tuple[Any, ...], _Chosen] = field(default_factory=dict)

    # Data.

    @cached_property
    def limit(self) -> Limit:
        return Limit.parse(self.sweep.limit) if self.sweep.limit else Limit()

    def data(self, source: str) -> DataFacts:
        return data_facts(DataRef(source, self.limit.text or None), self.sweep.data_dir, self.download)

    def pool(self, subject: _Subject) -> DataFacts:
        """The images to pre-train on."""
        source = subject.pool
        # The data set itself goes by one reference here and in `data`, so that it is read once.
        limit = self.limit if source == subject.data.ref.source else Limit(train=self.limit.train)
        ref = DataRef(source, limit.text or None)
        return training_facts(ref, self.sweep.data_dir, self.download, labelled=subject.chosen.method.labelled)

    # Methods.

    @cached_property
    def code(self) -> Mapping[StageKind, Mapping[str, str]]:
        """Source of the stages whose code no method has a part in."""
        return {kind: stage_source(kind) for kind in StageKind if kind is not StageKind.PRETRAIN}

    @cached_property
    def gates(self) -> tuple[str, ...]:
        """Names of those that are part of every evaluation."""
        from bench.gates.table import cheap

        return cheap()

    def asked(self, spec: Spec, profile: DataProfile) -> _Chosen:
        """A method as the sweep asks for it: in its precision, within its budget."""
        precision = self.sweep.precision
        spec = self._in_precision(spec, precision) if precision else spec
        chosen = self.choose(spec, profile, {})
        return self.choose(spec, profile, self.lengths(chosen)) if self.sweep.budget else chosen

    def lengths(self, chosen: _Chosen) -> Mapping[str, int]:
        """The epochs that the budget gives a method and what it builds on."""
        own, *upstreams = map(_trained, self.lineage(chosen))
        return epochs_within(self.sweep.budget or 0.0, own, upstreams)

    def choose(self, spec: Spec, profile: DataProfile, lengths: Mapping[str, int]) -> _Chosen:
        """A method with its settings on a data set like `profile`, of these lengths or its own."""
        key = (spec.text, profile.name, *lengths.items())
        if key not in self.choices:
            self.choices[key] = self._choose(spec, profile, lengths)
        return self.choices[key]

    def _choose(self, spec: Spec, profile: DataProfile, lengths: Mapping[str, int]) -> _Chosen:
        entry = self.registry.find(spec.name)
        self._check_name(entry)
        epochs = lengths.get(spec.text, self.sweep.pretrain_epochs)
        config = resolve(entry, spec.options, profile, self.sweep.schedule, epochs)
        with _blamed(entry):
            method = entry.load()(config)
            method.check()
        source = _method_source(entry)
        self._check_helpers(entry, source)
        files = config.input_files()
        paths = {name: str(file.path) for name, file in files.items()}
        ref = MethodRef(entry.text, entry.name, config.identity(), profile.name, paths)
        shown = {name: str(files[name]) if name in files else value for name, value in spec.options.items()}
        return _Chosen(spec, entry, method, ref, Spec(entry.name, shown).text, profile, source, lengths)

    def _in_precision(self, spec: Spec, precision: Precision) -> Spec:
        """`spec` with `precision`, unless it says one itself, or the method's settings have none."""
        fields = self.registry.find(spec.name).load().Config.model_fields
        if "precision" in spec.options or "precision" not in fields:
            return spec
        return replace(spec, options={**spec.options, "precision": str(precision)})

    def _check_name(self, entry: MethodEntry) -> None:
        other = self.named.setdefault(entry.name, entry)
        if other != entry:
            raise BenchError(
                f"the methods in {other.text} and {entry.text} are both called '{entry.name}', and tables could not "
                f"tell them apart: give one of them another `name`."
            )

    def _check_helpers(self, entry: MethodEntry, source: Mapping[str, str]) -> None:
        """Python keeps one module per name, so the second of two plugins would get the first one's helper."""
        for module, path in _helpers(entry, source):
            if (other := self.helpers.setdefault(module, path)) != path:
                raise BenchError(
                    f"two methods of this sweep bring a module called '{module}', '{other}' and '{path}', of which "
                    f"Python would use one for both: rename one of them, or run the methods one after the other."
                )

    # Cells and stages.

    def add_cells(self, subject: _Subject, protocols: list[Protocol]) -> None:
        pretrain = self.pretraining(subject)
        for protocol in protocols:
            cell = self.cell(subject, protocol, pretrain)
            self.cells.setdefault(cell.key, cell)

    def cell(self, subject: _Subject, protocol: Protocol, pretrain: str) -> Cell:
        chosen, data = subject.chosen, subject.data
        _check_classes(protocol, data)
        _check_head(protocol, chosen, data)
        _check_routes(protocol, chosen)
        head = self.head(subject, protocol, pretrain)
        upstream = {"encoder": pretrain, "head": head}
        pool = self.pool(subject)
        attacks = {spec.name: self.attack(subject, protocol, spec, upstream) for spec in protocol.attacks}
        return Cell(
            label=chosen.label,
            method=chosen.ref,
            data=data.ref,
            pool=pool.ref,
            seeds=subject.seeds,
            protocol=protocol.name,
            pretrain=pretrain,
            head=head,
            attacks=attacks,
            facts=self.facts(chosen, data, pool, protocol),
            audit=self.audit(subject, protocol, {**upstream, **outcomes_of(protocol, attacks)}),
        )

    def pretraining(self, subject: _Subject, needed_by: tuple[str, ...] = ()) -> str:
        """The stage that trains the method's encoder, after those it requires."""
        chosen, pool = subject.chosen, self.pool(subject)
        _check_labels(chosen, pool)
        chain = (*needed_by, chosen.label)
        if chosen.label in needed_by:
            raise BenchError(f"method '{chosen.label}' needs itself ({' needs '.join(chain)}): correct its `requires`.")
        with _blamed(chosen.entry):
            needs = chosen.method.requires()
            chosen.method.check(pool.train_images if pool.fingerprint != NOT_HERE else None)
        if pool.fingerprint != NOT_HERE:
            _check_notes(chosen, pool)
        upstream = {
            name: self.pretraining(replace(subject, chosen=self.upstream(need.method, chosen)), chain)
            for name, need in needs.items()
        }
        recipe = {
            "method": chosen.ref.name,
            "config": chosen.ref.config,
            "profile": asdict(chosen.profile),
            "seed": subject.seeds.pretrain,
            "images": pool.fingerprint,
            "source": chosen.source,
        }
        weight = (chosen.passes or 1.0) * (chosen.epochs or 1) * pool.train_images
        task = Task(chosen.ref, pool.ref, subject.seeds.pretrain)
        recipe |= _computed_in(precision_of(chosen.config))
        return self.add(StageKind.PRETRAIN, subject.label, task, recipe, upstream, weight)

    def upstream(self, text: str, needed_by: _Chosen) -> _Chosen:
        """The method that another one requires, with its settings on the same data set.

        It takes the precision of the one that needs it, unless it says another: a label tells what all of it computed
        in.
        """
        try:
            spec = parse_spec(text)
            if len(expand(spec)) > 1:
                raise BenchError(f"'{text}' names several methods where one is needed; name one, e.g. 'simclr'.")
            precision = precision_of(needed_by.config)
            spec = spec if precision is Precision.FP32 else self._in_precision(spec, precision)
            return self.choose(spec, needed_by.profile, needed_by.lengths)
        except BenchError as error:
            name = needed_by.ref.name
            raise BenchError(
                f"'{needed_by.label}' builds on '{text}': {error} An upstream's options go in quotes into the option "
                f'that names it, e.g. ncp[teacher="simclr[settings=default]"]; `bench list methods {name}` shows which.'
            ) from error

    def lineage(self, chosen: _Chosen) -> list[_Chosen]:
        """A method and all that it builds on, each once, the method first."""
        found, waiting = dict[str, _Chosen](), [chosen]
        while waiting:
            one = waiting.pop()
            if one.spec.text not in found:
                found[one.spec.text] = one
                with _blamed(one.entry):
                    needs = one.method.requires()
                waiting += [self.upstream(need.method, one) for need in needs.values()]
        return list(found.values())

    def head(self, subject: _Subject, protocol: Protocol, pretrain: str) -> str:
        """The stage that fits the protocol's head, after those that lend it rate or start."""
        data, upstream = subject.data, {"encoder": pretrain}
        recipe = recipe_for(subject.head_task(protocol), data.profile)
        if recipe.rate_from:
            upstream["rate"] = self.head(subject, protocol_of(recipe.rate_from), pretrain)
        if recipe.init_from:
            upstream["start"] = self.head(subject, protocol_of(recipe.init_from), pretrain)
        settings = recipe.identity
        if settings.pop("rate_by_dataset"):
            settings["rate"] = recipe.rate_for(data.profile.name)
        full = {
            "recipe": settings,
            "cached": recipe.cacheable,
            "profile": data.profile.name,
            "eps": data.profile.eps if recipe.perturbs else None,
            "seed": subject.seeds.head,
            "images": data.fingerprint,
            "source": self.code[StageKind.HEAD],
            **_computed_in(protocol.precision),
        }
        weight = _head_passes(recipe) * data.train_images
        return self.add(StageKind.HEAD, subject.of_head(protocol), subject.head_task(protocol), full, upstream, weight)

    def attack(self, subject: _Subject, protocol: Protocol, spec: AttackSpec, upstream: Mapping[str, str]) -> str:
        """The stage that scores the head under one attack."""
        data, images = subject.data, subject.data.fingerprint
        passes = _attack_passes(spec) * data.test_images
        if spec.kind is AttackKind.CORRUPTION:
            corrupted = corrupted_images(data.ref, spec.corruptions, self.sweep.data_dir)
            images, passes = corrupted.fingerprint, float(corrupted.per_type * len(corrupted.types))
        if spec.source is not None:
            upstream = {**upstream, **self.surrogate(subject, spec.source)}
        recipe = {
            "attack": {name: value for name, value in spec.identity.items() if name != "eps"},
            "eps": spec.eps_for(data.profile),
            "seed": subject.seeds.attack,
            "images": images,
            "source": self.code[StageKind.ATTACK],
            **_computed_in(protocol.precision),
        }
        label, task = subject.of_attack(protocol, spec.name), subject.attack_task(protocol, spec.name)
        return self.add(StageKind.ATTACK, label, task, recipe, upstream, passes)

    def surrogate(self, subject: _Subject, cell: str) -> Mapping[str, str]:
        """The upstreams of an attack that is made on a finished cell, whose stages join the plan."""
        found = surrogate(Store(self.sweep.out), cell, subject.data.ref.source, subject.seeds.pretrain)
        for stage in found.stages:
            self.stages.setdefault(stage.key, stage)
        return {SURROGATE_ENCODER: found.encoder, SURROGATE_HEAD: found.head}

    def audit(self, subject: _Subject, protocol: Protocol, upstream: Mapping[str, str]) -> str:
        """The stage that sends the scored classifier through the gates of every evaluation."""
        data = subject.data
        task = replace(subject.attack_task(protocol), gates=self.gates)
        eps, seed = protocol.eps_for(data.profile), subject.seeds.attack
        recipe = audit_recipe(self.gates, protocol, eps, seed, data.fingerprint)
        recipe["source"] = self.code[StageKind.AUDIT]
        label = subject.of_attack(protocol, "gates")
        return self.add(StageKind.AUDIT, label, task, recipe, upstream, AUDIT_PASSES * data.test_images)

    def add(
        self,
        kind: StageKind,
        label: str,
        task: Task,
        recipe: Mapping[str, Any],
        upstream: Mapping[str, str],
        weight: float,
    ) -> str:
        """Add a stage, unless it is there already; returns its key."""
        stage = Stage(kind, label, task, {**recipe, "threads": self.sweep.threads}, upstream, weight)
        self.stages.setdefault(stage.key, stage)
        return stage.key

    def facts(self, chosen: _Chosen, data: DataFacts, pool: DataFacts, protocol: Protocol) -> dict[str, Any]:
        """Columns of the row that are known before anything runs."""
        lineage = self.lineage(chosen)
        return {
            "label": chosen.label,
            "method": chosen.ref.name,
            "dataset": data.ref.source,
            "dataset_like": data.profile.name,
            "pretrain_data": pool.ref.source,
            "schedule": str(self.sweep.schedule),
            "epochs": self.sweep.epochs,
            "budget": self.sweep.budget,
            "passes": _passes(lineage),
            "limit_train": self.limit.train,
            "limit_test": self.limit.test,
            "limited": self.limit != Limit(),
            "protocol": protocol.name,
            "protocol_hash": protocol.hash,
            "legacy": protocol.legacy,
            "external_data": any(one.method.external_data() for one in lineage),
            "labelled_pretraining": any(one.method.labelled_pretraining() for one in lineage),
            "norm": protocol.norm.label,
            "eps": protocol.eps_for(data.profile),
            "plugin": chosen.entry.origin,
            "plugin_hash": digest(chosen.source),
            "data_fingerprint": data.fingerprint,
            "pool_fingerprint": pool.fingerprint,
            "precision": str(protocol.precision),
        }


def _trained(one: _Chosen) -> Trained:
    """What a budget needs to know of it.

    Raises:
        BenchError: if it does not say what it costs, or has no epochs.
    """
    if one.passes is None:
        raise BenchError(
            f"--budget counts passes of the encoder, and method '{one.ref.name}' does not say what a step of it costs: "
            f"define its `passes`, or use --epochs."
        )
    if one.epochs is None:
        raise BenchError(f"--budget cuts epochs, and method '{one.ref.name}' has none: leave it out of this sweep.")
    return Trained(one.spec.text, one.passes, one.epochs, fixed="epochs" in one.spec.options)


def _passes(lineage: list[_Chosen]) -> float | None:
    """Of the encoder per pre-training image over all trainings of a lineage; None where one does not say."""
    costs = [None if one.passes is None else one.passes * (one.epochs or 1) for one in lineage]
    return None if None in costs else sum(cost for cost in costs if cost is not None)


@contextmanager
def _blamed(entry: MethodEntry) -> Iterator[None]:
    """What a method's own code raises while it is asked about itself, told as bad input."""
    try:
        yield
    except BenchError:
        raise
    except Exception as error:
        raise BenchError(
            f"method '{entry.name}' ({entry.origin}) cannot be planned: it raised {type(error).__name__}: {error}. "
            f"Correct its `__init__`, `check`, `requires` or `passes`."
        ) from error


def _helpers(entry: MethodEntry, source: Mapping[str, str]) -> Iterator[tuple[str, Path]]:
    """The modules that a plugin's file finds in its own folder."""
    if entry.file is None or entry.module is not None:
        return
    sources = PROJECT_SOURCES.beside(entry.file)
    for module in source:
        path = sources.file(module)
        if path is not None and sources.counts_whole(module):
            yield module, path


def precision_of(config: MethodConfig) -> Precision:
    """What a method computes in while it is trained; fp32 where its settings do not say."""
    return config.precision if isinstance(config, TrainingConfig) else Precision.FP32


def _computed_in(precision: Precision) -> dict[str, str]:
    return {"precision": str(precision)}


def _check_classes(protocol: Protocol, data: DataFacts) -> None:
    for spec in protocol.attacks:
        check_classes(spec, data.classes)


def _check_labels(chosen: _Chosen, pool: DataFacts) -> None:
    if chosen.method.labelled and pool.classes != chosen.profile.classes:
        raise BenchError(
            f"method '{chosen.label}' is trained with a head for the {chosen.profile.classes} classes of "
            f"'{chosen.profile.name}', and '{pool.ref.source}' has {pool.classes}: name the data set that it is like "
            f"(like=NAME), or use a method that needs no labels."
        )


def _check_notes(chosen: _Chosen, pool: DataFacts) -> None:
    """Notes on images are the user's; made up by a method they could give places, and so classes, away."""
    method = chosen.method
    if method.external_data() or method.labelled_pretraining():
        return
    with _blamed(chosen.entry):
        notes = method.per_image(pool.train_images)
    if notes:
        raise BenchError(
            f"method '{chosen.label}' brings notes on each pre-training image ({', '.join(sorted(notes))}), which may "
            f"tell their classes, and does not say that they come from outside: let its `external_data` return True, "
            f"so that tables say so."
        )


def _check_head(protocol: Protocol, chosen: _Chosen, data: DataFacts) -> None:
    if protocol.recipe.init is not HeadInit.OWN:
        return
    if not chosen.method.own_head():
        raise BenchError(
            f"protocol '{protocol.name}' scores the head that an encoder was trained with, and '{chosen.label}' trains "
            f"none: judge it by 'slf-1', which fits one, and keep '{protocol.name}' for supervised methods."
        )
    if data.classes != chosen.profile.classes:
        raise BenchError(
            f"protocol '{protocol.name}' scores a head of {chosen.profile.classes} classes, and '{data.ref.source}' "
            f"has {data.classes}: use 'slf-1', which fits a head for them."
        )


def _check_routes(protocol: Protocol, chosen: _Chosen) -> None:
    """See that the encoder has the batch-norm routes that the protocol trains."""
    if protocol.recipe.routes is not Routes.DUAL:
        return
    import torch

    from bench.protocols.finetuning import check_routes

    with _blamed(chosen.entry), torch.random.fork_rng():
        check_routes(chosen.method.encoder(chosen.profile), protocol.recipe, f"'{chosen.label}'")


def recipe_for(task: Task, profile: DataProfile) -> HeadRecipe:
    """How the head of a task is fitted: its protocol's recipe, settled for its method and data.

    Raises:
        BenchError: if the protocol has no learning rate for the data set.
    """
    transfer = parse_source(task.data.source).pretrained_on is not None
    return protocol_of(str(task.protocol)).recipe.settled(task.method.name, profile.name, transfer=transfer)


def _head_passes(recipe: HeadRecipe) -> float:
    if recipe.init is HeadInit.OWN:
        return 0.0
    if recipe.cacheable:
        return 2.0
    return recipe.epochs * recipe.passes


def _attack_passes(spec: AttackSpec) -> float:
    """Of the network per image: an estimate for plans alone."""
    if spec.kind in _PASSES:
        return float(_PASSES[spec.kind](spec))
    return 1.0 + 2 * spec.steps * spec.restarts


_PASSES: Mapping[AttackKind, Callable[[AttackSpec], float]] = {
    AttackKind.AUTOATTACK: lambda spec: AUTOATTACK_PASSES * (len(spec.parts) or len(Part)) / len(Part),
    AttackKind.DEEPFOOL: lambda spec: 2 * spec.steps * DEEPFOOL_CANDIDATES,
    AttackKind.CARLINI_WAGNER: lambda spec: 2 * spec.steps * SEARCHES,
}

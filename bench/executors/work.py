"""Carrying out one stage: read what it needs, compute, store the product. The only effects of a worker are here."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeAlias

import torch

from bench.attacks.classifier import Classifier
from bench.attacks.threats import AttackKind, AttackSpec
from bench.contract import Encoder, LabelledImages, Method, Record
from bench.data import loading
from bench.data.corruptions import CorruptedImages
from bench.data.profiles import profile_of
from bench.engine.conditions import Conditions
from bench.engine.memory import forget_peak_memory, peak_memory_mb
from bench.errors import StageError
from bench.execution import Execution, Precision
from bench.executors.checkpoints import Keeper
from bench.executors.events import StageState
from bench.executors.product import Product, bits_of, sound, stored
from bench.executors.reporter import Reporter
from bench.executors.stop import Stop
from bench.executors.tensorboard import event_log, log_folder
from bench.gates.table import GATES, Need
from bench.history import doubts
from bench.keys import canonical, changed
from bench.plan import SURROGATE_ENCODER, SURROGATE_HEAD, MethodRef, Stage, StageKind, Task
from bench.planning import OUTCOME, recipe_for, source_of
from bench.protocols.fitting import FittedHead, training_images
from bench.protocols.heads import classifier_of
from bench.protocols.recipes import protocol_of
from bench.provenance import context, where
from bench.registry import Registry
from bench.stages.attack import attack
from bench.stages.audit import Scored, audit, numbers
from bench.stages.head import head
from bench.stages.pretrain import pretrain
from bench.store import CORRECT, HISTORY, Store

ENCODER_PREFIX = "encoder."
"""Marks the tensors of a head's product that replace those of its encoder."""


SURROGATE = "surrogate."
"""Marks an audit's upstreams that are other classifiers."""


@dataclass(frozen=True)
class Site:
    """Where stages are carried out.

    Attributes:
        out: the store's folder.
        data_dir: where downloaded data sets lie.
        device: `cpu`, `cuda`, `cuda:1`.
        threads: CPU threads of the process.
        rerun: whether finished stages are computed again and compared.
        checkpoint_every: seconds from one checkpoint of a stage to the next.
        tensorboard: whether pre-trainings write event files.
        execution: of a pre-training's steps; resolved.
        deterministic: whether kernels are deterministic on a GPU, too.
    """

    out: Path
    data_dir: Path
    device: str
    threads: int
    rerun: bool = False
    checkpoint_every: float = 120.0
    tensorboard: bool = False
    execution: Execution = Execution.EAGER
    deterministic: bool = False

    def settled(self, precision: Precision = Precision.FP32) -> AbstractContextManager[None]:
        """Inside, bits depend on the recipe alone on a CPU, and on a GPU where that is asked for: threads pinned."""
        return Conditions(self.device, precision, self.deterministic or self.device == "cpu", self.threads).hold()


@dataclass(frozen=True)
class Job:
    """A stage with all that it is handed.

    Attributes:
        stage: what to do.
        upstream_methods: of the stages whose encoders it reads, by key.
    """

    stage: Stage
    upstream_methods: Mapping[str, MethodRef]


@dataclass(frozen=True)
class Bench:
    """What a stage has at hand while it is carried out: its site, and the ways to speak and to be spoken to."""

    site: Site
    report: Reporter
    stop: Stop


Compute: TypeAlias = Callable[[], Product]
"""A stage that has all it needs in memory. Only this is timed."""


def perform(job: Job, site: Site, report: Reporter, stop: Stop) -> StageState:
    """Carry out a stage and store its product, unless another process did so or is about to.

    Raises:
        Interrupted: if `stop` was asked for; a checkpoint is left.
        StoreError: if the store cannot be written.
        StageError: if its source changed since it was planned, or a finished stage has other bits now.
        Exception: whatever the stage itself raises.
    """
    store, key = Store(site.out), job.stage.key
    with store.lock(key, job.stage.label) as free:
        if not free:
            return StageState.ELSEWHERE
        if store.has(key) and not site.rerun:
            return StageState.CACHED
        _carry_out(job, store, Bench(site, report, stop))
        store.forget_failure(key)
        store.forget_checkpoints(key)
        return StageState.DONE


def _carry_out(job: Job, store: Store, bench: Bench) -> None:
    stage, site = job.stage, bench.site
    check_source(stage)
    settled = site.settled(Precision(stage.recipe["precision"]))
    with bench.stop.at_once(), settled, loading.logged() as reads:  # A pre-training defers the stop.
        compute = _PREPARE[stage.kind](job, store, bench)
        forget_peak_memory(site.device)
        began = time.perf_counter()
        with loading.sealed(f"method '{stage.task.method.name}'"):
            product = compute()
    seconds = product.earlier + time.perf_counter() - began
    record = {
        "kind": stage.kind,
        "label": stage.label,
        "what": stage.task.what,
        "recipe": stage.recipe,
        "upstream": stage.upstream,
        "weight": stage.weight,
        "result": json.loads(canonical(product.result)),
        "bits": bits_of(product.tensors),
        "reads": sorted(set(reads)),
        "context": asdict(context(site.device, execution_of(stage, site))),
        "seconds": seconds,
        "peak_memory_mb": peak_memory_mb(site.device),
        "attempts": store.attempts(stage.key) + 1,
        "created": datetime.now(UTC).isoformat(),
    }
    there = store.has(stage.key)
    if there and sound(store, stage.key, stage.kind):
        compare(stage, store, record)
    else:
        store.put(stage.key, record, product.files(stage.kind), replace=there)


def check_source(stage: Stage) -> None:
    """See that the code is what the stage's key was made from.

    Raises:
        StageError: if a file was edited since; the message names the modules.
    """
    entry = Registry.discover().find(stage.task.method.text)
    edited = list(changed(stage.recipe["source"], source_of(stage.kind, entry)))
    if edited:
        modules = ", ".join(text.partition(": ")[0] for text in edited)
        raise StageError(f"the source was edited after the sweep was planned ({modules}): run the same command again")


def compare(stage: Stage, store: Store, record: Mapping[str, Any]) -> None:
    """Hold what was computed against what is stored, which stays; a difference is kept as a finding.

    Raises:
        StageError: if the bits differ although the context is the same and deterministic.
    """
    before = store.record(stage.key)
    if before["bits"] == record["bits"]:
        return
    contexts = list(changed(before["context"], record["context"]))
    results = "; ".join(changed(before["result"], record["result"])) or "no change of its result"
    text = (
        f"{stage.label} ({stage.kind}) was computed again {where(contexts)} and has other bits: SHA-256 "
        f"{before['bits'][:16]} in the store, {record['bits'][:16]} now; {results}."
    )
    store.add_finding(stage.key, text)
    if not contexts and record["context"]["deterministic"]:
        raise StageError(text)


def _pretrain(job: Job, store: Store, bench: Bench) -> Compute:
    stage, task, site = job.stage, job.stage.task, bench.site
    method = method_of(task.method)
    images = loading.training_images(task.data, site.data_dir, labelled=method.labelled).to(site.device)
    upstream = {
        name: load_encoder(store, key, job.upstream_methods[key], site.device) for name, key in stage.upstream.items()
    }
    history: list[Mapping[str, Any]] = []

    def compute() -> Product:
        keeper = _keeper(stage, store, bench, history, "pre-training", waits=True)
        with recording(stage, store, bench, history) as record:
            encoder = pretrain(method, images, upstream, task.seed, bench.report, record, keeper, site.execution)
        notes = {HISTORY: json.dumps(history, indent=1).encode()}
        return Product(encoder.state_dict(), {"warnings": doubts(history)}, notes, keeper.earlier)

    return compute


@contextmanager
def recording(stage: Stage, store: Store, bench: Bench, history: list[Mapping[str, Any]]) -> Iterator[Record]:
    """What a pre-training records goes into its history, is told to who watches, and to TensorBoard if asked for."""
    with ExitStack() as open_files:
        records: list[Record] = [history.append, bench.report.record]
        if bench.site.tensorboard:
            records.append(open_files.enter_context(event_log(log_folder(store, stage))))

        def record(facts: Mapping[str, Any]) -> None:
            for each in records:
                each(facts)

        yield record


def _head(job: Job, store: Store, bench: Bench) -> Compute:
    stage, task, site = job.stage, job.stage.task, bench.site
    data = loading.training_set(task.data, site.data_dir).to(site.device)
    encoder = load_encoder(store, stage.upstream["encoder"], task.method, site.device)
    recipe, lender = recipe_for(task, data.profile), stage.upstream.get("rate")
    rate = store.record(lender)["result"]["rate"] if lender else None
    start = load_head(store, stage.upstream["start"]) if "start" in stage.upstream else None

    def compute() -> Product:
        keeper = _keeper(stage, store, bench, [], "the head's training")
        fitted = head(encoder, data, recipe, data.profile.eps, rate, start, task.seed, bench.report, keeper)
        tensors = {"weight": fitted.weight, "bias": fitted.bias}
        tensors |= {ENCODER_PREFIX + name: value for name, value in (fitted.encoder_state or {}).items()}
        images = len(training_images(recipe, data)) if recipe.trained else None
        result = {"rate": fitted.rate, "curve": fitted.curve, "at_edge": fitted.at_edge, "images": images}
        return Product(tensors, result, earlier=keeper.earlier)

    return compute


def _attack(job: Job, store: Store, bench: Bench) -> Compute:
    stage, task, site = job.stage, job.stage.task, bench.site
    spec = protocol_of(str(task.protocol)).attack(str(task.attack))
    images = _attacked_images(task, spec, site)
    encoder = load_encoder(store, stage.upstream["encoder"], task.method, site.device)
    fitted = load_head(store, stage.upstream["head"])
    surrogate = _surrogate(job, store, site)
    eps, device = stage.recipe["eps"], torch.device(site.device)
    warnings: list[str] = []

    def warn(text: str) -> None:
        if text not in warnings:  # One that came before an interruption may come again after it.
            warnings.append(text)

    def compute() -> Product:
        keep = _keeper(stage, store, bench, warnings, f"the attack {spec.name}")
        correct = attack(encoder, fitted, images, spec, eps, task.seed, device, bench.report, warn, keep, surrogate)
        result = {"metric": spec.metric, "correct": int(correct.sum()), "images": len(correct), "warnings": warnings}
        return Product({CORRECT: correct}, result, earlier=keep.earlier)

    return compute


def _attacked_images(task: Task, spec: AttackSpec, site: Site) -> LabelledImages | CorruptedImages:
    if spec.kind is AttackKind.CORRUPTION:
        return loading.corrupted_images(task.data, spec.corruptions, site.data_dir)
    return loading.test_images(task.data, site.data_dir).to(site.device)


def _surrogate(job: Job, store: Store, site: Site) -> Classifier | None:
    """The classifier that a transferred attack is made on; None for other attacks."""
    upstream = job.stage.upstream
    if SURROGATE_HEAD not in upstream:
        return None
    key = upstream[SURROGATE_ENCODER]
    encoder = load_encoder(store, key, job.upstream_methods[key], site.device)
    return classifier_of(encoder, load_head(store, upstream[SURROGATE_HEAD]))


def _audit(job: Job, store: Store, bench: Bench) -> Compute:
    stage, task, site = job.stage, job.stage.task, bench.site
    images = loading.test_images(task.data, site.data_dir).to(site.device)
    encoder = load_encoder(store, stage.upstream["encoder"], task.method, site.device)
    fitted = load_head(store, stage.upstream["head"])
    kept = stored(store, stage.upstream["encoder"], StageKind.PRETRAIN)
    outcomes = {
        name.removeprefix(OUTCOME): stored(store, key, StageKind.ATTACK)[CORRECT]
        for name, key in stage.upstream.items()
        if name.startswith(OUTCOME)
    }
    surrogates = _surrogates(job, store, site)
    needs_training = any(GATES[gate].needs is Need.TRAINING for gate in task.gates)
    training = loading.training_set(task.data, site.data_dir).to(site.device).train if needs_training else None

    def compute() -> Product:
        scored = Scored(encoder, fitted, kept, protocol_of(str(task.protocol)), outcomes, surrogates, training)
        results = audit(scored, images, stage.recipe["eps"], task.seed, task.gates, bench.report)
        return Product({"numbers": numbers(results)}, {"gates": {one.gate: one.facts for one in results}})

    return compute


def _surrogates(job: Job, store: Store, site: Site) -> dict[str, Classifier]:
    """The other classifiers of an audit, by the labels of their pre-trainings."""
    found, upstream = {}, job.stage.upstream
    for name, key in upstream.items():
        if name.startswith(SURROGATE) and name.endswith(".encoder"):
            fitted = load_head(store, upstream[name.removesuffix("encoder") + "head"])
            encoder = load_encoder(store, key, job.upstream_methods[key], site.device)
            found[store.record(key)["label"]] = classifier_of(encoder, fitted).to(site.device)
    return found


def _keeper(stage: Stage, store: Store, bench: Bench, history: list[Any], what: str, *, waits: bool = False) -> Keeper:
    site = bench.site
    execution = execution_of(stage, site)
    return Keeper(
        store, stage.key, site.device, site.checkpoint_every, bench.stop, history, what, waits, execution=execution
    )


def execution_of(stage: Stage, site: Site) -> Execution:
    """Of a stage's steps: heads and attacks are eager."""
    return site.execution if stage.kind is StageKind.PRETRAIN else Execution.EAGER


_PREPARE: Mapping[StageKind, Callable[[Job, Store, Bench], Compute]] = {
    StageKind.PRETRAIN: _pretrain,
    StageKind.HEAD: _head,
    StageKind.ATTACK: _attack,
    StageKind.AUDIT: _audit,
}


def method_of(ref: MethodRef) -> Method[Any]:
    """The method with its settings."""
    method = Registry.discover().find(ref.text).load()
    return method(method.Config.model_validate(ref.settings))


def load_encoder(store: Store, key: str, ref: MethodRef, device: str) -> Encoder:
    """A stored encoder in eval mode; its weights must fit the method's architecture to the last key."""
    with torch.random.fork_rng(), loading.sealed(f"method '{ref.name}'"):
        encoder = method_of(ref).encoder(profile_of(ref.profile))
    encoder.load_state_dict(stored(store, key, StageKind.PRETRAIN), strict=True)
    return encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def load_head(store: Store, key: str) -> FittedHead:
    """A stored head, with what of the encoder was changed while it was fitted."""
    tensors = stored(store, key, StageKind.HEAD)
    moved = {
        name.removeprefix(ENCODER_PREFIX): value for name, value in tensors.items() if name.startswith(ENCODER_PREFIX)
    }
    rate = store.record(key)["result"]["rate"]
    return FittedHead(tensors["weight"], tensors["bias"], rate, encoder_state=moved or None)

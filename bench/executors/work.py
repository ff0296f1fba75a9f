"""Carrying out one stage: read its upstreams, compute, store the product. The only effects of a worker are here."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.contract import Encoder, Method, Report
from bench.data import loading
from bench.data.profiles import profile_of
from bench.plan import MethodRef, Stage, StageKind
from bench.protocols.heads import FittedHead, classifier_of
from bench.protocols.recipes import protocol_of
from bench.provenance import context
from bench.registry import Registry
from bench.stages.attack import attack
from bench.stages.head import head
from bench.stages.pretrain import pretrain
from bench.store import Store, Writer

ENCODER, HEAD, OUTCOMES, HISTORY = "encoder.safetensors", "head.safetensors", "outcomes.parquet", "history.json"
ENCODER_PREFIX = "encoder."
"""Marks the tensors of a head's file that replace those of its encoder."""


@dataclass(frozen=True)
class Site:
    """Where stages are carried out.

    Attributes:
        out: the store's folder.
        data_dir: where downloaded data sets lie.
        device: `cpu`, `cuda`, `cuda:1`.
        threads: CPU threads of the process.
        replace: whether a product that is already there is replaced.
    """

    out: Path
    data_dir: Path
    device: str
    threads: int
    replace: bool = False

    def settle(self) -> None:
        """Pin the process's threads and turn on deterministic kernels, so that a cell's bits depend on its recipe alone."""
        torch.set_num_threads(self.threads)
        torch.use_deterministic_algorithms(self.device == "cpu")


@dataclass(frozen=True)
class Product:
    """What a stage leaves behind: files, and a few facts for its record."""

    files: Mapping[str, Writer]
    result: Mapping[str, Any]


@dataclass(frozen=True)
class Job:
    """A stage with all that it is handed.

    Attributes:
        stage: what to do.
        upstream_methods: of the stages whose encoders it reads, by key.
    """

    stage: Stage
    upstream_methods: Mapping[str, MethodRef]


def perform(job: Job, site: Site, report: Report) -> None:
    """Carry out a stage and store its product.

    Raises:
        StoreError: if the store cannot be written.
        Exception: whatever the stage itself raises.
    """
    store, stage = Store(site.out), job.stage
    device = torch.device(site.device)
    began = time.perf_counter()
    _forget_peak_memory(device)
    product = _PERFORM[stage.kind](job, store, site, report)
    record = {
        "kind": stage.kind,
        "label": stage.label,
        "recipe": stage.recipe,
        "upstream": stage.upstream,
        "weight": stage.weight,
        "result": product.result,
        "context": asdict(context(site.device)),
        "seconds": time.perf_counter() - began,
        "peak_memory_mb": _peak_memory_mb(device),
        "created": datetime.now(UTC).isoformat(),
    }
    store.put(stage.key, record, product.files, replace=site.replace)


def _pretrain(job: Job, store: Store, site: Site, report: Report) -> Product:
    task = job.stage.task
    pool = loading.pool(task.data, site.data_dir).to(site.device)
    upstream = {
        name: load_encoder(store, key, job.upstream_methods[key], site.device)
        for name, key in job.stage.upstream.items()
    }
    history: list[Mapping[str, Any]] = []
    encoder = pretrain(method_of(task.method), pool.images, upstream, task.seed, report, history.append)
    files: dict[str, Writer] = {
        ENCODER: _tensor_writer(encoder.state_dict()),
        HISTORY: lambda path: path.write_text(json.dumps(history, indent=1)) and None,
    }
    return Product(files, {})


def _head(job: Job, store: Store, site: Site, report: Report) -> Product:
    stage, task = job.stage, job.stage.task
    data = loading.data_set(task.data, site.data_dir).to(site.device)
    encoder = load_encoder(store, stage.upstream["encoder"], task.method, site.device)
    lender = stage.upstream.get("rate")
    rate = store.record(lender)["result"]["rate"] if lender else None
    fitted = head(encoder, data, protocol_of(str(task.protocol)).recipe, data.profile.eps, rate, task.seed, report)
    tensors = {"weight": fitted.weight, "bias": fitted.bias}
    tensors |= {ENCODER_PREFIX + name: value for name, value in (fitted.encoder_state or {}).items()}
    result = {"rate": fitted.rate, "curve": fitted.curve, "at_edge": fitted.at_edge, "images": len(data.train)}
    return Product({HEAD: _tensor_writer(tensors)}, result)


def _attack(job: Job, store: Store, site: Site, report: Report) -> Product:
    stage, task = job.stage, job.stage.task
    data = loading.data_set(task.data, site.data_dir).to(site.device)
    encoder = load_encoder(store, stage.upstream["encoder"], task.method, site.device)
    classifier = load_classifier(store, stage.upstream["head"], encoder)
    spec = protocol_of(str(task.protocol)).attack(str(task.attack))
    warnings: list[str] = []
    correct = attack(classifier, data.test, spec, data.profile.eps, task.seed, report, warnings.append)
    result = {"metric": spec.metric, "correct": int(correct.sum()), "images": len(correct), "warnings": warnings}
    return Product({OUTCOMES: _outcome_writer(correct)}, result)


_PERFORM: Mapping[StageKind, Callable[[Job, Store, Site, Report], Product]] = {
    StageKind.PRETRAIN: _pretrain,
    StageKind.HEAD: _head,
    StageKind.ATTACK: _attack,
}


def method_of(ref: MethodRef) -> Method[Any]:
    """The method with its settings."""
    method = Registry.discover().find(ref.text).load()
    return method(method.Config.model_validate(ref.config))


def load_encoder(store: Store, key: str, ref: MethodRef, device: str) -> Encoder:
    """A stored encoder in eval mode; its weights must fit the method's architecture to the last key."""
    encoder = method_of(ref).encoder(profile_of(ref.profile))
    encoder.load_state_dict(store.tensors(key, ENCODER), strict=True)
    return encoder.to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload, no-any-return]


def load_classifier(store: Store, key: str, encoder: Encoder) -> Classifier:
    """An encoder with a stored head, and with the buffers that moved while the head was fitted."""
    tensors = store.tensors(key, HEAD)
    moved = {name.removeprefix(ENCODER_PREFIX): value for name, value in tensors.items() if name.startswith(ENCODER_PREFIX)}
    rate = store.record(key)["result"]["rate"]
    return classifier_of(encoder, FittedHead(tensors["weight"], tensors["bias"], rate, encoder_state=moved or None))


def _tensor_writer(tensors: Mapping[str, Tensor]) -> Writer:
    contiguous = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    return lambda path: save_file(contiguous, path)


def _outcome_writer(correct: Tensor) -> Writer:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return lambda path: pq.write_table(pa.table({"correct": correct.numpy()}), path)


def _forget_peak_memory(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def _peak_memory_mb(device: torch.device) -> float:
    """Of the device on a GPU; else of this process, whatever it did before."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10

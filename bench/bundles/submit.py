"""Packing a finished cell."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench import __version__
from bench.bundles import container
from bench.bundles.container import CONFIG, ENVIRONMENT, GATES, NETWORK, PROTOCOL, ROW, STAGES, sha256
from bench.cells import check_ended_well, check_kept, method_of_row, name_of
from bench.errors import BenchError
from bench.executors.product import FILES, sound
from bench.executors.work import load_encoder
from bench.garbage import graph_of, needed, stages_of
from bench.models.encoder import ResNetEncoder
from bench.models.portable import architecture_of
from bench.plan import StageKind
from bench.protocols.recipes import protocol_of
from bench.provenance import Context, commit
from bench.schema import SCHEMA_VERSION, arrow_schema
from bench.store import STAGE, Store, listed, parquet

PACKAGES = ("torch", "torchvision", "numpy", "pyautoattack", "foolbox", "safetensors", "pyarrow", "scikit-learn")
"""Whose versions are told of where a bundle was packed."""
WEIGHTS = frozenset({FILES[StageKind.PRETRAIN], FILES[StageKind.HEAD]})

Row = Mapping[str, Any]


def submit(store: Store, row: Row, path: Path, *, weights: bool = True) -> None:
    """Write the bundle of a row's cell.

    Args:
        store: where it was finished.
        row: its newest row.
        path: of the file.
        weights: whether encoder and head come along; without them their hashes do, and nobody can score them again.

    Raises:
        BenchError: if the cell failed, lost a stage or is damaged, was judged by another version of its protocol, or
            has an encoder that nobody could build without its method's code.
    """
    _check(store, row)
    parts = {**_stages(store, row), **_facts(row)}
    withheld = {} if weights else {name: parts.pop(name) for name in list(parts) if Path(name).name in WEIGHTS}
    if weights:
        parts[NETWORK] = _json(_network(store, row))
    facts = {
        "schema_version": SCHEMA_VERSION,
        "harness_version": __version__,
        "cell": row["cell"],
        "name": name_of(row),
        "withheld": {name: {"bytes": len(one), "sha256": sha256(one)} for name, one in withheld.items()},
    }
    container.write(path, parts, facts)


def _check(store: Store, row: Row) -> None:
    name = name_of(row)
    check_ended_well(row, "submit")
    check_kept(store, row, stages_of(row))
    if spoilt := [key for key in stages_of(row) if not sound(store, key, StageKind(store.record(key)["kind"]))]:
        raise BenchError(
            f"cell '{name}' has a damaged stage: remove '{store.stage(spoilt[0])}' and run the cell again first."
        )
    if protocol_of(row["protocol"]).hash != row["protocol_hash"]:
        raise BenchError(
            f"cell '{name}' was judged by another version of {row['protocol']} ({row['protocol_hash']}) than this "
            f"acl-bench has: run it again first."
        )


def _stages(store: Store, row: Row) -> dict[str, bytes]:
    """The records of all stages that the row rests on, and the products of its own."""
    own, parts = set(stages_of(row)), dict[str, bytes]()
    for key in needed((row,), (), graph_of(store)):
        for path in listed(store.stage(key)):
            if path.name == STAGE or key in own:
                parts[f"{STAGES}/{key}/{path.name}"] = path.read_bytes()
    return parts


def _facts(row: Row) -> dict[str, bytes]:
    import pyarrow as pa

    table = pa.Table.from_pylist([dict(row)], schema=arrow_schema())
    said = {name: _json(content) for name, content in facts_of(row).items()}
    protocol = protocol_of(row["protocol"])
    described = {**facts_of(row)[PROTOCOL], "version": protocol.version, "is": asdict(protocol)}
    packed = {"harness_version": __version__, "commit": commit(), "packages": _versions(PACKAGES)}
    return {
        **said,
        PROTOCOL: _json(described),
        ENVIRONMENT: _json({**facts_of(row)[ENVIRONMENT], "packed": packed}),
        ROW: parquet(table),
    }


def facts_of(row: Row) -> dict[str, dict[str, Any]]:
    """What the parts for people say of a row, at least; a bundle in which they say something else does not verify."""
    context = {name: row[f"context_{name}"] for name in Context.__dataclass_fields__}
    origin = {name: row[name] for name in ("harness_version", "commit", "plugin", "plugin_hash")}
    return {
        CONFIG: {"method": row["method"], "config": json.loads(row["config"])},
        PROTOCOL: {"name": row["protocol"], "hash": row["protocol_hash"]},
        GATES: {"gate_verdict": row["gate_verdict"], "gates": json.loads(row["gates"])},
        ENVIRONMENT: {**origin, "context": context},
    }


def _network(store: Store, row: Row) -> dict[str, Any]:
    """What the encoder is built from, so that no method's code is needed to score it again."""
    encoder = load_encoder(store, row["pretrain_key"], method_of_row(row), "cpu")
    if not isinstance(encoder, ResNetEncoder):
        raise BenchError(
            f"cell '{name_of(row)}' has an encoder of its own kind ({type(encoder).__name__}), which nobody can score "
            f"without running its method's code: submit the hash of its weights alone, with --without-weights."
        )
    return {
        "architecture": architecture_of(encoder),
        "routes": encoder.routes,
        "active_route": encoder.active_route,
    }


def _versions(packages: Iterable[str]) -> dict[str, str | None]:
    installed = {one.metadata["Name"].lower(): one.version for one in importlib.metadata.distributions()}
    return {name: installed.get(name) for name in packages}


def _json(value: Any) -> bytes:
    return json.dumps(value, indent=1, sort_keys=True).encode()

"""A bundle that was read: its row, its stages as a store, its classifier; nothing of it is code, nothing is run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import ValidationError
from torch import nn

from bench.attacks.classifier import Classifier
from bench.bundles.container import NETWORK, ROW, STAGES, Parts, json_object
from bench.data.profiles import profile_of
from bench.executors.product import stored
from bench.executors.work import load_head
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.resnet import Architecture
from bench.plan import StageKind
from bench.protocols.heads import classifier_of
from bench.schema import Row as StoredRow
from bench.schema import check_schema_version
from bench.store import Store

MOST_IMAGES = 10_000_000
"""Outcomes of one attack: 19 corruptions of 5 severities of 10,000 images are 950,000."""
MOST_COLUMNS = 1000


@dataclass(frozen=True, eq=False)
class Bundle:
    """Everything in a bundle.

    Attributes:
        path: of its file.
        manifest: what it says of itself.
        parts: contents by name.
        store: the stages, as a store has them.
    """

    path: Path
    manifest: Mapping[str, Any]
    parts: Parts
    store: Store

    @cached_property
    def row(self) -> Mapping[str, Any]:
        """Its row, validated.

        Raises:
            BenchError: if a newer version wrote it.
            ValueError: if it is no row.
        """
        import pyarrow as pa

        try:
            (values,) = _table(self.parts[ROW], rows=1).to_pylist()
            check_schema_version(int(values["schema_version"]), str(self.path))
            return StoredRow(**{name: value for name, value in values.items() if value is not None}).as_dict()
        except (KeyError, TypeError, pa.ArrowException, ValidationError) as error:
            raise ValueError(f"{ROW}: {' '.join(str(error).split())}") from error

    def json(self, name: str) -> Mapping[str, Any]:
        """A part of JSON; empty where there is none."""
        return json_object(self.parts.get(name, b"")) or {}

    @property
    def has_weights(self) -> bool:
        """Whether it can be scored again."""
        return NETWORK in self.parts

    def check_sizes(self) -> None:
        """Whether tables are as small as they may be, before anything reads them whole.

        Raises:
            ValueError: if one is larger.
        """
        for name, content in self.parts.items():
            if name.endswith(".parquet"):
                _opened(content, MOST_IMAGES)

    @cached_property
    def classifier(self) -> Classifier:
        """The classifier that was scored, built from this package's networks alone.

        Raises:
            BenchError, KeyError, TypeError, ValueError: if there is no such network, or the weights do not fit it.
        """
        encoder = self._encoder()
        state = stored(self.store, self.row["pretrain_key"], StageKind.PRETRAIN)
        if "head.weight" in state:  # The one that a supervised method trained.
            classes, width = state["head.weight"].shape
            encoder.head = nn.Linear(width, classes)
        try:
            encoder.load_state_dict(state, strict=True)
        except RuntimeError as error:
            raise ValueError(f"the weights do not fit the network: {error}") from error
        encoder.to(memory_format=torch.channels_last).eval()
        return classifier_of(encoder, load_head(self.store, self.row["head_key"]))

    def _encoder(self) -> ResNetEncoder:
        network = self.json(NETWORK)
        architecture, routes = Architecture(network["architecture"]), tuple(map(str, network["routes"]))
        profile = profile_of(self.row["dataset_like"])
        with torch.random.fork_rng():
            return resnet_encoder(architecture, profile, routes=routes, active_route=network["active_route"])


@contextmanager
def unpacked(path: Path, manifest: Mapping[str, Any], parts: Parts) -> Iterator[Bundle]:
    """A bundle, with its stages in a folder of their own as long as the block lasts."""
    with TemporaryDirectory(prefix="bench-") as folder:
        for name, content in parts.items():
            if name.startswith(f"{STAGES}/"):
                target = Path(folder) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(content)
        yield Bundle(path, manifest, parts, Store(Path(folder)))


def _opened(content: bytes, rows: int) -> Any:
    """A Parquet file of at most so many rows, of which the metadata alone is read."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content))
    if file.metadata.num_rows > rows or file.metadata.num_columns > MOST_COLUMNS:
        raise ValueError(f"a table has {file.metadata.num_rows} rows, {file.metadata.num_columns} columns: too many")
    return file


def _table(content: bytes, rows: int) -> Any:
    return _opened(content, rows).read()

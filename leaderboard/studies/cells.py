"""A finished cell as its attacks met it: the very classifier, and the very images."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.cells import name_of
from bench.contract import LabelledImages, UnlabelledImages
from bench.data import loading
from bench.data.limits import Limit
from bench.data.views import pixels_of
from bench.engine.conditions import Conditions
from bench.errors import BenchError
from bench.execution import Precision
from bench.executors.run import available_device
from bench.executors.work import load_encoder, load_head
from bench.plan import DataRef
from bench.protocols.heads import classifier_of
from bench.schema import Status
from bench.store import Store
from bench.surrogates import method_of_row
from leaderboard.rows import Setting

Row: TypeAlias = Mapping[Hashable, Any]
"""Column name to value, from the store or from a data frame."""

Say: TypeAlias = Callable[[str], None]

BATCH = 250
"""Images that pass the network at once; features do not depend on it beyond rounding."""
LONG = 60.0
"""Seconds of work above which a study says so first."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A finished cell.

    Attributes:
        name: `simclr/digits/slf-1/seed0`.
        row: all that was measured.
        classifier: that was attacked, on `device`; its encoder is on the route that was judged.
        images: the test images that were attacked, on the CPU.
        data_dir: where its other images are read from.
        device: `cpu`, `cuda`, `cuda:1`.
    """

    name: str
    row: Row
    classifier: Classifier
    images: LabelledImages
    data_dir: Path
    device: str

    @classmethod
    def load(cls, store: Store, row: Row, data_dir: Path, device: str = "auto") -> Judged:
        """The cell of a row, on a device as `--device` takes it.

        Raises:
            BenchError: if there is no such device; the cell failed or lost its stages; its method is gone; the images
                are no longer those that it was judged with.
        """
        name, device = cell_name(row), available_device(device)
        _check_finished(store, row, name)
        encoder = load_encoder(store, row["pretrain_key"], method_of_row(_plain(row)), "cpu")
        classifier = classifier_of(encoder, load_head(store, row["head_key"])).to(device)
        ref = _reference(row, row["dataset"])
        if loading.data_facts(ref, data_dir, download=True).fingerprint != row["data_fingerprint"]:
            raise BenchError(
                f"the images of '{row['dataset']}' in '{data_dir}' are not those that cell '{name}' was judged with: "
                f"name the folder that holds them with --data-dir, or run the cell again."
            )
        return cls(name, row, classifier, loading.test_images(ref, data_dir), data_dir, device)

    @property
    def seed(self) -> int:
        """Of its pre-training."""
        return int(self.row["seed_pretrain"])

    def training_images(self) -> LabelledImages:
        """The images that heads are fitted on, on the CPU."""
        return loading.training_set(_reference(self.row, self.row["dataset"]), self.data_dir).train

    def pretraining_images(self) -> UnlabelledImages:
        """The images that its encoder was pre-trained on, without classes, on the CPU."""
        return loading.pool(_reference(self.row, self.row["pretrain_data"]), self.data_dir).images

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Inside, arithmetic is that of its evaluation, deterministic, on as many threads."""
        threads, precision = int(self.row["context_threads"]), Precision(self.row["precision"])
        with Conditions(self.device, precision, threads=threads).hold(), threadpool_limits(threads):
            yield

    @torch.no_grad()
    def features(self, pixels: Tensor) -> Tensor:
        """uint8 [N, 3, H, W] -> features of the images as they are, [N, d], on the CPU."""
        parts = torch.split(pixels, BATCH)
        return torch.cat([self.classifier.encoder.encode(pixels_of(part.to(self.device))).cpu() for part in parts])

    def announce(self, what: str, passes: float, say: Say) -> None:
        """Say how long `passes` of single images through the encoder will take, if that is over a minute."""
        sample = self.images.pixels[:BATCH]
        began = time.perf_counter()
        self.features(sample)
        seconds = (time.perf_counter() - began) / len(sample) * passes
        if seconds > LONG:
            minutes = f"about {seconds / 60:.0f} min on {self.device}"
            say(f"{what} of {self.name}: {passes:,.0f} passes of an image, {minutes}.")


def to_stderr(text: str) -> None:
    """Print a remark where it does not mix with what a command prints."""
    print(text, file=sys.stderr, flush=True)


def cell_name(row: Row) -> str:
    """`simclr/digits/slf-1/seed0`."""
    return name_of(_plain(row))


def _plain(row: Row) -> dict[str, Any]:
    """With seeds as integers, which a data frame may have made floats."""
    seeds = {name: int(row[name]) for name in ("seed_pretrain", "seed_head", "seed_attack")}
    return {**{str(name): value for name, value in row.items()}, **seeds}


def _check_finished(store: Store, row: Row, name: str) -> None:
    if row["status"] != Status.OK:
        raise BenchError(f"cell '{name}' failed ({row['error']}), so there is no network to look at: run it again.")
    if gone := [key for key in (row["pretrain_key"], row["head_key"]) if not store.has(key)]:
        raise BenchError(f"cell '{name}' lost its stage {gone[0]} (`bench rm` or `bench gc`): run it again.")


def _reference(row: Row, source: str) -> DataRef:
    """A source of the row's, as limited as it was."""
    setting = Setting.of(row)
    own = source == row["dataset"]
    return DataRef(source, Limit(setting.limit_train, setting.limit_test if own else None).text or None)

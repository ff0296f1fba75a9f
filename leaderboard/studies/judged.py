"""A finished cell as its attacks met it: the very classifier, and the very images."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.cells import check_ended_well, check_kept, data_of, method_of_row, name_of
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
from bench.store import Store
from leaderboard.studies.cells import Row, Say, plain

BATCH = 250
"""Images that pass the network at once; features do not depend on it beyond rounding."""
LONG = 60.0
"""Seconds of work above which a study says so first."""


@dataclass(frozen=True, eq=False)
class Judged:
    """A finished cell.

    Attributes:
        name: `simclr/digits/slf-1/seed0`.
        row: all that was measured, `plain`.
        classifier: that was attacked, on `device`; its encoder is on the route that was judged.
        images: the test images that were attacked, on the CPU.
        data_dir: where its other images are read from.
        device: `cpu`, `cuda`, `cuda:1`.
    """

    name: str
    row: Mapping[str, Any]
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
        known, device = plain(row), available_device(device)
        check_ended_well(known, "study")
        check_kept(store, known, (known["pretrain_key"], known["head_key"]))
        encoder = load_encoder(store, known["pretrain_key"], method_of_row(known), "cpu")
        classifier = classifier_of(encoder, load_head(store, known["head_key"])).to(device)
        name, ref = name_of(known), data_of(known)
        if loading.data_facts(ref, data_dir, download=True).fingerprint != known["data_fingerprint"]:
            raise BenchError(
                f"the images of '{ref.source}' in '{data_dir}' are not those that cell '{name}' was judged with: "
                f"name the folder that holds them with --data-dir, or run the cell again."
            )
        return cls(name, known, classifier, loading.test_images(ref, data_dir), data_dir, device)

    @property
    def seed(self) -> int:
        """Of its pre-training."""
        seed: int = self.row["seed_pretrain"]
        return seed

    def training_images(self) -> LabelledImages:
        """The images that heads are fitted on, on the CPU."""
        return loading.training_set(data_of(self.row), self.data_dir).train

    def pretraining_images(self) -> UnlabelledImages:
        """The images that its encoder was pre-trained on, without classes, on the CPU."""
        ref, limit = data_of(self.row), Limit(train=self.row["limit_train"]).text or None
        source = self.row["pretrain_data"]
        return loading.pool(ref if source == ref.source else DataRef(source, limit), self.data_dir).images

    @contextmanager
    def settled(self) -> Iterator[None]:
        """Inside, arithmetic is that of its evaluation, deterministic, on as many threads."""
        threads, precision = self.row["context_threads"], Precision(self.row["precision"])
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

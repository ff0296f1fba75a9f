"""CIFAR-10-C and CIFAR-100-C (Hendrycks & Dietterich 2019) from the published .npy files."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bench.data.profiles import DataProfile
from bench.errors import BenchError

if TYPE_CHECKING:
    from bench.contract import LabelledImages

SEVERITIES = 5
FOLDERS: Mapping[str, str] = {"cifar10": "CIFAR-10-C", "cifar100": "CIFAR-100-C"}
"""Where the corrupted test images of a data set lie, below the folder of downloaded data."""
SOURCES: Mapping[str, str] = {
    "cifar10": "https://zenodo.org/records/2535967",
    "cifar100": "https://zenodo.org/records/3555552",
}
LABELS = "labels"
PIECE, PIECES = 1 << 16, 16
"""Bytes and number of the places of a file that its fingerprint looks at: all of them would be read for every plan."""


@dataclass(frozen=True)
class CorruptedImages:
    """The test images of a data set under some types of corruption.

    A file holds the test images once per severity, from 1 to 5, in the test set's order.

    Attributes:
        folder: with a file per type, uint8 [5 N, 32, 32, 3], and `labels.npy`, [5 N].
        types: names of the files, in the order in which they are scored.
        profile: of the images.
        limit: images per severity, the first ones; None is all.
    """

    folder: Path
    types: tuple[str, ...]
    profile: DataProfile
    limit: int | None = None

    @classmethod
    def of(
        cls, types: tuple[str, ...], profile: DataProfile, data_dir: Path, limit: int | None = None
    ) -> CorruptedImages:
        """The corrupted images of a data set that is like `profile`.

        Raises:
            BenchError: if none were published for it, or files are missing.
        """
        if profile.name not in FOLDERS:
            raise BenchError(
                f"corrupted images were published for {' and '.join(FOLDERS)}, not for '{profile.name}': leave the "
                f"attack out for this data set."
            )
        folder = data_dir / FOLDERS[profile.name]
        missing = [f"{name}.npy" for name in (*types, LABELS) if not (folder / f"{name}.npy").is_file()]
        if missing:
            raise BenchError(
                f"'{folder}' lacks {', '.join(missing)}: download {FOLDERS[profile.name]}.tar from "
                f"{SOURCES[profile.name]} and unpack it in '{data_dir}', or name another folder with --data-dir."
            )
        return cls(folder, types, profile, limit)

    @property
    def per_type(self) -> int:
        """Images of one type, all severities together."""
        return SEVERITIES * self._per_severity

    @property
    def fingerprint(self) -> str:
        """16 hexadecimal digits of a hash of the labels, of the types, and of samples of their files."""
        digest = hashlib.sha256(repr((self.types, self._per_severity, self._labels.tolist())).encode())
        for name in self.types:
            digest.update(_sample(self.folder / f"{name}.npy"))
        return digest.hexdigest()[:16]

    def load(self, name: str) -> LabelledImages:
        """The images of one type, by severity.

        Raises:
            BenchError: if the file does not hold the images that it should.
        """
        import torch

        from bench.contract import LabelledImages

        side, labels = self.profile.image_size, self._labels
        pixels = self._read(name)
        expected = (len(labels), side, side, 3)
        if pixels.shape != expected or pixels.dtype != np.uint8:
            raise BenchError(
                f"'{self.folder / name}.npy' holds {pixels.dtype} {pixels.shape} where the labels go with uint8 "
                f"{expected}: unpack the published archive again."
            )
        chosen = np.concatenate([np.arange(self._per_severity) + first for first in self._firsts])
        images = torch.from_numpy(np.ascontiguousarray(pixels[chosen].transpose(0, 3, 1, 2)))
        return LabelledImages(images, self.profile, torch.from_numpy(labels[chosen].astype(np.int64)))

    @cached_property
    def _labels(self) -> np.ndarray:
        return np.asarray(self._read(LABELS))

    @property
    def _per_severity(self) -> int:
        everything = len(self._labels) // SEVERITIES
        return everything if self.limit is None else min(self.limit, everything)

    @property
    def _firsts(self) -> range:
        return range(0, len(self._labels), len(self._labels) // SEVERITIES)

    def _read(self, name: str) -> np.ndarray:
        path = self.folder / f"{name}.npy"
        try:
            array: np.ndarray = np.load(path, mmap_mode="r")
        except (OSError, ValueError) as error:
            raise BenchError(f"'{path}' cannot be read ({error}): unpack the published archive again.") from error
        return array


def _sample(path: Path) -> bytes:
    """Its size, and pieces from everywhere in it."""
    size = path.stat().st_size
    with path.open("rb") as file:
        pieces = [str(size).encode()]
        for number in range(PIECES):
            file.seek(max(0, size - PIECE) * number // (PIECES - 1))
            pieces.append(file.read(PIECE))
    return b"".join(pieces)

"""How images are divided: stratified, and fixed by the labels alone, never by a run's seed. NumPy only."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Examples:
    """Images and their classes as they come from a file.

    Attributes:
        pixels: uint8 [N, 3, H, W].
        labels: int64 [N], from 0.
    """

    pixels: Pixels
    labels: Indices

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, indices: Indices) -> Examples:
        """The examples at `indices`, in that order."""
        return Examples(self.pixels[indices], self.labels[indices])


def fixed_order(count: int, purpose: str) -> Indices:
    """A permutation of `count` positions that depends on `purpose` alone.

    NumPy froze the stream of `RandomState` (NEP 19), so a split never moves with a library's version.
    """
    return np.random.RandomState(zlib.crc32(purpose.encode())).permutation(count).astype(np.int64)


def subset(total: int, count: int, purpose: str) -> Indices:
    """`count` of `total` positions, ascending, fixed by `purpose`."""
    return np.sort(fixed_order(total, purpose)[:count])


def stratified(labels: Indices, count: int, purpose: str, *, at_least: int = 0) -> Indices:
    """`count` positions, ascending, whose class shares are those of `labels`; fixed by the labels and `purpose`.

    Args:
        labels: int64 [N].
        count: 0 .. N.
        purpose: makes two subsets of one data set independent of each other.
        at_least: as many of every class come first; the rest is shared by the classes' sizes.
    """
    order = fixed_order(len(labels), purpose)
    sizes = np.bincount(labels)
    floors = np.minimum(sizes, at_least)
    quotas = floors + apportion(sizes - floors, count - int(floors.sum()))
    chosen = [order[labels[order] == label][:quota] for label, quota in enumerate(quotas)]
    return np.sort(np.concatenate(chosen))


def apportion(sizes: Indices, count: int) -> Indices:
    """`count` shared in proportion to `sizes` by largest remainders; a tie goes to the earlier one."""
    parts, remainders = np.divmod(sizes * count, max(1, int(sizes.sum())))
    largest_first = np.argsort(-remainders, kind="stable")
    parts[largest_first[: count - int(parts.sum())]] += 1
    return parts


def complement(total: int, indices: Indices) -> Indices:
    """The positions below `total` that are not among `indices`, ascending."""
    return np.setdiff1d(np.arange(total, dtype=np.int64), indices, assume_unique=True)


def fingerprint(*arrays: NDArray[np.generic]) -> str:
    """16 hexadecimal digits of a SHA-256 over types, shapes and contents; paths and names play no part."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.dtype.str}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data.cast("B"))
    return digest.hexdigest()[:16]

"""Pseudo-labels: clusters of features in the place of classes."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from bench.attacks.pgd import undisturbed
from bench.contract import Encoder, UnlabelledImages
from bench.engine.loop import encode_all
from bench.errors import BenchError
from bench.inputs import InputFile
from methods.parts.clustering import spherical_kmeans


@torch.no_grad()
def clustered(
    encoder: Encoder, images: UnlabelledImages, counts: Sequence[int], generator_for: Callable[[int], torch.Generator]
) -> Tensor:
    """The clusters of the images' features by spherical k-means, once for every number of clusters.

    ClusterFit's labels (Yan et al. 2020), which AdvCL takes. Images enter as they are, not augmented.

    Args:
        encoder: whose features are clustered, in eval mode; stays as it is.
        images: N of them.
        counts: numbers of clusters K, each at most N.
        generator_for: seeds the clustering for K.

    Returns:
        int64 [N, len(counts)], column i in 0 .. counts[i] - 1.
    """
    with undisturbed(encoder):
        features = encode_all(encoder, images)
    found = [spherical_kmeans(features, count, generator_for(count)) for count in counts]
    return torch.stack([clusters.assignment for clusters in found], dim=1)


def read_pseudo_labels(file: InputFile, counts: Sequence[int], images: int) -> Tensor:
    """The pseudo-labels of a .npz file that holds an integer array [images] called `kK` for each K of `counts`.

    Returns:
        int64 [images, len(counts)], column i in 0 .. counts[i] - 1, in the order of the file.

    Raises:
        BenchError: if it is no such file; the message names the array and the remedy.
        StageError: if it was changed since the sweep was planned.
    """
    content = io.BytesIO(file.read())
    if not zipfile.is_zipfile(content):
        raise _unfit(file, "is no .npz file", counts)
    try:
        with np.load(content, allow_pickle=False) as arrays:
            stored = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, zipfile.BadZipFile) as error:
        raise _unfit(file, f"is no .npz file of plain arrays ({error})", counts) from error
    return torch.stack([_column(file, stored, count, counts, images) for count in counts], dim=1)


def _column(
    file: InputFile, stored: Mapping[str, np.ndarray], count: int, counts: Sequence[int], images: int
) -> Tensor:
    name = f"k{count}"
    if name not in stored:
        raise _unfit(file, f"has no array '{name}'; it holds {', '.join(sorted(stored)) or 'nothing'}", counts)
    labels = stored[name]
    if labels.dtype.kind not in "iu":
        raise _unfit(file, f"holds {labels.dtype} in '{name}' where there should be integers", counts)
    if labels.shape != (images,):
        raise _unfit(file, f"has '{name}' of shape {labels.shape} for {images} pre-training images", counts)
    if labels.min() < 0 or labels.max() >= count:
        found = f"{labels.min()} .. {labels.max()}"
        raise _unfit(file, f"has labels {found} in '{name}' where there should be 0 .. {count - 1}", counts)
    return torch.from_numpy(labels.astype(np.int64))


def _unfit(file: InputFile, reason: str, counts: Sequence[int]) -> BenchError:
    names = ", ".join(f"k{count}" for count in counts)
    return BenchError(
        f"pseudo-label file '{file.path}' {reason}. It should hold the cluster, from 0 up, of every pre-training image "
        f"that --limit leaves, in the order of their source, as arrays {names}: numpy.savez(file, k2=..., k10=...)."
    )

"""Images by reference: read once per process, and what a plan needs to know of them. Imports no torch by itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from bench.data.profiles import DataProfile
from bench.data.sources import Limit, SourceKind, load, load_pool, parse_source
from bench.errors import DataNotHere, StageError
from bench.plan import DataRef

if TYPE_CHECKING:
    from bench.contract import LabelledImages, UnlabelledImages
    from bench.data.corruptions import CorruptedImages
    from bench.data.sources import DataSet, Pool

NOT_HERE = "not downloaded"
"""Stands for the fingerprint of a data set that is not on this machine: no stored stage has it."""


class Part(StrEnum):
    """What of a source was read."""

    TRAIN = "train"
    TEST = "test"
    POOL = "pool"


Read: TypeAlias = tuple[str, Part]
"""The canonical text of a source, and the part of it."""

# Stages are carried out by code that knows neither their record nor what their methods call: it would have to hand
# both through.
_READS: ContextVar[list[Read] | None] = ContextVar("reads", default=None)
_SEALED: ContextVar[str | None] = ContextVar("sealed", default=None)


@contextmanager
def logged() -> Iterator[list[Read]]:
    """Inside, every set of images that is handed out is noted."""
    reads: list[Read] = []
    token = _READS.set(reads)
    try:
        yield reads
    finally:
        _READS.reset(token)


@contextmanager
def sealed(who: str) -> Iterator[None]:
    """Inside, `who` can read no images by itself: what it may see it is handed, and test images wait to be scored."""
    token = _SEALED.set(who)
    try:
        yield
    finally:
        _SEALED.reset(token)


def _note(ref: DataRef, *parts: Part) -> None:
    """Parts of a source are about to be handed out.

    Raises:
        StageError: inside `sealed`.
    """
    if who := _SEALED.get():
        raise StageError(
            f"{who} asked for the data set '{ref.source}' by itself, and test images and classes are sealed while it "
            f"works: use the images that `pretrain` is handed, or name others to pre-train on with `pretrain_pool`."
        )
    reads = _READS.get()
    if reads is not None:
        reads += [(ref.source, part) for part in parts]


@dataclass(frozen=True)
class DataFacts:
    """What a plan needs to know of images.

    Attributes:
        ref: canonical source and limit.
        profile: whose settings apply.
        fingerprint: hash of the content, or `NOT_HERE`.
        classes, train_images, test_images: counts; 0 where they are not known or there are none.
    """

    ref: DataRef
    profile: DataProfile
    fingerprint: str
    classes: int = 0
    train_images: int = 0
    test_images: int = 0


def data_set(ref: DataRef, data_dir: Path, download: bool = True) -> DataSet:
    """The images to judge with, on the CPU.

    Raises:
        BenchError: as `bench.data.sources.load`.
        StageError: inside `sealed`.
    """
    _note(ref, Part.TRAIN, Part.TEST)
    return _data_set(ref, data_dir, download)


def training_set(ref: DataRef, data_dir: Path) -> DataSet:
    """The images to fit a head on, on the CPU: `test` is empty, so that nothing can be chosen on it.

    Raises:
        BenchError: as `data_set`.
    """
    _note(ref, Part.TRAIN)
    data = _data_set(ref, data_dir, True)
    return replace(data, test=replace(data.test, pixels=data.test.pixels[:0], labels=data.test.labels[:0]))


def test_images(ref: DataRef, data_dir: Path) -> LabelledImages:
    """The images to score, on the CPU.

    Raises:
        BenchError: as `data_set`.
    """
    _note(ref, Part.TEST)
    return _data_set(ref, data_dir, True).test


def corrupted_images(ref: DataRef, types: tuple[str, ...], data_dir: Path) -> CorruptedImages:
    """Published corruptions of the images to judge with.

    Raises:
        BenchError: if there are none for these images, or files are missing.
    """
    from bench.data.corruptions import CorruptedImages

    _note(ref, Part.TEST)
    limit = _limit(ref)
    return CorruptedImages.of(types, parse_source(ref.source).profile, data_dir, limit.test if limit else None)


def pool(ref: DataRef, data_dir: Path, download: bool = True) -> Pool:
    """The images to pre-train on, on the CPU.

    Raises:
        BenchError: as `bench.data.sources.load_pool`.
        StageError: inside `sealed`.
    """
    _note(ref, Part.POOL)
    return _pool(ref, data_dir, download)


# `lru_cache` tells arguments by position from those by name or by default: hence one spelling, here.


@lru_cache(maxsize=4)
def _data_set(ref: DataRef, data_dir: Path, download: bool) -> DataSet:
    return load(parse_source(ref.source), limit=_limit(ref), data_dir=data_dir, download=download)


@lru_cache(maxsize=4)
def _pool(ref: DataRef, data_dir: Path, download: bool) -> Pool:
    source = parse_source(ref.source)
    if source.kind is SourceKind.STL10:
        return load_pool(source, limit=_limit(ref), data_dir=data_dir, download=download)
    return _data_set(ref, data_dir, download).as_pool()


def data_facts(ref: DataRef, data_dir: Path, download: bool) -> DataFacts:
    """The facts of the images to judge with; those of a set that is not here are left open unless it may be downloaded.

    Raises:
        BenchError: if the source cannot be read.
    """
    source = parse_source(ref.source)
    ref = DataRef(source.name, ref.limit)
    try:
        data = data_set(ref, data_dir, download)
    except DataNotHere:
        if download or source.path is not None:
            raise
        return DataFacts(ref, source.profile, NOT_HERE, source.profile.classes)
    return DataFacts(ref, source.profile, data.fingerprint, data.classes, len(data.train), len(data.test))


def pool_facts(ref: DataRef, data_dir: Path, download: bool) -> DataFacts:
    """The facts of the images to pre-train on; as `data_facts`."""
    source = parse_source(ref.source)
    ref = DataRef(source.name, ref.limit)
    try:
        images = pool(ref, data_dir, download)
    except DataNotHere:
        if download or source.path is not None:
            raise
        return DataFacts(ref, source.profile, NOT_HERE)
    return DataFacts(ref, source.profile, images.fingerprint, train_images=len(images.images))


def training_images(ref: DataRef, data_dir: Path, *, labelled: bool) -> UnlabelledImages:
    """The images that a method is pre-trained on, on the CPU: with their classes for one that is `labelled`.

    Raises:
        BenchError: as `data_set` and `pool`; a source without classes cannot be read with them.
    """
    return training_set(ref, data_dir).train if labelled else pool(ref, data_dir).images


def training_facts(ref: DataRef, data_dir: Path, download: bool, *, labelled: bool) -> DataFacts:
    """The facts of `training_images`."""
    return (data_facts if labelled else pool_facts)(ref, data_dir, download)


def _limit(ref: DataRef) -> Limit | None:
    return Limit.parse(ref.limit) if ref.limit else None

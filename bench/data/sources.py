"""Where images come from: `digits`, `cifar10`, `stl10:unlabelled`, `parquet:DIR[like=NAME]`, `folder:DIR[like=NAME]`.

`stl10[from=cifar10]` is a transfer: encoders are pre-trained on CIFAR-10, with its settings; heads and attacks meet
STL-10, resized to CIFAR-10's size.

Names and limits are read without torch; it is imported when images are loaded.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

from bench.data.limits import Limit
from bench.data.profiles import PROFILES, DataProfile, profile_of
from bench.errors import BenchError, DataNotHere, unknown
from bench.grammar import Spec, Value, parse_specs

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from bench.contract import LabelledImages, UnlabelledImages
    from bench.data.splits import Examples, Pixels

__all__ = [
    "FORMS",
    "DataNotHere",
    "DataSet",
    "Limit",
    "Part",
    "Pool",
    "Source",
    "SourceKind",
    "is_here",
    "load",
    "load_pool",
    "parse_source",
    "parse_sources",
]

FROM = "from"
"""The option that names the source to pre-train on, in a transfer."""
TEST_OF_DIGITS = 128
"""Test images of `digits`: few enough for AutoAttack on all of them on a CPU (chosen)."""
TEST_SHARE = 0.2
"""Test share of a folder that has no split of its own (chosen)."""
HELD_OUT_SHARE = 0.1
"""Share of the training images on which choices are made (chosen)."""


class SourceKind(StrEnum):
    """Where a source is read from."""

    DIGITS = "digits"
    CIFAR10 = "cifar10"
    CIFAR100 = "cifar100"
    STL10 = "stl10"
    PARQUET = "parquet"
    FOLDER = "folder"

    @property
    def is_path(self) -> bool:
        """Whether it names a folder of the user's, and so needs `like`."""
        return self in (SourceKind.PARQUET, SourceKind.FOLDER)


class Part(StrEnum):
    """A part of a data set that is a source of its own."""

    UNLABELLED = "unlabelled"


FORMS: Mapping[str, str] = {
    "digits": "1,797 handwritten digits, 8x8, embedded in scikit-learn",
    "cifar10": "60,000 images, 32x32, 10 classes, through torchvision",
    "cifar100": "60,000 images, 32x32, 100 classes, through torchvision",
    "stl10": "13,000 labelled images, 96x96, 10 classes, through torchvision; pre-training adds the unlabelled 100,000",
    "stl10:unlabelled": "its 100,000 unlabelled images, for pre-training only",
    "stl10[from=cifar10]": "a transfer: pre-trained on cifar10, judged on stl10 at its size; any two sources will do",
    "parquet:DIR[like=NAME]": "train*.parquet and test*.parquet in the Hugging Face image layout",
    "folder:DIR[like=NAME]": "a folder of images per class, under train/ and test/ or directly",
}
"""How a source is written, and what it is."""


@dataclass(frozen=True)
class Source:
    """A place where images come from, as the command line names it.

    Attributes:
        kind: how it is read.
        path: the folder of a `parquet` or `folder` source.
        part: the part meant, if not the whole.
        like: the data set that lends a `parquet` or `folder` source its settings.
        pretrained_on: in a transfer, the source that encoders are pre-trained on; it lends its settings and image size.
    """

    kind: SourceKind
    path: Path | None = None
    part: Part | None = None
    like: str | None = None
    pretrained_on: Source | None = None

    @property
    def profile(self) -> DataProfile:
        """The facts of the data set that it is, or is like; in a transfer, of the one that encoders are trained on."""
        return self.pretrained_on.profile if self.pretrained_on else PROFILES[self.like or self.kind.value]

    @property
    def pool(self) -> str:
        """The name of the source to pre-train on, unless a method's settings name another."""
        return (self.pretrained_on or self).name

    @property
    def name(self) -> str:
        """The canonical spelling, which `parse_source` reads back."""
        tail = self.path or self.part
        options: dict[str, Value] = {"like": self.like} if self.like else {}
        if self.pretrained_on:
            options["from"] = self.pretrained_on.name
        return Spec(self.kind.value + (f":{tail}" if tail else ""), options).text


def parse_sources(text: str) -> tuple[Source, ...]:
    """The sources of a comma-separated list, in its order; errors as `parse_source`."""
    return tuple(_source_of(spec) for spec in parse_specs(text))


def parse_source(text: str) -> Source:
    """The one source that `text` names. Reads no file.

    Raises:
        BenchError: if there is no such data set, part or option, or a folder comes without `like`.
    """
    source, *others = parse_sources(text)
    if others:
        raise BenchError(f"'{text}' names {1 + len(others)} data sets where one is expected; give one of them.")
    return source


def _source_of(spec: Spec) -> Source:
    head, colon, tail = spec.name.partition(":")
    if head not in set(SourceKind):
        raise unknown("data set", spec.name, FORMS)
    kind, origin = SourceKind(head), _origin_of(spec)
    if kind.is_path:
        return _path_source(kind, tail, spec, origin)
    if others := [option for option in spec.options if option != FROM]:
        raise BenchError(f"data set '{spec.name}' takes no option but '{FROM}'; remove '[{', '.join(others)}=...]'.")
    return Source(kind, part=_part_of(kind, tail) if colon else None, pretrained_on=origin)


def _origin_of(spec: Spec) -> Source | None:
    """In a transfer, the source to pre-train on."""
    if (text := spec.options.get(FROM)) is None:
        return None
    if not isinstance(text, str):
        raise BenchError(f"'{spec.text}': {FROM} takes one data set, e.g. stl10[{FROM}=cifar10].")
    origin = parse_source(text)
    if origin.pretrained_on:
        raise BenchError(f"'{spec.text}' transfers twice; name the one data set to pre-train on after {FROM}=.")
    return origin


def _part_of(kind: SourceKind, tail: str) -> Part:
    if kind is not SourceKind.STL10:
        raise BenchError(f"data set '{kind}' has no parts; write '{kind}' instead of '{kind}:{tail}'.")
    if tail not in set(Part):
        raise unknown("part of stl10", tail, Part)
    return Part(tail)


def _path_source(kind: SourceKind, path: str, spec: Spec, origin: Source | None) -> Source:
    if not path.strip():
        raise BenchError(f"'{spec.text}' names no folder; write {kind}:DIR[like=NAME].")
    for option in spec.options:
        if option not in ("like", FROM):
            raise unknown(f"option of {kind}", option, ["like", FROM])
    like = spec.options.get("like")
    if origin:
        if like is not None:
            raise BenchError(f"'{spec.text}': with {FROM}= the settings are those of '{origin.name}'; leave like= out.")
        return Source(kind, path=Path(path), pretrained_on=origin)
    if like is None:
        raise BenchError(
            f"'{spec.text}' does not say which data set's paper settings, normalisation and eps apply to it; "
            f"add one as [like=NAME], NAME being one of: {', '.join(PROFILES)}."
        )
    if not isinstance(like, str):
        raise BenchError(f"'{spec.text}': like takes one name, one of: {', '.join(PROFILES)}.")
    return Source(kind, path=Path(path), like=profile_of(like).name)


@dataclass(frozen=True)
class Pool:
    """Images to pre-train on, without labels, in a fixed order.

    Attributes:
        name: the canonical name of its source.
        images: all of them; a labelled data set's held-out slice is among them.
        fingerprint: 16 hexadecimal digits of the pixels' hash.
    """

    name: str
    images: UnlabelledImages
    fingerprint: str

    def to(self, device: torch.device | str) -> Pool:
        """The same pool with its tensors on `device`."""
        return replace(self, images=self.images.to(device))


@dataclass(frozen=True)
class DataSet:
    """A labelled data set, its splits fixed once and for all.

    The held-out slice is 10 % of the training images, stratified, a function of the labels alone. Choices are made on
    it. Pre-training sees it too, unlabelled, as part of `train`.

    Attributes:
        name: the canonical name of its source.
        profile: the data set that it is, or is like.
        classes: number of classes, counted in the labels.
        train, test: the two splits.
        held_out: int64 [n], ascending positions in `train`.
        fingerprint: 16 hexadecimal digits of the hash of pixels, labels and held-out positions.
    """

    name: str
    profile: DataProfile
    classes: int
    train: LabelledImages
    test: LabelledImages
    held_out: Tensor
    fingerprint: str

    @property
    def selection(self) -> LabelledImages:
        """The held-out slice, on which choices are made."""
        return _take(self.train, self.held_out)

    @property
    def fit(self) -> LabelledImages:
        """The training images without the held-out slice."""
        kept = self.held_out.new_ones(len(self.train)).index_fill(0, self.held_out, 0)
        return _take(self.train, kept.nonzero().squeeze(1))

    def as_pool(self) -> Pool:
        """Its training images as a pre-training pool, the held-out slice included."""
        from bench.contract import UnlabelledImages
        from bench.data.splits import fingerprint

        pixels = self.train.pixels
        return Pool(self.name, UnlabelledImages(pixels, self.profile), fingerprint(pixels.cpu().numpy()))

    def to(self, device: torch.device | str) -> DataSet:
        """The same data set with its tensors on `device`."""
        return replace(self, train=self.train.to(device), test=self.test.to(device), held_out=self.held_out.to(device))


def is_here(source: Source, data_dir: Path) -> bool:
    """Whether the source seems to be on this machine: a look at folder names, cheap enough for a list."""
    from bench.data.archives import ARCHIVES

    if source.path is not None:
        return source.path.expanduser().is_dir()
    archive = ARCHIVES.get(source.kind.value)
    return archive is None or any((data_dir / name).exists() for name in (archive.folder, archive.file))


def load(source: Source, *, limit: Limit | None = None, data_dir: Path, download: bool = True) -> DataSet:
    """Read a labelled data set onto the CPU and split it.

    Args:
        source: what to read.
        limit: use a fixed stratified subset.
        data_dir: where torchvision's data sets lie.
        download: fetch a torchvision data set that is not there.

    Raises:
        DataNotHere: if torchvision's data set is not in `data_dir` and was not, or could not be, fetched.
        BenchError: if the files are broken, of another layout, or too few for `limit`.
    """
    from bench.data.splits import fingerprint, stratified

    if source.part is Part.UNLABELLED:
        raise BenchError(f"'{source.name}' has no labels, so nothing can be evaluated on it; use '{source.kind}'.")
    limit = limit or Limit()
    try:
        train, test = _resized(source, *_read(source, data_dir, download))
    except OSError as error:
        raise BenchError(f"cannot read data set '{source.name}': {error}; check that its files may be read.") from error
    classes = _count_classes(source, train, test)
    train = _limited(source, "train", train, limit.train)
    test = _limited(source, "test", test, limit.test)
    held_out = stratified(train.labels, max(1, round(HELD_OUT_SHARE * len(train))), "held-out")
    return DataSet(
        name=source.name,
        profile=source.profile,
        classes=classes,
        train=_labelled(train, source.profile),
        test=_labelled(test, source.profile),
        held_out=_tensor(held_out),
        fingerprint=fingerprint(train.pixels, train.labels, test.pixels, test.labels, held_out),
    )


def load_pool(source: Source, *, limit: Limit | None = None, data_dir: Path, download: bool = True) -> Pool:
    """Read pre-training images onto the CPU, without labels and in a fixed order.

    `stl10` is its train and unlabelled images (105,000); of any other data set it is the training split, and a limit
    takes the same subset as `load`. Arguments and errors as `load`.
    """
    from bench.contract import UnlabelledImages
    from bench.data.splits import fingerprint, subset

    if source.kind is not SourceKind.STL10:
        return load(source, limit=limit and replace(limit, test=None), data_dir=data_dir, download=download).as_pool()
    pixels = _read_stl10_pool(source, data_dir, download)
    if limit and limit.train is not None:
        _check_limit(source, "pre-training", limit.train, least=1, most=len(pixels))
        pixels = pixels[subset(len(pixels), limit.train, "limit")]
    return Pool(source.name, UnlabelledImages(_tensor(pixels), source.profile), fingerprint(pixels))


def _read(source: Source, data_dir: Path, download: bool) -> tuple[Examples, Examples]:
    from bench.data import archives, readers

    match source.kind:
        case SourceKind.DIGITS:
            return readers.read_digits(TEST_OF_DIGITS)
        case SourceKind.PARQUET:
            return readers.read_parquet(_folder_of(source), source.profile)
        case SourceKind.FOLDER:
            return readers.read_folder(_folder_of(source), source.profile, TEST_SHARE)
        case _:
            return archives.read(source.kind.value, data_dir, download)


def _resized(source: Source, train: Examples, test: Examples) -> tuple[Examples, Examples]:
    """In a transfer, at the size of the images that encoders were trained on."""
    from bench.data import readers

    if source.pretrained_on is None:
        return train, test
    return readers.resized(train, source.profile.image_size), readers.resized(test, source.profile.image_size)


def _read_stl10_pool(source: Source, data_dir: Path, download: bool) -> Pixels:
    from bench.data import archives

    split = "unlabeled" if source.part is Part.UNLABELLED else "train+unlabeled"
    return archives.read_stl10(split, data_dir, download).pixels


def _folder_of(source: Source) -> Path:
    if source.path is None:
        raise ValueError(f"a {source.kind} source without a path")
    path = source.path.expanduser()
    if not path.exists():
        raise BenchError(f"data folder '{path}' does not exist; give the folder's path, as {source.kind}:DIR.")
    if not path.is_dir():
        raise BenchError(f"'{path}' is a file, not a folder; give the folder that holds it, as {source.kind}:DIR.")
    return path


def _count_classes(source: Source, train: Examples, test: Examples) -> int:
    """Number of classes; every one of 0 .. classes - 1 must be in both splits."""
    seen = {split: set(examples.labels.tolist()) for split, examples in (("train", train), ("test", test))}
    expected = set(range(1 + max(seen["train"] | seen["test"])))
    for split, labels in seen.items():
        if missing := sorted(expected - labels):
            raise BenchError(
                f"data set '{source.name}' has no {split} image of class {missing[0]}, though its labels reach "
                f"{max(expected)}; every class from 0 up needs images in train and test."
            )
    if len(expected) < 2:
        raise BenchError(f"data set '{source.name}' has one class only; a classification needs at least two.")
    return len(expected)


def _limited(source: Source, split: str, examples: Examples, count: int | None) -> Examples:
    from bench.data.splits import stratified

    if count is None:
        return examples
    classes = int(examples.labels.max()) + 1
    _check_limit(source, split, count, least=classes, most=len(examples))
    return examples.take(stratified(examples.labels, count, "limit", at_least=1))


def _check_limit(source: Source, split: str, count: int, *, least: int, most: int) -> None:
    if count > most:
        raise BenchError(
            f"limit {split}={count}: '{source.name}' has only {most} {split} images; ask for at most {most}."
        )
    if count < least:
        raise BenchError(
            f"limit {split}={count}: '{source.name}' has {least} classes, each of which needs an image; "
            f"ask for at least {least}."
        )


def _tensor(array: object) -> Tensor:
    import torch

    return torch.as_tensor(array)


def _labelled(examples: Examples, profile: DataProfile) -> LabelledImages:
    from bench.contract import LabelledImages

    return LabelledImages(_tensor(examples.pixels), profile, _tensor(examples.labels))


def _take(images: LabelledImages, indices: Tensor) -> LabelledImages:
    return replace(images, pixels=images.pixels[indices], labels=images.labels[indices])

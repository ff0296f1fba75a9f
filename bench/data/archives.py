"""CIFAR-10, CIFAR-100 and STL-10 through torchvision, which is imported when one of them is read."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np

from bench.data.splits import Examples
from bench.errors import BenchError, DataNotHere


@dataclass(frozen=True)
class Archive:
    """A data set as torchvision keeps it.

    Attributes:
        dataset: the class in `torchvision.datasets`, which knows addresses and MD5 sums.
        file: the archive's file name.
        folder: the folder that it unpacks to.
    """

    dataset: str
    file: str
    folder: str


ARCHIVES: Mapping[str, Archive] = {
    "cifar10": Archive("CIFAR10", "cifar-10-python.tar.gz", "cifar-10-batches-py"),
    "cifar100": Archive("CIFAR100", "cifar-100-python.tar.gz", "cifar-100-python"),
    "stl10": Archive("STL10", "stl10_binary.tar.gz", "stl10_binary"),
}


def read(name: str, data_dir: Path, download: bool) -> tuple[Examples, Examples]:
    """The training and the test split of the data set `name`, a key of `ARCHIVES`.

    Raises:
        DataNotHere: if it is not in `data_dir` and was not, or could not be, downloaded.
        BenchError: if its files cannot be read.
    """
    if name == "stl10":
        return read_stl10("train", data_dir, download), read_stl10("test", data_dir, download)
    return _read_cifar(name, True, data_dir, download), _read_cifar(name, False, data_dir, download)


def read_stl10(split: str, data_dir: Path, download: bool) -> Examples:
    """STL-10's `train`, `test`, `unlabeled` or `train+unlabeled`; -1 is no class. Raises as `read`."""
    data = _open("stl10", data_dir, download, split=split)
    return Examples(np.ascontiguousarray(data.data), np.asarray(data.labels, dtype=np.int64))


def _read_cifar(name: str, train: bool, data_dir: Path, download: bool) -> Examples:
    data = _open(name, data_dir, download, train=train)
    return Examples(np.ascontiguousarray(data.data.transpose(0, 3, 1, 2)), np.asarray(data.targets, dtype=np.int64))


def _open(name: str, data_dir: Path, download: bool, **split: str | bool) -> Any:
    """The torchvision data set, fetched first where that is needed.

    CIFAR's batches are pickles. torchvision's constructor compares the MD5 sum of each file with the one it knows
    before it unpickles any, so only the authors' own bytes are ever unpickled; nothing here goes round that check.
    """
    from torchvision import datasets

    dataset = getattr(datasets, ARCHIVES[name].dataset)
    try:
        return dataset(data_dir, **split)
    except (RuntimeError, OSError):  # a file is not there, or its MD5 sum is another
        _fetch(name, dataset, data_dir, download)
    try:
        return dataset(data_dir, **split)
    except (RuntimeError, OSError) as error:
        folder = data_dir / ARCHIVES[name].folder
        raise BenchError(
            f"cannot read data set '{name}' in '{folder}': {error}; delete the folder and rerun."
        ) from error


def _fetch(name: str, dataset: Any, data_dir: Path, download: bool) -> None:
    """Unpack the archive that a user put into `data_dir`, or download it first.

    All is written into a folder beside the final one and moved file by file, so that an interruption leaves no half
    file under a final name, and two processes may do this at once.
    """
    if not download and not (data_dir / dataset.filename).is_file():
        raise _not_here(name, dataset, data_dir, "downloads are switched off")
    try:
        data_dir.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{name}-", dir=data_dir) as incoming:
            _unpack(dataset, data_dir, Path(incoming), download)
            _move_files(Path(incoming) / dataset.base_folder, data_dir / dataset.base_folder)
    except (OSError, URLError, EOFError, RuntimeError, tarfile.TarError) as error:
        raise _not_here(name, dataset, data_dir, str(error)) from error


def _unpack(dataset: Any, data_dir: Path, incoming: Path, download: bool) -> None:
    from torchvision.datasets.utils import check_integrity, download_and_extract_archive, extract_archive

    given = data_dir / dataset.filename
    if check_integrity(given, dataset.tgz_md5):
        extract_archive(given, incoming)
    elif given.exists() and not download:
        raise RuntimeError(
            f"the MD5 sum of '{given}' is not {dataset.tgz_md5}, so the file is incomplete or another one"
        )
    else:
        download_and_extract_archive(dataset.url, incoming, filename=dataset.filename, md5=dataset.tgz_md5)


def _move_files(source: Path, target: Path) -> None:
    target.mkdir(exist_ok=True)
    for file in source.iterdir():
        os.replace(file, target / file.name)


def _not_here(name: str, dataset: Any, data_dir: Path, reason: str) -> DataNotHere:
    return DataNotHere(
        f"data set '{name}' is not, or not whole, in '{data_dir}' ({reason}); put the file {dataset.filename} "
        f"(MD5 {dataset.tgz_md5}, from {dataset.url}) into that folder and rerun, or run once where that address "
        "can be reached."
    )

"""torchvision's data sets: what is fetched and unpacked, with small stand-ins served by this machine."""

from __future__ import annotations

import hashlib
import io
import pickle
import shutil
import tarfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from torchvision import datasets

from bench.data.archives import ARCHIVES
from bench.data.sources import DataNotHere, Limit, is_here, load, load_pool, parse_source
from bench.errors import BenchError

RNG = np.random.default_rng(0)
PIXELS = {name: RNG.integers(0, 256, (20, 3072), dtype=np.uint8) for name in ("data_batch_1", "test_batch")}
LABELS = [label % 10 for label in range(20)]


def md5(content: bytes) -> str:
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def packed(folder: str, files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder without a log."""

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Path, str]]:
    """A folder and the address on this machine under which it is served."""
    folder = tmp_path / "server"
    folder.mkdir()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as http:
        thread = Thread(target=http.serve_forever, args=(0.01,))
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.fixture
def cifar10(server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A CIFAR-10 of 20 + 20 images to download; returns its archive on the server."""
    folder, address = server
    files = {name: pickle.dumps({"data": pixels, "labels": LABELS}) for name, pixels in PIXELS.items()}
    files["batches.meta"] = pickle.dumps({"label_names": [str(label) for label in range(10)]})
    archive = folder / "cifar-10-python.tar.gz"
    archive.write_bytes(packed("cifar-10-batches-py", files))
    cifar = datasets.CIFAR10
    monkeypatch.setattr(cifar, "url", f"{address}/{archive.name}")
    monkeypatch.setattr(cifar, "tgz_md5", md5(archive.read_bytes()))
    monkeypatch.setattr(cifar, "train_list", [["data_batch_1", md5(files["data_batch_1"])]])
    monkeypatch.setattr(cifar, "test_list", [["test_batch", md5(files["test_batch"])]])
    monkeypatch.setattr(cifar, "meta", {**cifar.meta, "md5": md5(files["batches.meta"])})
    return archive


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Where data sets lie; whatever a test does, no unfinished download stays there."""
    folder = tmp_path / "data"
    yield folder
    assert not list(folder.glob(".*"))


SOURCE = parse_source("cifar10")


@pytest.mark.parametrize("name", ARCHIVES)
def test_the_table_agrees_with_torchvision(name: str) -> None:
    archive = ARCHIVES[name]
    dataset = getattr(datasets, archive.dataset)
    assert (dataset.filename, dataset.base_folder) == (archive.file, archive.folder)


def test_a_download_is_read_and_leaves_only_the_data_set(cifar10: Path, data_dir: Path) -> None:
    data = load(SOURCE, data_dir=data_dir)
    assert torch.equal(data.train.pixels, torch.from_numpy(PIXELS["data_batch_1"].reshape(20, 3, 32, 32)))
    assert torch.equal(data.test.pixels, torch.from_numpy(PIXELS["test_batch"].reshape(20, 3, 32, 32)))
    assert data.train.labels.tolist() == LABELS
    assert data.train.pixels.is_contiguous()
    assert [entry.name for entry in data_dir.iterdir()] == ["cifar-10-batches-py"]
    cifar10.unlink()
    assert load(SOURCE, data_dir=data_dir, download=False).fingerprint == data.fingerprint


def test_an_archive_put_into_the_folder_is_unpacked_without_a_download(cifar10: Path, data_dir: Path) -> None:
    data_dir.mkdir()
    shutil.move(cifar10, data_dir)
    assert is_here(SOURCE, data_dir)
    assert load(SOURCE, data_dir=data_dir, download=False).classes == 10


def test_absent_and_downloads_off(cifar10: Path, data_dir: Path) -> None:
    with pytest.raises(DataNotHere) as caught:
        load(SOURCE, data_dir=data_dir, download=False)
    for part in (
        "downloads are switched off",
        "put the file cifar-10-python.tar.gz",
        datasets.CIFAR10.tgz_md5,
        str(data_dir),
    ):
        assert part in str(caught.value)
    assert not data_dir.exists()


def test_no_way_to_the_address(cifar10: Path, data_dir: Path) -> None:
    cifar10.unlink()
    with pytest.raises(DataNotHere, match=r"put the file cifar-10-python\.tar\.gz .* into that folder"):
        load(SOURCE, data_dir=data_dir)
    assert list(data_dir.iterdir()) == []


@pytest.mark.parametrize("download", [True, False])
def test_an_incomplete_archive_is_not_unpacked(cifar10: Path, data_dir: Path, download: bool) -> None:
    data_dir.mkdir()
    (data_dir / cifar10.name).write_bytes(cifar10.read_bytes()[:-9])
    cifar10.unlink()
    with pytest.raises(DataNotHere):
        load(SOURCE, data_dir=data_dir, download=download)
    assert [entry.name for entry in data_dir.iterdir()] == [cifar10.name]


def test_a_download_with_another_checksum_is_refused(cifar10: Path, data_dir: Path) -> None:
    cifar10.write_bytes(cifar10.read_bytes() + b" ")
    with pytest.raises(DataNotHere, match="corrupted"):
        load(SOURCE, data_dir=data_dir)


class Bomb:
    """Its pickle leaves a file behind when it is loaded."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("file", ["data_batch_1", "test_batch", "batches.meta"])
def test_a_file_that_is_not_the_authors_is_never_unpickled(
    cifar10: Path, data_dir: Path, tmp_path: Path, file: str
) -> None:
    load(SOURCE, data_dir=data_dir)
    (data_dir / "cifar-10-batches-py" / file).write_bytes(pickle.dumps(Bomb(tmp_path / "went-off")))
    with pytest.raises(DataNotHere):
        load(SOURCE, data_dir=data_dir, download=False)
    assert load(SOURCE, data_dir=data_dir).classes == 10, "a new download mends it"
    assert not (tmp_path / "went-off").exists()


def test_a_data_folder_that_cannot_be_made(cifar10: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="Not a directory"):
        load(SOURCE, data_dir=tmp_path / "file" / "data")


STL10 = {"train": 20, "test": 10, "unlabeled": 30}
STL10_PIXELS = {split: RNG.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8) for split, count in STL10.items()}


@pytest.fixture
def stl10(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small STL-10 in its place; its files hold columns before rows, and classes from 1."""
    folder = data_dir / "stl10_binary"
    folder.mkdir(parents=True)
    files = {f"{split}_X.bin": pixels.transpose(0, 1, 3, 2).tobytes() for split, pixels in STL10_PIXELS.items()}
    files |= {
        f"{s}_y.bin": np.array([1 + i % 10 for i in range(STL10[s])], dtype=np.uint8).tobytes()
        for s in ("train", "test")
    }
    sums = {name: [name, md5(content)] for name, content in files.items()}
    for name, content in files.items():
        (folder / name).write_bytes(content)
    monkeypatch.setattr(
        datasets.STL10, "train_list", [sums[f] for f in ("train_X.bin", "train_y.bin", "unlabeled_X.bin")]
    )
    monkeypatch.setattr(datasets.STL10, "test_list", [sums[f] for f in ("test_X.bin", "test_y.bin")])


def test_stl10(stl10: None, data_dir: Path) -> None:
    data = load(parse_source("stl10"), data_dir=data_dir)
    assert np.array_equal(data.train.pixels, STL10_PIXELS["train"])
    assert np.array_equal(data.test.pixels, STL10_PIXELS["test"])
    assert data.test.labels.tolist() == list(range(10))
    assert data.train.pixels.is_contiguous()


@pytest.mark.parametrize(("text", "splits"), [("stl10", ["train", "unlabeled"]), ("stl10:unlabelled", ["unlabeled"])])
def test_pools_of_stl10(stl10: None, data_dir: Path, text: str, splits: list[str]) -> None:
    pool = load_pool(parse_source(text), data_dir=data_dir)
    assert pool.name == text
    assert np.array_equal(pool.images.pixels, np.concatenate([STL10_PIXELS[split] for split in splits]))
    part = load_pool(parse_source(text), limit=Limit(train=7), data_dir=data_dir).images.pixels
    whole = {image.numpy().tobytes() for image in pool.images.pixels}
    assert len({image.numpy().tobytes() for image in part} & whole) == 7
    with pytest.raises(BenchError, match="has only"):
        load_pool(parse_source(text), limit=Limit(train=51), data_dir=data_dir)

"""Parquet files and image folders: what is read, and what is said of files that cannot be."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

from bench.data.profiles import PROFILES
from bench.data.readers import read_folder, read_parquet
from bench.errors import BenchError

TINY = PROFILES["digits"]


def picture(seed: int, size: int = 8) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (size, size, 3), dtype=np.uint8))


def encoded(image: Image.Image, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def write_parquet(file: Path, images: Sequence[bytes | None], labels: Sequence[Any], **names: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    structs = [{"bytes": content, "path": None} for content in images]
    table = pa.table({names.get("image", "img"): structs, names.get("label", "label"): labels})
    parquet.write_table(table, file)


def both_splits(folder: Path, **names: str) -> None:
    for start, split in ((0, "train"), (4, "test")):
        write_parquet(
            folder / f"{split}.parquet", [encoded(picture(start + i)) for i in range(4)], [0, 1, 0, 1], **names
        )


def write_folder(folder: Path, members: dict[str, Sequence[int]], suffix: str = "png") -> None:
    for name, seeds in members.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for seed in seeds:
            picture(seed).save(folder / name / f"{seed:03}.{suffix}")


@pytest.mark.parametrize("names", [{}, {"image": "image"}, {"label": "fine_label"}])
def test_parquet_pixels_and_labels(tmp_path: Path, names: dict[str, str]) -> None:
    both_splits(tmp_path, **names)
    train, test = read_parquet(tmp_path, TINY)
    assert train.pixels.shape == test.pixels.shape == (4, 3, 8, 8)
    assert (train.pixels[1] == np.asarray(picture(1)).transpose(2, 0, 1)).all()
    assert (test.pixels[3] == np.asarray(picture(7)).transpose(2, 0, 1)).all()
    assert train.labels.tolist() == [0, 1, 0, 1]


def test_parquet_shards_in_data_and_plain_bytes(tmp_path: Path) -> None:
    for start, shard in enumerate(("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")):
        table = pa.table({"image": [encoded(picture(start))], "label": [start % 2], "coarse_label": [9]})
        (tmp_path / "data").mkdir(exist_ok=True)
        parquet.write_table(table, tmp_path / "data" / f"{shard}.parquet")
    train, test = read_parquet(tmp_path, TINY)
    assert train.labels.tolist() == [0, 1]
    assert (train.pixels[1] == np.asarray(picture(1)).transpose(2, 0, 1)).all()
    assert len(test) == 1


def test_a_grey_image_becomes_three_equal_channels(tmp_path: Path) -> None:
    both_splits(tmp_path)
    write_parquet(tmp_path / "train.parquet", [encoded(picture(0).convert("L"), "JPEG")], [0])
    pixels = read_parquet(tmp_path, TINY)[0].pixels[0]
    assert (pixels == pixels[:1]).all()


def cut_short(folder: Path) -> None:
    file = folder / "train.parquet"
    file.write_bytes(file.read_bytes()[:-20])


GOOD = encoded(picture(0))


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda d: (d / "test.parquet").unlink(), "holds no test*.parquet"),
        (lambda d: (d / "test.parquet").rename(d / "validation.parquet"), "a validation file counts as neither"),
        (cut_short, "train.parquet' as Parquet"),
        (lambda d: write_parquet(d / "train.parquet", [GOOD], [0], image="picture"), "no column img or image"),
        (lambda d: write_parquet(d / "train.parquet", [GOOD], [0], label="class"), "no column label or fine_label"),
        (
            lambda d: parquet.write_table(pa.table({"img": [[1, 2]], "label": [0]}), d / "train.parquet"),
            "image column is list",
        ),
        (lambda d: write_parquet(d / "train.parquet", [GOOD], ["cat"]), "classes must be integers"),
        (lambda d: write_parquet(d / "train.parquet", [GOOD, GOOD], [0, None]), "rows without a class"),
        (lambda d: write_parquet(d / "train.parquet", [GOOD], [-1]), "rows without a class"),
        (
            lambda d: parquet.write_table(
                pa.table({"img": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}), d / "train.parquet"
            ),
            "has no rows",
        ),
        (lambda d: write_parquet(d / "train.parquet", [GOOD, None], [0, 1]), "cannot decode the image row 1 of"),
        (lambda d: write_parquet(d / "train.parquet", [GOOD[:60]], [0]), "cannot decode the image row 0 of"),
        (
            lambda d: write_parquet(d / "train.parquet", [encoded(picture(0, 9))], [0]),
            "is 9x9, but like=digits means 8x8",
        ),
    ],
)
def test_parquet_refusals(tmp_path: Path, spoil: Callable[[Path], object], message: str) -> None:
    both_splits(tmp_path)
    spoil(tmp_path)
    with pytest.raises(BenchError) as caught:
        read_parquet(tmp_path, TINY)
    assert message in str(caught.value)


def test_folder_with_splits(tmp_path: Path) -> None:
    write_folder(tmp_path / "train", {"cat": [0, 1, 2], "ant": [3, 4, 5]})
    write_folder(tmp_path / "test", {"cat": [6], "ant": [7]})
    train, test = read_folder(tmp_path, TINY, 0.2)
    assert sorted(train.labels.tolist()) == [0, 0, 0, 1, 1, 1]
    (ant,) = test.pixels[test.labels == 0]
    assert (ant == np.asarray(picture(7)).transpose(2, 0, 1)).all()


def test_folder_without_splits_gives_a_stratified_fifth_to_the_test(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": range(20), "b": range(20, 30)})
    train, test = read_folder(tmp_path, TINY, 0.2)
    assert np.bincount(train.labels).tolist() == [16, 8]
    assert np.bincount(test.labels).tolist() == [4, 2]
    together = np.concatenate([train.pixels, test.pixels]).reshape(30, -1)
    assert len(np.unique(together, axis=0)) == 30


def test_a_small_folder_still_tests_every_class(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": [0, 1], "b": [2, 3]})
    train, test = read_folder(tmp_path, TINY, 0.2)
    assert sorted(train.labels.tolist()) == sorted(test.labels.tolist()) == [0, 1]


def test_folder_order_shows_neither_class_nor_file_name(tmp_path: Path) -> None:
    write_folder(tmp_path / "one", {"a": range(20), "b": range(20, 40)})
    for name, seeds in (("a", range(20)), ("b", range(20, 40))):
        (tmp_path / "two" / name).mkdir(parents=True)
        for seed in seeds:
            picture(seed).save(tmp_path / "two" / name / f"x{99 - seed}.BMP")
    one, two = (read_folder(tmp_path / name, TINY, 0.2) for name in ("one", "two"))
    for mine, other in zip(one, two, strict=True):
        assert (mine.pixels == other.pixels).all()
        assert (mine.labels == other.labels).all()
    assert np.diff(one[0].labels).astype(bool).sum() > 8  # sorted by class there would be one change


def test_folder_ignores_what_is_no_image(tmp_path: Path) -> None:
    write_folder(tmp_path, {"a": range(5), "b": range(5, 10), ".cache": [11]})
    (tmp_path / "a" / "notes.txt").write_text("hello")
    (tmp_path / "README.md").write_text("hello")
    train, test = read_folder(tmp_path, TINY, 0.2)
    assert len(train) + len(test) == 10


def broken(folder: Path) -> None:
    write_folder(folder, {"a": [0, 1], "b": [2, 3]})
    (folder / "b" / "bad.png").write_bytes(GOOD[:50])


def deep(folder: Path) -> None:
    write_folder(folder, {"a": [0, 1], "b": [2, 3]})
    Image.fromarray(np.full((8, 8), 40_000, dtype=np.uint16)).save(folder / "b" / "deep.png")


def uneven(folder: Path) -> None:
    write_folder(folder / "train", {"a": [0], "b": [1], "c": [2]})
    write_folder(folder / "test", {"a": [3], "b": [4]})


def large(folder: Path) -> None:
    write_folder(folder, {"a": [0], "b": [1]})
    picture(2, 32).save(folder / "a" / "large.png")


@pytest.mark.parametrize(
    ("fill", "messages"),
    [
        (lambda d: None, ["is empty of class folders"]),
        (lambda d: write_folder(d, {"only": [0, 1]}), ["one class only, 'only'"]),
        (lambda d: write_folder(d, {"a": [0], "b": []}), ["class folder", "b' holds no image"]),
        (lambda d: write_folder(d / "train", {"a": [0], "b": [1]}), ["has train/ but no test/"]),
        (lambda d: write_folder(d / "test", {"a": [0], "b": [1]}), ["has test/ but no train/"]),
        (uneven, ["class 'c' is in one of train/ and test/ only"]),
        (broken, ["cannot decode the image", "bad.png'"]),
        (large, ["large.png' is 32x32, but like=digits means 8x8", "cifar10 32"]),
        (deep, ["deep.png' has more than 8 bits per channel"]),
    ],
)
def test_folder_refusals(tmp_path: Path, fill: Callable[[Path], object], messages: list[str]) -> None:
    fill(tmp_path)
    with pytest.raises(BenchError) as caught:
        read_folder(tmp_path, TINY, 0.2)
    assert all(message in str(caught.value) for message in messages), caught.value

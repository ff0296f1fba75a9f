"""Data sources: how they are named, and what loading one promises."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.profiles import PROFILES
from bench.data.sources import (
    FORMS,
    DataSet,
    Limit,
    Part,
    Source,
    SourceKind,
    is_here,
    load,
    load_pool,
    parse_source,
    parse_sources,
)
from bench.errors import BenchError

NOWHERE = Path("no-such-folder")


@pytest.mark.parametrize(
    ("text", "source", "canonical"),
    [
        ("digits", Source(SourceKind.DIGITS), "digits"),
        (" cifar100 ", Source(SourceKind.CIFAR100), "cifar100"),
        ("stl10:unlabelled", Source(SourceKind.STL10, part=Part.UNLABELLED), "stl10:unlabelled"),
        (
            "parquet:./my data/a_b[like=cifar10]",
            Source(SourceKind.PARQUET, path=Path("my data/a_b"), like="cifar10"),
            "parquet:my data/a_b[like=cifar10]",
        ),
        ("folder:/x[like=stl10]", Source(SourceKind.FOLDER, path=Path("/x"), like="stl10"), "folder:/x[like=stl10]"),
    ],
)
def test_names(text: str, source: Source, canonical: str) -> None:
    assert parse_source(text) == source
    assert source.name == canonical
    assert parse_source(canonical) == source


def test_a_list_of_sources() -> None:
    assert [source.name for source in parse_sources("digits,folder:x[like=stl10]")] == [
        "digits",
        "folder:x[like=stl10]",
    ]


@pytest.mark.parametrize(
    ("text", "profile"), [("cifar100", "cifar100"), ("stl10:unlabelled", "stl10"), ("folder:x[like=digits]", "digits")]
)
def test_the_profile_is_its_own_or_the_one_it_is_like(text: str, profile: str) -> None:
    assert parse_source(text).profile == PROFILES[profile]


@pytest.mark.parametrize(
    ("text", "messages"),
    [
        ("cifar-10", ["unknown data set 'cifar-10'", "did you mean 'cifar10'", "parquet:DIR[like=NAME]"]),
        ("./data", ["unknown data set './data'"]),
        ("digits,cifar10", ["names 2 data sets where one is expected"]),
        ("digits[like=cifar10]", ["takes no option but 'from'"]),
        ("cifar10:unlabelled", ["'cifar10' has no parts"]),
        ("stl10:unlabeled", ["did you mean 'unlabelled'"]),
        ("stl10:", ["unknown part of stl10"]),
        ("parquet:x", ["does not say which data set's paper settings", *PROFILES]),
        ("folder[like=cifar10]", ["names no folder"]),
        ("folder:x[lik=cifar10]", ["unknown option of folder 'lik'", "did you mean 'like'"]),
        ("folder:x[like=cifr10]", ["did you mean 'cifar10'"]),
        ("folder:x[like=[cifar10,stl10]]", ["like takes one name"]),
    ],
)
def test_names_that_are_refused(text: str, messages: list[str]) -> None:
    with pytest.raises(BenchError) as caught:
        parse_source(text)
    assert all(message in str(caught.value) for message in messages), caught.value


def test_every_form_is_one_that_can_be_written() -> None:
    for form in FORMS:
        assert parse_source(form.replace("NAME", "cifar10"))


def test_names_and_limits_need_no_torch() -> None:
    use = "import sys, bench.data.sources as s; s.parse_source('digits'); s.Limit.parse('5')"
    code = f"{use}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture(scope="module")
def digits() -> DataSet:
    return load(parse_source("digits"), data_dir=NOWHERE)


def test_digits_are_embedded(digits: DataSet) -> None:
    from sklearn.datasets import load_digits

    assert (len(digits.train), len(digits.test), digits.classes) == (1669, 128, 10)
    assert digits.train.pixels.dtype == torch.uint8
    assert digits.train.pixels.shape[1:] == (3, 8, 8)
    grey = np.sort(np.concatenate([digits.train.pixels[:, 0], digits.test.pixels[:, 0]]).reshape(-1, 64), axis=0)
    assert (grey == np.sort(np.rint(load_digits().data * 255 / 16), axis=0)).all()
    assert (digits.train.pixels == digits.train.pixels[:, :1]).all()


def test_digits_profile_holds_the_statistics_of_the_training_pixels(digits: DataSet) -> None:
    pixels = digits.train.pixels.double() / 255
    assert pixels.mean((0, 2, 3)).tolist() == pytest.approx(digits.profile.mean, abs=5e-5)
    assert pixels.std((0, 2, 3), correction=0).tolist() == pytest.approx(digits.profile.std, abs=5e-5)


def test_digits_splits_are_stratified_and_never_move(digits: DataSet) -> None:
    assert torch.bincount(digits.test.labels).tolist() == [13, 13, 12, 13, 13, 13, 13, 13, 12, 13]
    assert torch.bincount(digits.selection.labels).tolist() == [16, 17, 16, 17, 17, 17, 17, 17, 16, 17]
    assert digits.fingerprint == "c2242e0c437d532d"


def test_held_out_and_fit_part_the_training_images(digits: DataSet) -> None:
    assert (len(digits.selection), len(digits.fit)) == (167, 1502)
    parted = torch.cat([digits.selection.pixels, digits.fit.pixels]).flatten(1)
    assert sorted(parted.tolist()) == sorted(digits.train.pixels.flatten(1).tolist())
    assert torch.equal(digits.selection.labels, digits.train.labels[digits.held_out])


def test_the_pool_is_the_training_images_without_labels(digits: DataSet) -> None:
    pool = load_pool(parse_source("digits"), data_dir=NOWHERE)
    assert torch.equal(pool.images.pixels, digits.train.pixels)
    assert not hasattr(pool.images, "labels")
    assert pool.fingerprint == digits.as_pool().fingerprint != digits.fingerprint


def test_a_limit_takes_a_fixed_stratified_subset_of_data_and_pool(digits: DataSet) -> None:
    limit = Limit(200, 50)
    small = load(parse_source("digits"), limit=limit, data_dir=NOWHERE)
    pool = load_pool(parse_source("digits"), limit=limit, data_dir=NOWHERE)
    assert (len(small.train), len(small.test), len(small.held_out)) == (200, 50, 20)
    assert torch.bincount(small.train.labels).tolist() == pytest.approx([20] * 10, abs=1)
    assert torch.equal(pool.images.pixels, small.train.pixels)
    whole = set(map(tuple, digits.train.pixels.flatten(1).tolist()))
    assert set(map(tuple, small.train.pixels.flatten(1).tolist())) <= whole
    assert small.fingerprint != digits.fingerprint


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        (Limit(train=9), "has 10 classes, each of which needs an image; ask for at least 10"),
        (Limit(train=1670), "has only 1669 train images; ask for at most 1669"),
        (Limit(test=129), "has only 128 test images; ask for at most 128"),
    ],
)
def test_limits_that_are_refused(limit: Limit, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        load(parse_source("digits"), limit=limit, data_dir=NOWHERE)


def test_to_moves_every_tensor(digits: DataSet) -> None:
    moved = digits.to("meta")
    tensors = [moved.train.pixels, moved.train.labels, moved.test.pixels, moved.test.labels, moved.held_out]
    tensors.append(digits.as_pool().to("meta").images.pixels)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def fill(folder: Path, classes: int, per_class: int) -> None:
    rng = np.random.default_rng(0)
    for label in range(classes):
        (folder / f"class{label}").mkdir(parents=True)
        for i in range(per_class):
            Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(folder / f"class{label}" / f"{i}.png")


def test_a_folder_counts_its_own_classes_and_forgets_its_path(tmp_path: Path) -> None:
    fill(tmp_path / "a", classes=3, per_class=10)
    fill(tmp_path / "b", classes=3, per_class=10)
    first, second = (load(parse_source(f"folder:{tmp_path}/{name}[like=digits]"), data_dir=NOWHERE) for name in "ab")
    assert first.classes == 3
    assert first.profile == PROFILES["digits"]
    assert first.fingerprint == second.fingerprint
    assert first.name == f"folder:{tmp_path}/a[like=digits]"


def test_a_folder_that_is_not_there_and_one_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BenchError, match="does not exist"):
        load(parse_source(f"folder:{tmp_path}/none[like=digits]"), data_dir=NOWHERE)
    with pytest.raises(BenchError, match="is a file, not a folder"):
        load(parse_source(f"folder:{tmp_path}/file[like=digits]"), data_dir=NOWHERE)


def test_a_class_without_a_training_image_is_named(tmp_path: Path) -> None:
    fill(tmp_path, classes=2, per_class=3)
    for image in sorted((tmp_path / "class1").iterdir())[1:]:
        image.unlink()
    with pytest.raises(BenchError, match="has no train image of class 1"):
        load(parse_source(f"folder:{tmp_path}[like=digits]"), data_dir=NOWHERE)


def test_unlabelled_images_cannot_be_evaluated_on() -> None:
    with pytest.raises(BenchError, match="has no labels"):
        load(parse_source("stl10:unlabelled"), data_dir=NOWHERE)


def test_is_here_looks_for_the_folder(tmp_path: Path) -> None:
    assert is_here(parse_source("digits"), tmp_path)
    assert is_here(parse_source(f"folder:{tmp_path}[like=digits]"), tmp_path)
    assert not is_here(parse_source("folder:no-such[like=digits]"), tmp_path)
    assert not is_here(parse_source("cifar10"), tmp_path)
    (tmp_path / "cifar-10-batches-py").mkdir()
    assert is_here(parse_source("cifar10"), tmp_path)
    assert not is_here(parse_source("stl10"), tmp_path)

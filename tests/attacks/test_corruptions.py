"""Published corruptions: found, read, scored in order, resumed, and named where they are missing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bench.attacks.catalogue import ATTACKS
from bench.attacks.corruptions import corrupted_outcomes
from bench.attacks.evaluate import AttackContext
from bench.attacks.threats import AttackKind, AttackSpec
from bench.contract import Checkpoints, NoCheckpoints
from bench.data.corruptions import SEVERITIES, CorruptedImages
from bench.data.profiles import profile_of
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.randomness import Randomness
from tests.attacks.models import Flat, classifier
from tests.interruptions import in_pieces

TYPES = ("fog", "snow", "frost")
SPEC = AttackSpec("some", None, AttackKind.CORRUPTION, batch=4, corruptions=TYPES)
IMAGES = 6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """CIFAR-10-C with three types of six images."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 10, IMAGES)
    (tmp_path / "CIFAR-10-C").mkdir()
    np.save(tmp_path / "CIFAR-10-C/labels.npy", np.tile(labels, SEVERITIES))
    for name in TYPES:
        pixels = draw.integers(0, 256, (SEVERITIES * IMAGES, 32, 32, 3), dtype=np.uint8)
        np.save(tmp_path / f"CIFAR-10-C/{name}.npy", pixels)
    return tmp_path


def images(folder: Path, limit: int | None = None) -> CorruptedImages:
    return CorruptedImages.of(TYPES, profile_of("cifar10"), folder, limit)


def scored(folder: Path, checkpoints: Checkpoints, seen: list[str], limit: int | None = None) -> Tensor:
    report = lambda done, total, text: seen.append(f"{done}/{total} {text}")  # noqa: E731
    context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), report, checkpoints=checkpoints)
    return corrupted_outcomes(classifier(Flat, side=32), images(folder, limit), SPEC, context)


def test_the_mean_is_that_over_types_and_severities(folder: Path) -> None:
    model, seen, accuracies = classifier(Flat, side=32), list[str](), []
    labels = np.load(folder / "CIFAR-10-C/labels.npy")
    for name in TYPES:
        pixels = torch.from_numpy(np.load(folder / f"CIFAR-10-C/{name}.npy").transpose(0, 3, 1, 2))
        right = (model(pixels_of(pixels)).argmax(1).numpy() == labels).reshape(SEVERITIES, IMAGES)
        accuracies.append([severity.mean() for severity in right])
    correct = scored(folder, NoCheckpoints(), seen)
    assert len(correct) == len(TYPES) * SEVERITIES * IMAGES
    assert 0 < np.mean(accuracies) < 1
    assert correct.double().mean().item() == pytest.approx(np.mean(accuracies))
    assert correct.reshape(3, 5, 6).double().mean(2).tolist() == pytest.approx(np.array(accuracies))
    assert [text.split()[1] for text in seen[::8]] == [f"{name}," for name in TYPES]
    assert seen[-1].startswith("100/100 frost, accuracy so far")


def test_it_goes_on_after_its_last_batch(folder: Path) -> None:
    once, again = list[str](), list[str]()
    resumed, lives = in_pieces(lambda checkpoints: scored(folder, checkpoints, again).tolist(), 5)
    assert resumed == scored(folder, NoCheckpoints(), once).tolist()
    assert again == once
    assert lives > 3


def test_a_limit_takes_the_first_images_of_each_severity(folder: Path) -> None:
    everything = scored(folder, NoCheckpoints(), []).reshape(3, SEVERITIES, IMAGES)
    few = scored(folder, NoCheckpoints(), [], limit=2).reshape(3, SEVERITIES, 2)
    assert torch.equal(few, everything[:, :, :2])
    assert images(folder, 2).fingerprint != images(folder).fingerprint


def test_the_fingerprint_is_of_the_content(folder: Path) -> None:
    before = images(folder).fingerprint
    assert images(folder).fingerprint == before
    pixels = np.load(folder / "CIFAR-10-C/snow.npy")
    pixels[-1, -1, -1, -1] ^= 1
    np.save(folder / "CIFAR-10-C/snow.npy", pixels)
    assert images(folder).fingerprint != before


def test_missing_files_are_named_with_the_remedy(folder: Path) -> None:
    (folder / "CIFAR-10-C/snow.npy").unlink()
    with pytest.raises(BenchError, match=r"CIFAR-10-C' lacks snow\.npy: download CIFAR-10-C\.tar from .*--data-dir"):
        images(folder)


def test_other_data_sets_have_none(folder: Path) -> None:
    with pytest.raises(BenchError, match="published for cifar10 and cifar100, not for 'digits'"):
        CorruptedImages.of(TYPES, profile_of("digits"), folder)


@pytest.mark.parametrize("spoilt", ["shape", "bytes"])
def test_files_that_hold_something_else_are_named(folder: Path, spoilt: str) -> None:
    path = folder / "CIFAR-10-C/snow.npy"
    if spoilt == "shape":
        np.save(path, np.zeros((3, 32, 32, 3), dtype=np.uint8))
    else:
        path.write_bytes(b"nothing of the kind")
    with pytest.raises(BenchError, match=r"snow\.npy' (holds uint8 \(3, 32, 32, 3\)|cannot be read).*unpack"):
        images(folder).load("snow")


def test_the_two_averages() -> None:
    fifteen, nineteen = ATTACKS["corruption"].corruptions, ATTACKS["corruption-19"].corruptions
    assert (len(set(fifteen)), len(set(nineteen))) == (15, 19)
    assert set(nineteen) - set(fifteen) == {"gaussian_blur", "saturate", "spatter", "speckle_noise"}

"""Sweeps in processes of their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from bench.keys import PROJECT
from tests.processes import BENCH


@pytest.fixture
def images(tmp_path: Path) -> str:
    """A data set of four classes that needs no import as heavy as scikit-learn's."""
    for split, count in (("train", 40), ("test", 12)):
        for number in range(count):
            path = tmp_path / "images" / split / f"class{number % 4}" / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (60 * (number % 4), number, 200)).save(path)
    return f"folder:{tmp_path / 'images'}[like=digits]"


@pytest.fixture
def start(tmp_path: Path, images: str) -> Callable[..., subprocess.Popen[str]]:
    """Start `bench run` with two workers in a process group of its own."""

    def start(methods: str, *more: str) -> subprocess.Popen[str]:
        options = ["--datasets", images, "--jobs", "2", "--device", "cpu", "--out", str(tmp_path / "runs"), *more]
        return subprocess.Popen(
            [*BENCH, "run", "--methods", methods, *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(PROJECT), "COLUMNS": "200"},
            start_new_session=True,
        )

    return start

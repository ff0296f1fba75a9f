"""Where a number comes from is recorded: the commit of a clone, and what may move the last bits."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest
import torch

from bench.provenance import commit, context
from bench.schema import Row


@pytest.fixture(autouse=True)
def _forget() -> None:
    commit.cache_clear()


@pytest.fixture
def git(tmp_path: Path) -> Callable[..., str]:
    """Run git in a fresh folder."""

    def git(*arguments: str) -> str:
        person = ["-c", "user.name=n", "-c", "user.email=n@example.org"]
        done = subprocess.run(["git", *person, *arguments], cwd=tmp_path, capture_output=True, text=True, check=True)
        return done.stdout.strip()

    return git


def test_a_clone_names_its_commit_and_whether_files_differ(git: Callable[..., str], tmp_path: Path) -> None:
    git("init", "--quiet")
    assert commit(tmp_path) is None
    (tmp_path / "file").write_text("one")
    git("add", "file")
    git("commit", "--quiet", "-m", "first")
    commit.cache_clear()
    assert commit(tmp_path) == git("rev-parse", "HEAD")
    (tmp_path / "file").write_text("two")
    commit.cache_clear()
    assert commit(tmp_path) == git("rev-parse", "HEAD") + "+dirty"


def test_an_installation_inside_somebody_elses_clone_has_no_commit(git: Callable[..., str], tmp_path: Path) -> None:
    git("init", "--quiet")
    (tmp_path / "site-packages").mkdir()
    assert commit(tmp_path / "site-packages") is None


def test_the_context_fills_the_columns_of_a_row() -> None:
    columns = {name.removeprefix("context_") for name in Row.model_fields if name.startswith("context_")}
    assert {field.name for field in fields(context("cpu"))} == columns


def test_the_context_of_a_cpu() -> None:
    found = context("cpu")
    assert found.torch == torch.__version__
    assert found.cuda is None
    assert found.threads == torch.get_num_threads()
    assert found.device

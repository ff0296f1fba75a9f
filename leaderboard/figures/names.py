"""The names of kinds of figures and of image formats. Imports nothing heavy, so that `bench --help` stays fast."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from bench.errors import BenchError

FOLDER = Path("figures")
"""Where files of figures go, if nothing else is said."""


class Kind(StrEnum):
    """What a figure shows of a store."""

    OPTION = "option"
    LADDER = "ladder"
    TESTS = "tests"
    COMPARISONS = "comparisons"
    COST = "cost"
    CURVES = "curves"
    SILHOUETTE = "silhouette"
    CORRUPTIONS = "corruptions"
    EMBEDDING = "embedding"


class ImageFormat(StrEnum):
    """How a figure is written, besides its numbers."""

    SVG = "svg"
    PDF = "pdf"
    PNG = "png"


def check_folder(path: Path) -> None:
    """See that figures can go there.

    Raises:
        BenchError: if it is a file.
    """
    if path.exists() and not path.is_dir():
        raise BenchError(f"'{path}' is a file, and figures go into a folder: name another one with --write.")

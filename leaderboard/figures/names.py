"""The names of kinds of figures and of image formats. Imports nothing heavy, so that `bench --help` stays fast."""

from __future__ import annotations

from enum import StrEnum


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

"""How many images of a data set to use. Imports no torch."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields

from bench.errors import BenchError, unknown


@dataclass(frozen=True)
class Limit:
    """How many images to use; None is all. The subset is fixed: it never depends on a seed.

    Attributes:
        train: training images, and pre-training images too.
        test: test images.
    """

    train: int | None = None
    test: int | None = None

    def __post_init__(self) -> None:
        for split, count in self._given().items():
            if count < 1:
                raise BenchError(f"limit {split}={count} leaves no image; give a number above 0.")

    @classmethod
    def parse(cls, text: str) -> Limit:
        """Read `200` (both splits), `train=200`, `test=50` or `train=200,test=50`.

        Raises:
            BenchError: if it is none of these; the message shows how to write it.
        """
        names = [field.name for field in fields(cls)]
        if re.fullmatch(r"\s*-?\d+\s*", text):
            return cls(**dict.fromkeys(names, int(text)))
        counts: dict[str, int] = {}
        for item in text.split(","):
            name, _, count = (part.strip() for part in item.partition("="))
            if name not in names and name.isidentifier():
                raise unknown("split in the limit", name, names)
            if name in counts or not re.fullmatch(r"-?\d+", count):
                raise BenchError(f"cannot read the limit '{text}'; write a number, or train=N,test=M with either one.")
            counts[name] = int(count)
        return cls(**counts)

    @property
    def text(self) -> str:
        """The canonical spelling, `train=N,test=M`; empty without a limit."""
        return ",".join(f"{split}={count}" for split, count in self._given().items())

    def _given(self) -> dict[str, int]:
        both = {"train": self.train, "test": self.test}
        return {split: count for split, count in both.items() if count is not None}

"""Files that a user names in a method's settings: what is in them counts, not where they lie. Imports no torch."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_serializer, model_validator

from bench.errors import BenchError, StageError


class InputFile(BaseModel):
    """A file as a setting: `labels: InputFile | None = None` takes a path, as in `advcl[labels="./my labels.npz"]`.

    The path is resolved when the settings are validated. Keys, rows and labels hold the content's hash alone, so a file
    that was moved is the same setting and one that was edited is another. Read it with `read`, which sees to it that
    the content is still the one that was planned with.

    Attributes:
        path: absolute; no part of the identity.
        sha256: of the content, 64 hexadecimal digits.
        size: of the content, in bytes.

    Raises:
        BenchError: if a path names no file that can be read.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    path: Path
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    size: int = Field(ge=0)

    @model_validator(mode="before")
    @classmethod
    def _resolved(cls, value: Any) -> Any:
        if isinstance(value, str | Path):
            return _facts(Path(value).expanduser().absolute())
        if isinstance(value, Mapping | InputFile):
            return value
        raise ValueError("it should be the path of a file")

    @field_serializer("path")
    def _spelt(self, path: Path) -> str:
        return str(path)

    def __str__(self) -> str:
        """How labels of rows name it: `sha256:` and the first 12 digits."""
        return f"sha256:{self.sha256[:12]}"

    def read(self) -> bytes:
        """The content.

        Raises:
            StageError: if the file is gone, or its content is no longer the one that was planned with.
        """
        try:
            content = self.path.read_bytes()
        except OSError as error:
            raise StageError(
                f"file '{self.path}' can no longer be read ({error.strerror}): put it back, or plan again"
            ) from error
        if (found := hashlib.sha256(content).hexdigest()) != self.sha256:
            raise StageError(
                f"file '{self.path}' was changed after the sweep was planned (SHA-256 {self.sha256[:12]} then, "
                f"{found[:12]} now): run the same command again"
            )
        return content


def is_file(value: object) -> bool:
    """Whether a setting, as rows keep it, is a file: its content, not its place."""
    return isinstance(value, dict) and value.keys() == {"sha256", "size"}


def _facts(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            return {"path": path, "sha256": sha256, "size": file.tell()}
    except OSError as error:
        raise BenchError(
            f"file '{path}' cannot be read ({error.strerror}): give the path of a file that is there, in quotes where "
            f"it holds a comma, a bracket or '='."
        ) from error

"""The base of every method's settings. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field

from bench.execution import Precision
from bench.inputs import InputFile


@dataclass(frozen=True)
class ScalesWithEpochs:
    """Marks a length in epochs (warm-up, milestone, plateau) that shrinks with a shorter schedule."""


EpochLength = Annotated[int, Field(ge=1), ScalesWithEpochs()]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Count = Annotated[int, Field(ge=1)]


class MethodConfig(BaseModel):
    """A method's settings: frozen, typed, unknown keys are errors.

    The string under a field says where its default comes from: a paper section, an official file and line, or "chosen".
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    def with_epochs(self, epochs: int) -> Self:
        """These settings with every pre-training length rescaled to `epochs`; unchanged where nothing is trained."""
        return self

    def input_files(self) -> dict[str, InputFile]:
        """The files among these settings, by the field that names them."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: value for name, value in values.items() if isinstance(value, InputFile)}

    def identity(self) -> dict[str, Any]:
        """Every field as JSON data, files by their content alone."""
        return self.model_dump(mode="json", exclude={name: {"path"} for name in self.input_files()})


class TrainingConfig(MethodConfig):
    """Settings shared by every method that is trained by the engine."""

    epochs: EpochLength
    """Passes over the pre-training images."""
    batch_size: Count
    """Images per step."""
    pretrain_pool: str | None = None
    """Source of the pre-training images; None is the data set's own (chosen: every paper but those on STL-10)."""
    precision: Precision = Precision.FP32
    """fp32, tf32 or bf16: what networks compute in while they are trained, upstream ones too unless they say another
    (chosen: no paper says another)."""

    def with_epochs(self, epochs: int) -> Self:
        """Scale every length marked `ScalesWithEpochs`, alone or in a tuple, by `epochs` / own, rounded, at least 1."""

        def scaled(length: int | tuple[int, ...]) -> int | tuple[int, ...]:
            if isinstance(length, tuple):
                return tuple(max(1, round(part * epochs / self.epochs)) for part in length)
            return max(1, round(length * epochs / self.epochs))

        lengths = {
            name: scaled(getattr(self, name))
            for name, field in type(self).model_fields.items()
            if any(isinstance(mark, ScalesWithEpochs) for mark in field.metadata)
        }
        return self.model_copy(update=lengths)

"""Pydantic's complaints about values that a person wrote, as one clear paragraph. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from bench.errors import BenchError, unknown

ModelT = TypeVar("ModelT", bound=BaseModel)


def validated(model: type[ModelT], values: Mapping[str, Any], owner: str, also: tuple[str, ...] = ()) -> ModelT:
    """An instance of `model` from `values`.

    Args:
        model: what its fields promise is checked.
        values: by field name.
        owner: whose options they are, in a word or two, for the message: `ncp`, `sweep`, `x.toml`.
        also: names that are options there without being fields of `model`, for the suggestions.

    Raises:
        BenchError: for an unknown key (with the closest one suggested), a missing one, a wrong type or range.
    """
    fields = model.model_fields
    for key in values:
        if key not in fields:
            raise unknown(f"{owner} option", key, (*fields, *also))
    try:
        return model.model_validate(dict(values))
    except ValidationError as error:
        raise BenchError(" ".join(_sentence(detail, model, owner) for detail in error.errors())) from error


def _sentence(detail: ErrorDetails, model: type[BaseModel], owner: str) -> str:
    option = ".".join(str(part) for part in detail["loc"])
    reason = detail["msg"].removeprefix("Value error, ").replace("Input should", "it should").rstrip(".")
    if not option:
        return f"The {owner} options do not fit together: {reason}."
    if detail["type"] == "missing":
        meaning = model.model_fields[option].description or ""
        return f"{owner} option '{option}' has no default, give it a value: {meaning}".rstrip(": ")
    return f"{owner} option '{option}' cannot be {detail['input']!r}: {reason}."

"""What every method promises of its settings."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from pydantic import ValidationError

from bench.config import MethodConfig, ScalesWithEpochs, TrainingConfig
from bench.conformance.subject import Subject
from bench.conformance.verdicts import Broken, expect
from bench.data.profiles import PROFILES

SHORTER = 20
"""Epochs that a paper's schedule is cut to."""


def entries(subject: Subject) -> Iterator[tuple[str, str, MethodConfig]]:
    """The tables PAPER and QUICK, entry by entry: table, data set, settings."""
    for table, settings in (("PAPER", subject.method.PAPER), ("QUICK", subject.method.QUICK)):
        yield from ((table, data, config) for data, config in settings.items())


def are_explained(subject: Subject) -> None:
    """A string under every field."""
    fields = subject.method.Config.model_fields
    silent = [name for name, about in fields.items() if not about.description]
    expect(not silent, f"nothing is written under {', '.join(silent)}")


def are_closed(subject: Subject) -> None:
    """No field can be set later, and none added."""
    config = subject.make().config
    for name in type(config).model_fields:
        try:
            setattr(config, name, getattr(config, name))
        except ValidationError:
            continue
        raise Broken(f"'{name}' can be changed after the method was made")
    try:
        type(config).model_validate({**config.model_dump(), "no such field": 1})
    except ValidationError:
        return
    raise Broken("a field that does not exist is taken without complaint")


def survive_a_process(subject: Subject) -> None:
    """JSON and back."""
    for table, data, config in [*entries(subject), ("the", "small", subject.make().config)]:
        back = type(config).model_validate(config.model_dump(mode="json"))
        expect(
            back == config, f"{table} settings for {data} come back from JSON as others: {_difference(config, back)}"
        )


def _difference(one: MethodConfig, other: MethodConfig) -> str:
    names = [name for name in type(one).model_fields if getattr(one, name) != getattr(other, name)]
    return ", ".join(f"{name} {getattr(one, name)!r} became {getattr(other, name)!r}" for name in names)


def build_an_encoder(subject: Subject) -> None:
    """Each entry makes an encoder that takes images of its data set."""
    for table, data, config in entries(subject):
        expect(data in PROFILES, f"{table} names '{data}', which is none of {', '.join(PROFILES)}")
        side = PROFILES[data].image_size
        with torch.device("meta"):
            features = subject.method(config).encoder(PROFILES[data]).eval().encode(torch.zeros(2, 3, side, side))
        expect(features.ndim == 2 and len(features) == 2, f"{table}['{data}'] gives features {tuple(features.shape)}")


def scale_with_the_epochs(subject: Subject) -> None:
    """Marked lengths shrink along, the others stay."""
    for table, data, config in entries(subject):
        scaled = config.with_epochs(SHORTER)
        if isinstance(config, TrainingConfig) and isinstance(scaled, TrainingConfig):
            for name, about in type(config).model_fields.items():
                marked = any(isinstance(mark, ScalesWithEpochs) for mark in about.metadata)
                before, after = getattr(config, name), getattr(scaled, name)
                expected = _scaled(before, config.epochs) if marked else before
                where = f"{table}['{data}'] with {SHORTER} epochs instead of {config.epochs}"
                expect(after == expected, f"{where}: {name} {before} became {after}, not {expected}")


def _scaled(length: int | tuple[int, ...], epochs: int) -> int | tuple[int, ...]:
    if isinstance(length, tuple):
        return tuple(max(1, round(part * SHORTER / epochs)) for part in length)
    return max(1, round(length * SHORTER / epochs))

"""The literature's numbers as data: every published number with its source, as it was published.

They lie in `results/published/`: `claims.csv`, and `contradictions.toml`, which names where the record disagrees with
itself. Nothing is corrected: two sources that disagree are two claims.
"""

from __future__ import annotations

import csv
import io
import tomllib
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import cached_property
from importlib.resources import files
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from bench.errors import BenchError

PUBLISHED = files("results") / "published"
ATTACKED = frozenset({"ra_pgd20", "pgd20", "aa", "deepfool", "pgd50_l1", "slide_l1", "pgd50_l2", "cw_l2"})
"""Accuracies that belong to an attack budget."""


class Head(StrEnum):
    """What was done with the encoder before it was scored."""

    SLF = "slf"
    """A linear head, trained on clean images."""
    ALF = "alf"
    """A linear head, trained on adversarial images."""
    AFF = "aff"
    """The whole network, trained on adversarial images."""
    NONE = "none"
    """Neither: a supervised network, a mean over the three, a time, a setting."""


class Quantity(StrEnum):
    """What was measured."""

    SA = "sa"
    RA = "ra_pgd20"
    PGD = "pgd20"
    AA = "aa"
    CORRUPTION = "corruption"
    DEEPFOOL = "deepfool"
    PGD_L1 = "pgd50_l1"
    SLIDE = "slide_l1"
    PGD_L2 = "pgd50_l2"
    CW = "cw_l2"
    OPTIMAL_K = "optimal_k"
    HOURS = "time_total_hours"
    EPOCH_SECONDS = "time_per_epoch_s"
    PROBABILITY_RATIO = "prob_decrease_ratio_max"
    SUCCESS_RATIO = "attack_success_ratio_max"


MEANINGS: Mapping[Quantity, str] = {
    Quantity.SA: "accuracy on clean images, per cent",
    Quantity.RA: "accuracy under PGD-20 with step 2/255, per cent",
    Quantity.PGD: "accuracy under PGD-20 with step 0.1 eps, per cent: AMOC's and RoCL's, kept apart from ra_pgd20",
    Quantity.AA: "accuracy under AutoAttack, per cent",
    Quantity.CORRUPTION: "mean accuracy on CIFAR-10-C or CIFAR-100-C, per cent",
    Quantity.DEEPFOOL: "accuracy under DeepFool (l_inf), per cent",
    Quantity.PGD_L1: "accuracy under PGD-50 (l_1), per cent",
    Quantity.SLIDE: "accuracy under SLIDE (l_1), per cent",
    Quantity.PGD_L2: "accuracy under PGD-50 (l_2), per cent",
    Quantity.CW: "accuracy under Carlini and Wagner (l_2), per cent",
    Quantity.OPTIMAL_K: "the number of clusters that was chosen",
    Quantity.HOURS: "time of pre-training, hours",
    Quantity.EPOCH_SECONDS: "time of an epoch of pre-training, seconds",
    Quantity.PROBABILITY_RATIO: "NCP-ACL, Table 1: how many times random noise's decrease in probability, at most",
    Quantity.SUCCESS_RATIO: "NCP-ACL, Table 1: how many times random noise's success, at most",
}
PER_CENT = frozenset(Quantity) - {
    Quantity.OPTIMAL_K, Quantity.HOURS, Quantity.EPOCH_SECONDS, Quantity.PROBABILITY_RATIO, Quantity.SUCCESS_RATIO,
}  # fmt: skip


class Form(StrEnum):
    """What was published of a quantity; the values are the ends of metric names."""

    VALUE = ""
    STD = "_std"
    """The number after +-."""
    MEAN3 = "_mean3"
    """The mean over SLF, ALF and AFF."""
    GAIN = "_gain"
    """A difference between two methods, from prose."""
    GAIN_APPROX = "_gain_approx"
    """Such a difference, rounded by its authors."""


_RANGES: Mapping[Form, tuple[float, float]] = {
    Form.VALUE: (0, 100),
    Form.STD: (0, 50),
    Form.MEAN3: (0, 100),
    Form.GAIN: (-100, 100),
    Form.GAIN_APPROX: (-100, 100),
}
"""Of what is given in per cent."""

Stages = Annotated[str, Field(pattern=r"^\d+(\+\d+)*$")]
"""A number per stage of pre-training: `200`, `1000+200`."""


class Claim(BaseModel):
    """One published number.

    Raises:
        pydantic.ValidationError: for an unknown column, metric or protocol, a value out of range, an attack without
            its budget.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    paper: str
    """Where it was published: a paper, a README, a leaderboard, an issue."""
    table: str
    """Where in it."""
    method: str
    """As its authors call it."""
    dataset: str | None
    """`a->b` is pre-training on a, judged on b; null where the source does not say."""
    pretrain_epochs: Stages | None
    """Length of pre-training; null where the source does not say: the method's own."""
    batch_size: Stages | None
    """Of pre-training; null where the source does not say."""
    protocol: Head
    """The head."""
    metric: str
    """A `Quantity`, and a `Form` at its end."""
    eps: str | None
    """Attack budget as published: `8/255` of [0, 1] pixels."""
    norm: str | None
    """Norm of the budget: linf, l1 or l2."""
    value: float
    """The number as published."""
    n_seeds: Annotated[int, Field(ge=1)] | None
    """Seeds that it is a mean over; null where the source does not say."""
    source: str
    """Where exactly: a line, or a file at a commit; and what had to be inferred."""

    @cached_property
    def form(self) -> Form:
        """What was published of the quantity."""
        return max((form for form in Form if self.metric.endswith(form)), key=len)

    @cached_property
    def quantity(self) -> Quantity:
        """What was measured."""
        return Quantity(self.metric.removesuffix(self.form))

    @property
    def cell(self) -> tuple[str | None, ...]:
        """What it is a number of, whoever published it and where."""
        return (self.method, self.dataset, self.pretrain_epochs, self.batch_size, self.protocol)

    @model_validator(mode="after")
    def _is_sound(self) -> Self:
        low, high = _RANGES[self.form] if self.quantity in PER_CENT else (0, float("inf"))
        if not low <= self.value <= high:
            raise ValueError(f"{self.metric} = {self.value} is not in [{low}, {high}]")
        if (self.eps is None) != (self.norm is None):
            raise ValueError("eps and norm belong together")
        if self.quantity in ATTACKED and self.form is Form.VALUE and self.eps is None:
            raise ValueError(f"{self.metric} needs an attack budget")
        return self


def load_claims() -> tuple[Claim, ...]:
    """Every published number, in the order of the file."""
    return parse_claims((PUBLISHED / "claims.csv").read_text(encoding="utf-8"), "results/published/claims.csv")


def parse_claims(text: str, name: str) -> tuple[Claim, ...]:
    """The claims of a CSV text; an empty field is null.

    Raises:
        BenchError: for a line that is no sound claim, or that repeats another; the message names it.
    """
    claims: dict[tuple[object, ...], Claim] = {}
    reader = csv.DictReader(io.StringIO(text))
    for line in reader:
        claim = _claim({key: value or None for key, value in line.items()}, f"{name}, line {reader.line_num}")
        key = (claim.paper, claim.table, claim.cell, claim.metric)
        if key in claims:
            raise BenchError(f"{name}, line {reader.line_num} repeats an earlier claim: remove one of the two.")
        claims[key] = claim
    return tuple(claims.values())


def _claim(fields: Mapping[str, object], where: str) -> Claim:
    try:
        return Claim.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        at = ".".join(map(str, first["loc"])) or "the whole line"
        raise BenchError(f"{where} is no sound claim: {at}: {first['msg']}. Mend it as its source has it.") from error


class Disputed(BaseModel):
    """A number that a contradiction is about, with the values that were published for it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    method: str
    dataset: str
    protocol: Head
    metric: str
    values: tuple[float, ...]

    def concerns(self, claim: Claim) -> bool:
        """Whether a claim is one of them."""
        same = (claim.method, claim.dataset, claim.protocol, claim.metric)
        return same == (self.method, self.dataset, self.protocol, self.metric) and claim.value in self.values


class Contradiction(BaseModel):
    """Where the record disagrees with itself.

    Attributes:
        id: the group it belongs to, and its own name in it.
        papers: where the disagreeing numbers stand.
        what: the disagreement.
        reading: what may be inferred from it; empty where nothing may.
        numbers: the claims that it is about; empty where it is about no number of the record.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str
    papers: tuple[str, ...]
    what: str
    reading: str = ""
    numbers: tuple[Disputed, ...] = ()

    def concerns(self, claim: Claim) -> bool:
        """Whether a claim is one of the disagreeing numbers."""
        return claim.paper in self.papers and any(number.concerns(claim) for number in self.numbers)


def load_contradictions() -> tuple[Contradiction, ...]:
    """What is known to disagree, in the order of the file."""
    content = tomllib.loads((PUBLISHED / "contradictions.toml").read_text(encoding="utf-8"))
    return tuple(Contradiction.model_validate(one) for one in content["contradiction"])


def about(contradictions: Sequence[Contradiction], claims: Sequence[Claim]) -> tuple[Contradiction, ...]:
    """The contradictions that concern any of these claims."""
    return tuple(one for one in contradictions if any(one.concerns(claim) for claim in claims))

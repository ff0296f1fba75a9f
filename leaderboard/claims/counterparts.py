"""What a claim is called here, and whether rows answer the same question as it. Pure, over `counterparts.toml`."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Any

from pydantic import BaseModel, ConfigDict

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import Metric
from bench.data.profiles import profile_of
from bench.gates.verdicts import Verdict
from bench.grammar import Spec, parse_spec
from leaderboard.claims.claim import PUBLISHED, Claim, Head
from leaderboard.rows import Setting, config_of, head_of

ANY = "*"
COLUMNS = frozenset(map(str, Metric))
"""Metrics that rows have a column for; other attacks are among their scores."""
FAILED = Verdict.FAIL.value
"""The verdict of a row's gates that takes every other verdict away."""
FULL = "paper"
"""The schedule of published numbers."""
WEIGHTS_OF = "weights_of"
"""The setting of rows of a file's weights that says which method trained them, as `--methods` takes it."""
_ROUNDED = 5e-5  # Of a budget: RoCL writes 8/255 as .0314.


class DataCounterpart(BaseModel):
    """A data set here.

    Attributes:
        dataset: source of the images that judge.
        pretrain_data: sources that may have been pre-trained on.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dataset: str
    pretrain_data: tuple[str, ...]


class Rule(BaseModel):
    """Which protocols are a claim's; what is not given fits everything.

    Attributes:
        paper, protocol: of the claim.
        method: of the claim.
        table, source: parts of the claim's.
        here: names of protocols, each a fair reading of the claim's.
        none: why there is none.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    paper: str | None = None
    protocol: Head | None = None
    method: str | None = None
    table: str = ""
    source: str = ""
    here: tuple[str, ...] = ()
    none: str = ""

    def fits(self, claim: Claim) -> bool:
        """Whether the rule speaks of a claim."""
        exact = ((self.paper, claim.paper), (self.protocol, claim.protocol), (self.method, claim.method))
        same = all(wanted in (None, found) for wanted, found in exact)
        return same and self.table in claim.table and self.source in claim.source


class Counterparts(BaseModel):
    """The whole mapping, as in the file; see the comments there."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    methods: Mapping[str, str]
    no_method: Mapping[str, str]
    datasets: Mapping[str, DataCounterpart]
    no_dataset: Mapping[str, str]
    metrics: Mapping[str, str]
    no_metric: Mapping[str, str]
    protocol: tuple[Rule, ...]

    def of(self, claim: Claim) -> Counterpart | Missing:
        """What a claim is here, or what is missing."""
        rule = next(rule for rule in self.protocol if rule.fits(claim))
        lacking = (
            _reason(claim.metric, self.metrics, self.no_metric),
            _reason(claim.method, self.methods, self.no_method),
            _reason(claim.dataset or "", self.datasets, self.no_dataset),
            rule.none,
        )
        if reason := next(filter(None, lacking), None):
            return Missing(reason)
        data = self.datasets[claim.dataset or ""]
        return Counterpart(
            self.methods[claim.method], data.dataset, data.pretrain_data, rule.here, self.metrics[claim.metric]
        )


def _reason(name: str, known: Mapping[str, object], missing: Mapping[str, str]) -> str | None:
    """Why a name has no counterpart; None where it has one."""
    if name in known:
        return None
    fitting = (reason for pattern, reason in missing.items() if fnmatchcase(name, pattern))
    return next(fitting, f"'{name}' has no counterpart here")


def load_counterparts() -> Counterparts:
    """The mapping that ships with the package."""
    return Counterparts.model_validate(tomllib.loads((PUBLISHED / "counterparts.toml").read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Missing:
    """A claim without a counterpart.

    Attributes:
        reason: why.
    """

    reason: str


@dataclass(frozen=True)
class Counterpart:
    """What a claim is here.

    Attributes:
        label: of the method; an option that is `*` may have any value.
        dataset, pretrain_data: sources of images.
        protocols: each a fair reading of the claim's protocol.
        column: of the rows, that holds the metric; or the name of an attack among their scores.
    """

    label: str
    dataset: str
    pretrain_data: tuple[str, ...]
    protocols: tuple[str, ...]
    column: str

    @property
    def method(self) -> str:
        """The method's name, without options."""
        return parse_spec(self.label).name

    @property
    def text(self) -> str:
        """For people: `ncp on cifar10 under slf@ncp or slf@ncp-bn`."""
        return f"{self.label} on {self.dataset} under {' or '.join(self.protocols)}"


def trained(row: Mapping[Any, Any]) -> tuple[Spec, Mapping[str, Any]]:
    """The method that trained a row's encoder, and its settings as far as they are known.

    Of released weights nothing is known but what the row's user said of them.
    """
    config = config_of(row)
    if (said := config.get(WEIGHTS_OF)) is None:
        return parse_spec(row["label"]), config
    spec = parse_spec(said)
    return spec, spec.options


def differences(claim: Claim, here: Counterpart, row: Mapping[Any, Any]) -> tuple[str, ...]:
    """What keeps a row from answering the claim's question; empty where nothing does.

    Args:
        claim: the published number.
        here: its counterpart.
        row: column name to value, of any of the rows that differ by their seeds alone.
    """
    return (
        *_of_data(here, row),
        *_of_schedule(claim, row),
        *_of_settings(claim, here, row),
        *_of_protocol(claim, here, row),
        *_of_gates(row),
    )


def _of_data(here: Counterpart, row: Mapping[Any, Any]) -> Iterator[str]:
    if row["dataset"] != here.dataset:
        yield f"data {row['dataset']}, not {here.dataset}"
    elif row["pretrain_data"] not in here.pretrain_data:
        yield f"pre-trained on {row['pretrain_data']}, not {' or '.join(here.pretrain_data)}"
    if row["limited"]:
        yield "some images were left out (--limit)"


def _of_schedule(claim: Claim, row: Mapping[Any, Any]) -> Iterator[str]:
    """A shorter, or longer, pre-training answers another question, whatever its numbers are."""
    setting = Setting.of(row)
    if setting.schedule != FULL:
        yield f"schedule {setting.schedule}, not {FULL}"
    elif setting.budget is not None:
        yield f"{setting.budget:g} passes per image (--budget), not the paper's epochs"
    elif reason := _length(claim, setting.epochs, trained(row)[1]):
        yield reason


def _length(claim: Claim, epochs: int | None, config: Mapping[str, Any]) -> str | None:
    """What is wrong with the epochs: those of the last stage, whose upstreams are the paper's unless overridden."""
    stages = claim.pretrain_epochs.split("+") if claim.pretrain_epochs else []
    if epochs is not None and len(stages) != 1:
        return f"{epochs} epochs (--epochs), not the paper's"
    if stages and config.get("epochs") != int(stages[-1]):
        return f"{config.get('epochs', 'unknown')} epochs, not {stages[-1]}"
    return None


def _of_settings(claim: Claim, here: Counterpart, row: Mapping[Any, Any]) -> Iterator[str]:
    """Options that the user set must be those that the claim's method stands for, and a stated batch size too."""
    wanted, (found, settings) = parse_spec(here.label), trained(row)
    stated = {"epochs": claim.pretrain_epochs, "batch_size": claim.batch_size}
    compared = {name for name, value in stated.items() if value}  # By the config, wherever it was set.
    options = {name: value for name, value in found.options.items() if name not in compared}
    if not _is_covered(wanted.options, options):
        yield f"settings of {found.text}, not {here.label}"
    batch = settings.get("batch_size", "unknown")
    if row["dataset"] == here.dataset and claim.batch_size and batch != int(claim.batch_size.split("+")[-1]):
        yield f"batch size {batch}, not {claim.batch_size}"


def _is_covered(wanted: Mapping[str, object], found: Mapping[str, object]) -> bool:
    return wanted.keys() == found.keys() and all(wanted[name] in (ANY, found[name]) for name in wanted)


def _of_protocol(claim: Claim, here: Counterpart, row: Mapping[Any, Any]) -> Iterator[str]:
    if head_of(row["protocol"]) not in here.protocols:
        yield f"protocol {row['protocol']}, not {' or '.join(here.protocols)}"
    if claim.eps is None or row["dataset"] != here.dataset:
        return
    norm, eps = _ball(here, row)
    if abs(eps - float(Fraction(claim.eps))) > _ROUNDED or norm.lower() != claim.norm:
        yield f"{norm} eps {eps:.4g}, not {claim.norm} {claim.eps}"


def _ball(here: Counterpart, row: Mapping[Any, Any]) -> tuple[str, float]:
    """Norm and radius behind a number: the row's, or those of the attack among its scores."""
    if here.column in COLUMNS:
        return row["norm"], row["eps"]
    attack = ATTACKS[here.column]
    return attack.norm.label, attack.eps_for(profile_of(row["dataset_like"]))


def _of_gates(row: Mapping[Any, Any]) -> Iterator[str]:
    if row.get("gate_verdict") == FAILED:
        yield "a gate failed, so the number may be no robustness"

"""The controls of a whole campaign: what must come out for any of its numbers to count."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext
from bench.cells import data_of, method_of_row
from bench.contract import Encoder, Report
from bench.data import loading
from bench.data.sources import DataSet
from bench.errors import BenchError
from bench.executors.work import load_encoder, load_head
from bench.gates.subject import ERRORS, Subject, percent, standard_error
from bench.gates.table import cheap, verdicts
from bench.gates.verdicts import NotRun, Reading, Result, Threshold, Unit, Verdict, attempted
from bench.plan import StageKind
from bench.protocols.heads import FittedHead, classifier_of
from bench.protocols.recipes import protocol_of
from bench.randomness import Randomness
from bench.registry import Registry
from bench.schema import Status
from bench.stages.head import head
from bench.store import Store

UNDEFENDED = ("simclr", "moco", "standard")
"""Methods that attack nothing while they train."""
SHUFFLED_PROTOCOL = "slf-1"
TRADES = {"sa": 81.11, "ra_pgd20": 51.89, "aa": 47.07}
"""AMOC, table 5: TRADES on CIFAR-10, ResNet-18, per cent (its PGD-20 has another step; the difference is small)."""

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Campaign:
    """A store with what its controls need.

    Attributes:
        store: of all rows.
        data_dir: where downloaded data sets lie.
        device: where controls compute.
        report: progress.
    """

    store: Store
    data_dir: Path
    device: str
    report: Report

    @cached_property
    def rows(self) -> Sequence[Row]:
        """Those that ended well, by cell."""
        return [row for row in self.store.latest_rows().values() if row["status"] == Status.OK]

    @cached_property
    def subject(self) -> Row:
        """The row on which controls plant and shuffle: of an undefended method where there is one.

        Raises:
            NotRun: if no row has its stages.
        """
        whole = [row for row in self.rows if self.has(row["pretrain_key"]) and self.has(row["head_key"])]
        if not whole:
            raise NotRun("no cell is finished and has its stages")
        return next((row for row in whole if row["method"] in UNDEFENDED), whole[0])

    def has(self, key: str | None) -> bool:
        """Whether a row's stage is in the store."""
        return key is not None and self.store.has(key)

    def data(self, row: Row) -> DataSet:
        """The images that a row was scored on."""
        return loading.data_set(data_of(row), self.data_dir, download=False).to(self.device)

    def encoder(self, row: Row) -> Encoder:
        """A row's encoder."""
        return load_encoder(self.store, row["pretrain_key"], method_of_row(row), self.device)


@dataclass(frozen=True)
class Control:
    """A check of a campaign.

    Attributes:
        name: as in the checklist.
        measure: a campaign to a number.
        threshold: what the number may not exceed.
        why: what it would mean if it did.
    """

    name: str
    measure: Callable[[Campaign], Reading]
    threshold: Threshold
    why: str


def undefended(campaign: Campaign) -> Reading:
    """C1: the highest accuracy under AutoAttack of an undefended method, per cent; two images may stand by chance."""
    rows = [row for row in campaign.rows if row["method"] in UNDEFENDED and row["aa"] is not None]
    if not rows:
        raise NotRun(f"no undefended method was scored; bench run --methods {UNDEFENDED[0]} does")
    worst = max(rows, key=lambda row: float(row["aa"]) - 200 / row["test_images"])
    pgd = f", PGD-20 {worst['ra_pgd20']:.2f} %" if worst["ra_pgd20"] is not None else ""
    told = f"{worst['label']} on {worst['dataset']}: AutoAttack {worst['aa']:.2f} %{pgd}"
    return Reading(float(worst["aa"]), 200 / worst["test_images"], told)


def undefended_pgd(campaign: Campaign) -> Reading:
    """C1-pgd: the highest accuracy under PGD-20 of an undefended method, per cent, at the radius of a paper.

    Digits have no paper: their radius is the one at which AutoAttack, not PGD-20, takes everything.
    """
    rows = [row for row in campaign.rows if row["method"] in UNDEFENDED and row["ra_pgd20"] is not None]
    rows = [row for row in rows if row["dataset_like"] != "digits"]
    if not rows:
        raise NotRun("no undefended method was scored on CIFAR-10, CIFAR-100, STL-10 or their like")
    worst = max(rows, key=lambda row: float(row["ra_pgd20"]))
    told = f"{worst['label']} on {worst['dataset']} {worst['ra_pgd20']:.2f} %"
    return Reading(float(worst["ra_pgd20"]), 200 / worst["test_images"], told)


Break = Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
"""Images and an honest encoder's pass to what a broken one makes of them."""

BROKEN: Mapping[str, Break] = {
    "rounded inputs": lambda x, encode: encode((8 * x).round() / 8),
    "features a million times larger": lambda x, encode: 1e6 * encode(x),
    "noise on the features": lambda x, encode: (features := encode(x)) + 0.1 * torch.randn_like(features),
}
"""Defences that are none, by what is wrong with them (Athalye et al. 2018)."""


def broken_models(campaign: Campaign) -> Reading:
    """C2: deliberately broken versions of a stored model that no gate fails."""
    row = campaign.subject
    images = campaign.data(row).test
    honest = classifier_of(campaign.encoder(row), load_head(campaign.store, row["head_key"])).to(campaign.device)
    context = AttackContext(Randomness(0, "attack"), images.pixels.device, campaign.report)
    caught: dict[str, list[str]] = {}
    for name, work in BROKEN.items():
        subject = Subject(_broken(honest, work), images, row["eps"], context)
        found = verdicts(subject, cheap())
        caught[name] = [result.gate for result in found if result.verdict is Verdict.FAIL]
    told = "; ".join(f"{name}: {', '.join(gates) or 'nothing fails'}" for name, gates in caught.items())
    return Reading(sum(not gates for gates in caught.values()), detail=told)


class _Broken(Encoder):
    """An honest encoder, broken in one way; a copy of it is broken alike, in whatever precision."""

    def __init__(self, honest: Encoder, work: Break) -> None:
        super().__init__()
        self.routes, self.active_route, self.honest, self.work = honest.routes, honest.active_route, honest, work

    def encode(self, x: Tensor) -> Tensor:
        return self.work(x, self.honest.encode)


def _broken(honest: Classifier, work: Break) -> Classifier:
    return Classifier(_Broken(honest.encoder, work), honest.weight, honest.bias).to(honest.weight.device)


def trades(campaign: Campaign) -> Reading:
    """C3: the largest distance, in points, of a full TRADES on CIFAR-10 from the published one."""
    asked = {"method": "trades", "dataset": "cifar10", "schedule": "paper", "limited": False, "protocol": "own-1"}
    rows = [row for row in campaign.rows if all(row[name] == value for name, value in asked.items())]
    if not rows:
        raise NotRun("bench run --methods trades --datasets cifar10 --schedule paper --protocols own-1 was not run")
    distances = {name: max(abs(row[name] - value) for row in rows) for name, value in TRADES.items()}
    return Reading(
        max(distances.values()), detail=", ".join(f"{name} {value:.2f}" for name, value in distances.items())
    )


def shuffled_labels(campaign: Campaign) -> Reading:
    """C4: by how many points a head that was fitted on shuffled labels exceeds chance; three standard errors are."""
    row = campaign.subject
    data = campaign.data(row)
    order = torch.randperm(len(data.train), generator=Randomness(0, "audit").generator("shuffle")).to(campaign.device)
    mixed = replace(data, train=replace(data.train, labels=data.train.labels[order]))
    recipe, encoder = protocol_of(SHUFFLED_PROTOCOL).recipe, campaign.encoder(row)
    fitted: FittedHead = head(encoder, mixed, recipe, row["eps"], None, None, 0, campaign.report)
    classifier = classifier_of(encoder, fitted).to(campaign.device)
    context = AttackContext(Randomness(0, "attack"), data.test.pixels.device, campaign.report)
    subject = Subject(classifier, data.test, row["eps"], context)
    accuracy = percent(subject.right(subject.x))
    # A head that learnt nothing may still say the largest class every time.
    chance = 100 * float(data.test.labels.bincount().max()) / len(data.test)
    error = 100 * standard_error((chance / 100, len(data.test)))
    return Reading(
        accuracy - chance, ERRORS * error, f"{row['label']}: accuracy {accuracy:.1f} %, chance {chance:.1f} %"
    )


def sealed_test_images(campaign: Campaign) -> Reading:
    """C5: pre-trainings and heads during which the loader handed out test images."""
    early = [one for one in campaign.store.records() if one["kind"] in (StageKind.PRETRAIN, StageKind.HEAD)]
    known = [one for one in early if "reads" in one]
    if not known:
        raise NotRun("no stage says what it read: they are of an earlier version")
    guilty = [one["label"] for one in known if any(part == loading.Part.TEST for _, part in one["reads"])]
    silent = f"; {len(early) - len(known)} of an earlier version do not say" if len(known) < len(early) else ""
    return Reading(len(guilty), detail=", ".join(guilty[:5]) or f"{len(known)} pre-trainings and heads{silent}")


def published(_: Campaign) -> Reading:
    """C6: measured against published values."""
    raise NotRun("`bench claims` holds rows against the literature's numbers, with margins and intervals")


def identical_seeds(campaign: Campaign) -> Reading:
    """C7: pairs of pre-trainings from different seeds whose weights are equal to the bit, where a method trains."""
    found: dict[tuple[str, str], dict[int, str]] = {}
    for row in campaign.rows:
        key = row["pretrain_key"]
        if campaign.has(key) and method_trains(row):
            bits = campaign.store.record(key)["bits"]
            found.setdefault((row["label"], bits), {})[row["seed_pretrain"]] = key
    twins = {label: sorted(seeds) for (label, _), seeds in found.items() if len(seeds) > 1}
    told = "; ".join(f"{label}: seeds {', '.join(map(str, seeds))}" for label, seeds in twins.items())
    return Reading(sum(len(seeds) - 1 for seeds in twins.values()), detail=told)


def method_trains(row: Row) -> bool:
    """Whether a row's method trains; one that reads weights has the same ones for every seed."""
    try:
        return Registry.discover().find(method_of_row(row).text).load().trains
    except BenchError:  # It is not installed any more.
        return True


CONTROLS: Mapping[str, Control] = {
    control.name: control
    for control in (
        Control(
            "C1", undefended, Threshold(Unit.SHARE, fail=0.0),
            "an undefended encoder stands under AutoAttack: the evaluation is too weak to tell anything",
        ),
        Control(
            "C1-pgd", undefended_pgd, Threshold(Unit.SHARE, fail=1.0),
            "an undefended encoder stands under PGD-20 (AMOC lists MoCo with 0.17 and 0.35 %)",
        ),
        Control(
            "C2", broken_models, Threshold(Unit.MODELS, fail=0),
            "a model that was broken on purpose passes all gates: they would let a plugin pass, too",
        ),
        Control(
            "C3", trades, Threshold(Unit.POINTS, warn=2.0),
            "supervised TRADES does not come out where it was published: training or evaluation differs",
        ),
        Control(
            "C4", shuffled_labels, Threshold(Unit.POINTS, fail=0.0),
            "a head learns from labels without meaning: test labels leak",
        ),
        Control(
            "C5", sealed_test_images, Threshold(Unit.STAGES, fail=0),
            "test images were read before the final scoring: something may have been chosen on them",
        ),
        Control("C6", published, Threshold(Unit.POINTS, warn=0), "measured and published values differ"),
        Control(
            "C7", identical_seeds, Threshold(Unit.STAGES, fail=0),
            "several seeds have the same weights: they are one number, not several",
        ),
    )
}  # fmt: skip
"""All controls by name."""


def controlled(campaign: Campaign) -> Iterator[Result]:
    """The verdict of each control, as soon as it is known."""
    for control in CONTROLS.values():
        yield attempted(control, partial(control.measure, campaign))

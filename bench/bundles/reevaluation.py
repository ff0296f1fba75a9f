"""Scoring a bundle's classifier again on a random slice of the test images, and holding it against its outcomes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

from bench.attacks.evaluate import AttackContext, pgd, pgd_start, right
from bench.attacks.rounds import Target
from bench.attacks.threats import AttackKind, AttackSpec
from bench.bundles.bundle import Bundle
from bench.cells import data_of, outcome_keys
from bench.contract import LabelledImages
from bench.data import loading
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.executors.work import Site
from bench.gates.subject import Outcome, Subject, listed
from bench.gates.table import GATES, Need, verdicts
from bench.gates.verdicts import Result
from bench.keys import changed
from bench.plan import DataRef
from bench.protocols.recipes import protocol_of
from bench.provenance import context, where
from bench.randomness import Randomness

SLICE = 512
"""Images that are scored again, or all if there are fewer."""
MOST_STEPS = 1000
CLEAN_SHARE, PGD_SHARE = 0.002, 0.01
"""Images whose verdict rounding may turn in another context: as gate R10 has it, and more under attack, since each step
of PGD takes the sign of a gradient (chosen: weights moved by 1e-6 of themselves, farther than kernels round, turn 1 of
1,669 digits at the most)."""
BY_CHANCE = 2
"""Images that may differ in any case, in another context (as the gates have it)."""


@dataclass(frozen=True)
class Place:
    """Where and on which images a bundle is scored again.

    Attributes:
        data_dir: where downloaded data sets lie.
        device: `cpu`, `cuda`, `cuda:1`.
        seed: which slice.
        source: the data set's place here, where it is another one than the row says; the images must be the same.
    """

    data_dir: Path
    device: str
    seed: int
    source: str | None = None


@dataclass(frozen=True)
class Rescored:
    """An attack, carried out again.

    Attributes:
        attack: its name.
        images: how many.
        differing: on how many of them the verdict is another one.
        allowed: on how many it may be.
        detail: in words.
    """

    attack: str
    images: int
    differing: int
    allowed: int
    detail: str

    @property
    def holds(self) -> bool:
        """Whether the stored outcomes are those of this classifier."""
        return self.differing <= self.allowed


def rescored(bundle: Bundle, place: Place) -> Iterator[Rescored]:
    """The clean verdict and every attack by PGD, each as soon as it is known.

    Raises:
        BenchError: if the images are not here, or not those that the row was scored on.
        StageError: if logits are not finite.
    """
    row, known = bundle.row, protocol_of(bundle.row["protocol"])
    images = _images(bundle, place)
    chosen = slice_of(len(images.labels), place.seed).to(place.device)
    threads = int(bundle.store.record(row["head_key"])["recipe"]["threads"])
    site = Site(Path(), place.data_dir, place.device, max(1, min(threads, os.cpu_count() or 1)))
    with site.settled(known.precision):
        classifier = bundle.classifier.to(place.device)
        x, y = pixels_of(images.pixels.to(place.device)), images.labels.to(place.device)
        for name, key in outcome_keys(row).items():
            if repeatable(spec := known.attack(name)):
                target = Target(classifier, x, y, bundle.store.record(key)["recipe"]["eps"], spec.norm)
                yield _rescored(spec, key, target, chosen, bundle, place)


def _rescored(spec: AttackSpec, key: str, target: Target, chosen: Tensor, bundle: Bundle, place: Place) -> Rescored:
    stored, count = torch.from_numpy(bundle.store.outcomes(key)), len(target.x)
    if len(stored) != count:
        return Rescored(spec.name, count, count, 0, f"the bundle has {len(stored)} outcomes for {count} test images")
    now = attacked(target, spec, Randomness(bundle.row["seed_attack"], "attack"), chosen).cpu()
    contexts = _Contexts.of(bundle, key, place)
    return _held(spec, stored[chosen.cpu()], now, contexts, whole=len(chosen) == count)


def gates_again(bundle: Bundle, place: Place) -> tuple[Result, ...]:
    """The gates that need nothing but outcomes, measured on those in the bundle.

    Raises:
        BenchError: as `rescored`.
    """
    row, known, images = bundle.row, protocol_of(bundle.row["protocol"]), _images(bundle, place)
    outcomes = {
        name: Outcome(known.attack(name), torch.from_numpy(bundle.store.outcomes(key)), known.eps_for(images.profile))
        for name, key in outcome_keys(row).items()
        if known.attack(name).kind is not AttackKind.CORRUPTION
    }
    randomness = AttackContext(Randomness(row["seed_attack"], "attack"), images.pixels.device, lambda *_: None)
    subject = Subject(bundle.classifier.cpu(), images, row["eps"], randomness, outcomes, norm=known.norm)
    names = [name for name, gate in GATES.items() if gate.needs is Need.OUTCOMES]
    return tuple(verdicts(subject, names))


def repeatable(spec: AttackSpec) -> bool:
    """Whether it is scored again: the images as they are, and PGD with one start, which needs no other image.

    A bundle says how many steps; one that asks for a week's work is not obeyed.
    """
    plain = spec.kind is AttackKind.PGD and spec.restarts == 1 and spec.steps <= MOST_STEPS
    return plain or spec.kind is AttackKind.CLEAN


def slice_of(images: int, seed: int) -> Tensor:
    """Positions of the images that a seed chooses, in their order: int64 [min(`SLICE`, images)]."""
    drawn = torch.randperm(images, generator=Randomness(seed, "verify").generator("slice"))
    return drawn[:SLICE].sort().values


def attacked(target: Target, spec: AttackSpec, randomness: Randomness, chosen: Tensor) -> Tensor:
    """Whether the chosen images stay correct: bool [n], as `bench.attacks.evaluate.outcomes` has it for all of them.

    Random starts are drawn for whole batches of the protocol, as they were, so that each image gets its own.

    Args:
        target: classifier and all N test images.
        spec: an attack that is `repeatable`.
        randomness: of the attack's stage.
        chosen: their positions, in ascending order.
    """
    found = []
    for number, index in enumerate(torch.split(torch.arange(len(target.x), device=chosen.device), spec.batch)):
        own = chosen[torch.isin(chosen, index)]
        if len(own):
            y = target.y[own]
            stays = right(target.classifier, target.x[own], y, spec)
            if spec.kind is AttackKind.PGD and target.eps:
                start = pgd_start(target, spec, randomness, index, number)[own - index[0]]
                stays &= right(target.classifier, pgd(target, target.classifier, spec, own, start), y, spec)
            found.append(stays)
    return torch.cat(found)


def _images(bundle: Bundle, place: Place) -> LabelledImages:
    row, ref = bundle.row, data_of(bundle.row)
    if place.source:
        ref = DataRef(place.source, ref.limit)
    data = loading.data_set(ref, place.data_dir, download=False)
    if data.fingerprint != row["data_fingerprint"]:
        raise BenchError(
            f"'{ref.source}' has fingerprint {data.fingerprint} here, and the bundle was scored on images with "
            f"{row['data_fingerprint']}: say where those lie with --data-dir, or their source with --dataset."
        )
    return data.test


@dataclass(frozen=True)
class _Contexts:
    """What a stage was computed in, and what is computed in now.

    Attributes:
        moved: in what they differ, as `path: old -> new`.
        deterministic: whether the kernels are.
    """

    moved: tuple[str, ...]
    deterministic: bool

    @classmethod
    def of(cls, bundle: Bundle, key: str, place: Place) -> _Contexts:
        before, now = bundle.store.record(key)["context"], asdict(context(place.device))
        return cls(tuple(changed(before, now)), now["deterministic"])


def _held(spec: AttackSpec, before: Tensor, now: Tensor, contexts: _Contexts, *, whole: bool) -> Rescored:
    """The verdicts now against those in the bundle: the same to the image in the same context, else but for a few."""
    count, differing = len(now), now != before
    exact = whole and contexts.deterministic and not contexts.moved
    share = CLEAN_SHARE if spec.kind is AttackKind.CLEAN else PGD_SHARE
    allowed = 0 if exact else max(BY_CHANCE, int(share * count))
    told = f"{100 * float(now.float().mean()):.2f} % of {count} images now, {100 * float(before.float().mean()):.2f} % "
    told += f"in the bundle; {int(differing.sum())} differ, {allowed} may, {where(contexts.moved)}"
    if differing.any():
        told += f" ({listed(differing)} of the slice)"
    return Rescored(spec.name, count, int(differing.sum()), allowed, told)

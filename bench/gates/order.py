"""Order and monotonicity: more effort and a larger ball never help the defender (`O` of the table)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from itertools import pairwise, permutations

import torch
from torch import Tensor

from bench.attacks.catalogue import ATTACKS
from bench.attacks.pgd import LinfPGD, ascend
from bench.attacks.threats import PGD20, AttackKind
from bench.gates.subject import (
    ERRORS,
    Outcome,
    Subject,
    cross_entropy,
    difference,
    listed,
    log_odds,
    percent,
    share,
    standard_error,
)
from bench.gates.verdicts import NotRun, Reading

PGD100, PGD200 = (replace(PGD20, name=f"pgd{steps}", steps=steps) for steps in (100, 200))
LEVELS = (1, 2, 4, 8, 12, 16, 24, 32, 64, 128)
STEPS = (1, 5, 10, 20, 50, 100, 200)
RESTARTS = 10
DIVISORS = (16, 8, 4, 2)


class Effort(IntEnum):
    """How much an attack tries, as far as attacks can be ordered by what they are."""

    NONE = 0
    ONE_STEP = 1
    MANY_STEPS = 2
    ENSEMBLE = 3


def effort(outcome: Outcome, subject: Subject) -> Effort | None:
    """The effort of an attack inside the subject's ball; None of one that looks elsewhere, or for something else."""
    spec = outcome.spec
    if spec.kind is AttackKind.CLEAN:
        return Effort.NONE
    if spec.norm is not subject.norm or outcome.eps != subject.eps:
        return None
    if spec.kind is AttackKind.PGD:
        return Effort.ONE_STEP if spec.steps == 1 else Effort.MANY_STEPS
    if spec.kind is AttackKind.AUTOATTACK:
        return Effort.MANY_STEPS if spec.parts else Effort.ENSEMBLE
    return None


def strength(subject: Subject) -> Reading:
    """O1: the largest excess of a stronger attack's accuracy over a weaker one's, in points."""
    ordered = [(level, one) for one in subject.outcomes.values() if (level := effort(one, subject)) is not None]
    readings = [
        _excess(stronger, weaker) for (less, weaker), (more, stronger) in permutations(ordered, 2) if less < more
    ]
    if not readings:
        raise NotRun("the protocol has a single attack")
    return max(readings, key=lambda reading: reading.number - reading.noise)


def _excess(stronger: Outcome, weaker: Outcome) -> Reading:
    return difference(stronger.correct, weaker.correct, f"{stronger.spec.name} against {weaker.spec.name}")


def subsets(subject: Subject) -> Reading:
    """O2: images that stand under an attack and are misclassified as they are; says what the union of attacks adds."""
    clean = subject.named("clean")
    attacks = {name: outcome.correct for name, outcome in subject.outcomes.items() if name != "clean"}
    if not attacks:
        raise NotRun("the protocol has no attack but the clean one")
    impossible = torch.stack([correct & ~clean for correct in attacks.values()]).any(0)
    return Reading(int(impossible.sum()), detail=listed(impossible) or _union(attacks))


def _union(attacks: dict[str, Tensor]) -> str:
    name, strongest = min(attacks.items(), key=lambda item: int(item[1].sum()))
    missed = strongest & ~torch.stack(list(attacks.values())).all(0)
    return f"{listed(missed)} stand under {name} and fall to another attack" if missed.any() else ""


def pgd_against_autoattack(subject: Subject) -> Reading:
    """O8: by how many points accuracy under PGD-20 exceeds that under AutoAttack."""
    pgd = subject.first(lambda one: one.spec.kind is AttackKind.PGD and effort(one, subject) is Effort.MANY_STEPS)
    whole = subject.first(lambda one: effort(one, subject) is Effort.ENSEMBLE)
    return difference(pgd.correct, whole.correct, f"{pgd.spec.name} against {whole.spec.name}")


def iterations(subject: Subject) -> Reading:
    """O3: by how many points accuracy under PGD-20 exceeds that under FGSM."""
    return difference(subject.under(PGD20, "O3"), subject.under(ATTACKS["fgsm"], "O3"))


def rises(subject: Subject) -> Reading:
    """O3-rise: per cent of images whose cross-entropy PGD-20 does not raise above that of its random start."""
    found = []
    budget = LinfPGD(subject.eps, PGD20.steps, PGD20.step(subject.eps))
    for number, index in enumerate(subject.batches()):
        x, y, start = subject.x[index], subject.y[index], subject.start(index, number)
        end = ascend(lambda image: cross_entropy(subject.classifier(image), y), x, start, budget)  # noqa: B023
        before, after = (log_odds(subject.logits(image), y) for image in (start, end))
        found.append(after <= before)
    flat = torch.cat(found)
    return share(flat, listed(flat))


def ladder(subject: Subject) -> Reading:
    """O4: the largest rise of accuracy under PGD-20 from one radius to the next, in points; 0 is the clean images.

    Step and start are scaled with the radius. Radii: 0, 1, 2, 4, 8, 12, 16, 24, 32, 64 and 128 of 255.
    """
    stands = [subject.right(subject.x), *(subject.under(PGD20, f"O4 at {n}/255", n / 255) for n in LEVELS)]
    return _largest_rise(stands, [f"{level}/255" for level in (0, *LEVELS)])


def _largest_rise(stands: Sequence[Tensor], names: Sequence[str]) -> Reading:
    """The largest rise of accuracy from one attack to the next, which tries more; and the accuracies."""
    readings = [difference(harder, easier) for easier, harder in pairwise(stands)]
    worst = max(readings, key=lambda reading: reading.number - reading.noise)
    told = ", ".join(f"{name} {percent(flags):.1f}" for name, flags in zip(names, stands, strict=True))
    return replace(worst, detail=told)


def greyed(subject: Subject) -> Reading:
    """O5: by how many points accuracy exceeds chance at radius 128/255, where every image can be turned grey."""
    chance = 100 / subject.classifier.classes
    error = 100 * standard_error((chance / 100, len(subject.y)))
    accuracy = percent(subject.under(PGD100, "O5 at 128/255", 128 / 255))
    return Reading(accuracy - chance, ERRORS * error, f"accuracy {accuracy:.1f} %, chance {chance:.1f} %")


def unbounded(subject: Subject) -> Reading:
    """O5-box: per cent of images that stand where the pixel box is the only bound, after 200 steps."""
    stands = subject.under(PGD200, "O5-box", 1.0)
    return share(stands, listed(stands))


def more_steps(subject: Subject) -> Reading:
    """O6: the largest rise of accuracy when PGD takes more steps from the same start: 1, 5, 10, 20, 50, 100, 200."""
    stands = [subject.under(replace(PGD20, steps=steps), f"O6 with {steps} steps") for steps in STEPS]
    return _largest_rise(stands, [f"{steps} steps" for steps in STEPS])


def converged(subject: Subject) -> Reading:
    """O6-converged: by how many points 40 steps, or ten restarts, lower the accuracy under PGD-20."""
    plain = subject.under(PGD20, "O6-converged")
    longer = subject.under(replace(PGD20, steps=2 * PGD20.steps), "O6-converged with 40 steps")
    often = subject.under(replace(PGD20, restarts=RESTARTS), f"O6-converged with {RESTARTS} restarts")
    readings = [difference(plain, longer, "40 steps"), difference(plain, often, f"{RESTARTS} restarts")]
    return max(readings, key=lambda reading: reading.number - reading.noise)


def step_size(subject: Subject) -> Reading:
    """O7: the spread of accuracy under PGD-20 over steps of eps/16, eps/8, eps/4 and eps/2, in points.

    At eps 8/255 these are 0.5, 1, 2 and 4 of 255.
    """
    stands = {n: subject.under(replace(PGD20, step_fraction=1 / n), f"O7 with step eps/{n}") for n in DIVISORS}
    low, high = (choose(stands, key=lambda n: int(stands[n].sum())) for choose in (min, max))
    told = ", ".join(f"eps/{n} {percent(flags):.1f}" for n, flags in stands.items())
    return difference(stands[high], stands[low], told)

"""Order and monotonicity: more effort and a larger ball never help the defender (`O` of the table)."""

from __future__ import annotations

from itertools import combinations

import torch

from bench.attacks.threats import AttackKind, AttackSpec
from bench.gates.subject import Outcome, Subject, difference, listed
from bench.gates.verdicts import NotRun, Reading


def effort(spec: AttackSpec) -> int:
    """How much an attack tries: nothing, one step, many, an ensemble."""
    if spec.kind is AttackKind.PGD:
        return 1 if spec.steps == 1 else 2
    return {AttackKind.CLEAN: 0, AttackKind.AUTOATTACK: 3}[spec.kind]


def strength(subject: Subject) -> Reading:
    """O1: the largest excess of a stronger attack's accuracy over a weaker one's, in points."""
    ordered = sorted(subject.outcomes.values(), key=lambda outcome: effort(outcome.spec))
    pairs = [pair for pair in combinations(ordered, 2) if effort(pair[0].spec) < effort(pair[1].spec)]
    if not pairs:
        raise NotRun("the protocol has a single attack")
    readings = [_excess(stronger, weaker) for weaker, stronger in pairs]
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


def _union(attacks: dict[str, torch.Tensor]) -> str:
    name, strongest = min(attacks.items(), key=lambda item: int(item[1].sum()))
    missed = strongest & ~torch.stack(list(attacks.values())).all(0)
    return f"{listed(missed)} stand under {name} and fall to another attack" if missed.any() else ""


def pgd_against_autoattack(subject: Subject) -> Reading:
    """O8: by how many points accuracy under PGD-20 exceeds that under AutoAttack."""
    pgd = [outcome for outcome in subject.outcomes.values() if effort(outcome.spec) == 2]
    if not pgd:
        raise NotRun("the protocol has no PGD")
    return difference(pgd[0].correct, subject.named("autoattack"), f"{pgd[0].spec.name} against autoattack")

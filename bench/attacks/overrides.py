"""Attacks of a protocol with another norm, radius or number of steps. Imports no torch."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace

from bench.attacks.threats import AttackKind, AttackSpec, Norm, check_radius
from bench.errors import BenchError

ANY_NORM = frozenset({AttackKind.PGD, AttackKind.AUTOATTACK, AttackKind.TRANSFER})
"""Procedures that are defined in every norm; the others are in that of their own."""

Attacks = tuple[AttackSpec, ...]


def in_norm(attacks: Iterable[AttackSpec], old: Norm, new: Norm) -> Attacks:
    """The attacks with those in the norm `old` moved to `new`, where their procedure has it."""
    return tuple(replace(one, norm=new) if one.kind in ANY_NORM and one.norm is old else one for one in attacks)


def at_eps(attacks: Attacks, norm: Norm, eps: float) -> Attacks:
    """The attacks with those in `norm` at the radius `eps`; those in other norms keep theirs.

    Raises:
        BenchError: if there is no such ball, or no attack in that norm.
    """
    check_radius(norm, eps)
    if not any(one.bounded and one.norm is norm for one in attacks):
        raise BenchError(
            f"eps is the radius of the {norm.label} ball, and none of the attacks {_listed(attacks)} is in one: name "
            f"their norm (--norm), or others (--attacks)."
        )
    return tuple(replace(one, eps=eps) if one.bounded and one.norm is norm else one for one in attacks)


def of_steps(attacks: Attacks, steps: int) -> Attacks:
    """The attacks with PGD taking another number of steps, of the same size, under the name that says it.

    Such a PGD fills no column: PGD-50 is not what `ra_pgd20` stands for.

    Raises:
        BenchError: if there is no PGD among them.
    """
    if not any(map(_iterates, attacks)):
        raise BenchError(
            f"steps are PGD's, and there is none among the attacks {_listed(attacks)}: name one (--attacks)."
        )
    return tuple(_of_steps(one, steps) if _iterates(one) else one for one in attacks)


def _iterates(spec: AttackSpec) -> bool:
    """Whether it is PGD with a number of steps to choose: FGSM is one step by definition."""
    return spec.kind is AttackKind.PGD and spec.random_start


def _of_steps(spec: AttackSpec, steps: int) -> AttackSpec:
    if steps == spec.steps:
        return spec
    return replace(spec, name=re.sub(r"^pgd\d*", f"pgd{steps}", spec.name), metric=None, steps=steps)


def _listed(attacks: Iterable[AttackSpec]) -> str:
    return ", ".join(one.name for one in attacks)

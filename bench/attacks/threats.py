"""What an attack at test time is, as data. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class AttackKind(StrEnum):
    """The procedure that looks for a misclassified image inside the ball."""

    CLEAN = "clean"
    PGD = "pgd"
    AUTOATTACK = "autoattack"


class Norm(StrEnum):
    """The norm of the ball around an image."""

    LINF = "linf"


class Metric(StrEnum):
    """The columns of a row that an attack can fill; a name means one thing in every protocol."""

    SA = "sa"
    """Accuracy on the images as they are."""
    RA_PGD20 = "ra_pgd20"
    """PGD-20 on cross-entropy, step eps/4 (2/255 at eps 8/255)."""
    PGD20 = "pgd20"
    """PGD-20 on cross-entropy, step eps/10, start clipped to the pixel box: AMOC's and RoCL's."""
    AA = "aa"
    """AutoAttack, version `standard`, on all test images."""


@dataclass(frozen=True)
class AttackSpec:
    """One attack of a protocol.

    Attributes:
        name: of the stage, unique within a protocol; also the purpose of its random numbers.
        metric: the column that its accuracy fills.
        kind: the procedure.
        norm: of the ball; its radius eps is the data set's, not the attack's.
        steps: iterations of PGD; 0 where the procedure has its own.
        step_fraction: step size of PGD, as a fraction of eps.
        restarts: random starts; an image is robust if it stays correct after each of them.
        batch: images attacked together. AutoAttack's bits depend on it, so it is never adapted to the memory at hand.
        clip_start: whether a random start is clipped to [0, 1] before the first step.
    """

    name: str
    metric: Metric
    kind: AttackKind
    norm: Norm = Norm.LINF
    steps: int = 0
    step_fraction: float = 0.0
    restarts: int = 1
    batch: int = 500
    clip_start: bool = False


CLEAN = AttackSpec("clean", Metric.SA, AttackKind.CLEAN)
PGD20 = AttackSpec("pgd20", Metric.RA_PGD20, AttackKind.PGD, steps=20, step_fraction=1 / 4)
# AMOC white_box_attack.py:22-28: foolbox's LinfPGD with rel_stepsize .1, which clips its random start.
PGD20_SHORT_STEP = AttackSpec(
    "pgd20-short-step", Metric.PGD20, AttackKind.PGD, steps=20, step_fraction=1 / 10, clip_start=True
)
AUTOATTACK = AttackSpec("autoattack", Metric.AA, AttackKind.AUTOATTACK)

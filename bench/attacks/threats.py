"""What an attack at test time is, as data. Imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any

from bench.data.profiles import DataProfile
from bench.errors import BenchError


class AttackKind(StrEnum):
    """The procedure that looks for a misclassified image."""

    CLEAN = "clean"
    PGD = "pgd"
    """Projected gradient ascent on cross-entropy; FGSM is one step of it."""
    AUTOATTACK = "autoattack"
    """AutoAttack, or some of its parts."""
    DEEPFOOL = "deepfool"
    CARLINI_WAGNER = "carlini-wagner"
    SLIDE = "slide"
    TRANSFER = "transfer"
    """PGD on another cell's classifier."""
    CORRUPTION = "corruption"
    """Published corrupted versions of the test images; nobody looks for anything."""


class Norm(StrEnum):
    """The norm of the ball around an image."""

    LINF = "linf"
    L2 = "l2"
    L1 = "l1"

    @property
    def order(self) -> float:
        """p of the p-norm."""
        return {Norm.LINF: math.inf, Norm.L2: 2.0, Norm.L1: 1.0}[self]

    @property
    def label(self) -> str:
        """As rows, AutoAttack and RobustBench spell it: `Linf`."""
        return self.value.capitalize()


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
    CORRUPTION = "corruption"
    """Mean over 15 types and 5 severities of corrupted images: RobustSSL's and RobustBench's."""
    CORRUPTION_19 = "corruption_19"
    """Mean over 19 types and 5 severities of corrupted images: AMOC's and ACL's."""


class Part(StrEnum):
    """The attacks that AutoAttack consists of, in the order in which they run."""

    APGD_CE = "apgd-ce"
    APGD_T = "apgd-t"
    FAB_T = "fab-t"
    SQUARE = "square"


class Version(StrEnum):
    """The settings of AutoAttack's parts."""

    STANDARD = "standard"
    """One start of APGD-CE, of APGD-T and of FAB-T per target, nine targets, 5,000 queries of Square."""
    CUSTOM = "custom"
    """What the package's constructor sets: five restarts of APGD-CE, else as `standard`."""


@dataclass(frozen=True)
class AttackSpec:
    """One attack of a protocol.

    Attributes:
        name: of the stage, unique within a protocol; also the purpose of its random numbers.
        metric: the column that its accuracy fills; None where the row has it in `scores` alone.
        kind: the procedure.
        norm: of the ball.
        steps: iterations of PGD and of the attacks from foolbox; 0 where the procedure has its own.
        step_fraction: step size of PGD and SLIDE, as a fraction of eps.
        restarts: random starts; an image is robust if it stays correct after each of them.
        batch: images attacked together. AutoAttack's bits depend on it, so it is never adapted to the memory at hand.
        clip_start: whether a random start is clipped to [0, 1] before the first step.
        eps: radius of the ball, in units of [0, 1] pixels; None is the data set's, see `radius`.
        step_size: step size in units of [0, 1] pixels, instead of `step_fraction`; None where that holds.
        random_start: whether PGD starts at a random image of the ball, or at the image itself.
        parts: of AutoAttack; none of them means all four.
        version: settings of AutoAttack's parts.
        options: further settings of an attack from foolbox, by the names of its constructor.
        source: the cell on whose classifier a transferred attack is made.
        corruptions: types of corruption, by the names of their files.
    """

    name: str
    metric: Metric | None
    kind: AttackKind
    norm: Norm = Norm.LINF
    steps: int = 0
    step_fraction: float = 0.0
    restarts: int = 1
    batch: int = 500
    clip_start: bool = False
    eps: float | None = None
    step_size: float | None = None
    random_start: bool = True
    parts: tuple[Part, ...] = ()
    version: Version = Version.STANDARD
    options: Mapping[str, float] = field(default_factory=dict, hash=False)
    source: str | None = None
    corruptions: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, for hashes and recipes: the fields below `clip_start`, which came later, only where they are set.

        So the protocols from before there were such attacks keep their hash.
        """
        original = {one.name for one in fields(self)[:_FIRST_LATER_FIELD]}
        defaults = {one.name: _default(one) for one in fields(self)[_FIRST_LATER_FIELD:]}
        return {name: value for name, value in asdict(self).items() if name in original or value != defaults[name]}

    @property
    def bounded(self) -> bool:
        """Whether its images lie in a ball around the originals."""
        return self.kind not in (AttackKind.CLEAN, AttackKind.CORRUPTION)

    def eps_for(self, profile: DataProfile) -> float:
        """The radius of its ball on a data set: its own, or else the data set's."""
        return radius(self.norm, profile) if self.eps is None else self.eps

    def step(self, eps: float) -> float:
        """Its step size in a ball of radius `eps`, in the same units."""
        return self.step_fraction * eps if self.step_size is None else self.step_size


_FIRST_LATER_FIELD = [one.name for one in fields(AttackSpec)].index("eps")


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


CIFAR10_SIDE = 32
CIFAR10_EPS: Mapping[Norm, float] = {Norm.LINF: 8 / 255, Norm.L2: 0.5, Norm.L1: 12.0}
"""Radii for CIFAR-10: AMOC, table 2; AutoAttack and RobustBench use the same (Croce & Hein 2021, arXiv:2103.01208)."""


def radius(norm: Norm, profile: DataProfile) -> float:
    """The radius of a data set's ball in some norm, in units of [0, 1] pixels.

    The data set says its l_inf radius. In the other norms it is CIFAR-10's radius, times the ratio of the two l_inf
    radii, times the ratio of their numbers of pixel values to the power 1/p (chosen): then a perturbation that moves
    every pixel value by the same share of the l_inf radius fills the same share of the other balls on all data sets.
    On CIFAR-10 these are the published radii; on digits (8x8, eps .15) 0.597 in l2 and 3.59 in l1.
    """
    if norm is Norm.LINF:
        return profile.eps
    # Numbers rather than CIFAR-10's profile: another data set in that table should leave the keys of attacks alone.
    values = (profile.image_size / CIFAR10_SIDE) ** 2
    return float(CIFAR10_EPS[norm] * profile.eps / CIFAR10_EPS[Norm.LINF] * values ** (1 / norm.order))


def check_radius(norm: Norm, eps: float) -> None:
    """Whether a ball may have this radius.

    Raises:
        BenchError: if it is negative, not finite, or an l_inf ball that holds more than all images.
    """
    if not 0 <= eps < math.inf:
        raise BenchError(f"eps {eps:g} is no radius: give 0 or more, in units of [0, 1] pixels, such as 8/255.")
    if norm is Norm.LINF and eps > 1:
        raise BenchError(
            f"eps {eps:g} is beyond 1, the largest distance of two images in l_inf, whose pixels lie in [0, 1]: "
            f"8 of 255 grey levels are written 8/255."
        )


DLR_CLASSES = 4
LEAST_CLASSES = 2


def check_classes(spec: AttackSpec, classes: int) -> None:
    """Whether an attack is defined for so many classes.

    Raises:
        BenchError: if there are too few.
    """
    with_dlr = spec.kind is AttackKind.AUTOATTACK and (not spec.parts or Part.APGD_T in spec.parts)
    least = DLR_CLASSES if with_dlr else LEAST_CLASSES
    if classes >= least:
        return
    needs = "the targeted DLR loss" if with_dlr else "a misclassified image"
    why = ", since it compares the largest logit with the third and fourth" if with_dlr else ""
    raise BenchError(
        f"attack '{spec.name}' is not defined for {classes} classes: {needs} needs at least {least} classes{why}. Use "
        f"data with {least} classes or more, or other attacks (`bench list attacks`)."
    )


CLEAN = AttackSpec("clean", Metric.SA, AttackKind.CLEAN)
PGD20 = AttackSpec("pgd20", Metric.RA_PGD20, AttackKind.PGD, steps=20, step_fraction=1 / 4)
# AMOC white_box_attack.py:22-28: foolbox's LinfPGD with rel_stepsize .1, which clips its random start.
PGD20_SHORT_STEP = AttackSpec(
    "pgd20-short-step", Metric.PGD20, AttackKind.PGD, steps=20, step_fraction=1 / 10, clip_start=True
)
AUTOATTACK = AttackSpec("autoattack", Metric.AA, AttackKind.AUTOATTACK)

"""The attacks that have a name, and sets of them. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from bench.attacks.threats import (
    AUTOATTACK,
    CLEAN,
    PGD20,
    PGD20_SHORT_STEP,
    AttackKind,
    AttackSpec,
    Metric,
    Norm,
    Part,
    Version,
)
from bench.errors import unknown

# Goodfellow et al. 2015: one step of length eps from the image itself.
_FGSM = AttackSpec("fgsm", None, AttackKind.PGD, steps=1, step_fraction=1.0, random_start=False)
_PGD50_10 = AttackSpec("pgd50-10", None, AttackKind.PGD, steps=50, step_fraction=1 / 4, restarts=10)

# AMOC, table 2. Its fractions are foolbox's rel_stepsize; its radii, 12 in l1 and .5 in l2, are those of CIFAR-10.
_PGD_L1 = AttackSpec("pgd-l1", None, AttackKind.PGD, Norm.L1, steps=50, step_fraction=0.05, clip_start=True)
_PGD_L2 = AttackSpec("pgd-l2", None, AttackKind.PGD, Norm.L2, steps=50, step_fraction=0.1, clip_start=True)
_DEEPFOOL = AttackSpec("deepfool", None, AttackKind.DEEPFOOL, steps=50, options={"overshoot": 0.02})
_SLIDE = AttackSpec("slide", None, AttackKind.SLIDE, Norm.L1, steps=50, step_fraction=0.05)
_CW_L2 = AttackSpec("cw-l2", None, AttackKind.CARLINI_WAGNER, Norm.L2, steps=1000, options={"stepsize": 0.01})
# The commands in AMOC's README (commit cdeefda) deviate from its table 2 in these two.
_PGD_L1_README = AttackSpec(
    "pgd-l1-readme", None, AttackKind.PGD, Norm.L1, steps=50, step_fraction=0.1, clip_start=True
)
_CW_L2_README = AttackSpec(
    "cw-l2-readme", None, AttackKind.CARLINI_WAGNER, Norm.L2, steps=100, options={"stepsize": 0.1}
)


def _alone(part: Part) -> AttackSpec:
    """A part of AutoAttack on all images, as the package's `run_standard_evaluation_individual` runs it."""
    return AttackSpec(str(part), None, AttackKind.AUTOATTACK, parts=(part,))


# DynACL++'s LPAFT scores SLF and ALF by these two, with the settings of the package's constructor.
_APGD_CE_T = AttackSpec(
    "apgd-ce+apgd-t", None, AttackKind.AUTOATTACK, parts=(Part.APGD_CE, Part.APGD_T), version=Version.CUSTOM
)

# Hendrycks & Dietterich 2019; the names are those of the published files.
_TYPES_15 = (
    "gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "glass_blur", "motion_blur", "zoom_blur", "snow",
    "frost", "fog", "brightness", "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
_TYPES_19 = (*_TYPES_15, "gaussian_blur", "saturate", "spatter", "speckle_noise")
_CORRUPTION = AttackSpec("corruption", Metric.CORRUPTION, AttackKind.CORRUPTION, corruptions=_TYPES_15)
_CORRUPTION_19 = AttackSpec("corruption-19", Metric.CORRUPTION_19, AttackKind.CORRUPTION, corruptions=_TYPES_19)

ATTACKS: Mapping[str, AttackSpec] = {
    spec.name: spec
    for spec in (
        CLEAN, _FGSM, PGD20, PGD20_SHORT_STEP, _PGD50_10, _PGD_L1, _PGD_L1_README, _PGD_L2, _DEEPFOOL, _SLIDE, _CW_L2,
        _CW_L2_README, *map(_alone, Part), AUTOATTACK, _APGD_CE_T, _CORRUPTION, _CORRUPTION_19,
    )
}  # fmt: skip
"""All attacks that have a name, by that name; a transfer is named after the cell that it comes from."""

ATTACK_SETS: Mapping[str, tuple[str, ...]] = {
    "standard": ("clean", "pgd20", "autoattack"),
    "amoc-table2": ("clean", "pgd20-short-step", "deepfool", "pgd-l1", "slide", "pgd-l2", "cw-l2"),
    "amoc-readme": ("clean", "pgd20-short-step", "deepfool", "pgd-l1-readme", "slide", "pgd-l2", "cw-l2-readme"),
    "autoattack-parts": ("clean", *Part),
}
"""Names for several attacks at once."""

TRANSFER = "transfer:"
"""What the name of a transferred attack begins with; the cell's follows."""


def attacks_of(names: Iterable[str]) -> tuple[AttackSpec, ...]:
    """The attacks that the names mean, each once, in the order of the names.

    Raises:
        BenchError: for an unknown name; the message lists the choices.
    """
    single = [one for name in names for one in ATTACK_SETS.get(name, (name,))]
    return tuple(map(attack_of, dict.fromkeys(single)))


def attack_of(name: str) -> AttackSpec:
    """The attack called `name`: one of `ATTACKS`, or `transfer:CELL`.

    Raises:
        BenchError: for an unknown name; the message lists the choices.
    """
    if name.startswith(TRANSFER):
        return transfer_from(name.removeprefix(TRANSFER))
    if name not in ATTACKS:
        raise unknown("attack", name, [*ATTACKS, *ATTACK_SETS, f"{TRANSFER}CELL"])
    return ATTACKS[name]


def transfer_from(cell: str) -> AttackSpec:
    """PGD-20 on another cell's classifier, whose images are scored on this one (Papernot et al. 2017)."""
    return AttackSpec(f"{TRANSFER}{cell}", None, AttackKind.TRANSFER, steps=20, step_fraction=1 / 4, source=cell)

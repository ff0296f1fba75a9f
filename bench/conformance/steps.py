"""What every method that the engine trains promises of a step: its cost, its pixels, its attack."""

from __future__ import annotations

from bench.attacks.pgd import AttackMode
from bench.conformance.observe import Attack, PassCount
from bench.conformance.subject import Subject
from bench.conformance.verdicts import NotApplicable, expect

VIEWS = 0.5
"""How far a view may leave [0, 1]: AdvCL's has no low frequencies, so that half of it is dark. Pixels that were
normalised before, or lie in 0..255, leave it by more."""


def first_step(subject: Subject) -> PassCount:
    """Passes of the first step.

    Raises:
        NotApplicable: where the engine's loop takes none.
    """
    subject.looped()
    count = subject.training.seen.first
    if count is None or not count.forward:
        raise NotApplicable("no encoder with layers takes part in its steps, so that no pass can be counted")
    return count


def attacks(subject: Subject) -> list[Attack]:
    """The calls of `perturb`, at least one.

    Raises:
        NotApplicable: where there are none.
    """
    found = subject.training.seen.attacks
    if not found:
        named = "and no method called `perturb`" if getattr(subject.make().config, "eps", None) else ""
        raise NotApplicable(f"its training calls no `perturb`{f', though it has an eps {named}' if named else ''}")
    return found


def costs_what_it_declares(subject: Subject) -> None:
    """Passes of the encoder per image."""
    counted, declared = first_step(subject).per_image(subject.training.seen.batch), subject.make().passes()
    if declared is None:
        raise NotApplicable("it declares no passes")
    expect(declared == counted, f"it declares {declared}, and a step takes {counted}")


def is_given_pixels(subject: Subject) -> None:
    """In [0, 1], but for what a view or an attack's start may leave it by."""
    levels = first_step(subject).levels
    low, high = min(levels), max(levels)
    expect(low >= -VIEWS and high <= 1 + VIEWS, f"steps hand pixels from {low:.3g} to {high:.3g} to the encoder")
    expect(high - low > 1 / 255, f"all pixels that steps hand to the encoder are {low:.3g}")


def stays_inside_the_ball(subject: Subject) -> None:
    """Perturbed images lie within eps of their own, and in [0, 1]."""
    for attack in attacks(subject):
        low, high = (float(level) for level in attack.image.detach().aminmax())
        expect(low >= 0 and high <= 1, f"perturbed pixels lie between {low:.3g} and {high:.3g}")
        if attack.centre is not None and attack.eps is not None:
            furthest = float((attack.image.detach() - attack.centre).abs().max())
            expect(furthest <= attack.eps + 1e-6, f"a pixel moved by {furthest:.4g}, eps is {attack.eps:.4g}")


def leaves_no_trace(subject: Subject) -> None:
    """Of an attack, but for running statistics where the setting `attack_mode` says so."""
    mode = getattr(subject.make().config, "attack_mode", AttackMode.EVAL)
    for attack in attacks(subject):
        expect(not attack.image.requires_grad, "the perturbed images carry a graph")
        moved = attack.moved
        still = "statistics" not in moved
        expect(still or mode is AttackMode.TRAIN, "the attack moved running statistics, and no `attack_mode` says so")
        expect(not still or mode is AttackMode.EVAL, "`attack_mode` is train, and no running statistics moved")
        others = [name for name in moved if name != "statistics"]
        expect(not others, f"the attack changed the network's {', '.join(others)}")

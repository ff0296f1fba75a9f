"""What every method promises of its training: seeds, checkpoints, labels, and that it learns."""

from __future__ import annotations

from statistics import fmean

import torch

from bench.conformance.observe import bits
from bench.conformance.subject import Subject
from bench.conformance.verdicts import NotApplicable, expect
from bench.contract import Encoder, UnlabelledImages


def ends(subject: Subject) -> None:
    """With an encoder."""
    if isinstance(subject.attempt, Exception):
        raise subject.attempt
    expect(isinstance(subject.encoder, Encoder), f"`pretrain` returns a {type(subject.encoder).__name__}")


def repeats_itself(subject: Subject) -> None:
    """The same seed gives the same bits, whatever else draws random numbers."""
    expect(
        bits(subject.encoder) == bits(subject.disturbed),
        "the same seed gave other weights while others drew from Python's and torch's global generators",
    )


def follows_the_seed(subject: Subject) -> None:
    """Another seed gives other weights."""
    one, other = subject.encoder.parameters(), subject.trained(seed=1).parameters()
    pairs = [(a, b) for a, b in zip(one, other, strict=True) if a.ndim > 1]
    expect(any(not torch.equal(a, b) for a, b in pairs), "seeds 0 and 1 gave the same weights")


def resumes(subject: Subject) -> None:
    """From a checkpoint in the middle of an epoch to the same bits."""
    kept = subject.training.kept
    if not kept.asked:
        raise NotApplicable("it keeps no checkpoints: an interrupted training starts again")
    expect(kept.checkpoint is not None, "it asks for a checkpoint and keeps none")
    expect(
        bits(subject.resumed) == bits(subject.encoder),
        f"a training that went on from its checkpoint after step {kept.after} ended with other weights",
    )


def sees_no_label(subject: Subject) -> None:
    """It is handed images alone, and looks up no classes by itself."""
    if subject.make().labelled_pretraining():
        raise NotApplicable("it declares that it sees classes")
    seen = subject.training.seen
    expect(type(seen.handed[0]) is UnlabelledImages, f"it was handed {type(seen.handed[0]).__name__}")
    expect(not seen.labels_read, "it read the classes of a data set while it trained")


def learns(subject: Subject) -> None:
    """Steps on one batch lower its loss, beside the same steps at a rate of zero."""
    moving, still = subject.learning.losses, subject.standing_still.losses
    rest = len(moving) // 2
    learnt, idle = fmean(moving[rest:]), fmean(still[rest:])
    expect(
        learnt < idle,
        f"after {rest} to {len(moving)} steps on one batch its loss is {learnt:.6g}, and {idle:.6g} with a learning "
        f"rate of zero",
    )


def moves_everything(subject: Subject) -> None:
    """No parameter that may learn is left alone."""
    subject.looped()
    for names, reason in (
        (subject.training.seen.ungraded, "no gradient reaches"),
        (subject.learning.unheld, "no optimiser holds"),
    ):
        expect(not names, f"{reason} {', '.join(names[:3])}{' and others' if len(names) > 3 else ''}")

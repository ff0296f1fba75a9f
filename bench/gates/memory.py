"""Memory: an encoder that knows the test images stands on them better than on those that it was trained on."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bench.attacks.threats import PGD20
from bench.contract import LabelledImages
from bench.gates.subject import ERRORS, IMAGES, Subject, percent, standard_error
from bench.gates.verdicts import NotRun, Reading

SAMPLE = 1000
"""Training images that are attacked."""


def remembered(subject: Subject) -> Reading:
    """G8: by how many points accuracy on test images exceeds that on training images, as they are or under PGD-20.

    Encoder and head have seen the training images, the head with their classes, so that honest differences are
    negative or small.
    """
    if subject.training is None:
        raise NotRun("no training images were handed in")
    order = torch.randperm(len(subject.training), generator=subject.context.randomness.generator("audit-training"))
    chosen = order[:SAMPLE].to(subject.y.device)
    trained = replace(subject, images=_take(subject.training, chosen))
    pairs = {
        "as they are": (subject.right(subject.x), trained.right(trained.x)),
        "under PGD-20": (subject.under(PGD20, "G8"), trained.under(PGD20, "G8 on training images")),
    }
    readings = [_excess(test, train, what) for what, (test, train) in pairs.items()]
    return max(readings, key=lambda reading: reading.number - reading.noise)


def _take(images: LabelledImages, index: Tensor) -> LabelledImages:
    return replace(images, pixels=images.pixels[index], labels=images.labels[index])


def _excess(test: Tensor, train: Tensor, what: str) -> Reading:
    error = standard_error(*((float(flags.float().mean()), len(flags)) for flags in (test, train)))
    noise = max(ERRORS * error, IMAGES / len(test))
    told = f"{percent(test):.1f} % of test images and {percent(train):.1f} % of training images stand {what}"
    return Reading(percent(test) - percent(train), 100 * noise, told)

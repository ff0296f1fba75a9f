"""Gradient masking: an attack that fails for want of gradients shows nothing (`G` of the table)."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from bench.attacks.pgd import gradient
from bench.gates.subject import Subject, cross_entropy, dlr, input_gradient, listed, losses, share
from bench.gates.verdicts import Reading

POINTS = 20
"""Images whose gradient is compared with finite differences."""
STEP = 1e-6
"""Of the finite differences, in units of pixels; they are taken in float64."""
AGREEMENT = 1e-2
"""By how much the two may differ, relative to the larger one."""
CLASSES_OF_DLR = 3
"""It divides by the difference of the largest and the third logit."""
PROBABILITY = 1e-5
"""How far from a probability an output may be and still pass for one (AutoAttack's check_range_output)."""


def vanishing(subject: Subject) -> Reading:
    """G4: per cent of images whose gradient at a random start is zero or not finite, for cross-entropy or DLR.

    DLR counts where the start is classified correctly; where the label comes third, that loss is flat by definition.
    """
    found = []
    for number, index in enumerate(subject.batches()):
        start, y = subject.start(index, number), subject.y[index]
        flat = _lacks(input_gradient(subject, cross_entropy, start, y))
        if subject.classifier.classes >= CLASSES_OF_DLR:
            right = subject.logits(start).argmax(1) == y
            flat |= right & _lacks(input_gradient(subject, dlr, start, y))
        found.append(flat)
    flat = torch.cat(found)
    return share(flat, listed(flat))


def _lacks(gradients: Tensor) -> Tensor:
    """Bool [B]: whether an image's gradient says nowhere to go."""
    flat = gradients.flatten(1)
    return (flat == 0).all(1) | ~flat.isfinite().all(1)


def finite_differences(subject: Subject) -> Reading:
    """G4-fd: per cent of 20 images whose gradient is not the slope of the loss along a random direction, in float64."""
    index = subject.sample(POINTS)
    double = copy.deepcopy(subject.classifier).double()
    x, y = subject.x[index].double(), subject.y[index]
    draw = subject.context.randomness.generator("audit-direction")
    direction = (torch.randint(0, 2, x.shape, generator=draw) * 2 - 1).to(x)
    told = (_slope(double, x, y) * direction).flatten(1).sum(1)
    with torch.no_grad():
        ahead, behind = (losses(double(x + side * STEP * direction), y) for side in (1, -1))
    seen = (ahead - behind) / (2 * STEP)
    scale = torch.maximum(told.abs(), seen.abs())
    apart = (told - seen).abs() > AGREEMENT * scale + 1e-6
    return Reading(share(apart).number, detail=listed(apart))


def _slope(classifier: torch.nn.Module, x: Tensor, y: Tensor) -> Tensor:
    try:
        return gradient(lambda image: losses(classifier(image), y).sum(), x)
    except RuntimeError as error:
        if "does not require grad" not in str(error):
            raise
        return torch.zeros_like(x)


def probabilities(subject: Subject) -> Reading:
    """G5: per cent of images whose outputs are probabilities, not logits."""
    found = []
    for index in subject.batches():
        outputs = subject.logits(subject.x[index])
        inside = ((outputs >= -PROBABILITY) & (outputs <= 1 + PROBABILITY)).all(1)
        found.append(inside & ((outputs.sum(1) - 1).abs() <= PROBABILITY * outputs.shape[1]))
    return share(torch.cat(found))


def saturated(subject: Subject) -> Reading:
    """G6: per cent of images whose softmax is exactly 0 or 1 everywhere in float32, so that cross-entropy is flat."""
    found = []
    for index in subject.batches():
        chances = subject.logits(subject.x[index]).softmax(1)
        found.append(((chances == 0) | (chances == 1)).all(1))
    flat = torch.cat(found)
    return share(flat, listed(flat))

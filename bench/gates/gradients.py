"""Gradient masking: an attack that fails for want of gradients shows nothing (`G` of the table)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from bench.attacks.catalogue import ATTACKS
from bench.attacks.classifier import Classifier
from bench.attacks.pgd import LinfPGD, ascend
from bench.attacks.threats import PGD20, Part
from bench.gates.subject import (
    Subject,
    cross_entropy,
    difference,
    dlr,
    input_gradient,
    listed,
    losses,
    percent,
    share,
)
from bench.gates.verdicts import NotRun, Reading

POINTS = 20
"""Images whose gradient is compared with finite differences."""
STEP = 1e-6
"""Of the finite differences, in units of pixels; they are taken in float64."""
AGREEMENT = 1e-2
"""By how much the two may differ, relative to the larger one."""
SEARCHED, SAMPLES = 500, 1000
"""Images, and random versions of each of them."""
TEMPERATURE = 10.0
CLASSES_OF_DLR = 3
"""It divides by the difference of the largest and the third logit."""
PROBABILITY = 1e-5
"""How far from a probability an output may be and still pass for one (AutoAttack's check_range_output)."""


def black_box(subject: Subject) -> Reading:
    """G1: by how many points Square alone lowers accuracy below PGD-20 and targeted APGD together.

    PGD-20 by itself is no measure of gradients: it also stalls where cross-entropy is flat, which G6 looks for.
    """
    white = subject.under(PGD20, "G1") & subject.under(ATTACKS[Part.APGD_T], "G1")
    black = subject.under(ATTACKS[Part.SQUARE], "G1")
    alone = white & ~black
    return difference(white, black, f"{listed(alone)} fall to Square alone" if alone.any() else "")


def transferred(subject: Subject) -> Reading:
    """G2: by how many points PGD-20 on another classifier lowers this one's accuracy below PGD-20 on itself."""
    if not subject.surrogates:
        raise NotRun("there is no other classifier of the same data")
    white = subject.under(PGD20, "G2")
    black = {name: subject.right(_made_on(other, subject)) for name, other in subject.surrogates.items()}
    worst = min(black, key=lambda name: int(black[name].sum()))
    told = ", ".join(f"{name} {percent(flags):.1f}" for name, flags in black.items())
    return difference(white, black[worst], f"accuracy under images made on {told}; on itself {percent(white):.1f}")


def _made_on(surrogate: Classifier, subject: Subject) -> Tensor:
    """Adversarial images [N, 3, H, W] of another classifier."""
    budget = LinfPGD(subject.eps, PGD20.steps, PGD20.step(subject.eps))
    made = []
    for number, index in enumerate(subject.batches()):
        y = subject.y[index]
        objective = lambda image: cross_entropy(surrogate(image), y)  # noqa: B023, E731
        made.append(ascend(objective, subject.x[index], subject.start(index, number), budget))
        subject.context.report(number + 1, len(subject.y), f"G2: batch {number + 1}")
    return torch.cat(made)


def random_search(subject: Subject) -> Reading:
    """G3: per cent of up to 500 images that stand under every stored attack and fall to one of 1,000 random images.

    Half of them are uniform in the ball, half are corners of it.
    """
    index = subject.sample(SEARCHED)
    stands = torch.stack([one.correct for one in subject.outcomes.values()]).all(0).to(index.device)[index]
    if not stands.any():
        return Reading(0.0, detail="no image stands")
    left = index[stands]
    fell = torch.zeros(len(left), dtype=torch.bool, device=left.device)
    for number, x in enumerate(_random_images(subject, left)):
        fell |= subject.logits(x).argmax(1) != subject.y[left]
        if number % 50 == 0:
            subject.context.report(number, SAMPLES, f"G3: {int(fell.sum())} of {len(left)} images fell")
    reading = share(torch.cat([fell, fell.new_zeros(len(index) - len(left))]))
    return replace(reading, detail=f"{int(fell.sum())} of {len(left)} that stand fall")


def _random_images(subject: Subject, index: Tensor) -> Iterator[Tensor]:
    """Images of the balls around the test images at `index`."""
    draw = subject.context.randomness.generator("audit-search", device=subject.context.device)
    x = subject.x[index]
    for number in range(SAMPLES):
        noise = 2 * torch.rand(x.shape, generator=draw, device=x.device) - 1
        yield (x + subject.eps * (noise.sign() if number % 2 else noise)).clamp(0, 1)


def scaled(subject: Subject) -> Reading:
    """G6-scaled: by how many points PGD-20 on logits divided by ten lowers accuracy below PGD-20."""
    whole = subject.classifier
    cooler = Classifier(whole.encoder, whole.weight / TEMPERATURE, whole.bias / TEMPERATURE)
    plain = subject.under(PGD20, "G6-scaled")
    cool = replace(subject, classifier=cooler.to(subject.context.device)).under(PGD20, "G6-scaled")
    union = percent(plain & cool)
    return difference(plain, cool, f"{union:.1f} % stand under both")


def margin(subject: Subject) -> Reading:
    """G7: by how many points accuracy under targeted APGD on DLR exceeds that under APGD on cross-entropy."""
    return difference(subject.under(ATTACKS[Part.APGD_T], "G7"), subject.under(ATTACKS[Part.APGD_CE], "G7"))


def vanishing(subject: Subject) -> Reading:
    """G4: per cent of images whose gradient at a random start is zero or not finite, for cross-entropy or DLR.

    A cross-entropy that is flat in float32 is asked again in float64, if the network computes in it: a rounded one is
    for G6, which warns. DLR counts where the start is classified correctly; where the label comes third, that loss is
    flat by definition.
    """
    found, classifier = [], subject.classifier
    for number, index in enumerate(subject.batches()):
        start, y = subject.start(index, number), subject.y[index]
        flat = _lacks(input_gradient(classifier, cross_entropy, start, y))
        if flat.any():
            flat[flat.clone()] = _flat_in_float64(subject.exact, start[flat].double(), y[flat])
        if classifier.classes >= CLASSES_OF_DLR:
            right = subject.logits(start).argmax(1) == y
            flat |= right & _lacks(input_gradient(classifier, dlr, start, y))
        found.append(flat)
    flat = torch.cat(found)
    return share(flat, listed(flat))


def _flat_in_float64(exact: Classifier, x: Tensor, y: Tensor) -> Tensor:
    """Bool [B]: whether cross-entropy has no gradient in float64 either; a network that refuses it stays accused."""
    try:
        return _lacks(input_gradient(exact, cross_entropy, x, y))
    except RuntimeError:
        return torch.ones_like(y, dtype=torch.bool)


def _lacks(gradients: Tensor) -> Tensor:
    """Bool [B]: whether an image's gradient says nowhere to go."""
    flat = gradients.flatten(1)
    return (flat == 0).all(1) | ~flat.isfinite().all(1)


def finite_differences(subject: Subject) -> Reading:
    """G4-fd: per cent of 20 images whose gradient is not the slope of the loss along a random direction, in float64."""
    index = subject.sample(POINTS)
    x, y = subject.x[index].double(), subject.y[index]
    draw = subject.context.randomness.generator("audit-direction")
    direction = (torch.randint(0, 2, x.shape, generator=draw) * 2 - 1).to(x)
    told = (input_gradient(subject.exact, cross_entropy, x, y) * direction).flatten(1).sum(1)
    with torch.no_grad():
        ahead, behind = (losses(subject.exact(x + side * STEP * direction), y) for side in (1, -1))
    seen = (ahead - behind) / (2 * STEP)
    scale = torch.maximum(told.abs(), seen.abs())
    apart = (told - seen).abs() > AGREEMENT * scale + 1e-6
    return Reading(share(apart).number, detail=listed(apart))


def probabilities(subject: Subject) -> Reading:
    """G5: per cent of images whose outputs are probabilities, not logits."""
    outputs = subject.clean
    inside = ((outputs >= -PROBABILITY) & (outputs <= 1 + PROBABILITY)).all(1)
    return share(inside & ((outputs.sum(1) - 1).abs() <= PROBABILITY * outputs.shape[1]))


def saturated(subject: Subject) -> Reading:
    """G6: per cent of images whose softmax is exactly 0 or 1 everywhere in float32, so that cross-entropy is flat."""
    chances = subject.clean.softmax(1)
    flat = ((chances == 0) | (chances == 1)).all(1)
    return share(flat, listed(flat))

"""Accuracy on published corruptions of the test images, which nobody fitted to the classifier."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext, right
from bench.attacks.threats import AttackSpec
from bench.contract import Checkpoint
from bench.data.corruptions import CorruptedImages
from bench.data.views import pixels_of
from bench.engine.milestones import Milestones


@dataclass(frozen=True, eq=False)
class _Scored:
    """The images that were classified so far: bool, whether correctly."""

    correct: Tensor

    def checkpoint(self) -> Checkpoint:
        return Checkpoint({"correct": self.correct}, {})


def corrupted_outcomes(
    classifier: Classifier, images: CorruptedImages, spec: AttackSpec, context: AttackContext
) -> Tensor:
    """Whether each corrupted image is classified correctly: bool [types x 5 severities x N] on the CPU.

    Their mean is the mean over types of the mean over severities, and the other way round, since all are equally many.

    Args:
        classifier: moved to `context.device`; otherwise unchanged.
        images: by type and, within it, by severity.
        spec: whose `batch` images are classified together.
        context: device, listeners.

    Raises:
        BenchError: if a file does not hold what it should.
        StageError: if logits are not finite.
    """
    classifier.to(context.device)
    kept = context.checkpoints.latest()
    scored = _Scored(kept.tensors["correct"] if kept else torch.zeros(0, dtype=torch.bool))
    total = images.per_type * len(images.types)
    with Milestones(context.checkpoints, scored) as milestones:
        for name, flags in _flags(classifier, images, spec, context, len(scored.correct)):
            scored = _Scored(torch.cat([scored.correct, flags]))
            done, accuracy = len(scored.correct), scored.correct.float().mean()
            context.report(100 * done // total, 100, f"{name}, accuracy so far {accuracy:.1%}")
            milestones.reached(scored)
    return scored.correct


def _flags(
    classifier: Classifier, images: CorruptedImages, spec: AttackSpec, context: AttackContext, done: int
) -> Iterator[tuple[str, Tensor]]:
    """The type and the outcomes of every batch after the first `done` images."""
    first, done_of_type = divmod(done, images.per_type)
    for name in images.types[first:]:
        examples = images.load(name)
        for at in range(done_of_type, len(examples), spec.batch):
            pixels = examples.pixels[at : at + spec.batch].to(context.device)
            labels = examples.labels[at : at + spec.batch].to(context.device)
            yield name, right(classifier, pixels_of(pixels), labels, spec).cpu()
        done_of_type = 0

"""What is audited: a classifier with all that is known of how it was scored, and small tools to measure it with."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from bench.attacks.classifier import Classifier
from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.pgd import gradient, uniform_start
from bench.attacks.threats import AttackSpec, Norm
from bench.contract import LabelledImages
from bench.data.views import pixels_of
from bench.execution import Precision
from bench.gates.verdicts import NotRun, Reading

BATCH = 500
"""Images that pass through at once."""
IMAGES = 2
"""Images that may differ by chance alone, whatever the standard error says."""
ERRORS = 3
"""Standard errors that chance explains where images are not paired."""


@dataclass(frozen=True)
class Outcome:
    """A stored attack.

    Attributes:
        spec: which.
        correct: bool [N], whether an image stayed correct.
        eps: radius of its ball, in units of [0, 1] pixels.
    """

    spec: AttackSpec
    correct: Tensor
    eps: float


@dataclass(frozen=True, eq=False)
class Subject:
    """A classifier under audit; the gates read it and leave it as it is.

    Attributes:
        classifier: pixels to logits, as it was scored.
        images: the test images, on the classifier's device.
        eps: radius of the protocol's ball, in units of [0, 1] pixels.
        context: random numbers, device, progress.
        outcomes: the stored attacks by name, on the CPU.
        stored: the encoder's tensors by name, as its pre-training left them.
        moving: names of the encoder's buffers that the protocol lets its head move.
        surrogates: other classifiers of the same data, by name, whose adversarial images are tried on this one.
        training: the images that encoder and head were trained on, or the data set's own; None where nobody needs them.
        norm: of the protocol's ball.
        precision: of the scoring.
    """

    classifier: Classifier
    images: LabelledImages
    eps: float
    context: AttackContext
    outcomes: Mapping[str, Outcome] = field(default_factory=dict)
    stored: Mapping[str, Tensor] = field(default_factory=dict)
    moving: frozenset[str] = frozenset()
    surrogates: Mapping[str, Classifier] = field(default_factory=dict)
    training: LabelledImages | None = None
    norm: Norm = Norm.LINF
    precision: Precision = Precision.FP32

    @cached_property
    def x(self) -> Tensor:
        """Float32 [N, 3, H, W] in [0, 1]."""
        return pixels_of(self.images.pixels)

    @property
    def y(self) -> Tensor:
        """Int64 [N]."""
        return self.images.labels

    @cached_property
    def clean(self) -> Tensor:
        """The logits of the test images as they are, [N, C]."""
        return torch.cat([self.logits(self.x[index]) for index in self.batches()])

    @cached_property
    def exact(self) -> Classifier:
        """A copy of the classifier in float64."""
        return copy.deepcopy(self.classifier).double()

    @property
    def rounding(self) -> float:
        """By how much arithmetic alone may move a logit, as a fraction of the largest."""
        return 1e-4 if self.precision is Precision.FP32 else 1e-2

    def sample(self, count: int) -> Tensor:
        """Positions of up to `count` test images, the same ones for every gate."""
        draw = self.context.randomness.generator("audit")
        return torch.randperm(len(self.images), generator=draw)[:count].to(self.y.device)

    def batches(self, size: int = BATCH) -> Iterator[Tensor]:
        """The positions of all test images, `size` at a time."""
        yield from torch.split(torch.arange(len(self.images), device=self.y.device), size)

    @torch.no_grad()
    def logits(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, C], without gradients."""
        logits: Tensor = self.classifier(x)
        return logits

    def start(self, index: Tensor, number: int) -> Tensor:
        """Random images of the ball around the test images at `index`, the batch of this number: [B, 3, H, W]."""
        draw = self.context.randomness.generator("audit-start", step=number, device=self.context.device)
        return uniform_start(self.x[index], self.eps, draw, clip=True)

    def right(self, x: Tensor) -> Tensor:
        """Bool [N] on the CPU: whether each of N versions of the test images is classified correctly."""
        found = [self.logits(x[index]).argmax(1) == self.y[index] for index in self.batches()]
        return torch.cat(found).cpu()

    def named(self, name: str) -> Tensor:
        """The stored outcome of an attack, bool [N].

        Raises:
            NotRun: if the protocol has no such attack.
        """
        if name not in self.outcomes:
            raise NotRun(f"the protocol has no attack '{name}'")
        return self.outcomes[name].correct

    def first(self, wanted: Callable[[Outcome], bool]) -> Outcome:
        """The first stored attack that is wanted.

        Raises:
            NotRun: if there is none.
        """
        found = next(filter(wanted, self.outcomes.values()), None)
        if found is None:
            raise NotRun("the protocol has no such attack")
        return found

    def under(self, spec: AttackSpec, what: str, eps: float | None = None) -> Tensor:
        """Bool [N] on the CPU: whether an image stays correct under an attack that is carried out now.

        Args:
            spec: the attack.
            what: how progress calls it.
            eps: radius of the ball; the subject's own unless given.
        """
        report: Callable[[int, int, str], None] = lambda done, total, text: self.context.report(  # noqa: E731
            done, total, f"{what}: {text}"
        )
        own = replace(self.context, report=report)
        return outcomes(self.classifier, self.images, spec, self.eps if eps is None else eps, own)


def difference(stronger: Tensor, weaker: Tensor, detail: str = "") -> Reading:
    """By how many points more images stand under `stronger` than under `weaker`, both bool [N] of the same images.

    Chance explains two standard errors of the paired difference, (b - c) / N with b and c the images on which only one
    of the two stands (McNemar), and two images in any case.
    """
    only, other = int((stronger & ~weaker).sum()), int((weaker & ~stronger).sum())
    count = len(stronger)
    variance = only + other - (only - other) ** 2 / count
    return Reading(100 * (only - other) / count, 100 * max(2 * math.sqrt(variance), IMAGES) / count, detail)


def share(flags: Tensor, detail: str = "") -> Reading:
    """Per cent of images that are flagged; chance explains two of them."""
    return Reading(percent(flags), 100 * IMAGES / len(flags), detail)


def percent(flags: Tensor) -> float:
    """The share of images that are flagged, 0 to 100."""
    return 100 * int(flags.sum()) / len(flags)


def standard_error(*samples: tuple[float, int]) -> float:
    """Of a share of images, or of the difference of two such shares, 0 to 1: each a share and of how many images."""
    return math.sqrt(sum(share * (1 - share) / count for share, count in samples))


def listed(flags: Tensor, shown: int = 8) -> str:
    """The positions of flagged images, for people: `images 3, 17 and 5 more`."""
    positions = flags.nonzero().flatten().tolist()
    more = f" and {len(positions) - shown} more" if len(positions) > shown else ""
    return f"images {', '.join(map(str, positions[:shown]))}{more}" if positions else ""


def input_gradient(classifier: Classifier, loss: Loss, x: Tensor, y: Tensor) -> Tensor:
    """The gradient of a loss with respect to images [B, 3, H, W]; zero where the classifier does not pass one on."""
    try:
        return gradient(lambda image: loss(classifier(image), y), x)
    except RuntimeError as error:
        if "does not require grad" not in str(error) and "not have been used" not in str(error):
            raise
        return torch.zeros_like(x)


Loss = Callable[[Tensor, Tensor], Tensor]
"""Logits [B, C] and labels [B] to a scalar that attacks raise."""


def losses(logits: Tensor, y: Tensor) -> Tensor:
    """The cross-entropy of each image, [B]."""
    return functional.cross_entropy(logits, y, reduction="none")


def log_odds(logits: Tensor, y: Tensor) -> Tensor:
    """The log of the odds against the label, [B]: it orders images as cross-entropy does, and never underflows."""
    own = logits.gather(1, y[:, None])
    others = logits.scatter(1, y[:, None], -torch.inf)
    return (others - own).logsumexp(1)


def cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Summed over the batch, so that no image's gradient depends on how many there are."""
    return functional.cross_entropy(logits, y, reduction="sum")


def dlr(logits: Tensor, y: Tensor) -> Tensor:
    """The difference of logits ratio, summed (Croce & Hein 2020, equation 6); needs three classes."""
    ordered, order = logits.sort(dim=1, descending=True)
    own = logits.gather(1, y[:, None]).squeeze(1)
    other = torch.where(order[:, 0] == y, ordered[:, 1], ordered[:, 0])
    return ((other - own) / (ordered[:, 0] - ordered[:, 2] + 1e-12)).sum()

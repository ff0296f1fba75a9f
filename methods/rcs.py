"""RCS: robustness-aware coreset selection for adversarial contrastive learning (Xu et al., NeurIPS 2023).

Official code: GodXuxilie/Efficient_ACL_via_RCS at 6fc9aef, ACL_RCS/small_scale_datasets, over the ACL and the DynACL of
that repository, which are not `acl` and `dynacl`.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated

import torch
from pydantic import Field
from torch import Tensor

from bench.attacks.pgd import LinfPGD, ascend, undisturbed, uniform_start
from bench.config import Count, EpochLength, Positive
from bench.contract import Passes, Run, UnlabelledImages
from bench.engine.loop import Batch, Update, take
from bench.errors import BenchError
from bench.models.encoder import ResNetEncoder
from bench.models.projectors import Head
from bench.models.resnet import Architecture
from bench.randomness import Randomness
from methods.parts.divergences import jensen_shannon, min_max_divergence, optimal_transport, reversed_jensen_shannon
from methods.parts.dual_stream import ADVERSARIAL, CLEAN
from methods.parts.fading import Base, FadingBranch, FadingConfig, FadingMethod
from methods.parts.losses import divergence


class Variant(StrEnum):
    """The selection as the paper has it, or as released."""

    PAPER = "paper"
    RELEASE = "release"


class Divergence(StrEnum):
    """How far perturbed projections are from clean ones."""

    KL = "kl"
    """Kullback and Leibler's."""
    JS = "js"
    """Jensen and Shannon's."""
    OT = "ot"
    """The cost of optimal transport between the two batches."""


Share = Annotated[float, Field(gt=0, lt=1)]
Gradient = tuple[Tensor, ...]
"""Of theta, the linear layers of the projector: one tensor per parameter."""


class RCSConfig(FadingConfig):
    """Settings of RCS; the defaults are those of DynACL-RCS for CIFAR-10."""

    variant: Variant = Variant.PAPER
    """`release` differs from `paper` in the selection alone, in four ways (`FORMS`)."""
    divergence: Divergence = Divergence.KL
    """DynACL_RCS.py, option --CoresetLoss. With `ot` its batches have 256 images; here `batch_size` says how many."""
    select_after: EpochLength = 100
    """Epochs on all images before the first selection; DynACL_RCS.py, option --warmup."""
    select_every: EpochLength = 20
    """Epochs on one coreset; DynACL_RCS.py, option --fre."""
    fraction: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Of the images that a coreset has; DynACL_RCS.py, option --fraction."""
    validation_share: Share = 0.01
    """Of the images that robustness is measured on; DynACL_RCS.py, ACL_RCS.py. Not augmented (STL-10's are, there)."""
    validation_steps: Count = 3
    """Of the attack on them; DynACL_RCS.py, option --Coreset_pgd_iter. All steps together are as long as those of the
    attack in training: (10/255)/3 each (RCS.py:90-125)."""
    coreset_rate: Positive = 0.01
    """Learning rate of the steps on what has been chosen; DynACL_RCS.py, option --Coreset_lr."""


class RCSState(FadingBranch):
    """The network, and the positions of the images in its coreset."""

    coreset: Tensor

    def __init__(self, encoder: ResNetEncoder, head: Head, size: int) -> None:
        super().__init__(encoder, head)
        self.register_buffer("coreset", torch.zeros(size, dtype=torch.int64))

    @property
    def theta(self) -> tuple[Tensor, ...]:
        """What gradients are compared of: the projector's weights and biases without its batch norms."""
        return tuple(weight for name, weight in self.projector.named_parameters() if ".linear." in name)


def half_twice(x: Tensor) -> Tensor:
    """The first half of `x` [B, ...], each row twice in a row (RCS.py:213-369 drops the second half of all views)."""
    return x.repeat_interleave(2, dim=0)[: len(x)]


@dataclass(frozen=True)
class Form:
    """What the variants differ in.

    Attributes:
        divergences: of projections [B, d] of perturbed images from those of clean ones, a scalar.
        validation: the rows of the validation images that are looked at.
        steps: on what has been chosen, per choice: the release takes two (RCS.py:321-329), on one network under two
            names.
        leaking: where all images are trained on, the validation images too (DynACL_RCS.py:298, 292-311).
    """

    divergences: Mapping[Divergence, Callable[[Tensor, Tensor], Tensor]]
    validation: Callable[[Tensor], Tensor]
    steps: int
    leaking: frozenset[Base]


FORMS: Mapping[Variant, Form] = {
    Variant.PAPER: Form(
        {Divergence.KL: divergence, Divergence.JS: jensen_shannon, Divergence.OT: optimal_transport},
        validation=lambda x: x,
        steps=1,
        leaking=frozenset(),
    ),
    Variant.RELEASE: Form(
        {Divergence.KL: min_max_divergence, Divergence.JS: reversed_jensen_shannon, Divergence.OT: optimal_transport},
        validation=half_twice,
        steps=2,
        leaking=frozenset({Base.DYNACL}),
    ),
}


class RCS(FadingMethod[RCSConfig, RCSState]):
    """ACL or DynACL on the batches whose gradients most reduce the divergence of perturbed from clean projections."""

    name = "rcs"
    summary = "RCS: DynACL or ACL on a coreset, chosen anew every few epochs for robustness"
    Config = RCSConfig
    DISPUTES = {
        "variant": (
            "RCS.py:64-80 scales features to [0, 1] where the paper takes softmax, 213-369 sees the first half of the "
            "validation images twice and moves theta twice per choice"
        ),
        "divergence": (
            "with `js` RCS.py:69-74 exchanges the arguments, KL(m || p) for KL(p || m); so does `variant = release`"
        ),
        "leaking validation": "DynACL_RCS.py:298 trains on the validation images, ACL_RCS.py does not",
        "STL-10's stem": "pre-trained with 3x3, fine-tuned with 7x7 (RCS.py's models), which cannot be loaded",
        "code that cannot run": "`Coreset_bs` is read and never set (RCS.py:264); run.sh names a method unknown to all",
    }
    PAPER = {
        "cifar10": RCSConfig(),
        "cifar100": RCSConfig(),
        # The stem of images of 96 pixels; the release pre-trains one for 32 and fine-tunes the other, which fails.
        "stl10": RCSConfig(architecture=Architecture.RESNET18_IMAGENET, pretrain_pool="stl10:unlabelled"),
    }
    # Chosen on the held-out slice (tests/studies/held_out.py).
    QUICK = {
        "digits": RCSConfig(
            architecture=Architecture.SMALL,
            epochs=20,
            batch_size=64,
            warmup_epochs=1,
            plateau=1,
            select_after=4,
            select_every=4,
            fraction=0.3,
            eps=0.1,
            crop_scale=(0.85, 1.0),
            flip_probability=0.0,
        )
    }

    def check(self, images: int | None = None) -> None:
        """Selection chooses among full batches."""
        batch = self.config.batch_size
        if images is not None and self.held_in(images) < batch:
            raise BenchError(
                f"rcs chooses among full batches of {batch} images, but of {images} only {self.held_in(images)} are "
                f"trained on: use more images, or a smaller batch, e.g. rcs[batch_size={max(1, images // 4)}]."
            )

    def passes(self) -> Passes:
        """A step's, on two views: the attack, then both streams. Selection is no step: see `passes_per_epoch`."""
        steps = self.config.attack_steps
        return Passes(forward=2 * steps + 4, backward_input=2 * steps, backward=4)

    def passes_per_epoch(self) -> Passes:
        """Steps on all images at first, then on a fraction; and for each selection the attack and both streams forward.

        Left out: the validation images, which are in no step, but in `validation_steps` + 2 passes for each choice.
        """
        c, step = self.config, self.passes()
        seen = (c.select_after + c.fraction * (c.epochs - c.select_after)) / c.epochs
        selections = sum(self.selects(epoch) for epoch in range(c.epochs)) / c.epochs
        return Passes(
            forward=(seen + selections) * step.forward,
            backward_input=(seen + selections) * step.backward_input,
            backward=seen * step.backward,
        )

    def held_in(self, images: int) -> int:
        """How many of `images` are not set aside for validation; they come first."""
        return int(images * (1 - self.config.validation_share))

    def choices(self, images: int) -> int:
        """How many batches a coreset has, at least one: of the images that are left, also where the release leaks."""
        return max(1, int(self.held_in(images) * self.config.fraction) // self.config.batch_size)

    def pool(self, images: UnlabelledImages) -> Tensor:
        """The positions that are trained on before the first selection, and chosen from: int64 [P]."""
        leaks = self.config.base in FORMS[self.config.variant].leaking
        return torch.arange(len(images) if leaks else self.held_in(len(images)), device=images.pixels.device)

    def build(self, images: UnlabelledImages, run: Run) -> RCSState:
        """One network sees both views, in one batch."""
        self.check(len(images))
        size = self.choices(len(images)) * self.config.batch_size
        return RCSState(self.encoder(images.profile), self.config.projector, size)

    def selects(self, epoch: int) -> bool:
        """Whether a coreset is chosen before `epoch` (from 0)."""
        since = epoch - self.config.select_after
        return since >= 0 and since % self.config.select_every == 0

    def before_epoch(self, net: RCSState, images: UnlabelledImages, run: Run, epoch: int) -> Tensor:
        """The epoch's strength and order: all images at first, then the coreset, shuffled (DynACL_RCS.py:292-311)."""
        super().before_epoch(net, images, run, epoch)
        if self.selects(epoch):
            net.coreset.copy_(self.select(net, images, run, epoch))
        members = self.pool(images) if epoch < self.config.select_after else net.coreset
        order = torch.randperm(len(members), generator=run.randomness.generator("order", epoch=epoch))
        return members[order.to(run.device)]

    def step(self, net: RCSState, batch: Batch, update: Update) -> None:
        """DynACL_RCS.py:361-367, ACL_RCS.py:329-332: L = ((1 - w) NT-Xent(clean) + (1 + w) NT-Xent(adv)) / 2."""
        w = self.weight(net)
        x = self.two_views(batch, net.strength)
        x_adv = self.perturb(net, x, batch)
        adversarial = self.contrast(net(x_adv, ADVERSARIAL))
        clean = self.contrast(net(x, CLEAN))
        update(((1 - w) * clean + (1 + w) * adversarial) / 2, clean=clean, adversarial=adversarial)

    def select(self, net: RCSState, images: UnlabelledImages, run: Run, epoch: int) -> Tensor:
        """The coreset S (RCS.py:213-369): positions, int64 [choices * batch_size]. `net` stays as it is."""
        randomness = replace(run.randomness, stage="coreset")
        trial = copy.deepcopy(net).eval().requires_grad_(False)
        for weight in trial.theta:
            weight.requires_grad_(True)
        batches = self.random_batches(images, randomness, epoch)
        gradients = [
            self.training_gradient(trial, take(images, batch, randomness, epoch, step))
            for step, batch in enumerate(batches)
        ]
        validation = (self.validation(images, randomness, epoch, choice) for choice in range(self.choices(len(images))))
        chosen, gains = self.search(trial, gradients, validation)
        run.record({"coreset_gains": gains})
        return torch.cat([batches[number] for number in chosen])

    def search(
        self, trial: RCSState, gradients: Sequence[Gradient], validation: Iterable[Batch]
    ) -> tuple[list[int], list[float]]:
        """Greedily, a batch for each of `validation`, and the gain <g_batch, g_validation> of each when chosen.

        After each choice theta moves as if trained on it, and the validation's gradient is taken anew; those of the
        batches are not.
        """
        rate = FORMS[self.config.variant].steps * self.config.coreset_rate
        summaries = torch.stack([summary(gradient) for gradient in gradients])
        chosen, gains = list[int](), list[float]()
        for batch in validation:
            gain = summaries @ summary(self.validation_gradient(trial, batch))
            gain[chosen] = float("-inf")
            chosen.append(int(gain.argmax()))
            gains.append(float(gain.max()))
            with torch.no_grad():
                torch._foreach_sub_(trial.theta, gradients[chosen[-1]], alpha=rate)
        return chosen, gains

    def random_batches(self, images: UnlabelledImages, randomness: Randomness, epoch: int) -> list[Tensor]:
        """The pool in random full batches of positions; a smaller rest cannot be chosen."""
        pool, size = self.pool(images), self.config.batch_size
        order = torch.randperm(len(pool), generator=randomness.generator("order", epoch=epoch)).to(pool.device)
        return [batch for batch in torch.split(pool[order], size) if len(batch) == size]

    def training_gradient(self, trial: RCSState, batch: Batch) -> Gradient:
        """d (NT-Xent(clean) + NT-Xent(adv)) / 2 / d theta, in eval mode, whatever the streams' weights."""
        x = self.two_views(batch, trial.strength)
        fed = {ADVERSARIAL: self.perturb(trial, x, batch), CLEAN: x}
        losses = [self.contrast(project(trial, x, route)) for route, x in fed.items()]
        return torch.autograd.grad(torch.stack(losses).mean(), trial.theta)

    def validation(self, images: UnlabelledImages, randomness: Randomness, epoch: int, choice: int) -> Batch:
        """The images set aside, as they are, with the axes of this choice's random numbers."""
        rows = torch.arange(self.held_in(len(images)), len(images), device=images.pixels.device)
        return take(images, FORMS[self.config.variant].validation(rows), randomness, epoch, choice)

    @property
    def measure(self) -> Callable[[Tensor, Tensor], Tensor]:
        """D, of two [B, d]: a scalar."""
        return FORMS[self.config.variant].divergences[self.config.divergence]

    def validation_gradient(self, trial: RCSState, batch: Batch) -> Gradient:
        """d D / d theta, of the divergence D of perturbed from clean projections under an attack that raises it."""
        c, x, measure = self.config, batch.pixels, self.measure
        step_size = c.step_fraction * c.eps * c.attack_steps / c.validation_steps
        attack = LinfPGD(eps=c.eps, steps=c.validation_steps, step_size=step_size)
        start = uniform_start(x, c.eps, batch.generator("validation attack"), clip=False)
        with undisturbed(trial):
            clean = trial(x, CLEAN)
            x_adv = ascend(lambda x: measure(trial(x, ADVERSARIAL), clean), x, start, attack)
        found = measure(project(trial, x_adv, ADVERSARIAL), project(trial, x, CLEAN))
        return torch.autograd.grad(found, trial.theta)


def project(trial: RCSState, x: Tensor, route: str) -> Tensor:
    """[B, 3, H, W] -> projections [B, d], of which the projector alone is differentiated."""
    with torch.no_grad():
        features = trial.encoder.features(x, route)
    projections: Tensor = trial.projector(features, route)
    return projections


def summary(gradient: Gradient) -> Tensor:
    """The mean over the rows of each part, one after the other: [sum of the layers' inputs, + 1 per bias]."""
    return torch.cat([part.mean(dim=0).flatten() for part in gradient])

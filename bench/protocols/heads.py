"""Fits a protocol's linear head on a frozen encoder."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.attacks.classifier import Classifier, changes, state_of
from bench.attacks.pgd import LinfPGD, ascend, undisturbed, uniform_start
from bench.contract import Checkpoint, Checkpoints, Encoder, LabelledImages, NoCheckpoints, Report
from bench.data.profiles import DataProfile
from bench.data.sources import DataSet
from bench.data.views import HorizontalFlip, PaddedCrop, PadMode, Views, pixels_of
from bench.engine.milestones import Milestones
from bench.errors import StageError
from bench.protocols.recipes import Augmentation, EncoderMode, HeadInit, HeadRecipe, Objective
from bench.randomness import Randomness

Curve = tuple[tuple[float, float], ...]
"""Pairs of learning rate and accuracy on the held-out slice, rates ascending."""
Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""An epoch's number to its batches of features [B, d + 1] and labels [B]."""


@dataclass(frozen=True)
class HeadContext:
    """What the fit of a head may know of the run it is part of.

    Attributes:
        randomness: its random numbers, by named axes.
        device: where encoder and images live.
        report: progress.
        eps: radius of the inner attack's ball, in units of [0, 1] pixels.
        rate: the learning rate chosen by the protocol that the recipe's `rate_from` names.
        checkpoints: where the fit can be resumed from, after any of its epochs.
    """

    randomness: Randomness
    device: torch.device
    report: Report
    eps: float
    rate: float | None = None
    checkpoints: Checkpoints = field(default_factory=NoCheckpoints)


@dataclass(frozen=True, eq=False)
class FittedHead:
    """A head and how it came about.

    Attributes:
        weight: [C, d].
        bias: [C].
        rate: the learning rate it was trained with; None for an encoder's own.
        curve: what the choice of the rate was made from; empty where nothing was chosen.
        at_edge: whether the chosen rate is the smallest or the largest of its grid.
        encoder_state: the encoder's batch-norm buffers that changed, where the recipe lets them.
    """

    weight: Tensor
    bias: Tensor
    rate: float | None
    curve: Curve = ()
    at_edge: bool = False
    encoder_state: Mapping[str, Tensor] | None = None


def fit_head(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> FittedHead:
    """Train a head on `data` by `recipe`, on the encoder's active batch-norm route, or take the encoder's own.

    A fit that was interrupted goes on after its last epoch, to the bit as if it had not been.

    Args:
        encoder: unchanged afterwards, mode and buffers included.
        data: its held-out slice chooses the learning rate where the recipe has a grid; its test images are not touched.
        recipe: the protocol's.
        context: random numbers, device, listener, checkpoints.

    Raises:
        BenchError: if the recipe has no learning rate for this data set.
        StageError: if features or the head are not finite, the encoder did not stay as it was, or it has no head of its
            own where the recipe takes that.
    """
    if not recipe.trained:
        return _own_head(encoder, data.classes)
    if recipe.encoder_mode is EncoderMode.TRAIN:
        encoder = copy.deepcopy(encoder)
    before = state_of(encoder)
    fit = _fit_on_features if recipe.cacheable else _fit_on_images
    with undisturbed(encoder), torch.no_grad():
        head = fit(encoder, data.to(context.device), recipe, context)
    if not (head.weight.isfinite().all() and head.bias.isfinite().all()):
        raise StageError(f"the linear head diverged at learning rate {head.rate:g}.")
    return replace(head, encoder_state=_drift(encoder, before, recipe))


def _own_head(encoder: Encoder, classes: int) -> FittedHead:
    """The head that the encoder was trained with, for the data's classes."""
    head = encoder.head
    if head is None:
        raise StageError("the encoder has no head of its own to be scored: judge it by 'slf-1', which fits one.")
    if head.out_features != classes:
        raise StageError(
            f"the encoder's own head tells {head.out_features} classes apart, and the data has {classes}: judge it by "
            f"'slf-1', which fits a head for them."
        )
    bias = head.weight.new_zeros(classes) if head.bias is None else head.bias
    return FittedHead(head.weight.detach().clone(), bias.detach().clone(), None)


def classifier_of(encoder: Encoder, head: FittedHead) -> Classifier:
    """The classifier to attack and score: the encoder, with the buffers that the head's training left, and the head."""
    if head.encoder_state:
        encoder = copy.deepcopy(encoder)
        encoder.load_state_dict({**encoder.state_dict(), **head.encoder_state})
    return Classifier(encoder, head.weight, head.bias)


def choose_rate(curve: Curve) -> tuple[float, bool]:
    """The rate of the best accuracy, ties to the smaller, and whether it lies at an edge of the grid."""
    rates = [rate for rate, _ in curve]
    best = max(accuracy for _, accuracy in curve)
    rate = min(rate for rate, accuracy in curve if accuracy == best)
    return rate, rate in (min(rates), max(rates))


class LinearHeads:
    """Linear heads on the same features, one per learning rate, each trained as `torch.optim.SGD` would train it alone.

    The bias is the last column of the weights: features [B, d + 1] end with a one.

    Attributes:
        weight, velocity: [R, C, d + 1]; all that training changes.

    Args:
        start: [C, d + 1], where all heads start.
        rates: R learning rates.
        momentum, weight_decay: of SGD.
    """

    def __init__(self, start: Tensor, rates: tuple[float, ...], *, momentum: float, weight_decay: float) -> None:
        self.weight = start.repeat(len(rates), 1, 1)
        self.velocity = torch.zeros_like(self.weight)
        self._rates = torch.tensor(rates, dtype=torch.float64, device=start.device)[:, None, None]
        self._momentum, self._weight_decay = momentum, weight_decay

    def logits(self, features: Tensor) -> Tensor:
        """[B, d + 1] -> [R, B, C]."""
        return torch.einsum("bd,rcd->rbc", features, self.weight)

    def step(self, features: Tensor, labels: Tensor, rate_factor: float) -> None:
        """One step on the mean cross-entropy of a batch, every rate times `rate_factor`."""
        # d(mean cross-entropy) / d(logits); a head that diverged keeps its NaNs to itself.
        error = self.logits(features).softmax(-1)
        error -= functional.one_hot(labels, error.shape[-1])
        gradient = torch.einsum("rbc,bd->rcd", error / len(labels), features)
        gradient.add_(self.weight, alpha=self._weight_decay)
        self.velocity.mul_(self._momentum).add_(gradient)
        self.weight -= (self._rates * rate_factor).to(self.weight.dtype) * self.velocity

    def accuracies(self, features: Tensor, labels: Tensor) -> list[float]:
        """Accuracy of each head; chance for one that diverged."""
        logits = self.logits(features)
        right = (logits.argmax(-1) == labels).sum(1)
        finite = logits.isfinite().all(dim=2).all(dim=1)
        chance = 1 / logits.shape[-1]
        return [
            count / len(labels) if sound else chance
            for count, sound in zip(right.tolist(), finite.tolist(), strict=True)
        ]

    def fitted(self) -> FittedHead:
        """The head, where there is one only."""
        (weight,), (rate,) = self.weight, self._rates.flatten().tolist()
        return FittedHead(weight[:, :-1].contiguous(), weight[:, -1].contiguous(), rate)


@dataclass(frozen=True)
class _Examples:
    """Cached features [N, d + 1] and labels [N]."""

    features: Tensor
    labels: Tensor


@dataclass(frozen=True, eq=False)
class _Position:
    """Where a fit stands between two epochs: all that the rest of it depends on.

    Attributes:
        epoch: epochs that are done; where the rate is chosen first, of the choice until there is a curve.
        curve: what the rate is chosen from, once it is known.
        tensors: a copy of all that training changes; empty before its first epoch.
    """

    epoch: int = 0
    curve: Curve = ()
    tensors: Mapping[str, Tensor] = field(default_factory=dict)

    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.tensors, {"epoch": self.epoch, "curve": self.curve})

    @classmethod
    def latest(cls, checkpoints: Checkpoints) -> _Position:
        """The one that was kept, else the start."""
        if (kept := checkpoints.latest()) is None:
            return cls()
        curve = tuple((rate, accuracy) for rate, accuracy in kept.facts["curve"])
        return cls(kept.facts["epoch"], curve, kept.tensors)


def _fit_on_features(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> FittedHead:
    """Features once; where there is a grid, all rates at once on the rest of train, then again on all of it."""
    train = _Examples(_all_features(encoder, data.train, recipe), data.train.labels)
    position = _Position.latest(context.checkpoints)
    if not recipe.rates:
        rate = _fixed_rate(recipe, data, context)
        return _train_on(train, (rate,), data.classes, recipe, context, position).fitted()
    first, second = (replace(context, report=_half(context.report, half)) for half in range(2))
    if not position.curve:
        position = _Position(curve=_curve(train, data, recipe, first, position))
    rate, at_edge = choose_rate(position.curve)
    head = _train_on(train, (rate,), data.classes, recipe, second, position).fitted()
    return replace(head, curve=position.curve, at_edge=at_edge)


def _curve(train: _Examples, data: DataSet, recipe: HeadRecipe, context: HeadContext, position: _Position) -> Curve:
    """All rates of the grid at once, trained without the held-out slice and scored on it."""
    held_out, rest = _split(train, data.held_out)
    heads = _train_on(rest, recipe.rates, data.classes, recipe, context, position)
    return tuple(zip(recipe.rates, heads.accuracies(held_out.features, held_out.labels), strict=True))


def _fit_on_images(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> FittedHead:
    """Features anew in every step, because the images or the encoder's statistics change."""
    rate = _fixed_rate(recipe, data, context)
    width = encoder.encode(pixels_of(data.train.pixels[:1])).shape[1]
    heads = _heads(width, (rate,), data.classes, recipe, context)
    batches = partial(_image_batches, encoder, data.train, recipe, context, heads)
    position = _Position.latest(context.checkpoints)
    _train(heads, batches, recipe, context, position, _drifting(encoder, recipe.encoder_mode))
    return heads.fitted()


def _drifting(encoder: Encoder, mode: EncoderMode) -> dict[str, Tensor]:
    """The buffers that training in this mode may change."""
    if mode is EncoderMode.EVAL:
        return {}
    return {f"encoder.{name}": buffer for name, buffer in encoder.named_buffers()}


def _train_on(
    examples: _Examples,
    rates: tuple[float, ...],
    classes: int,
    recipe: HeadRecipe,
    context: HeadContext,
    position: _Position,
) -> LinearHeads:
    """Heads trained from the recipe's start, or from where they were left, on cached features."""

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.split(_order(len(examples.labels), epoch, context), recipe.batch):
            yield examples.features[index], examples.labels[index]

    heads = _heads(examples.features.shape[1] - 1, rates, classes, recipe, context)
    _train(heads, batches, recipe, context, position)
    return heads


def _train(
    heads: LinearHeads,
    batches: Batches,
    recipe: HeadRecipe,
    context: HeadContext,
    position: _Position,
    drifting: Mapping[str, Tensor] | None = None,
) -> None:
    """The epochs that are still to be done; `drifting` are the encoder's buffers that change meanwhile, by name."""
    changing = {"weight": heads.weight, "velocity": heads.velocity, **(drifting or {})}
    for name, tensor in position.tensors.items():
        changing[name].copy_(tensor)
    with Milestones(context.checkpoints, position) as milestones:
        for epoch in range(position.epoch, recipe.epochs):
            rate_factor = recipe.decay ** sum(epoch >= milestone for milestone in recipe.milestones)
            for features, labels in batches(epoch):
                heads.step(features, labels, rate_factor)
            context.report(epoch + 1, recipe.epochs, f"epoch {epoch + 1}/{recipe.epochs}")
            copies = {name: tensor.clone() for name, tensor in changing.items()}
            milestones.reached(_Position(epoch + 1, position.curve, copies))


def _half(report: Report, half: int) -> Report:
    """The progress of the first (0) or second (1) of two equal parts, told as progress of the whole."""
    return lambda done, total, text: report(half * total + done, 2 * total, text)


def _heads(width: int, rates: tuple[float, ...], classes: int, recipe: HeadRecipe, context: HeadContext) -> LinearHeads:
    start = _START[recipe.init](width, classes, context.randomness).to(context.device)
    return LinearHeads(start, rates, momentum=recipe.momentum, weight_decay=recipe.weight_decay)


def _zeros(width: int, classes: int, _: Randomness) -> Tensor:
    return torch.zeros(classes, width + 1)


def _torch_default(width: int, classes: int, randomness: Randomness) -> Tensor:
    with randomness.as_global("initialisation"):
        linear = nn.Linear(width, classes)
    return torch.cat([linear.weight.detach(), linear.bias.detach()[:, None]], dim=1)


_START: Mapping[HeadInit, Callable[[int, int, Randomness], Tensor]] = {
    HeadInit.ZERO: _zeros,
    HeadInit.DEFAULT: _torch_default,
}


def _fixed_rate(recipe: HeadRecipe, data: DataSet, context: HeadContext) -> float:
    if not recipe.rate_from:
        return recipe.rate_for(data.profile.name)
    if context.rate is None:
        raise ValueError(f"this recipe takes its learning rate from {recipe.rate_from}, but none was handed in")
    return context.rate


def _image_batches(
    encoder: Encoder, images: LabelledImages, recipe: HeadRecipe, context: HeadContext, heads: LinearHeads, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    augment = augmentation_of(recipe, images.profile)
    for step, index in enumerate(torch.split(_order(len(images), epoch, context), recipe.batch)):
        draw = partial(context.randomness.generator, epoch=epoch, step=step, device=context.device)
        x, labels = augment(pixels_of(images.pixels[index]), draw("augmentation")), images.labels[index]
        if recipe.objective is Objective.ADVERSARIAL:
            start = uniform_start(x, context.eps, draw("inner-attack"), clip=False)
            x = _perturbed(encoder, heads, x, labels, start, _budget(recipe, context.eps))
        yield _features(encoder, x, recipe.encoder_mode), labels


def _perturbed(
    encoder: Encoder, heads: LinearHeads, x: Tensor, labels: Tensor, start: Tensor, budget: LinfPGD
) -> Tensor:
    """Images that raise the cross-entropy of the head as it is now; the encoder is in eval mode."""

    def objective(image: Tensor) -> Tensor:
        (logits,) = heads.logits(_with_one(encoder.encode(image)))
        return functional.cross_entropy(logits, labels, reduction="sum")

    return ascend(objective, x, start, budget)


def _budget(recipe: HeadRecipe, eps: float) -> LinfPGD:
    return LinfPGD(eps, recipe.inner.steps, recipe.inner.step_fraction * eps)


_PADDING: Mapping[Augmentation, PadMode] = {
    Augmentation.ZERO_PAD_CROP_FLIP: PadMode.ZERO,
    Augmentation.REFLECT_PAD_CROP_FLIP: PadMode.REFLECT,
}


def augmentation_of(recipe: HeadRecipe, profile: DataProfile) -> Views:
    """What the recipe does to training images of this data set."""
    if recipe.augmentation is Augmentation.NONE:
        return Views()
    crop = PaddedCrop(profile.image_size // recipe.pad_divisor, _PADDING[recipe.augmentation])
    return Views(crop) if profile.name in recipe.unflipped else Views(crop, HorizontalFlip())


def _order(count: int, epoch: int, context: HeadContext) -> Tensor:
    """An epoch's order of images, equal for all rates, methods and devices."""
    return torch.randperm(count, generator=context.randomness.generator("order", epoch=epoch)).to(context.device)


def _all_features(encoder: Encoder, images: LabelledImages, recipe: HeadRecipe) -> Tensor:
    batches = torch.split(images.pixels, recipe.batch)
    return torch.cat([_features(encoder, pixels_of(batch), recipe.encoder_mode) for batch in batches])


def _features(encoder: Encoder, x: Tensor, mode: EncoderMode) -> Tensor:
    """[B, d + 1], the last column ones."""
    encoder.train(mode is EncoderMode.TRAIN)
    features = encoder.encode(x)
    encoder.eval()
    if not features.isfinite().all():
        raise StageError("the encoder's features are not finite, so no head can be fitted on them.")
    return _with_one(features)


def _with_one(features: Tensor) -> Tensor:
    return functional.pad(features, (0, 1), value=1.0)


def _split(examples: _Examples, held_out: Tensor) -> tuple[_Examples, _Examples]:
    """The held-out slice and the rest."""
    kept = torch.ones_like(examples.labels, dtype=torch.bool)
    kept[held_out] = False
    features, labels = examples.features, examples.labels
    return _Examples(features[held_out], labels[held_out]), _Examples(features[kept], labels[kept])


def _drift(encoder: Encoder, before: Mapping[str, Tensor], recipe: HeadRecipe) -> dict[str, Tensor] | None:
    """The buffers that training in train mode changed; in eval mode nothing may."""
    allowed = {name for name, _ in encoder.named_buffers()} if recipe.encoder_mode is EncoderMode.TRAIN else set()
    changed = changes(encoder, before)
    if forbidden := sorted(changed.keys() - allowed):
        raise StageError(f"the encoder changed while its head was fitted: {', '.join(forbidden)}.")
    return changed or None

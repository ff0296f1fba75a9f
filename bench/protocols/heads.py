"""Fits a protocol's head on an encoder, which is frozen or, where the recipe says so, trained along."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from bench.attacks.classifier import Classifier, changes, state_of
from bench.attacks.pgd import LinfPGD, ascend, undisturbed
from bench.contract import Encoder, LabelledImages, Report
from bench.data.sources import DataSet
from bench.data.views import pixels_of
from bench.engine.milestones import Milestones
from bench.errors import StageError
from bench.protocols.finetuning import check_routes, fine_tune
from bench.protocols.fitting import (
    STARTS,
    Curve,
    FittedHead,
    HeadContext,
    Position,
    augmentation_of,
    budget_of,
    first_head,
    fixed_rate,
    order_of,
    rate_factor,
    training_images,
    with_one,
)
from bench.protocols.parts import EncoderMode, HeadRecipe, Objective, Scope

__all__ = [
    "Curve",
    "FittedHead",
    "HeadContext",
    "LinearHeads",
    "choose_rate",
    "classifier_of",
    "fit_head",
    "judged_encoder",
    "movable",
]

Batches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
"""An epoch's number to its batches of features [B, d + 1] and labels [B]."""


def fit_head(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> FittedHead:
    """Train a head on `data` by `recipe`, on the encoder's active batch-norm route, or take the encoder's own.

    A fit that was interrupted goes on after its last epoch, to the bit as if it had not been.

    Args:
        encoder: unchanged afterwards, mode and buffers included; what the recipe trains of it is in the result.
        data: its held-out slice chooses the learning rate where the recipe has a grid; its test images are not touched.
        recipe: the protocol's.
        context: random numbers, device, listener, checkpoints.

    Raises:
        BenchError: if the recipe has no learning rate for this data set, or trains a batch-norm route that the encoder
            does not have.
        StageError: if features or the head are not finite, the encoder did not stay as it was, or it has no head of its
            own where the recipe takes that.
    """
    if not recipe.trained:
        return _own_head(encoder, data.classes)
    check_routes(encoder, recipe, "this encoder")
    before = state_of(encoder)
    head, judged = (_fit_linear if recipe.linear else fine_tune)(encoder, data.to(context.device), recipe, context)
    head = replace(head, encoder_state=_moved(judged, before, recipe))
    learnt = (head.weight, head.bias, *(head.encoder_state or {}).values())
    if not all(bool(tensor.isfinite().all()) for tensor in learnt):
        raise StageError(f"the linear head diverged at learning rate {head.rate:g}.")
    return head


def _fit_linear(
    encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext
) -> tuple[FittedHead, Encoder]:
    """The head by cross-entropy on features, and the encoder with the statistics that they left behind."""
    judged = copy.deepcopy(encoder) if recipe.encoder_mode is EncoderMode.TRAIN else encoder
    fit = _fit_on_features if recipe.cacheable else _fit_on_images
    with undisturbed(judged), torch.no_grad():
        return fit(judged, data, recipe, context), judged


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
    """The classifier to attack and score: the encoder as the head's training left it, and the head."""
    return Classifier(judged_encoder(encoder, head), head.weight, head.bias)


def judged_encoder(encoder: Encoder, head: FittedHead) -> Encoder:
    """The encoder as the head's training left it: itself, or a copy where that changed it."""
    if not head.encoder_state:
        return encoder
    judged = copy.deepcopy(encoder)
    judged.load_state_dict({**encoder.state_dict(), **head.encoder_state})
    return judged


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
        momentum, weight_decay, nesterov: of SGD.
    """

    def __init__(
        self,
        start: Tensor,
        rates: tuple[float, ...],
        *,
        momentum: float,
        weight_decay: float,
        nesterov: bool = False,
    ) -> None:
        self.weight = start.repeat(len(rates), 1, 1)
        self.velocity = torch.zeros_like(self.weight)
        self._rates = torch.tensor(rates, dtype=torch.float64, device=start.device)[:, None, None]
        self._momentum, self._weight_decay, self._nesterov = momentum, weight_decay, nesterov

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
        direction = gradient.add(self.velocity, alpha=self._momentum) if self._nesterov else self.velocity
        self.weight -= (self._rates * rate_factor).to(self.weight.dtype) * direction

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


def _fit_on_features(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> FittedHead:
    """Features once; where there is a grid, all rates at once on the rest of train, then again on all of it."""
    images = training_images(recipe, data)
    train = _Examples(_all_features(encoder, images, recipe), images.labels)
    position = Position.latest(context.checkpoints)
    if not recipe.rates:
        rate = fixed_rate(recipe, data, context)
        return _train_on(train, (rate,), data.classes, recipe, context, position).fitted()
    first, second = (replace(context, report=_half(context.report, half)) for half in range(2))
    if not position.curve:
        position = Position(curve=_curve(train, data, recipe, first, position))
    rate, at_edge = choose_rate(position.curve)
    head = _train_on(train, (rate,), data.classes, recipe, second, position).fitted()
    return replace(head, curve=position.curve, at_edge=at_edge)


def _curve(train: _Examples, data: DataSet, recipe: HeadRecipe, context: HeadContext, position: Position) -> Curve:
    """All rates of the grid at once, trained without the held-out slice and scored on it."""
    held_out, rest = _split(train, data.held_out)
    heads = _train_on(rest, recipe.rates, data.classes, recipe, context, position)
    return tuple(zip(recipe.rates, heads.accuracies(held_out.features, held_out.labels), strict=True))


def _fit_on_images(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> FittedHead:
    """Features anew in every step, because the images or the encoder's statistics change."""
    rate, images = fixed_rate(recipe, data, context), training_images(recipe, data)
    width = encoder.encode(pixels_of(images.pixels[:1])).shape[1]
    heads = _heads(width, (rate,), data.classes, recipe, context)
    batches = partial(_image_batches, encoder, images, recipe, context, heads)
    position = Position.latest(context.checkpoints)
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
    position: Position,
) -> LinearHeads:
    """Heads trained from the recipe's start, or from where they were left, on cached features."""

    def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for index in torch.split(order_of(len(examples.labels), epoch, context), recipe.batch):
            yield examples.features[index], examples.labels[index]

    heads = _heads(examples.features.shape[1] - 1, rates, classes, recipe, context)
    _train(heads, batches, recipe, context, position)
    return heads


def _train(
    heads: LinearHeads,
    batches: Batches,
    recipe: HeadRecipe,
    context: HeadContext,
    position: Position,
    drifting: Mapping[str, Tensor] | None = None,
) -> None:
    """The epochs that are still to be done; `drifting` are the encoder's buffers that change meanwhile, by name."""
    changing = {"weight": heads.weight, "velocity": heads.velocity, **(drifting or {})}
    for name, tensor in position.tensors.items():
        changing[name].copy_(tensor)
    with Milestones(context.checkpoints, position) as milestones:
        for epoch in range(position.epoch, recipe.epochs):
            factor = rate_factor(recipe, epoch)
            for features, labels in batches(epoch):
                heads.step(features, labels, factor)
            context.report(epoch + 1, recipe.epochs, f"epoch {epoch + 1}/{recipe.epochs}")
            copies = {name: tensor.clone() for name, tensor in changing.items()}
            milestones.reached(Position(epoch + 1, position.curve, copies))


def _half(report: Report, half: int) -> Report:
    """The progress of the first (0) or second (1) of two equal parts, told as progress of the whole."""
    return lambda done, total, text: report(half * total + done, 2 * total, text)


def _heads(width: int, rates: tuple[float, ...], classes: int, recipe: HeadRecipe, context: HeadContext) -> LinearHeads:
    start = first_head(width, classes, recipe, context)
    return LinearHeads(
        start, rates, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )


def _image_batches(
    encoder: Encoder, images: LabelledImages, recipe: HeadRecipe, context: HeadContext, heads: LinearHeads, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    augment = augmentation_of(recipe, images.profile)
    for step, index in enumerate(torch.split(order_of(len(images), epoch, context), recipe.batch)):
        draw = context.draw(epoch, step)
        x, labels = augment(pixels_of(images.pixels[index]), draw("augmentation")), images.labels[index]
        if recipe.objective is Objective.ADVERSARIAL:
            start = STARTS[recipe.inner.start](x, context.eps, draw("inner-attack"))
            x = _perturbed(encoder, heads, x, labels, start, budget_of(recipe, context.eps))
        yield _features(encoder, x, recipe.encoder_mode), labels


def _perturbed(
    encoder: Encoder, heads: LinearHeads, x: Tensor, labels: Tensor, start: Tensor, budget: LinfPGD
) -> Tensor:
    """Images that raise the cross-entropy of the head as it is now; the encoder is in eval mode."""

    def objective(image: Tensor) -> Tensor:
        (logits,) = heads.logits(with_one(encoder.encode(image)))
        return functional.cross_entropy(logits, labels, reduction="sum")

    return ascend(objective, x, start, budget)


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
    return with_one(features)


def _split(examples: _Examples, held_out: Tensor) -> tuple[_Examples, _Examples]:
    """The held-out slice and the rest."""
    kept = torch.ones_like(examples.labels, dtype=torch.bool)
    kept[held_out] = False
    features, labels = examples.features, examples.labels
    return _Examples(features[held_out], labels[held_out]), _Examples(features[kept], labels[kept])


def _moved(encoder: Encoder, before: Mapping[str, Tensor], recipe: HeadRecipe) -> dict[str, Tensor] | None:
    """What the fit changed of the encoder; in eval mode, and with its parameters frozen, nothing may."""
    changed = changes(encoder, before)
    if forbidden := sorted(changed.keys() - movable(encoder, recipe)):
        raise StageError(f"the encoder changed while its head was fitted: {', '.join(forbidden)}.")
    return changed or None


def movable(encoder: Encoder, recipe: HeadRecipe) -> frozenset[str]:
    """What of an encoder a recipe may change: weights in full fine-tuning, buffers where they drift."""
    weights = {name for name, _ in encoder.named_parameters()} if recipe.scope is Scope.ALL else set()
    drifting = {name for name, _ in encoder.named_buffers()} if recipe.encoder_mode is EncoderMode.TRAIN else set()
    return frozenset(weights | drifting)

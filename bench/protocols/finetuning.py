"""Training by gradients through the encoder: full fine-tuning, and heads whose loss is more than cross-entropy."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.attacks.pgd import ascend, undisturbed
from bench.contract import Encoder, LabelledImages
from bench.data.profiles import DataProfile
from bench.data.sources import DataSet
from bench.data.views import ColourJitter, Grayscale, HorizontalFlip, RandomResizedCrop, Views, pixels_of
from bench.engine.losses import divergence, nt_xent_of_views, trades
from bench.engine.milestones import Milestones
from bench.engine.state import load_optimiser, optimiser_state
from bench.errors import BenchError, StageError
from bench.models.projectors import Head, Projector
from bench.protocols.fitting import (
    STARTS,
    Draw,
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
)
from bench.protocols.parts import CLEAN_ROUTE, EncoderMode, HeadRecipe, Objective, Raises, Routes, Scope


class Network(nn.Module):
    """Encoder and head, as they are trained; and, for a joint loss, a projector that is thrown away afterwards.

    Attributes:
        encoder: a copy, on the route that is scored.
        head: the linear layer.
        projector: of `Objective.JOINT`.
        clean_route: the batch-norm route of clean images.
    """

    def __init__(self, encoder: Encoder, head: Tensor, recipe: HeadRecipe, context: HeadContext) -> None:
        super().__init__()
        classes, width = head.shape[0], head.shape[1] - 1
        self.encoder = copy.deepcopy(encoder).requires_grad_(recipe.scope is Scope.ALL)
        self.clean_route = clean_route(encoder, recipe)
        with context.randomness.as_global("projector"):
            self.head = nn.Linear(width, classes)
            self.projector = Projector(Head.ROCL, width, ("main",)) if recipe.objective is Objective.JOINT else None
        with torch.no_grad():
            self.head.weight.copy_(head[:, :-1])
            self.head.bias.copy_(head[:, -1])
        self.to(context.device)

    def clean(self, x: Tensor) -> Tensor:
        """Logits [B, C] of clean images [B, 3, H, W]."""
        logits: Tensor = self.head(self.encoder.route(self.clean_route).encode(x))
        return logits

    def adversarial(self, x: Tensor) -> Tensor:
        """Logits [B, C] of adversarial images [B, 3, H, W]: by what is scored."""
        logits: Tensor = self.head(self.encoder.encode(x))
        return logits


def has_dual_routes(encoder: Encoder) -> bool:
    """Whether clean images have a batch-norm route besides the one that is scored."""
    return CLEAN_ROUTE in encoder.routes and encoder.active_route != CLEAN_ROUTE


def check_routes(encoder: Encoder, recipe: HeadRecipe, called: str) -> None:
    """See that the encoder, whom people know as `called`, has the routes that the recipe trains.

    Raises:
        BenchError: if it does not.
    """
    if recipe.routes is not Routes.DUAL or has_dual_routes(encoder):
        return
    if CLEAN_ROUTE in encoder.routes:
        reason = f"is scored on the route '{CLEAN_ROUTE}' itself"
    else:
        reason = f"has the route{'s' if encoder.routes[1:] else ''} {', '.join(encoder.routes)} alone"
    raise BenchError(
        f"this protocol passes clean images through the batch-norm route '{CLEAN_ROUTE}' and adversarial ones through "
        f"another, and {called} {reason}: fine-tune it by 'aff-1', which trains one route."
    )


def clean_route(encoder: Encoder, recipe: HeadRecipe) -> str:
    """The batch-norm route of clean images in training."""
    dual = recipe.routes is not Routes.ACTIVE and has_dual_routes(encoder)
    return CLEAN_ROUTE if dual else encoder.active_route


@dataclass(frozen=True, eq=False)
class Step:
    """A batch of training images, and what its loss needs to know.

    Attributes:
        x: [B, 3, H, W] in [0, 1], augmented.
        labels: [B].
        profile: facts of the data set.
        eps: radius of the ball.
        draw: random numbers, by purpose.
    """

    x: Tensor
    labels: Tensor
    profile: DataProfile
    eps: float
    draw: Draw


def fine_tune(encoder: Encoder, data: DataSet, recipe: HeadRecipe, context: HeadContext) -> tuple[FittedHead, Encoder]:
    """The recipe's head and the encoder that it belongs to, trained from scratch or from the latest epoch kept.

    Args:
        encoder: unchanged; a copy is trained, on its active route.
        data: on the context's device.
        recipe: of any objective, with a fixed rate.
        context: random numbers, device, listener, checkpoints.

    Raises:
        StageError: if the encoder's features are not finite.
    """
    images, rate = training_images(recipe, data), fixed_rate(recipe, data, context)
    net = Network(encoder, first_head(width_of(encoder, images), data.classes, recipe, context), recipe, context)
    trained = [weight for weight in net.parameters() if weight.requires_grad]
    sgd = torch.optim.SGD(
        trained, rate, momentum=recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    with torch.enable_grad():
        _train(net, sgd, images, recipe, context)
    weight, bias = net.head.weight.detach(), net.head.bias.detach()
    return FittedHead(weight.contiguous(), bias.contiguous(), rate), net.encoder.requires_grad_(True).eval()


@torch.no_grad()
def width_of(encoder: Encoder, images: LabelledImages) -> int:
    """Number of features.

    Raises:
        StageError: if they are not finite.
    """
    with undisturbed(encoder):
        features = encoder.encode(pixels_of(images.pixels[:1]))
    if not features.isfinite().all():
        raise StageError("the encoder's features are not finite, so no head can be fitted on them.")
    return features.shape[1]


def _train(
    net: Network, sgd: torch.optim.Optimizer, images: LabelledImages, recipe: HeadRecipe, context: HeadContext
) -> None:
    """The epochs that are still to be done."""
    position = _restored(net, sgd, context)
    rates = [group["lr"] for group in sgd.param_groups]
    with Milestones(context.checkpoints, position) as milestones:
        for epoch in range(position.epoch, recipe.epochs):
            for group, rate in zip(sgd.param_groups, rates, strict=True):
                group["lr"] = rate * rate_factor(recipe, epoch)
            for step in _steps(images, recipe, context, epoch):
                with _modes(net, recipe):
                    loss = OBJECTIVES[recipe.objective](net, step, recipe)
                    sgd.zero_grad(set_to_none=True)
                    torch.autograd.backward(loss)
                    sgd.step()
            context.report(epoch + 1, recipe.epochs, f"epoch {epoch + 1}/{recipe.epochs}")
            milestones.reached(_position(net, sgd, epoch + 1))


def _position(net: Network, sgd: torch.optim.Optimizer, epoch: int) -> Position:
    momentum, _ = optimiser_state(sgd)
    changing = {**{f"net.{name}": value for name, value in net.state_dict().items()}, **momentum}
    return Position(epoch, tensors={name: value.detach().clone() for name, value in changing.items()})


def _restored(net: Network, sgd: torch.optim.Optimizer, context: HeadContext) -> Position:
    """Where the fit was left, with network and optimiser as they were then."""
    position = Position.latest(context.checkpoints)
    if position.tensors:
        own = {name: value for name, value in position.tensors.items() if name.startswith("net.")}
        net.load_state_dict({name.removeprefix("net."): value for name, value in own.items()})
        _, facts = optimiser_state(sgd)
        load_optimiser(sgd, position.tensors, facts)
    return position


def _steps(images: LabelledImages, recipe: HeadRecipe, context: HeadContext, epoch: int) -> Iterator[Step]:
    augment = augmentation_of(recipe, images.profile)
    for number, index in enumerate(torch.split(order_of(len(images), epoch, context), recipe.batch)):
        draw = context.draw(epoch, number)
        x = augment(pixels_of(images.pixels[index]), draw("augmentation"))
        yield Step(x, images.labels[index], images.profile, context.eps, draw)


@contextmanager
def _modes(net: Network, recipe: HeadRecipe) -> Iterator[None]:
    """The encoder in the recipe's mode; in eval mode again afterwards."""
    net.encoder.train(recipe.encoder_mode is EncoderMode.TRAIN)
    yield
    net.encoder.eval()


# Losses.


def perturbed(net: Network, step: Step, recipe: HeadRecipe) -> Tensor:
    """Adversarial images [B, 3, H, W], made in eval mode against the network as it is now."""
    start = STARTS[recipe.inner.start](step.x, step.eps, step.draw("inner-attack"))
    with undisturbed(net):
        return ascend(RAISED[recipe.inner.raises](net, step), step.x, start, budget_of(recipe, step.eps))


def _cross_entropy(net: Network, step: Step) -> Raised:
    return lambda x: functional.cross_entropy(net.adversarial(x), step.labels, reduction="sum")


def _divergence(net: Network, step: Step) -> Raised:
    with torch.no_grad():
        natural = net.clean(step.x)
    return lambda x: len(x) * divergence(natural, net.adversarial(x))


Raised = Callable[[Tensor], Tensor]
"""Perturbed images to the sum over images that an attack raises."""
RAISED: Mapping[Raises, Callable[[Network, Step], Raised]] = {
    Raises.CROSS_ENTROPY: _cross_entropy,
    Raises.DIVERGENCE: _divergence,
}


def clean_loss(net: Network, step: Step, _: HeadRecipe) -> Tensor:
    """Cross-entropy on clean images."""
    return functional.cross_entropy(net.clean(step.x), step.labels)


def adversarial_loss(net: Network, step: Step, recipe: HeadRecipe) -> Tensor:
    """Cross-entropy on adversarial images."""
    x_adv = perturbed(net, step, recipe)
    return functional.cross_entropy(net.adversarial(x_adv), step.labels)


def trades_loss(net: Network, step: Step, recipe: HeadRecipe) -> Tensor:
    """TRADES; clean and adversarial images each a batch-norm batch of their own."""
    x_adv = perturbed(net, step, recipe)
    natural, adversarial = net.clean(step.x), net.adversarial(x_adv)
    if not recipe.separate_target:
        return trades(natural, adversarial, step.labels, recipe.beta)
    target = net.clean(step.x)
    return functional.cross_entropy(natural, step.labels) + recipe.beta * divergence(target, adversarial)


def joint_loss(net: Network, step: Step, recipe: HeadRecipe) -> Tensor:
    """Cross-entropy on clean images, their second views and adversarial images, plus NT-Xent of the former two.

    RoCL src/linear_eval.py:147-205 with --clean --adv_img --ss: one pass for all three.
    """
    assert net.projector is not None
    assert recipe.second_view is not None
    x_adv = perturbed(net, step, recipe)
    second = second_view(recipe, step.profile)(step.x, step.draw("second view"))
    features = net.encoder.encode(torch.cat([step.x, second, x_adv]))
    clean, viewed, _ = net.projector(features, "main").chunk(3)
    drawn = nt_xent_of_views((clean, viewed), recipe.second_view.temperature, detach_keys=True)
    return functional.cross_entropy(net.head(features), step.labels.repeat(3)) + drawn


def second_view(recipe: HeadRecipe, profile: DataProfile) -> Views:
    """SimCLR's augmentation without blur, the crop last (RoCL src/data_loader.py:8-10, 17-23)."""
    view = recipe.second_view
    assert view is not None
    smallest = view.smallest_crop_by_dataset.get(profile.name, view.smallest_crop)
    flip = () if profile.name in recipe.unflipped else (HorizontalFlip(),)
    colours = (ColourJitter(*view.jitter, p=view.jitter_probability), Grayscale(view.gray_probability))
    return Views(*colours, *flip, RandomResizedCrop(scale=(smallest, 1.0)))


OBJECTIVES: Mapping[Objective, Callable[[Network, Step, HeadRecipe], Tensor]] = {
    Objective.CLEAN: clean_loss,
    Objective.ADVERSARIAL: adversarial_loss,
    Objective.TRADES: trades_loss,
    Objective.JOINT: joint_loss,
}

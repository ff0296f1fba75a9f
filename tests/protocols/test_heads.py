"""Heads on frozen encoders: the optimiser, the choice of the rate, the inner attack, and what the encoder keeps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.attacks.classifier import changes, state_of
from bench.contract import Checkpoints, Encoder, NoCheckpoints
from bench.data.profiles import PROFILES
from bench.data.sources import DataSet
from bench.data.views import HorizontalFlip, PaddedCrop, PadMode, pixels_of
from bench.errors import BenchError, Interrupted, StageError
from bench.protocols.fitting import augmentation_of
from bench.protocols.heads import (
    Curve,
    FittedHead,
    LinearHeads,
    choose_rate,
    classifier_of,
    fit_head,
)
from bench.protocols.parts import Raises, SecondView, Start
from bench.protocols.recipes import (
    EncoderMode,
    HeadInit,
    HeadRecipe,
    InnerAttack,
    Objective,
    Routes,
    Scope,
    protocol_of,
)
from bench.randomness import Randomness
from tests.interruptions import Fragile, in_pieces
from tests.protocols.encoders import Dual, Normed, Pixels, context, data

FIXED = HeadRecipe(rate_by_dataset={"digits": 0.1}, epochs=4, batch=16, milestones=(2, 3))
GRID = replace(FIXED, rate_by_dataset={}, rates=(0.01, 0.1, 1.0))
ADVERSARIAL = replace(FIXED, rate_by_dataset={}, rate_from="slf-1", objective=Objective.ADVERSARIAL)
DRIFTING = replace(FIXED, encoder_mode=EncoderMode.TRAIN)
TRADES = replace(FIXED, objective=Objective.TRADES, inner=InnerAttack(2, 0.5, Raises.DIVERGENCE, Start.GAUSSIAN))
TUNED = replace(TRADES, scope=Scope.ALL, encoder_mode=EncoderMode.TRAIN, routes=Routes.DUAL_IF_ANY)
JOINT = replace(TUNED, objective=Objective.JOINT, routes=Routes.ACTIVE, second_view=SecondView())
RECIPES = {
    "fixed": FIXED,
    "grid": GRID,
    "adversarial": ADVERSARIAL,
    "train": DRIFTING,
    "trades": TRADES,
    "tuned": TUNED,
    "joint": JOINT,
}
EVERY_KIND = pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)


class Restless(Normed):
    """An encoder whose buffers change in eval mode too."""

    def encode(self, x: Tensor) -> Tensor:
        assert self.main.num_batches_tracked is not None
        self.main.num_batches_tracked += 1
        return super().encode(x)


class Broken(Normed):
    """An encoder whose training ended in NaN."""

    def encode(self, x: Tensor) -> Tensor:
        return super().encode(x) * float("nan")


def by_torch(features: Tensor, labels: Tensor, rate: float, recipe: HeadRecipe) -> nn.Linear:
    """The same recipe by `torch.optim.SGD`."""
    head = nn.Linear(features.shape[1], int(labels.max()) + 1)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    optimiser = torch.optim.SGD(
        head.parameters(),
        rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=recipe.nesterov,
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, list(recipe.milestones), recipe.decay)
    for epoch in range(recipe.epochs):
        order = torch.randperm(len(labels), generator=Randomness(0, "head").generator("order", epoch=epoch))
        for index in torch.split(order, recipe.batch):
            optimiser.zero_grad()
            torch.autograd.backward(functional.cross_entropy(head(features[index]), labels[index]))
            optimiser.step()
        schedule.step()
    return head


@pytest.mark.parametrize("rate", [0.01, 0.1, 1.0])
def test_a_head_is_trained_as_torch_trains_it(rate: float) -> None:
    images = data()
    features = (pixels_of(images.train.pixels) - 0.5).flatten(1)
    expected = by_torch(features, images.train.labels, rate, FIXED)
    head = fit_head(Pixels(), images, replace(FIXED, rate_by_dataset={"digits": rate}), context())
    torch.testing.assert_close(head.weight, expected.weight.detach(), rtol=0, atol=1e-6)
    torch.testing.assert_close(head.bias, expected.bias.detach(), rtol=0, atol=1e-6)


def test_nesterov_momentum_is_torchs() -> None:
    images, recipe = data(), replace(FIXED, nesterov=True)
    expected = by_torch((pixels_of(images.train.pixels) - 0.5).flatten(1), images.train.labels, 0.1, recipe)
    head = fit_head(Pixels(), images, recipe, context())
    torch.testing.assert_close(head.weight, expected.weight.detach(), rtol=0, atol=1e-6)
    assert not torch.allclose(head.weight, fit_head(Pixels(), images, FIXED, context()).weight, atol=1e-3)


@pytest.mark.parametrize("name", ["fixed", "adversarial", "tuned"])
def test_a_held_out_slice_that_is_spared_is_never_seen(name: str) -> None:
    images = data()
    other = images.train.pixels.clone()
    other[images.held_out] = 255 - other[images.held_out]
    recipe = replace(RECIPES[name], spares_held_out=True)
    first, again = (fit_head(Normed(), each, recipe, context(rate=0.1)) for each in (images, data(train=other)))
    assert torch.equal(first.weight, again.weight)


def test_training_many_rates_at_once_is_training_each_alone() -> None:
    draw = torch.Generator().manual_seed(0)
    features, labels = torch.randn(40, 6, generator=draw), torch.randint(0, 4, (40,), generator=draw)
    sgd = {"momentum": 0.9, "weight_decay": 2e-4}
    together, *alone = (LinearHeads(torch.zeros(4, 6), rates, **sgd) for rates in ((0.1, 3.0), (0.1,), (3.0,)))
    for heads in (together, *alone):
        for step in range(30):
            heads.step(features, labels, 0.1 ** (step // 20))
    torch.testing.assert_close(together.weight, torch.cat([heads.weight for heads in alone]), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    ("curve", "rate", "at_edge"),
    [
        (((0.1, 0.5), (1.0, 0.9), (3.0, 0.7)), 1.0, False),
        (((0.1, 0.5), (0.3, 0.9), (1.0, 0.9), (3.0, 0.7)), 0.3, False),
        (((0.1, 0.9), (1.0, 0.9)), 0.1, True),
        (((0.1, 0.5), (1.0, 0.9)), 1.0, True),
        (((0.1, 0.1), (1.0, 0.1), (3.0, 0.1)), 0.1, True),
    ],
    ids=["inside", "tie", "tie at the lower edge", "upper edge", "all diverged"],
)
def test_choosing_a_rate(curve: Curve, rate: float, at_edge: bool) -> None:
    assert choose_rate(curve) == (rate, at_edge)


def test_the_held_out_slice_chooses_and_all_of_train_is_refitted() -> None:
    images = data()
    features, labels = (pixels_of(images.train.pixels) - 0.5).flatten(1), images.train.labels
    kept = torch.ones(70, dtype=torch.bool)
    kept[images.held_out] = False
    curve = []
    for rate in GRID.rates:
        tried = by_torch(features[kept], labels[kept], rate, GRID)
        correct = tried(features[~kept]).argmax(1) == labels[~kept]
        curve.append((rate, int(correct.sum()) / len(correct)))
    head = fit_head(Pixels(), images, GRID, context())
    assert head.curve == tuple(curve)
    assert (head.rate, head.at_edge) == choose_rate(tuple(curve))
    expected = by_torch(features, labels, head.rate, GRID)
    torch.testing.assert_close(head.weight, expected.weight.detach(), rtol=0, atol=1e-6)


def test_test_images_are_not_looked_at() -> None:
    images = data()
    sealed = replace(images, test=replace(images.test, pixels=images.test.pixels[:0], labels=images.test.labels[:0]))
    assert torch.equal(
        fit_head(Pixels(), sealed, GRID, context()).weight, fit_head(Pixels(), images, GRID, context()).weight
    )


def test_features_are_computed_once() -> None:
    encoder = Pixels()
    fit_head(encoder, data(), GRID, context())
    assert sum(map(len, encoder.seen)) == 70


def test_a_rate_that_diverges_scores_as_chance_and_harms_no_other() -> None:
    head = fit_head(Pixels(), data(), replace(GRID, rates=(0.1, 1e38)), context())
    alone = fit_head(Pixels(), data(), replace(GRID, rates=(0.1,)), context())
    assert head.curve == (*alone.curve, (1e38, 1 / 3))
    assert head.rate == 0.1 and torch.equal(head.weight, alone.weight)


def test_a_head_that_diverges_for_good_is_an_error() -> None:
    with pytest.raises(StageError, match="diverged at learning rate 1e\\+38"):
        fit_head(Pixels(), data(), replace(FIXED, rate_by_dataset={"digits": 1e38}), context())


def test_features_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(StageError, match="not finite"):
        fit_head(Broken(), data(), GRID, context())


def test_equal_seeds_give_equal_heads_and_others_do_not() -> None:
    first, again, other = (fit_head(Normed(), data(), FIXED, context(seed=seed)).weight for seed in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_a_head_belongs_to_the_encoders_route() -> None:
    main, other = (fit_head(Normed().route(route), data(), FIXED, context()).weight for route in Normed.routes)
    assert not torch.allclose(main, other)


@EVERY_KIND
@pytest.mark.parametrize("mode", [True, False], ids=["train", "eval"])
def test_the_encoder_stays_as_it_was(recipe: HeadRecipe, mode: bool) -> None:
    encoder = Dual().train(mode)
    before, modes = state_of(encoder), [part.training for part in encoder.modules()]
    fit_head(encoder, data(), recipe, context(rate=0.1))
    assert changes(encoder, before) == {}
    assert [part.training for part in encoder.modules()] == modes
    assert all(weight.requires_grad and weight.grad is None for weight in encoder.parameters())


def test_an_encoder_that_changes_in_eval_mode_is_an_error() -> None:
    with pytest.raises(StageError, match=r"main\.num_batches_tracked"):
        fit_head(Restless(), data(), FIXED, context())


def test_in_train_mode_the_statistics_of_the_active_route_drift_and_are_returned() -> None:
    encoder, images = Normed(), data()
    head = fit_head(encoder, images, DRIFTING, context())
    assert head.encoder_state is not None
    names = {f"main.{name}" for name in ("running_mean", "running_var", "num_batches_tracked")}
    assert head.encoder_state.keys() == names
    assert head.encoder_state["main.num_batches_tracked"] == 4 * 5

    scored = classifier_of(encoder, head).encoder
    assert changes(scored, {**state_of(encoder), **head.encoder_state}) == {}
    assert changes(scored, state_of(encoder)).keys() == names


def test_in_eval_mode_the_classifier_is_encoder_and_head() -> None:
    encoder, images = Normed(), data()
    head = fit_head(encoder, images, FIXED, context())
    assert head.encoder_state is None
    x = pixels_of(images.train.pixels)
    expected = encoder.eval()(x) @ head.weight.T + head.bias
    torch.testing.assert_close(classifier_of(encoder, head)(x), expected)


def test_an_adversarial_head_takes_the_rate_it_is_given() -> None:
    assert fit_head(Pixels(), data(), ADVERSARIAL, context(rate=0.3)).rate == 0.3
    with pytest.raises(ValueError, match="slf-1"):
        fit_head(Pixels(), data(), ADVERSARIAL, context())


def test_with_an_empty_ball_an_adversarial_head_is_a_clean_one() -> None:
    clean, adversarial = (
        fit_head(Normed(), data(), recipe, context(rate=0.1, eps=0)) for recipe in (FIXED, ADVERSARIAL)
    )
    torch.testing.assert_close(adversarial.weight, clean.weight, rtol=0, atol=1e-6)


def test_an_adversarial_head_is_trained_on_images_at_the_balls_border() -> None:
    encoder, grey = Pixels(), torch.full((70, 3, 4, 4), 100, dtype=torch.uint8)
    fit_head(encoder, data(train=grey), ADVERSARIAL, context(rate=0.1, eps=0.05))
    moves = (torch.cat(encoder.seen[1:]) - 100 / 255).abs()
    assert len(moves) == 4 * 70
    assert moves.max() <= 0.05 + 1e-6
    # The first batch meets a head of zeros, which has no gradient; every later one is pushed outwards.
    assert (moves[16:] > 0.049).float().mean() > 0.9


def fragile_and_robust() -> DataSet:
    """Two classes: the first channel tells them apart by .02 and never errs, the second by .4 and errs in a tenth."""
    labels = torch.arange(200) % 2
    told = labels.where(torch.arange(200) % 20 > 1, 1 - labels)
    pixels = torch.full((200, 3, 4, 4), 128, dtype=torch.uint8)
    pixels[:, 0] = (125 + 6 * labels)[:, None, None].to(torch.uint8)
    pixels[:, 1] = (77 + 102 * told)[:, None, None].to(torch.uint8)
    return data(pixels, labels)


def test_an_adversarial_head_gives_up_what_an_attack_can_overturn() -> None:
    def reliance(head: FittedHead) -> float:
        """The weight of the fragile channel, relative to the robust one's."""
        fragile, robust, _ = (head.weight[1] - head.weight[0]).view(3, 16).sum(1).tolist()
        return abs(float(fragile) / float(robust))

    recipe = replace(ADVERSARIAL, epochs=25, milestones=(15, 20))
    clean_recipe = replace(recipe, rate_from=None, rate_by_dataset={"digits": 1.0}, objective=Objective.CLEAN)
    clean, adversarial = (
        fit_head(Pixels(), fragile_and_robust(), each, context(1.0)) for each in (clean_recipe, recipe)
    )
    assert reliance(adversarial) < 0.2 * reliance(clean)


@pytest.mark.parametrize(
    ("name", "dataset", "operations"),
    [
        ("slf-1", "cifar10", ()),
        ("alf-1", "cifar10", ()),
        ("slf@ncp", "cifar10", (PaddedCrop(4, PadMode.ZERO), HorizontalFlip())),
        ("slf@ncp-bn", "cifar100", (PaddedCrop(4, PadMode.ZERO), HorizontalFlip())),
        ("slf@amoc", "cifar10", (PaddedCrop(4, PadMode.REFLECT), HorizontalFlip())),
        ("slf@ncp", "digits", (PaddedCrop(1, PadMode.ZERO),)),
        ("slf@amoc", "digits", (PaddedCrop(1, PadMode.REFLECT),)),
    ],
)
def test_augmentation_by_protocol_and_data_set(name: str, dataset: str, operations: tuple[object, ...]) -> None:
    assert augmentation_of(protocol_of(name).recipe, PROFILES[dataset]).operations == operations


def test_augmentation_is_drawn_anew_in_every_epoch() -> None:
    encoder, images = Pixels(), data()
    recipe = replace(protocol_of("slf@ncp").recipe, epochs=2, batch=70)
    fit_head(encoder, images, recipe, context())
    epochs = [{tuple(image.flatten().tolist()) for image in seen} for seen in encoder.seen[1:]]
    originals = {tuple(image.flatten().tolist()) for image in pixels_of(images.train.pixels)}
    assert len(epochs) == 2
    assert 0 < len(epochs[0] & originals) < 30
    assert len(epochs[0] & epochs[1]) < 30


def test_default_initialisation_is_the_seeds_own() -> None:
    still = replace(FIXED, rate_by_dataset={"digits": 1e-30}, init=HeadInit.DEFAULT)
    torch.manual_seed(1)
    first, again, other = (fit_head(Pixels(), data(), still, context(seed=seed)) for seed in (0, 0, 1))
    assert torch.equal(first.weight, again.weight) and not torch.equal(first.weight, other.weight)
    assert 0.1 < first.weight.abs().max() <= 48**-0.5


def test_a_data_set_without_legacy_rate_is_an_error() -> None:
    images = data()
    unknown = replace(images, profile=replace(images.profile, name="svhn"))
    with pytest.raises(BenchError, match="svhn"):
        fit_head(Pixels(), unknown, protocol_of("slf@amoc").recipe, context())


@EVERY_KIND
def test_progress_only_rises_and_ends_at_the_end(recipe: HeadRecipe) -> None:
    seen: list[tuple[int, int]] = []
    listen: Callable[[int, int, str], None] = lambda done, total, _: seen.append((done, total))  # noqa: E731
    fit_head(Pixels(), data(), recipe, replace(context(rate=0.1), report=listen))
    assert seen == sorted(seen) and seen[-1][0] == seen[-1][1]


class Mortal(Dual):
    """An encoder that is interrupted in its forward pass."""

    passes = 0
    """Until the interruption; none at 0."""

    def encode(self, x: Tensor) -> Tensor:
        type(self).passes -= 1
        if self.passes == 0:
            raise Interrupted(15)
        return super().encode(x)


def fitted(recipe: HeadRecipe, seen: list[str], kind: type[Dual] = Dual) -> Callable[[Checkpoints], FittedHead]:
    """The fit as a function of its checkpoints; `seen` takes its progress."""
    report = lambda done, total, text: seen.append(f"{done}/{total} {text}")  # noqa: E731
    return lambda checkpoints: fit_head(
        kind(), data(), recipe, replace(context(rate=0.1), report=report, checkpoints=checkpoints)
    )


def bits(head: FittedHead) -> object:
    """All that a fit leaves behind."""
    state = {name: value.tolist() for name, value in (head.encoder_state or {}).items()}
    return head.weight.tolist(), head.bias.tolist(), head.rate, head.curve, head.at_edge, state


@EVERY_KIND
@pytest.mark.parametrize("states", [1, 3])
def test_a_fit_that_is_interrupted_goes_on_after_its_last_epoch(recipe: HeadRecipe, states: int) -> None:
    once, again = list[str](), list[str]()
    straight = fitted(recipe, once)(NoCheckpoints())
    resumed, lives = in_pieces(fitted(recipe, again), states)
    assert bits(resumed) == bits(straight)
    assert again == once
    assert lives > 4 / states


@pytest.mark.parametrize("name", ["adversarial", "train", "tuned"])
def test_a_fit_that_is_interrupted_within_an_epoch_keeps_the_epochs_before(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = RECIPES[name]
    straight, patience, again = fitted(recipe, [])(NoCheckpoints()), iter(range(3, 1000, 20)), list[str]()
    work = fitted(recipe, again, Mortal)

    def mortal(checkpoints: Checkpoints) -> FittedHead:
        monkeypatch.setattr(Mortal, "passes", next(patience))
        return work(checkpoints)

    resumed, lives = in_pieces(mortal, None)
    assert bits(resumed) == bits(straight)
    assert lives > 1
    assert again == [f"{epoch}/4 epoch {epoch}/4" for epoch in range(1, 5)]


def test_a_rate_that_was_chosen_is_not_chosen_again(monkeypatch: pytest.MonkeyPatch) -> None:
    once, again = list[str](), list[str]()
    checkpoints = Fragile(None, states=GRID.epochs + 1)  # One epoch after the choice.
    with pytest.raises(Interrupted):
        fitted(GRID, once)(checkpoints)
    monkeypatch.setattr(LinearHeads, "accuracies", None)
    fitted(GRID, again)(Fragile(checkpoints.content, None))
    assert [text.split()[0] for text in once + again] == [f"{done}/8" for done in range(1, 9)]


class TestOwnHead:
    """Protocol `own-1`: what the encoder was trained with, to the bit."""

    def headed(self, classes: int, bias: bool = True) -> Encoder:
        encoder = Pixels()
        encoder.head = nn.Linear(48, classes, bias=bias)
        return encoder

    def fitted(self, encoder: Encoder) -> FittedHead:
        return fit_head(encoder, data(), protocol_of("own-1").recipe, context())

    def test_it_is_taken_as_it_is(self) -> None:
        encoder = self.headed(classes=3)
        assert encoder.head is not None
        own = self.fitted(encoder)
        assert torch.equal(own.weight, encoder.head.weight)
        assert torch.equal(own.bias, encoder.head.bias)
        assert (own.rate, own.curve, own.at_edge, own.encoder_state) == (None, (), False, None)
        x = torch.rand(5, 3, 4, 4)
        torch.testing.assert_close(classifier_of(encoder, own)(x), encoder.logits(x))

    def test_without_bias(self) -> None:
        assert torch.equal(self.fitted(self.headed(classes=3, bias=False)).bias, torch.zeros(3))

    @pytest.mark.parametrize(("classes", "error"), [(0, "no head of its own"), (4, "tells 4 classes apart.* has 3")])
    def test_one_that_is_missing_or_of_other_classes(self, classes: int, error: str) -> None:
        with pytest.raises(StageError, match=f"{error}.*'slf-1'"):
            self.fitted(self.headed(classes) if classes else Pixels())

"""Fine-tuning against a loop that anyone can read: attacks, losses, batch norms, routes and optimiser."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.attacks.classifier import changes, state_of
from bench.attacks.pgd import LinfPGD, ascend
from bench.contract import Encoder
from bench.data.profiles import PROFILES
from bench.data.sources import DataSet
from bench.data.views import ColourJitter, Grayscale, HorizontalFlip, RandomResizedCrop, pixels_of
from bench.engine.conditions import Conditions
from bench.errors import BenchError, StageError
from bench.protocols.finetuning import second_view
from bench.protocols.heads import FittedHead, classifier_of, fit_head, judged_encoder
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
from tests.protocols.encoders import Dual, Normed, Pixels, context, data

EPS = 0.1
AFF = HeadRecipe(
    rate_by_dataset={"digits": 0.1},
    epochs=3,
    batch=16,
    milestones=(2,),
    encoder_mode=EncoderMode.TRAIN,
    objective=Objective.TRADES,
    inner=InnerAttack(3, 1 / 3, Raises.DIVERGENCE, Start.GAUSSIAN),
    scope=Scope.ALL,
)
ADVERSARIAL = replace(AFF, objective=Objective.ADVERSARIAL, inner=InnerAttack(3, 1 / 3))
RECIPES = {
    "TRADES": AFF,
    "TRADES on two routes": replace(AFF, routes=Routes.DUAL),
    "TRADES whose target is a pass of its own": replace(AFF, separate_target=True),
    "TRADES on the head alone": replace(AFF, scope=Scope.HEAD, encoder_mode=EncoderMode.EVAL),
    "TRADES on the head alone, statistics drifting": replace(AFF, scope=Scope.HEAD),
    "beta 1, Nesterov": replace(AFF, beta=1.0, nesterov=True),
    "adversarial training": ADVERSARIAL,
    "adversarial training, statistics frozen": replace(ADVERSARIAL, encoder_mode=EncoderMode.EVAL),
    "adversarial training from the image itself": replace(
        ADVERSARIAL, inner=replace(ADVERSARIAL.inner, start=Start.IMAGE), init=HeadInit.DEFAULT
    ),
    "adversarial training from a clipped start": replace(
        ADVERSARIAL, inner=replace(ADVERSARIAL.inner, start=Start.UNIFORM_CLIPPED)
    ),
    "clean fine-tuning": replace(AFF, objective=Objective.CLEAN),
}


def naive(encoder: Encoder, images: DataSet, recipe: HeadRecipe) -> tuple[nn.Linear, Encoder]:
    """The same training, written down from the papers; no function of the project's but random numbers."""
    encoder, draws = copy.deepcopy(encoder), Randomness(0, "head")
    clean = encoder.route("clean") if recipe.routes is Routes.DUAL else encoder
    head = nn.Linear(16, 3)
    if recipe.init is HeadInit.DEFAULT:
        with draws.as_global("initialisation"):
            head = nn.Linear(16, 3)
    else:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    tuned = [*encoder.parameters()] if recipe.scope is Scope.ALL else []
    sgd = torch.optim.SGD([*tuned, *head.parameters()], 0.1, 0.9, weight_decay=2e-4, nesterov=recipe.nesterov)
    for epoch in range(recipe.epochs):
        for group in sgd.param_groups:
            group["lr"] = 0.1 if epoch < 2 else 0.01
        order = torch.randperm(70, generator=draws.generator("order", epoch=epoch))
        for step, index in enumerate(order.split(16)):
            x, y = images.train.pixels[index].float() / 255, images.train.labels[index]
            noise = draws.generator("inner-attack", epoch=epoch, step=step)
            encoder.eval()
            x_adv = attacked(head, encoder, clean, x, y, recipe, noise)
            encoder.train(recipe.encoder_mode is EncoderMode.TRAIN)
            sgd.zero_grad()
            torch.autograd.backward(loss_of(head, encoder, clean, x, x_adv, y, recipe))
            sgd.step()
    return head, encoder.eval()


def attacked(
    head: nn.Linear, encoder: Encoder, clean: Encoder, x: Tensor, y: Tensor, recipe: HeadRecipe, draw: torch.Generator
) -> Tensor:
    if recipe.inner.start is Start.IMAGE:
        x_adv = x.clone()
    elif recipe.inner.start is Start.GAUSSIAN:
        x_adv = x + 0.001 * torch.randn(x.shape, generator=draw, dtype=x.dtype)
    else:
        x_adv = x + EPS * (2 * torch.rand(x.shape, generator=draw, dtype=x.dtype) - 1)
    if recipe.inner.start is Start.UNIFORM_CLIPPED:
        x_adv = x_adv.clamp(0, 1)
    natural = head(clean.encode(x)).softmax(1).detach()
    for _ in range(3):
        x_adv = x_adv.detach().requires_grad_(True)
        logits = head(encoder.encode(x_adv))
        if recipe.inner.raises is Raises.DIVERGENCE:
            raised = (natural * (natural.log() - logits.log_softmax(1))).sum()
        else:
            raised = functional.cross_entropy(logits, y, reduction="sum")
        (slope,) = torch.autograd.grad(raised, x_adv)
        x_adv = x_adv.detach() + EPS / 3 * slope.sign()
        x_adv = torch.min(torch.max(x_adv, x - EPS), x + EPS).clamp(0, 1)
    return x_adv.detach()


def loss_of(
    head: nn.Linear, encoder: Encoder, clean: Encoder, x: Tensor, x_adv: Tensor, y: Tensor, recipe: HeadRecipe
) -> Tensor:
    if recipe.objective is Objective.ADVERSARIAL:
        return functional.cross_entropy(head(encoder.encode(x_adv)), y)
    natural = head(clean.encode(x))
    if recipe.objective is Objective.CLEAN:
        return functional.cross_entropy(natural, y)
    adversarial = head(encoder.encode(x_adv))
    target = head(clean.encode(x)) if recipe.separate_target else natural
    p, log_p, log_q = target.softmax(1), target.log_softmax(1), adversarial.log_softmax(1)
    return functional.cross_entropy(natural, y) + recipe.beta * (p * (log_p - log_q)).sum(1).mean()


@pytest.fixture
def float64() -> Iterator[None]:
    """Networks in double precision, so that no sign of a slope is left to rounding errors."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES)
def test_it_is_what_the_papers_write_down(recipe: HeadRecipe) -> None:
    images = data()
    head, encoder = naive(Dual(), images, recipe)
    fitted = fit_head(Dual(), images, recipe, context(eps=EPS))
    torch.testing.assert_close(fitted.weight, head.weight.detach(), rtol=0, atol=1e-7)
    torch.testing.assert_close(fitted.bias, head.bias.detach(), rtol=0, atol=1e-7)
    tuned = judged_encoder(Dual(), fitted).state_dict()
    for name, expected in encoder.state_dict().items():
        torch.testing.assert_close(tuned[name], expected, rtol=0, atol=1e-7, msg=f"{name} differs")
    x = pixels_of(images.train.pixels)
    torch.testing.assert_close(classifier_of(Dual(), fitted)(x), head(encoder.encode(x)), rtol=0, atol=1e-7)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ["clean fine-tuning", "adversarial training from the image itself"])
def test_a_gpu_trains_the_same(name: str) -> None:
    """Of recipes without noise, whose numbers depend on the device."""
    recipe, on_gpu = RECIPES[name], replace(context(eps=EPS), device=torch.device("cuda"))
    expected = fit_head(Dual(), data(), recipe, context(eps=EPS))
    with Conditions("cuda").hold():
        fitted = fit_head(Dual().cuda(), data(), recipe, on_gpu)
    torch.testing.assert_close(fitted.weight.cpu(), expected.weight, rtol=0, atol=1e-3)


def test_the_recipes_above_differ() -> None:
    found = {name: fit_head(Dual(), data(), recipe, context(eps=EPS)) for name, recipe in RECIPES.items()}
    weights = {tuple(head.weight.flatten().tolist()) for head in found.values()}
    # A target of its own passes moves running statistics, which the next attack meets: other heads, too.
    assert len(weights) == len(found)


def moved(recipe: HeadRecipe, encoder: Encoder | None = None) -> set[str]:
    """Names of what the fit changed of the encoder."""
    return set((fit_head(encoder or Dual(), data(), recipe, context(eps=EPS)).encoder_state or {}).keys())


STATISTICS = {"running_mean", "running_var", "num_batches_tracked"}
AFFINE = {"weight", "bias"}
CONVOLUTION = {"convolution.weight", "convolution.bias"}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("TRADES", CONVOLUTION | {f"main.{part}" for part in AFFINE | STATISTICS}),
        (
            "TRADES on two routes",
            CONVOLUTION | {f"{route}.{part}" for route in ("main", "other") for part in AFFINE | STATISTICS},
        ),
        ("adversarial training, statistics frozen", CONVOLUTION | {f"main.{part}" for part in AFFINE}),
        ("TRADES on the head alone", set()),
        ("TRADES on the head alone, statistics drifting", {f"main.{part}" for part in STATISTICS}),
    ],
)
def test_what_moves(name: str, expected: set[str]) -> None:
    # `Dual` keeps its routes `adv` and `clean` in the modules `main` and `other`.
    assert moved(RECIPES[name]) == expected


def test_each_route_counts_its_own_images() -> None:
    """Over 3 epochs of 5 batches: one pass per route, three through a single one with a target of its own."""
    passes = {"TRADES": 30, "TRADES on two routes": 15, "TRADES whose target is a pass of its own": 45}
    for name, expected in passes.items():
        state = fit_head(Dual(), data(), RECIPES[name], context(eps=EPS)).encoder_state
        assert state is not None
        assert state["main.num_batches_tracked"] == expected


def bits(head: FittedHead) -> list[list[float]]:
    return [tensor.flatten().tolist() for tensor in (head.weight, head.bias, *(head.encoder_state or {}).values())]


class TestRoutes:
    DUAL = RECIPES["TRADES on two routes"]
    IF_ANY = replace(AFF, routes=Routes.DUAL_IF_ANY)

    def test_two_where_there_are_two(self) -> None:
        both = [bits(fit_head(Dual(), data(), recipe, context(eps=EPS))) for recipe in (self.DUAL, self.IF_ANY)]
        assert both[0] == both[1]

    @pytest.mark.parametrize("encoder", [Normed(), Dual().route("clean")], ids=["no clean route", "scored on clean"])
    def test_one_where_there_are_not(self, encoder: Encoder) -> None:
        both = [bits(fit_head(encoder, data(), recipe, context(eps=EPS))) for recipe in (AFF, self.IF_ANY)]
        assert both[0] == both[1]

    @pytest.mark.parametrize(
        ("encoder", "reason"),
        [
            (Pixels(), "has the route main alone"),
            (Normed(), "has the routes main, other alone"),
            (Dual().route("clean"), "is scored on the route 'clean' itself"),
        ],
    )
    def test_a_route_that_is_not_there(self, encoder: Encoder, reason: str) -> None:
        with pytest.raises(BenchError, match=f"this encoder {reason}: fine-tune it by 'aff-1'"):
            fit_head(encoder, data(), self.DUAL, context(eps=EPS))


class TestStart:
    RECIPE = replace(AFF, init=HeadInit.FITTED, init_from="slf-1", rate_by_dataset={"digits": 1e-30})

    def test_it_is_the_head_of_the_linear_probing(self) -> None:
        probed = fit_head(Dual(), data(), protocol_of("slf-1").recipe, context())
        started = fit_head(Dual(), data(), self.RECIPE, replace(context(eps=EPS), start=probed))
        torch.testing.assert_close(started.weight, probed.weight, rtol=0, atol=1e-20)
        torch.testing.assert_close(started.bias, probed.bias, rtol=0, atol=1e-20)

    def test_it_must_be_handed_in(self) -> None:
        with pytest.raises(ValueError, match="another protocol's head"):
            fit_head(Dual(), data(), self.RECIPE, context())


class TestJoint:
    """RoCL src/linear_eval.py with --clean --adv_img --ss."""

    RECIPE = replace(ADVERSARIAL, objective=Objective.JOINT, second_view=SecondView(), epochs=1, batch=70)

    def test_the_first_step_is_the_three_cross_entropies_and_the_contrast(self) -> None:
        images = data()
        fitted = fit_head(Dual(), images, self.RECIPE, context(eps=EPS))
        draws = Randomness(0, "head")
        index = torch.randperm(70, generator=draws.generator("order"))
        x, y = images.train.pixels[index] / 255, images.train.labels[index]
        second = second_view(self.RECIPE, images.profile)(x, draws.generator("second view"))
        # A head of zeros gives the attack no slope: it stays where it starts, within the box after projection.
        start = x + EPS * (2 * torch.rand(x.shape, generator=draws.generator("inner-attack")) - 1)
        features = Dual().train().encode(torch.cat([x, second, start.clamp(0, 1)]))
        error = torch.full((210, 3), 1 / 3) - functional.one_hot(y.repeat(3), 3)
        torch.testing.assert_close(fitted.weight, -0.1 * error.T @ features / 210, rtol=0, atol=1e-6)

    def test_the_contrast_moves_the_encoder_where_cross_entropy_does_not(self) -> None:
        """In the first step the head is zero, and passes no gradient on."""
        still = replace(self.RECIPE, objective=Objective.ADVERSARIAL, second_view=None, weight_decay=0.0)
        assert "convolution.weight" not in moved(still)
        assert "convolution.weight" in moved(replace(self.RECIPE, weight_decay=0.0))

    @pytest.mark.parametrize(("dataset", "smallest", "flips"), [("cifar10", 0.08, 1), ("digits", 0.85, 0)])
    def test_its_second_view(self, dataset: str, smallest: float, flips: int) -> None:
        colours = (ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8), Grayscale(0.2))
        crop = RandomResizedCrop(scale=(smallest, 1.0))
        views = second_view(protocol_of("joint@rocl").recipe, PROFILES[dataset])
        assert views.operations == (*colours, *(HorizontalFlip(),) * flips, crop)


def test_a_rate_that_diverges_is_an_error() -> None:
    with pytest.raises(StageError, match="diverged at learning rate 1e\\+30"):
        fit_head(Dual(), data(), replace(AFF, rate_by_dataset={"digits": 1e30}), context(eps=EPS))


def test_an_encoder_whose_features_are_not_finite_is_an_error() -> None:
    encoder = Dual()
    nn.init.constant_(encoder.convolution.bias, float("nan"))
    with pytest.raises(StageError, match="not finite"):
        fit_head(encoder, data(), AFF, context(eps=EPS))


def test_fine_tuning_on_adversarial_images_makes_an_encoder_robust() -> None:
    images = data()
    x, y = pixels_of(images.train.pixels), images.train.labels
    robust = {}
    for name in ("clean fine-tuning", "adversarial training"):
        tuned = replace(RECIPES[name], epochs=12, milestones=(8, 10))
        classifier = classifier_of(Dual(), fit_head(Dual(), images, tuned, context(eps=0.05)))
        attacked = ascend(lambda x, c=classifier: functional.cross_entropy(c(x), y), x, x, LinfPGD(0.05, 10, 0.0125))
        robust[name] = float((classifier(attacked).argmax(1) == y).float().mean())
    assert robust["adversarial training"] > robust["clean fine-tuning"] + 0.1


def test_the_encoder_that_was_handed_in_is_another() -> None:
    encoder = Dual()
    before = state_of(encoder)
    fitted = fit_head(encoder, data(), AFF, context(eps=EPS))
    assert changes(encoder, before) == {}
    assert changes(judged_encoder(encoder, fitted), before).keys() == fitted.encoder_state.keys()  # type: ignore[union-attr]

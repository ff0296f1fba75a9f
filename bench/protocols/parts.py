"""What a head recipe is made of, as data. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from enum import StrEnum
from typing import Any

from bench.errors import BenchError

CLEAN_ROUTE = "clean"
"""The batch-norm route of clean images, as every method with more than one calls it."""
TRANSFER = "transfer"
"""Stands for the data set where an encoder is judged on other data than it was pre-trained on, resized to its size."""


class Scope(StrEnum):
    """What a recipe trains."""

    HEAD = "head"
    ALL = "all"
    """Encoder and head: full fine-tuning. Its encoder is the one that is attacked, scored and exported."""


class HeadInit(StrEnum):
    """The head's weights before training."""

    ZERO = "zero"
    DEFAULT = "default"
    """`nn.Linear`'s own: uniform in +-1/sqrt(d)."""
    OWN = "own"
    """The encoder's own head, which is scored as its training left it."""
    FITTED = "fitted"
    """The head that the protocol `init_from` fitted on the same encoder: linear probing comes first."""


class EncoderMode(StrEnum):
    """The mode in which the encoder computes what the loss sees; inner attacks and scores meet it in eval mode."""

    EVAL = "eval"
    TRAIN = "train"
    """Batch statistics; the running ones drift, and the drifted ones are scored."""


class Routes(StrEnum):
    """The batch-norm routes of a recipe's passes. Whatever they are, the encoder's active route is scored."""

    ACTIVE = "active"
    """The one that is scored, for clean and adversarial images alike."""
    DUAL = "dual"
    """Clean images through the route `clean`, adversarial ones through the active route, which is another."""
    DUAL_IF_ANY = "dual-if-any"
    """`DUAL` where the encoder has these two routes, `ACTIVE` otherwise."""


class Augmentation(StrEnum):
    """What a training image goes through before the encoder."""

    NONE = "none"
    ZERO_PAD_CROP_FLIP = "zero-pad-crop-flip"
    REFLECT_PAD_CROP_FLIP = "reflect-pad-crop-flip"


class Objective(StrEnum):
    """What is minimised."""

    CLEAN = "clean"
    """Cross-entropy on clean images."""
    ADVERSARIAL = "adversarial"
    """Cross-entropy on adversarial images."""
    TRADES = "trades"
    """Cross-entropy on clean images, plus `beta` times the divergence of the adversarial images' predictions."""
    JOINT = "joint"
    """Cross-entropy on clean images, a second view and adversarial images, plus NT-Xent of the former two (RoCL)."""


class Raises(StrEnum):
    """What an inner attack raises."""

    CROSS_ENTROPY = "cross-entropy"
    DIVERGENCE = "divergence"
    """KL from the predictions for the clean image, which stay as they are."""


class Start(StrEnum):
    """Where an inner attack starts."""

    UNIFORM = "uniform"
    """Anywhere in the ball."""
    UNIFORM_CLIPPED = "uniform-clipped"
    """Anywhere in the ball, then clipped to [0, 1]."""
    GAUSSIAN = "gaussian"
    """.001 N(0, 1) away, not clipped."""
    IMAGE = "image"
    """The image itself. A divergence has no slope there but rounding errors, whose signs step 1 follows."""


def identity(noun: Any, later: str) -> dict[str, Any]:
    """A dataclass as JSON data for hashes and keys: its field `later` and those after it only where they are set.

    So what is written down in the older fields alone keeps its hash when there is more to say of others.
    """
    names = [one.name for one in fields(noun)]
    defaults = {one.name: _default(one) for one in fields(noun)[names.index(later) :]}
    return {name: value for name, value in asdict(noun).items() if name not in defaults or value != defaults[name]}


def _default(one: Field[Any]) -> Any:
    return one.default if one.default_factory is MISSING else one.default_factory()


@dataclass(frozen=True)
class InnerAttack:
    """PGD inside head training.

    Attributes:
        steps: iterations.
        step_fraction: step size, as a fraction of eps.
        raises: its objective.
        start: where it starts.
    """

    steps: int = 10
    step_fraction: float = 1 / 4
    raises: Raises = Raises.CROSS_ENTROPY
    start: Start = Start.UNIFORM

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, for hashes and keys."""
        return identity(self, "raises")


@dataclass(frozen=True)
class SecondView:
    """The augmented view of `Objective.JOINT`, and the loss that draws it to the image.

    Attributes:
        smallest_crop: area of the smallest crop, as a share of the image's.
        smallest_crop_by_dataset: where it is another, by data set profile.
        jitter: strengths of brightness, contrast, saturation and hue.
        jitter_probability, gray_probability: of colour jitter and of grey.
        temperature: of NT-Xent.
    """

    smallest_crop: float = 0.08
    smallest_crop_by_dataset: Mapping[str, float] = field(default_factory=lambda: {"digits": 0.85}, hash=False)
    jitter: tuple[float, float, float, float] = (0.4, 0.4, 0.4, 0.1)
    jitter_probability: float = 0.8
    gray_probability: float = 0.2
    temperature: float = 0.5


@dataclass(frozen=True)
class Case:
    """What a legacy protocol does otherwise for some methods or data sets; what is None or empty stays as it was.

    Attributes:
        methods: names; none of them means every method.
        datasets: data set profiles, or `transfer`; none of them means all.
        rate_by_dataset, epochs, batch, milestones: as of a recipe.
    """

    methods: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    rate_by_dataset: Mapping[str, float] = field(default_factory=dict, hash=False)
    epochs: int | None = None
    batch: int | None = None
    milestones: tuple[int, ...] | None = None

    def covers(self, method: str, dataset: str) -> bool:
        """Whether it is about this pair."""
        return (not self.methods or method in self.methods) and (not self.datasets or dataset in self.datasets)

    def applied(self, recipe: HeadRecipe) -> HeadRecipe:
        """`recipe` with what the case says."""
        said = {"epochs": self.epochs, "batch": self.batch, "milestones": self.milestones}
        changes: dict[str, Any] = {name: value for name, value in said.items() if value is not None}
        return replace(recipe, rate_by_dataset={**recipe.rate_by_dataset, **self.rate_by_dataset}, **changes)


_PASSES: Mapping[Objective, int] = {
    Objective.CLEAN: 1,
    Objective.ADVERSARIAL: 1,
    Objective.TRADES: 2,
    Objective.JOINT: 3,
}
"""Forward passes of the encoder under a loss, per image."""
_INSTEAD: Mapping[Scope, str] = {
    Scope.HEAD: "Use 'slf-1', which chooses its rate on the held-out slice",
    Scope.ALL: "Use 'aff-1', which has one rate for all data sets of this benchmark",
}


@dataclass(frozen=True)
class HeadRecipe:
    """How a linear head is trained on an encoder, or both together: SGD on `objective`.

    Exactly one of `rates`, `rate_by_dataset` and `rate_from` is set; none where the head is the encoder's own.

    Attributes:
        rates: learning rates, ascending, from which the held-out slice chooses; then all of train is fitted.
        rate_by_dataset: the learning rate per data set profile.
        rate_from: the protocol whose chosen rate is taken over.
        init: the head before training.
        epochs: passes over the training images.
        batch: images per step; the last, smaller batch is kept.
        momentum, weight_decay: of SGD, on weights and biases alike.
        milestones: epochs at which the rate is multiplied by `decay`.
        encoder_mode: mode of the encoder under the loss; it is scored in eval.
        augmentation: of the training images.
        pad_divisor: crops pad by image side / pad_divisor: 1 pixel at 8x8, 4 at 32x32.
        unflipped: data set profiles whose images are never mirrored.
        objective: what is minimised.
        inner: the attack that makes the adversarial images.
        scope: what is trained.
        routes: the batch-norm routes of clean and adversarial images.
        beta: weight of the divergence in `Objective.TRADES`.
        separate_target: whether that divergence takes a clean pass of its own, after the adversarial one: batch norm in
            train mode counts clean images twice then.
        nesterov: whether SGD's momentum is Nesterov's.
        init_from: the protocol whose head is the start, with `HeadInit.FITTED`.
        spares_held_out: whether the held-out slice, a tenth of the training images, is left out.
        second_view: of `Objective.JOINT`.
        cases: what holds for some methods or data sets alone; of several that cover one, the last has the last word.
        cases_of: the method whose cases hold, whoever is judged; None is the method that is judged.
    """

    rates: tuple[float, ...] = ()
    rate_by_dataset: Mapping[str, float] = field(default_factory=dict, hash=False)
    rate_from: str | None = None
    init: HeadInit = HeadInit.ZERO
    epochs: int = 25
    batch: int = 512
    momentum: float = 0.9
    weight_decay: float = 2e-4
    milestones: tuple[int, ...] = (15, 20)
    decay: float = 0.1
    encoder_mode: EncoderMode = EncoderMode.EVAL
    augmentation: Augmentation = Augmentation.NONE
    pad_divisor: int = 8
    unflipped: tuple[str, ...] = ("digits",)
    objective: Objective = Objective.CLEAN
    inner: InnerAttack = InnerAttack()
    scope: Scope = Scope.HEAD
    routes: Routes = Routes.ACTIVE
    beta: float = 6.0
    separate_target: bool = False
    nesterov: bool = False
    init_from: str | None = None
    spares_held_out: bool = False
    second_view: SecondView | None = None
    cases: tuple[Case, ...] = ()
    cases_of: str | None = None

    def __post_init__(self) -> None:
        if sum(map(bool, (self.rates, self.rate_by_dataset, self.rate_from))) != self.trained:
            raise ValueError(
                "a head recipe sets exactly one of rates, rate_by_dataset and rate_from; an own head, none"
            )
        if bool(self.epochs) != self.trained:
            raise ValueError("an own head is trained for 0 epochs, any other for at least one")
        if self.rates and not (self.cacheable and not self.spares_held_out):
            raise ValueError(
                "a grid of rates is searched on cached features: clean, eval mode, no augmentation, all of train"
            )
        if list(self.rates) != sorted(set(self.rates)):
            raise ValueError("rates must ascend")
        if (self.init is HeadInit.FITTED) != bool(self.init_from):
            raise ValueError("a fitted head comes from a protocol, and init_from names it")
        if self.routes is not Routes.ACTIVE and self.objective is not Objective.TRADES:
            raise ValueError("only the objective trades has clean and adversarial images for two routes")
        if (self.objective is Objective.JOINT) != (self.second_view is not None):
            raise ValueError("the joint objective, and no other, has a second view")

    @property
    def identity(self) -> dict[str, Any]:
        """What it is, for hashes and keys: the fields from `scope` on, which came later, only where they are set."""
        return {**identity(self, "scope"), "inner": self.inner.identity}

    @property
    def trained(self) -> bool:
        """Whether the protocol trains the head at all."""
        return self.init is not HeadInit.OWN

    @property
    def perturbs(self) -> bool:
        """Whether training makes adversarial images."""
        return self.objective is not Objective.CLEAN

    @property
    def cacheable(self) -> bool:
        """Whether an image has the same features in every epoch."""
        same_images = self.augmentation is Augmentation.NONE and not self.perturbs
        return same_images and self.encoder_mode is EncoderMode.EVAL and self.scope is Scope.HEAD

    @property
    def linear(self) -> bool:
        """Whether cross-entropy of one kind of image trains a head alone: its gradient is written down in a line."""
        on_cross_entropy = self.objective in (Objective.CLEAN, Objective.ADVERSARIAL)
        return on_cross_entropy and self.inner.raises is Raises.CROSS_ENTROPY and self.scope is Scope.HEAD

    @property
    def graphs(self) -> int:
        """Passes of the encoder whose activations wait for a backward pass at the same time; 1 if there is none."""
        if self.scope is Scope.HEAD:
            return 1
        return _PASSES[self.objective] + self.separate_target

    @property
    def passes(self) -> float:
        """Encoder passes per image and epoch, in units of one forward pass."""
        attack = 2 * self.inner.steps + (self.inner.raises is Raises.DIVERGENCE) if self.perturbs else 0
        update = _PASSES[self.objective] + self.separate_target
        return attack + update * (3 if self.scope is Scope.ALL else 1)

    @property
    def known_methods(self) -> tuple[str, ...]:
        """The methods that have cases of their own."""
        return tuple(dict.fromkeys(method for case in self.cases for method in case.methods))

    @property
    def lenders(self) -> Mapping[str, str]:
        """The protocols whose results it takes over, by the field that names them."""
        named = {"rate_from": self.rate_from, "init_from": self.init_from}
        return {name: lender for name, lender in named.items() if lender}

    def settled(self, method: str, profile: str, *, transfer: bool = False) -> HeadRecipe:
        """The recipe for one method and data set: cases applied, and one learning rate where they are fixed ones.

        Args:
            method: its name, whatever its settings.
            profile: the name of the data set's profile.
            transfer: whether the encoder was pre-trained on other data.

        Raises:
            BenchError: if the recipe has no learning rate for this data set.
        """
        if not self.rate_by_dataset:
            return self
        recipe, dataset = replace(self, cases=(), cases_of=None), TRANSFER if transfer else profile
        for case in self.cases:
            if case.covers(self.cases_of or method, dataset):
                recipe = case.applied(recipe)
        rate = recipe.rate_for(TRANSFER if transfer and TRANSFER in recipe.rate_by_dataset else profile)
        return replace(recipe, rate_by_dataset={profile: rate})

    def rate_for(self, dataset: str) -> float:
        """The fixed learning rate for the data set profile `dataset`, cases left aside.

        Raises:
            BenchError: if the recipe has none for it; the message lists those it has.
        """
        if dataset not in self.rate_by_dataset:
            choices = ", ".join(sorted(self.rate_by_dataset))
            raise BenchError(
                f"no head learning rate for data set '{dataset}': this legacy protocol takes its rates from a paper "
                f"and has them for {choices}. {_INSTEAD[self.scope]}."
            )
        return self.rate_by_dataset[dataset]

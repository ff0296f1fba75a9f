"""The protocols: how a head is fitted and which attacks it meets, as versioned data. Imports no torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from enum import StrEnum
from typing import Any

from bench.attacks.catalogue import attacks_of
from bench.attacks.overrides import at_eps, in_norm, of_steps
from bench.attacks.threats import (
    AUTOATTACK,
    CLEAN,
    PGD20,
    PGD20_SHORT_STEP,
    AttackKind,
    AttackSpec,
    Metric,
    Norm,
    radius,
)
from bench.data.profiles import DataProfile
from bench.errors import BenchError, unknown
from bench.execution import Precision
from bench.grammar import Grid, Spec, Value, parse_spec

__all__ = [
    "PROTOCOLS",
    "AttackKind",
    "AttackSpec",
    "Augmentation",
    "EncoderMode",
    "HeadInit",
    "HeadRecipe",
    "InnerAttack",
    "Metric",
    "Norm",
    "Objective",
    "Protocol",
    "protocol_of",
]


class HeadInit(StrEnum):
    """The head's weights before training."""

    ZERO = "zero"
    DEFAULT = "default"
    """`nn.Linear`'s own: uniform in +-1/sqrt(d)."""
    OWN = "own"
    """The encoder's own head, which is scored as its training left it."""


class EncoderMode(StrEnum):
    """The mode in which the encoder, whose parameters never change, computes a head's training features."""

    EVAL = "eval"
    TRAIN = "train"
    """Batch statistics; the running ones drift, and the drifted ones are scored."""


class Augmentation(StrEnum):
    """What a training image goes through before the encoder."""

    NONE = "none"
    ZERO_PAD_CROP_FLIP = "zero-pad-crop-flip"
    REFLECT_PAD_CROP_FLIP = "reflect-pad-crop-flip"


class Objective(StrEnum):
    """The images on which a head's cross-entropy is minimised."""

    CLEAN = "clean"
    ADVERSARIAL = "adversarial"


@dataclass(frozen=True)
class InnerAttack:
    """PGD on cross-entropy inside head training, from a uniform start in the ball.

    Attributes:
        steps: iterations.
        step_fraction: step size, as a fraction of eps.
    """

    steps: int = 10
    step_fraction: float = 1 / 4


@dataclass(frozen=True)
class HeadRecipe:
    """How a linear head is trained on a frozen encoder: SGD on cross-entropy.

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
        encoder_mode: mode of the encoder during training; it is scored in eval.
        augmentation: of the training images.
        pad_divisor: crops pad by image side / pad_divisor: 1 pixel at 8x8, 4 at 32x32.
        unflipped: data set profiles whose images are never mirrored.
        objective: clean or adversarial images.
        inner: the attack that makes the adversarial ones.
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

    def __post_init__(self) -> None:
        if sum(map(bool, (self.rates, self.rate_by_dataset, self.rate_from))) != self.trained:
            raise ValueError(
                "a head recipe sets exactly one of rates, rate_by_dataset and rate_from; an own head, none"
            )
        if bool(self.epochs) != self.trained:
            raise ValueError("an own head is trained for 0 epochs, any other for at least one")
        if self.rates and not self.cacheable:
            raise ValueError("a grid of rates is searched on cached features: clean, eval mode, no augmentation")
        if list(self.rates) != sorted(set(self.rates)):
            raise ValueError("rates must ascend")

    @property
    def trained(self) -> bool:
        """Whether the protocol trains the head at all."""
        return self.init is not HeadInit.OWN

    @property
    def cacheable(self) -> bool:
        """Whether an image has the same features in every epoch."""
        same_images = self.augmentation is Augmentation.NONE and self.objective is Objective.CLEAN
        return same_images and self.encoder_mode is EncoderMode.EVAL

    def rate_for(self, dataset: str) -> float:
        """The fixed learning rate for the data set profile `dataset`.

        Raises:
            BenchError: if the recipe has none for it; the message lists those it has.
        """
        if dataset not in self.rate_by_dataset:
            choices = ", ".join(sorted(self.rate_by_dataset))
            raise BenchError(
                f"no head learning rate for data set '{dataset}': this legacy protocol takes its rates from a paper "
                f"and has them for {choices}. Use 'slf-1', which chooses its rate on the held-out slice."
            )
        return self.rate_by_dataset[dataset]


@dataclass(frozen=True)
class Protocol:
    """A head recipe and the attacks that its head meets: equal for every method.

    Attributes:
        name: what `--protocols` takes, overrides included.
        version: raised whenever `recipe` or `attacks` change.
        recipe: how the head is fitted.
        attacks: in the order in which they run; each fills one metric.
        legacy: whether it repeats a paper's own protocol rather than being this benchmark's.
        why: sources and decisions; not part of `hash`.
        precision: what encoder and head compute in while the head is fitted and attacked.
        norm, eps: the threat that its rows are about; None is the data set's radius. An attack with a norm or a radius
            of its own counts beside it, by its name in `scores`.
    """

    name: str
    version: int
    recipe: HeadRecipe
    attacks: tuple[AttackSpec, ...]
    legacy: bool
    why: str
    precision: Precision = Precision.FP32
    norm: Norm = Norm.LINF
    eps: float | None = None

    def eps_for(self, profile: DataProfile) -> float:
        """The radius that its rows say: its own, or else the data set's."""
        return radius(self.norm, profile) if self.eps is None else self.eps

    @property
    def hash(self) -> str:
        """12 hex digits of the SHA-256 of everything but `why`, the protocol that lends its rate included.

        What came later is left out where it is as it always was (fp32, l_inf, see `AttackSpec.identity`), so that older
        rows keep their hash.
        """
        content = asdict(self)
        del content["why"]
        content["attacks"] = [spec.identity for spec in self.attacks]
        for name, usual in _LATER_FIELDS.items():
            if content[name] == usual:
                del content[name]
        if self.recipe.rate_from:
            content["rate_from_hash"] = protocol_of(self.recipe.rate_from).hash
        canonical = json.dumps(content, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:12]

    def attack(self, name: str) -> AttackSpec:
        """The attack called `name`.

        Raises:
            BenchError: if the protocol has none of that name.
        """
        for spec in self.attacks:
            if spec.name == name:
                return spec
        raise unknown(f"attack of protocol {self.name}", name, (spec.name for spec in self.attacks))


_LATER_FIELDS: Mapping[str, Any] = {"precision": Precision.FP32, "norm": Norm.LINF, "eps": None}
"""Fields of a protocol that its hash leaves out where they are as they were before there was a choice."""

_STANDARD = (CLEAN, PGD20, AUTOATTACK)

_SLF_1 = Protocol(
    name="slf-1",
    version=1,
    recipe=HeadRecipe(rates=(0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)),
    attacks=_STANDARD,
    legacy=False,
    why="Chosen for this benchmark. It is what most code bases share (zero-initialised head, encoder in eval, 25 "
    "epochs, batch 512, momentum .9, weight decay 2e-4, decay at 15 and 20) but for the learning rate, which alone "
    "moves published results by up to 9 points: it is chosen for every encoder from one grid on a held-out slice of "
    "the training set. No augmentation, so that features are computed once.",
)

_ALF_1 = Protocol(
    name="alf-1",
    version=1,
    recipe=HeadRecipe(rate_from=_SLF_1.name, objective=Objective.ADVERSARIAL),
    attacks=_STANDARD,
    legacy=False,
    why="slf-1 with a head trained on adversarial images: PGD-10 on cross-entropy, uniform start, step eps/4, as in "
    "RobustSSL and DynACL. It takes the rate that slf-1 chose for the same encoder, so that the two differ in the "
    "training images alone.",
)

_OWN_1 = Protocol(
    name="own-1",
    version=1,
    recipe=HeadRecipe(init=HeadInit.OWN, epochs=0),
    attacks=_STANDARD,
    legacy=False,
    why="Chosen for this benchmark: a network that was trained end to end on labels is scored as it is, as AMOC's "
    "tables 5 and 6 score their supervised baselines. The attacks are those of slf-1. Under slf-1 the same encoder "
    "gets a new head, whose rate is chosen on a held-out slice that the encoder was trained on, labels included.",
)

_NCP_HEAD = HeadRecipe(
    rate_by_dataset={"cifar10": 0.1, "cifar100": 10.0, "stl10": 10.0, "digits": 0.1},
    init=HeadInit.DEFAULT,
    augmentation=Augmentation.ZERO_PAD_CROP_FLIP,
)
_NCP_SOURCES = (
    "NCP-ACL, section 4.1 and appendix A.3: 25 epochs, batch 512, SGD momentum .9, weight decay 2e-4, rate .1 on "
    "CIFAR-10 and 10 on CIFAR-100 and STL-10, divided by 10 at epochs 15 and 20; PGD-20 with step 2/255. What the "
    "paper leaves open follows DeACL's adv_finetune.py (commit 3fb81e3), whose settings these are: crops with zero "
    "padding of 4 pixels, flip, nn.Linear's default initialisation, the last epoch scored. Chosen: rate .1 on digits, "
    "padding of image side / 8 (1 on digits, 12 on STL-10), no flip on digits, AutoAttack in seeded batches of 500. "
)

_SLF_NCP = Protocol(
    name="slf@ncp",
    version=1,
    recipe=_NCP_HEAD,
    attacks=_STANDARD,
    legacy=True,
    why=_NCP_SOURCES + "The encoder, 'fixed' in the paper's words, is in eval mode.",
)

_SLF_NCP_BN = Protocol(
    name="slf@ncp-bn",
    version=1,
    recipe=replace(_NCP_HEAD, encoder_mode=EncoderMode.TRAIN),
    attacks=_STANDARD,
    legacy=True,
    why=_NCP_SOURCES
    + "Of the encoder, 'fixed' in the paper's words, only the parameters are: adv_finetune.py leaves it in "
    "train(), so that batch norm uses batch statistics and its running ones drift while the head is trained.",
)

_SLF_AMOC = Protocol(
    name="slf@amoc",
    version=1,
    recipe=HeadRecipe(
        rate_by_dataset={"cifar10": 0.1, "cifar100": 0.1, "stl10": 0.1, "digits": 0.1},
        batch=128,
        augmentation=Augmentation.REFLECT_PAD_CROP_FLIP,
    ),
    attacks=(CLEAN, PGD20_SHORT_STEP, AUTOATTACK),
    legacy=True,
    why="AMOC's README and linear_std.py (commit cdeefda): zero-initialised head, encoder in eval on the adversarial "
    "batch norm for clean images too, crops with reflection padding of 4 pixels, flip, batch 128, rate .1 divided by "
    "10 at epochs 15 and 20, weight decay 2e-4; white_box_attack.py: PGD-20 with step eps/10. Chosen: rate .1 on "
    "digits and STL-10, padding of image side / 8 (1 on digits, 12 on STL-10), no flip on digits, AutoAttack in seeded "
    "batches of 500 (theirs: 128, unseeded).",
)

PROTOCOLS: Mapping[str, Protocol] = {
    protocol.name: protocol for protocol in (_SLF_1, _ALF_1, _OWN_1, _SLF_NCP, _SLF_NCP_BN, _SLF_AMOC)
}
"""All protocols by name, this benchmark's own first."""


def protocol_of(text: str) -> Protocol:
    """The protocol that `--protocols text` names: `slf-1`, or one with overrides, `slf-1[precision=tf32]`.

    Raises:
        BenchError: for an unknown name, override or value; the message lists the choices.
    """
    spec = parse_spec(text)
    if spec.name not in PROTOCOLS:
        raise unknown("protocol", spec.name, PROTOCOLS)
    protocol = PROTOCOLS[spec.name]
    for name, value in spec.options.items():
        if name not in OVERRIDES:
            raise unknown("protocol override", name, OVERRIDES)
        if isinstance(value, Grid):
            raise BenchError(f"'{text}' names several protocols where one is expected; give '{name}' one value.")
    for name, override in OVERRIDES.items():
        if name in spec.options:
            protocol = override(protocol, spec.options[name])
    return _named(protocol, spec) if spec.options else protocol


def _named(protocol: Protocol, spec: Spec) -> Protocol:
    """Under the text that asks for it; what lends its rate is overridden alike, as far as heads are concerned."""
    lender, recipe = protocol.recipe.rate_from, protocol.recipe
    if lender:
        options = {name: value for name, value in spec.options.items() if name in HEAD_OVERRIDES}
        recipe = replace(recipe, rate_from=Spec(lender, options).text)
    return replace(protocol, name=spec.text, recipe=recipe)


def _with_precision(protocol: Protocol, value: Value) -> Protocol:
    if value not in SCORING_PRECISIONS:
        raise unknown("precision of a protocol", str(value), SCORING_PRECISIONS)
    return replace(protocol, precision=Precision(str(value)))


SCORING_PRECISIONS = (Precision.FP32, Precision.TF32)
"""bfloat16 is not among them: attacks would follow gradients of rounded features, and look weaker than they are."""


def _with_attacks(protocol: Protocol, value: Value) -> Protocol:
    """Other attacks; `clean` always comes first, since no other accuracy says anything without it."""
    names = value if isinstance(value, tuple) else (value,)
    return replace(protocol, attacks=attacks_of(["clean", *map(str, names)]))


def _with_norm(protocol: Protocol, value: Value) -> Protocol:
    if value not in set(Norm):
        raise unknown("norm", str(value), Norm)
    norm = Norm(str(value))
    return replace(protocol, norm=norm, attacks=in_norm(protocol.attacks, protocol.norm, norm))


def _with_eps(protocol: Protocol, value: Value) -> Protocol:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BenchError(f"eps '{value}' is no number: write a radius in units of [0, 1] pixels, such as 8/255.")
    return replace(protocol, eps=float(value), attacks=at_eps(protocol.attacks, protocol.norm, float(value)))


def _with_steps(protocol: Protocol, value: Value) -> Protocol:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise BenchError(f"steps '{value}' is no number of steps: write a whole number from 1 up.")
    return replace(protocol, attacks=of_steps(protocol.attacks, value))


OVERRIDES: Mapping[str, Callable[[Protocol, Any], Protocol]] = {
    "attacks": _with_attacks,
    "norm": _with_norm,
    "eps": _with_eps,
    "steps": _with_steps,
    "precision": _with_precision,
}
"""What may be changed of a protocol on the command line, in the order in which it is.

The row's identity, hash and name keep the result apart. The head stays what it is under all but `HEAD_OVERRIDES`.
"""
HEAD_OVERRIDES = frozenset({"precision"})
"""Those that concern the fitting of heads, too."""

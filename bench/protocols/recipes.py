"""The protocols: how a head is fitted and which attacks it meets, as versioned data. Imports no torch.

What makes a new version: any change of what a protocol does, be it as small as a milestone or an attack's batch. The
new one of this benchmark's own has a new name (`slf-2`), and the old one stays, so that rows of both can be told apart
and made again; a legacy one that repeats its source wrongly is corrected under its name, with `version` raised. Either
way `hash` differs, which is in every row and in a cell's identity: rows of two hashes never meet in a table. What
changes no number (a reason, a new field that is left at its default) changes no hash. A test holds all hashes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from bench.attacks.catalogue import attacks_of
from bench.attacks.overrides import at_eps, in_norm, of_steps
from bench.attacks.threats import AUTOATTACK, CLEAN, PGD20, AttackKind, AttackSpec, Metric, Norm, radius
from bench.data.profiles import DataProfile
from bench.errors import BenchError, unknown
from bench.execution import Precision
from bench.grammar import Grid, Spec, Value, parse_spec
from bench.protocols.legacy import LEGACY, TRADES_ATTACK, everywhere
from bench.protocols.parts import (
    Augmentation,
    EncoderMode,
    HeadInit,
    HeadRecipe,
    InnerAttack,
    Objective,
    Routes,
    Scope,
)

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
    "Routes",
    "Scope",
    "protocol_of",
]


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
        """12 hex digits of the SHA-256 of everything but `why`, the protocols that lend rate or head included.

        What came later is left out where it is as it always was (fp32, l_inf, see `AttackSpec.identity`), so that older
        rows keep their hash.
        """
        content = asdict(self) | {"recipe": self.recipe.identity}
        del content["why"]
        content["attacks"] = [spec.identity for spec in self.attacks]
        for name, usual in _LATER_FIELDS.items():
            if content[name] == usual:
                del content[name]
        for name, lender in self.recipe.lenders.items():
            content[f"{name}_hash"] = protocol_of(lender).hash
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

_AFF_1 = Protocol(
    name="aff-1",
    version=1,
    recipe=HeadRecipe(
        rate_by_dataset=everywhere(0.1),
        batch=128,
        encoder_mode=EncoderMode.TRAIN,
        augmentation=Augmentation.ZERO_PAD_CROP_FLIP,
        objective=Objective.TRADES,
        inner=TRADES_ATTACK,
        scope=Scope.ALL,
    ),
    attacks=_STANDARD,
    legacy=False,
    why="Adversarial full fine-tuning as most code bases share it: encoder and zero-initialised head by TRADES with "
    "beta 6, attack of 10 steps of eps/4 on the divergence from .001 N(0, 1) away, 25 epochs in batches of 128, rate "
    ".1 divided by 10 at epochs 15 and 20, weight decay 2e-4 (RobustSSL, AIR; DynACL, but for the start; ACL's "
    "defaults), crops with zero padding of image side / 8, flip (not on digits). Clean and adversarial images go "
    "through the batch norm that is scored, which every encoder has. The rate is fixed: a grid of it would cost as "
    "many fine-tunings; .01, as DeACL has it, is aff@deacl-2024.",
)

_AFF_DUAL_1 = Protocol(
    name="aff-dual-1",
    version=1,
    recipe=replace(_AFF_1.recipe, routes=Routes.DUAL),
    attacks=_STANDARD,
    legacy=False,
    why="aff-1 with clean images through the batch norm of clean images, as ACL's lineage fine-tunes (DynACL, AIR, "
    "RobustSSL): for encoders that have one besides the one that is scored, and for no others.",
)

_LP_AFT_1 = Protocol(
    name="lp-aft-1",
    version=1,
    recipe=replace(_AFF_1.recipe, init=HeadInit.FITTED, init_from="slf@dynacl"),
    attacks=_STANDARD,
    legacy=False,
    why="Linear probing, then adversarial full fine-tuning (DynACL++'s LPAFT.py:195-216, 298-336 with true labels): "
    "aff-1, started from the head that slf@dynacl fits on the same encoder, so that the two differ in the start alone. "
    "That probing has LPAFT's small rate, .01 (for 25 epochs instead of 10); from slf-1's head, whose rate is chosen "
    "to score best and was 3 on digits, training did not recover: SA 37 where aff-1 has 95 (simclr, digits, seed 0).",
)

_OURS = (_SLF_1, _ALF_1, _OWN_1, _AFF_1, _AFF_DUAL_1, _LP_AFT_1)
_LEGACY = tuple(Protocol(one.name, one.version, one.recipe, one.attacks, legacy=True, why=one.why) for one in LEGACY)

PROTOCOLS: Mapping[str, Protocol] = {protocol.name: protocol for protocol in (*_OURS, *_LEGACY)}
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
    """Under the text that asks for it; who lends rate or head is overridden alike, as far as heads are concerned."""
    options = {name: value for name, value in spec.options.items() if name in HEAD_OVERRIDES}
    lenders: dict[str, Any] = {name: Spec(lender, options).text for name, lender in protocol.recipe.lenders.items()}
    return replace(protocol, name=spec.text, recipe=replace(protocol.recipe, **lenders))


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


def _with_cases_of(protocol: Protocol, value: Value) -> Protocol:
    """The settings that a protocol has for another method: weights from a file have the name of none."""
    if not (known := protocol.recipe.known_methods):
        raise BenchError(f"protocol '{protocol.name}' is the same for every method: leave 'method={value}' out.")
    if value not in known:
        raise unknown(f"method in the table of {protocol.name}", str(value), known)
    return replace(protocol, recipe=replace(protocol.recipe, cases_of=str(value)))


OVERRIDES: Mapping[str, Callable[[Protocol, Any], Protocol]] = {
    "attacks": _with_attacks,
    "norm": _with_norm,
    "eps": _with_eps,
    "steps": _with_steps,
    "precision": _with_precision,
    "method": _with_cases_of,
}
"""What may be changed of a protocol on the command line, in the order in which it is.

The row's identity, hash and name keep the result apart. The head stays what it is under all but `HEAD_OVERRIDES` and
`method`.
"""
HEAD_OVERRIDES = frozenset({"precision"})
"""Those that concern the fitting of heads, too."""

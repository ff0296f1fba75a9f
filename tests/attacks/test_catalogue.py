"""All attacks that have a name, one table: each keeps the same promises, whatever it does inside its ball."""

from __future__ import annotations

import logging
import os
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from bench.attacks import evaluate
from bench.attacks.balls import BALLS
from bench.attacks.catalogue import ATTACK_SETS, ATTACKS, attack_of, attacks_of
from bench.attacks.evaluate import AttackContext, outcomes
from bench.attacks.foolboxes import foolbox_attack
from bench.attacks.rounds import Target
from bench.attacks.threats import AttackKind, AttackSpec, Metric, Norm
from bench.closure import reached
from bench.contract import Checkpoints, NoCheckpoints
from bench.data.profiles import profile_of
from bench.errors import BenchError
from bench.protocols.recipes import PROTOCOLS
from bench.randomness import Randomness
from tests.attacks.models import Flat, Small, classifier, images_for
from tests.interruptions import in_pieces

EPS = {Norm.LINF: 0.03, Norm.L2: 0.12, Norm.L1: 0.6}
"""At which about half of the images of `Small` fall."""
QUICKER = {AttackKind.CARLINI_WAGNER: {"binary_search_steps": 4}}
SEARCHING = [
    replace(
        spec,
        batch=16,
        steps=min(spec.steps, 30),
        restarts=min(spec.restarts, 2),
        options={**spec.options, **QUICKER.get(spec.kind, {})},
    )
    for spec in ATTACKS.values()
    if spec.bounded
]

pytestmark = pytest.mark.usefixtures("short_autoattack")
every_attack = pytest.mark.parametrize("spec", SEARCHING, ids=lambda spec: spec.name)


def attacked(spec: AttackSpec, seen: list[str] | None = None, checkpoints: Checkpoints | None = None) -> Tensor:
    model, heard = classifier(Small), [] if seen is None else seen
    report = lambda done, total, text: heard.append(text)  # noqa: E731
    context = AttackContext(
        Randomness(0, "attack"), torch.device("cpu"), report, checkpoints=checkpoints or NoCheckpoints()
    )
    return outcomes(model, images_for(model), spec, EPS[spec.norm], context)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Target, Tensor, Tensor]]:
    """The adversarial images of all batches, each with whom they are of."""
    images: list[tuple[Target, Tensor, Tensor]] = []
    check = evaluate._check_ball

    def noting(target: Target, index: Tensor, adversarial: Tensor, spec: AttackSpec) -> None:
        images.append((target, index, adversarial))
        check(target, index, adversarial, spec)

    monkeypatch.setattr(evaluate, "_check_ball", noting)
    return images


@every_attack
def test_it_breaks_some_images_inside_its_ball_and_repeats_itself(
    spec: AttackSpec, made: list[tuple[Target, Tensor, Tensor]]
) -> None:
    seen: list[str] = []
    robust = attacked(spec, seen)
    assert robust.tolist() == attacked(spec).tolist()
    assert not robust[:4].any(), "these are misclassified as they are"
    assert 0 < robust.sum() < 20
    moved = [BALLS[spec.norm].length(images - target.x[index]) for target, index, images in made]
    assert torch.cat(moved).max() > 0.5 * EPS[spec.norm]
    assert torch.cat(moved).max() <= EPS[spec.norm] + 1e-4
    assert all(images.min() >= 0 and images.max() <= 1 for _, _, images in made)
    assert sum("accuracy so far" in text for text in seen) >= 2 - ("autoattack" in spec.name)


@pytest.mark.parametrize("name", ["fgsm", "pgd-l1", "pgd-l2", "deepfool", "slide", "cw-l2", "apgd-t"])
def test_it_goes_on_after_its_last_batch(name: str) -> None:
    spec = next(replace(one, batch=7) for one in SEARCHING if one.name == name)
    once, again = list[str](), list[str]()
    resumed, lives = in_pieces(lambda checkpoints: attacked(spec, again, checkpoints).tolist(), 1)
    assert resumed == attacked(spec, once).tolist()
    assert again == once
    assert lives > 2


@pytest.mark.parametrize("name", ["pgd20", "pgd-l2", "slide", "deepfool", "autoattack"])
def test_an_empty_ball_holds_the_image_alone(name: str) -> None:
    model = classifier(Small)
    context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), lambda *_: None)
    assert int(outcomes(model, images_for(model), ATTACKS[name], 0.0, context).sum()) == 20


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        # AMOC, table 2, with CIFAR-10's radii.
        ("pgd20-short-step", (Norm.LINF, 8 / 255, 20, 0.8 / 255)),
        ("pgd-l1", (Norm.L1, 12, 50, 0.6)),
        ("pgd-l2", (Norm.L2, 0.5, 50, 0.05)),
        ("slide", (Norm.L1, 12, 50, 0.6)),
        ("pgd-l1-readme", (Norm.L1, 12, 50, 1.2)),
        ("fgsm", (Norm.LINF, 8 / 255, 1, 8 / 255)),
        ("pgd50-10", (Norm.LINF, 8 / 255, 50, 2 / 255)),
    ],
)
def test_radius_steps_and_step_size_on_cifar10(name: str, expected: tuple[object, ...]) -> None:
    spec = ATTACKS[name]
    eps = spec.eps_for(profile_of("cifar10"))
    assert (spec.norm, eps, spec.steps, spec.step(eps)) == pytest.approx(expected)


def test_a_step_size_may_be_absolute_so_that_it_stays_where_eps_changes() -> None:
    spec = replace(ATTACKS["pgd20"], step_size=2 / 255)
    assert [spec.step(eps) for eps in (8 / 255, 4 / 255)] == [2 / 255, 2 / 255]
    assert [ATTACKS["pgd20"].step(eps) for eps in (8 / 255, 4 / 255)] == [2 / 255, 1 / 255]


def test_a_restart_spares_those_that_fell_before(made: list[tuple[Target, Tensor, Tensor]]) -> None:
    spec = next(one for one in SEARCHING if one.name == "pgd50-10")
    robust = attacked(replace(spec, batch=24))
    first, second = (len(index) for _, index, _ in made)
    assert first == 24 > second >= robust.sum()


@pytest.mark.parametrize(
    ("name", "kind", "settings"),
    [
        ("deepfool", "LinfDeepFoolAttack", {"steps": 50, "overshoot": 0.02, "candidates": 10, "loss": "logits"}),
        ("slide", "SparseL1DescentAttack", {"steps": 50, "rel_stepsize": 0.05, "quantile": 0.99}),
        ("cw-l2", "L2CarliniWagnerAttack", {"steps": 1000, "stepsize": 0.01, "binary_search_steps": 9}),
        ("cw-l2-readme", "L2CarliniWagnerAttack", {"steps": 100, "stepsize": 0.1, "binary_search_steps": 9}),
    ],
)
def test_what_foolbox_is_asked_for(name: str, kind: str, settings: dict[str, object]) -> None:
    attack = foolbox_attack(ATTACKS[name])
    assert type(attack).__name__ == kind
    assert {setting: getattr(attack, setting) for setting in settings} == settings


def test_foolbox_leaves_no_trace_in_log_or_environment() -> None:
    before = dict(os.environ), logging.getLogger().handlers[:]
    attacked(next(one for one in SEARCHING if one.name == "deepfool"))
    assert (dict(os.environ), logging.getLogger().handlers) == before


def test_a_set_is_its_attacks_each_once_in_order() -> None:
    names = [spec.name for spec in attacks_of(["clean", "standard", "fgsm", "pgd20"])]
    assert names == ["clean", "pgd20", "autoattack", "fgsm"]
    assert [spec.norm for spec in attacks_of(["amoc-table2"])].count(Norm.L1) == 2
    assert set(ATTACK_SETS) & set(ATTACKS) == set()


def test_unknown_attacks_are_errors_with_a_suggestion() -> None:
    with pytest.raises(BenchError, match="unknown attack 'deepfol': did you mean 'deepfool'"):
        attacks_of(["pgd20", "deepfol"])


def test_a_column_belongs_to_one_attack_of_the_catalogue_and_of_the_protocols() -> None:
    everywhere = [*ATTACKS.values(), *(spec for protocol in PROTOCOLS.values() for spec in protocol.attacks)]
    by_metric = {(spec.metric, spec.name) for spec in everywhere if spec.metric}
    assert len(by_metric) == len({metric for metric, _ in by_metric}) == len(Metric)


def test_an_attack_of_another_cell_is_named_after_it() -> None:
    spec = attack_of("transfer:simclr/digits/slf-1/seed0")
    assert (spec.source, spec.steps, spec.norm) == ("simclr/digits/slf-1/seed0", 20, Norm.LINF)


def test_a_transferred_attack_moves_images_along_the_other_classifiers_gradient(
    made: list[tuple[Target, Tensor, Tensor]],
) -> None:
    model, other = classifier(Flat), classifier(Flat)
    other.weight.neg_()
    context = AttackContext(Randomness(0, "attack"), torch.device("cpu"), lambda *_: None, surrogate=other)
    images, spec = images_for(model, low=77, high=179), attack_of("transfer:other")
    assert outcomes(model, images, spec, 0.05, context).tolist() == [False] * 4 + [True] * 20
    assert outcomes(model, images, ATTACKS["pgd20"], 0.05, context).sum() < 15
    first, *_ = made
    target, index, adversarial = first
    loss = lambda one, x: cross_entropy(one(x), target.y[index])  # noqa: E731
    assert loss(other, adversarial) > loss(other, target.x[index])
    assert loss(model, adversarial) < loss(model, target.x[index])


def test_another_attack_in_the_catalogue_or_another_data_set_leaves_finished_attacks_alone() -> None:
    found = reached([("bench.stages.attack", "attack")])
    assert "bench.attacks.foolboxes" in found
    assert "bench.attacks.catalogue" not in found
    assert not any("PROFILES" in statement.binds for statement in found["bench.data.profiles"])

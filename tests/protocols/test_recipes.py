"""The protocols as data: what they say, what their hash covers, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from typing import Any

import pytest

from bench.errors import BenchError
from bench.execution import Precision
from bench.protocols.heads import movable
from bench.protocols.parts import Raises, SecondView, Start
from bench.protocols.recipes import (
    PROTOCOLS,
    Augmentation,
    EncoderMode,
    HeadInit,
    HeadRecipe,
    InnerAttack,
    Metric,
    Objective,
    Routes,
    Scope,
    protocol_of,
)
from tests.protocols.encoders import Normed

GRID = (0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)


@pytest.mark.parametrize(
    ("name", "field", "value"),
    [
        ("slf-1", "rates", GRID),
        ("slf-1", "init", HeadInit.ZERO),
        ("slf-1", "batch", 512),
        ("slf-1", "augmentation", Augmentation.NONE),
        ("alf-1", "rate_from", "slf-1"),
        ("alf-1", "objective", Objective.ADVERSARIAL),
        ("alf-1", "augmentation", Augmentation.NONE),
        ("own-1", "init", HeadInit.OWN),
        ("own-1", "epochs", 0),
        ("own-1", "trained", False),
        ("slf@ncp", "init", HeadInit.DEFAULT),
        ("slf@ncp", "encoder_mode", EncoderMode.EVAL),
        ("slf@ncp", "augmentation", Augmentation.ZERO_PAD_CROP_FLIP),
        ("slf@ncp-bn", "encoder_mode", EncoderMode.TRAIN),
        ("slf@amoc", "init", HeadInit.ZERO),
        ("slf@amoc", "batch", 128),
        ("slf@amoc", "augmentation", Augmentation.REFLECT_PAD_CROP_FLIP),
    ],
)
def test_what_distinguishes_a_recipe(name: str, field: str, value: object) -> None:
    assert getattr(protocol_of(name).recipe, field) == value


@pytest.mark.parametrize("name", [name for name in PROTOCOLS if name != "own-1"])
def test_what_all_trained_heads_share(name: str) -> None:
    recipe = protocol_of(name).recipe
    assert (recipe.momentum, recipe.decay, recipe.pad_divisor, recipe.beta) == (0.9, 0.1, 8, 6.0)


ZERO, DEFAULT, FITTED = HeadInit.ZERO, HeadInit.DEFAULT, HeadInit.FITTED
EVAL, TRAIN = EncoderMode
ACTIVE, DUAL, ANY = Routes
NONE, PAD, REFLECT = Augmentation
CLEAN, ADVERSARIAL, TRADES, JOINT = Objective
HEAD, ALL = Scope

TABLE = """
protocol        trains objective   init    rate epochs batch decay-at  decay  encoder routes crop
slf-1           HEAD   CLEAN       ZERO    grid 25     512   15,20     2e-4   EVAL    ACTIVE NONE
alf-1           HEAD   ADVERSARIAL ZERO    slf  25     512   15,20     2e-4   EVAL    ACTIVE NONE
aff-1           ALL    TRADES      ZERO    .1   25     128   15,20     2e-4   TRAIN   ACTIVE PAD
aff-dual-1      ALL    TRADES      ZERO    .1   25     128   15,20     2e-4   TRAIN   DUAL   PAD
lp-aft-1        ALL    TRADES      FITTED  .1   25     128   15,20     2e-4   TRAIN   ACTIVE PAD
slf@ncp         HEAD   CLEAN       DEFAULT .1   25     512   15,20     2e-4   EVAL    ACTIVE PAD
slf@ncp-bn      HEAD   CLEAN       DEFAULT .1   25     512   15,20     2e-4   TRAIN   ACTIVE PAD
alf@ncp         HEAD   ADVERSARIAL DEFAULT .1   25     512   15,20     2e-4   EVAL    ACTIVE PAD
slf@amoc        HEAD   CLEAN       ZERO    .1   25     128   15,20     2e-4   EVAL    ACTIVE REFLECT
alf@amoc        HEAD   TRADES      ZERO    .1   25     128   15,20     5e-4   EVAL    ACTIVE REFLECT
alf@amoc-ce     HEAD   ADVERSARIAL ZERO    .1   25     128   15,20     5e-4   EVAL    ACTIVE REFLECT
aff@amoc        ALL    TRADES      ZERO    .1   100    128   40,60     5e-4   TRAIN   ACTIVE REFLECT
slf@deacl-2023  HEAD   CLEAN       DEFAULT .01  25     512   15,20     2e-4   EVAL    ACTIVE PAD
slf@deacl-2024  HEAD   CLEAN       DEFAULT .1   25     512   15,20     2e-4   TRAIN   ACTIVE PAD
alf@deacl-2024  HEAD   TRADES      DEFAULT .01  25     512   15,20     2e-4   TRAIN   ACTIVE PAD
aff@deacl-2024  ALL    TRADES      DEFAULT .01  25     512   15,20     2e-4   TRAIN   ACTIVE PAD
slf@dynacl      HEAD   CLEAN       ZERO    .01  25     512   10,20     2e-4   EVAL    ACTIVE PAD
alf@dynacl      HEAD   ADVERSARIAL ZERO    .01  25     512   10,20     2e-4   EVAL    ACTIVE PAD
aff@dynacl      ALL    TRADES      ZERO    .1   25     128   15,20     2e-4   TRAIN   ANY    PAD
slf@dynacl-pp   HEAD   CLEAN       DEFAULT .01  25     512   10,20     2e-4   EVAL    ACTIVE PAD
alf@dynacl-pp   HEAD   ADVERSARIAL DEFAULT .01  25     512   10,20     2e-4   EVAL    ACTIVE PAD
slf@air         HEAD   CLEAN       ZERO    .01  25     512   10,20     2e-4   EVAL    ACTIVE PAD
alf@air         HEAD   ADVERSARIAL ZERO    .01  25     512   10,20     2e-4   EVAL    ACTIVE PAD
aff@air         ALL    TRADES      ZERO    .1   25     128   15,20     2e-4   TRAIN   ANY    PAD
slf@robustssl   HEAD   CLEAN       ZERO    .1   25     128   15,20     2e-4   EVAL    ACTIVE PAD
alf@robustssl   HEAD   ADVERSARIAL ZERO    .1   25     128   15,20     2e-4   EVAL    ACTIVE PAD
aff@robustssl   ALL    TRADES      ZERO    .1   25     128   15,20     2e-4   TRAIN   ANY    PAD
slf@rocl        HEAD   CLEAN       DEFAULT .1   150    1024  31,51,101 5e-4   EVAL    ACTIVE NONE
alf@rocl        HEAD   ADVERSARIAL DEFAULT .1   150    1024  31,51,101 5e-4   EVAL    ACTIVE NONE
aff@rocl        ALL    ADVERSARIAL DEFAULT .1   150    1024  31,51,101 5e-4   EVAL    ACTIVE NONE
aff@rocl-bn     ALL    ADVERSARIAL DEFAULT .1   150    1024  31,51,101 5e-4   TRAIN   ACTIVE NONE
joint@rocl      ALL    JOINT       DEFAULT .1   150    1024  31,51,101 5e-4   EVAL    ACTIVE NONE
joint@rocl-bn   ALL    JOINT       DEFAULT .1   150    1024  31,51,101 5e-4   TRAIN   ACTIVE NONE
slf@acl         HEAD   CLEAN       ZERO    .1   25     128   14,19     2e-4   EVAL    ACTIVE PAD
alf@acl         HEAD   TRADES      ZERO    .1   25     128   14,19     2e-4   EVAL    ACTIVE PAD
aff@acl         ALL    TRADES      ZERO    .1   100    128   39,59     2e-4   TRAIN   ACTIVE PAD
"""
"""What the sources say for CIFAR-10, of a method that is not theirs."""
ROWS = {line.split()[0]: line.split()[1:] for line in TABLE.strip().splitlines()[1:]}


def test_the_table_has_every_protocol_that_trains() -> None:
    assert {*ROWS, "own-1"} == PROTOCOLS.keys()


@pytest.mark.parametrize("name", ROWS)
def test_a_recipe_is_what_its_sources_say(name: str) -> None:
    scope, objective, init, rate, epochs, batch, milestones, decay, mode, routes, crop = ROWS[name]
    recipe = protocol_of(name).recipe.settled("of-mine", "cifar10")
    named = [recipe.scope, recipe.objective, recipe.init, recipe.encoder_mode, recipe.routes, recipe.augmentation]
    assert named == [globals()[word] for word in (scope, objective, init, mode, routes, crop)]
    assert (recipe.epochs, recipe.batch, recipe.weight_decay) == (int(epochs), int(batch), float(decay))
    assert recipe.milestones == tuple(map(int, milestones.split(",")))
    if rate in ("grid", "slf"):
        assert (recipe.rates, recipe.rate_from) == {"grid": (GRID, None), "slf": ((), "slf-1")}[rate]
    else:
        assert recipe.rate_for("cifar10") == float(rate)


UNIFORM, CLIPPED, GAUSSIAN, IMAGE = Start
CROSS_ENTROPY, DIVERGENCE = Raises
INNER = {
    **dict.fromkeys(
        ("alf-1", "alf@ncp", "alf@dynacl", "alf@air", "alf@robustssl"), (10, 1 / 4, CROSS_ENTROPY, UNIFORM)
    ),
    "alf@dynacl-pp": (20, 1 / 4, CROSS_ENTROPY, UNIFORM),
    "alf@amoc-ce": (10, 1 / 4, CROSS_ENTROPY, CLIPPED),
    **dict.fromkeys(("alf@amoc", "aff@amoc"), (10, 1 / 4, DIVERGENCE, CLIPPED)),
    **dict.fromkeys(("aff-1", "aff-dual-1", "lp-aft-1", "aff@air", "aff@robustssl"), (10, 1 / 4, DIVERGENCE, GAUSSIAN)),
    **dict.fromkeys(("alf@deacl-2024", "aff@deacl-2024", "alf@acl", "aff@acl"), (10, 1 / 4, DIVERGENCE, GAUSSIAN)),
    "aff@dynacl": (10, 1 / 4, DIVERGENCE, IMAGE),
    **dict.fromkeys(
        ("alf@rocl", "aff@rocl", "aff@rocl-bn", "joint@rocl", "joint@rocl-bn"),
        (10, pytest.approx(0.007 / 0.0314), CROSS_ENTROPY, CLIPPED),
    ),
}


def test_inner_attacks_are_what_their_sources_say() -> None:
    found = {name: one.recipe.inner for name, one in PROTOCOLS.items() if one.recipe.perturbs}
    assert found.keys() == INNER.keys()
    for name, inner in found.items():
        assert (inner.steps, inner.step_fraction, inner.raises, inner.start) == INNER[name], name


def test_whose_encoder_is_another_afterwards() -> None:
    moving = {name for name, protocol in PROTOCOLS.items() if movable(Normed(), protocol.recipe)}
    linear = {"slf@ncp-bn", "slf@deacl-2024", "alf@deacl-2024"}
    assert moving == linear | {name for name in PROTOCOLS if name.startswith(("aff", "joint", "lp-aft"))}


def test_the_rest_that_sets_recipes_apart() -> None:
    recipes = {name: protocol.recipe for name, protocol in PROTOCOLS.items()}
    assert {name for name, one in recipes.items() if one.nesterov} == {"slf@dynacl-pp", "alf@dynacl-pp"}
    assert {name for name, one in recipes.items() if one.separate_target} == {"alf@deacl-2024", "aff@deacl-2024"}
    assert {name for name, one in recipes.items() if one.spares_held_out} == {"slf@acl", "alf@acl", "aff@acl"}
    assert {name: one.init_from for name, one in recipes.items() if one.init_from} == {"lp-aft-1": "slf@dynacl"}


RATES = """
protocol       method    cifar10 cifar100 stl10 transfer
slf@ncp        ncp       .1      10       10    .1
slf@amoc       amoc      .1      .1       .1    .1
slf@deacl-2023 deacl     .01     -        -     .01
slf@deacl-2024 deacl     .1      -        -     .1
slf@dynacl     dynacl    .01     .01      .01   .01
aff@dynacl     dynacl    .1      .1       -     .1
slf@dynacl-pp  dynacl-pp .01     .05      .1    .01
slf@air        air       .01     .1       .1    .01
alf@air        air-pp    .01     .1       .1    .01
aff@air        air       .1      .1       .1    .1
slf@robustssl  acl       .01     .05      .1    .01
slf@robustssl  dynacl    .01     .05      .1    .01
alf@robustssl  dynacl-pp .01     .05      .1    .01
slf@robustssl  air       .01     .1       .1    .01
slf@robustssl  air-pp    .01     .09      .1    .1
alf@robustssl  air-pp    .01     .1       .1    .1
slf@robustssl  advcl     .01     .01      .01   .01
slf@robustssl  deacl     .01     .01      .01   .01
slf@robustssl  rcs       .1      .1       .1    .1
slf@robustssl  ncp       .1      .1       .1    .1
aff@robustssl  dynacl    .1      .1       .1    .1
slf@rocl       rocl      .1      .1       .1    .1
slf@acl        acl       .1      .1       -     .1
"""
"""Rates by method and data set; `transfer` is from CIFAR-10 to STL-10 at 32 pixels."""


@pytest.mark.parametrize("row", [line.split() for line in RATES.strip().splitlines()[1:]], ids=" ".join)
def test_rates_by_method_and_data_set(row: list[str]) -> None:
    name, method, *rates = row
    recipe = protocol_of(name).recipe
    for dataset, rate in zip(("cifar10", "cifar100", "stl10"), rates, strict=False):
        if rate == "-":
            with pytest.raises(BenchError, match=f"no head learning rate for data set '{dataset}'.*Use '[sa][lf]f-1'"):
                recipe.settled(method, dataset)
        else:
            assert recipe.settled(method, dataset).rate_for(dataset) == float(rate)
    assert recipe.settled(method, "cifar10", transfer=True).rate_for("cifar10") == float(rates[-1])


@pytest.mark.parametrize("protocol", [name for name in PROTOCOLS if name != "own-1"])
def test_every_protocol_runs_on_digits_and_cifar10(protocol: str) -> None:
    for dataset in ("digits", "cifar10"):
        recipe = protocol_of(protocol).recipe.settled("ncp", dataset)
        assert recipe.rates or recipe.rate_from or recipe.rate_for(dataset) > 0


CASES = """
protocol      method    data     epochs batch decay-at
slf@air       air       cifar10  5      512   10,20
slf@air       air       cifar100 25     512   10,20
slf@air       air-pp    cifar10  25     512   10,20
alf@air       air-pp    cifar10  4      512   10,20
alf@air       air       cifar10  25     512   10,20
alf@air       air       stl10    25     128   10,20
slf@robustssl acl       cifar10  25     512   10,20
slf@robustssl air       cifar10  5      512   10,20
slf@robustssl dynacl    transfer 25     128   10,20
slf@robustssl deacl     cifar10  25     512   15,20
slf@robustssl deacl     transfer 25     512   15,20
slf@robustssl rcs       cifar10  25     128   15,20
alf@robustssl air       stl10    25     128   10,20
alf@robustssl air-pp    cifar10  4      512   10,20
aff@robustssl acl       cifar10  100    128   40,60
aff@robustssl dynacl    stl10    25     128   10,20
aff@robustssl dynacl    cifar10  25     128   15,20
aff@acl       acl       cifar10  100    128   39,59
aff@acl       ncp       cifar100 25     128   14,19
"""


@pytest.mark.parametrize("row", [line.split() for line in CASES.strip().splitlines()[1:]], ids=" ".join)
def test_what_some_methods_and_data_sets_have_otherwise(row: list[str]) -> None:
    name, method, dataset, epochs, batch, milestones = row
    transfer = dataset == "transfer"
    recipe = protocol_of(name).recipe.settled(method, "cifar10" if transfer else dataset, transfer=transfer)
    assert (recipe.epochs, recipe.batch) == (int(epochs), int(batch))
    assert recipe.milestones == tuple(map(int, milestones.split(",")))
    assert recipe.cases == ()


def test_weights_from_a_file_take_the_settings_of_the_method_that_is_named() -> None:
    own, named = (protocol_of(f"slf@robustssl{of}").recipe for of in ("", "[method=dynacl]"))
    assert named.settled("checkpoint", "cifar100") == own.settled("dynacl", "cifar100")
    assert own.settled("checkpoint", "cifar100").rate_for("cifar100") == 0.1


def test_of_this_benchmarks_own_protocols_none_knows_a_method() -> None:
    assert not any(protocol.recipe.cases for protocol in PROTOCOLS.values() if not protocol.legacy)


def test_a_data_set_without_legacy_rate_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(BenchError, match="cifar10, cifar100, digits, stl10"):
        protocol_of("slf@amoc").recipe.rate_for("svhn")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_attacks_of_a_protocol(name: str) -> None:
    clean, pgd, autoattack, *others = protocol_of(name).attacks
    assert (clean.metric, autoattack.metric) == (Metric.SA, Metric.AA)
    assert (pgd.steps, pgd.restarts) == (20, 1)
    assert autoattack.batch == 500
    assert [one.name for one in others] == (["apgd-ce+apgd-t"] if name.endswith("@dynacl-pp") else [])
    short = name.partition("@")[2] in ("amoc", "rocl", "rocl-bn") or name == "alf@amoc-ce"
    assert pgd.metric is (Metric.PGD20 if short else Metric.RA_PGD20)


def test_a_metric_has_one_meaning() -> None:
    meanings = {(spec.metric, spec) for protocol in PROTOCOLS.values() for spec in protocol.attacks}
    assert len(meanings) == len({metric for metric, _ in meanings})
    by_metric = dict(meanings)
    assert by_metric[Metric.RA_PGD20].step_fraction == 1 / 4
    assert by_metric[Metric.PGD20].step_fraction == 1 / 10
    assert by_metric[Metric.PGD20].clip_start


def test_only_the_papers_protocols_are_legacy() -> None:
    ours = ["slf-1", "alf-1", "own-1", "aff-1", "aff-dual-1", "lp-aft-1"]
    assert [name for name, protocol in PROTOCOLS.items() if not protocol.legacy] == ours
    assert all("@" in name for name in PROTOCOLS.keys() - ours)


def test_hashes_are_short_and_distinct() -> None:
    hashes = {protocol.hash for protocol in PROTOCOLS.values()}
    assert len(hashes) == len(PROTOCOLS)
    assert all(len(digits) == 12 and int(digits, 16) >= 0 for digits in hashes)


def test_the_hash_covers_all_but_the_reasons() -> None:
    protocol = protocol_of("slf-1")
    assert replace(protocol, why="because").hash == protocol.hash
    assert replace(protocol, version=2).hash != protocol.hash
    assert replace(protocol, attacks=protocol.attacks[:1]).hash != protocol.hash
    assert replace(protocol, recipe=replace(protocol.recipe, epochs=26)).hash != protocol.hash


@pytest.mark.parametrize("name", PROTOCOLS)
def test_an_override_changes_what_it_names_alone_and_is_told_apart(name: str) -> None:
    plain, other = protocol_of(name), protocol_of(f"{name}[precision=tf32]")
    assert (plain.precision, other.precision) == (Precision.FP32, Precision.TF32)
    assert other.name == f"{name}[precision=tf32]"
    assert other.hash != plain.hash
    recipe = replace(other.recipe, **plain.recipe.lenders)
    assert replace(other, name=name, precision=Precision.FP32, recipe=recipe) == plain


@pytest.mark.parametrize(("name", "whose"), [("alf-1", "slf-1"), ("lp-aft-1", "slf@dynacl")])
def test_who_lends_rate_or_head_is_overridden_alike(name: str, whose: str) -> None:
    (lender,) = protocol_of(f"{name}[precision=tf32]").recipe.lenders.values()
    assert lender == f"{whose}[precision=tf32]"
    assert protocol_of(lender).precision is Precision.TF32


HASHES = {
    "slf-1": "af6800291fa4",
    "alf-1": "9d563c6979cf",
    "own-1": "9fa5a2b2a446",
    "aff-1": "c9f02397c8ea",
    "aff-dual-1": "4d5314a76039",
    "lp-aft-1": "c885e81dea82",
    "slf@ncp": "493a6735e2d6",
    "slf@ncp-bn": "1acbd43d9ee4",
    "alf@ncp": "4593f9c722da",
    "slf@amoc": "a014ef2c1e77",
    "alf@amoc": "a05458421055",
    "alf@amoc-ce": "bf91c2bce1cc",
    "aff@amoc": "2a3987200683",
    "slf@deacl-2023": "9d4c7d467c59",
    "slf@deacl-2024": "66019b90db54",
    "alf@deacl-2024": "40a68b62b1bc",
    "aff@deacl-2024": "6c97a0fb568a",
    "slf@dynacl": "b8fdc9e6337d",
    "alf@dynacl": "fa6d8c4c969d",
    "aff@dynacl": "1dda40e0c89c",
    "slf@dynacl-pp": "cf6ad8839abd",
    "alf@dynacl-pp": "8661e6757f18",
    "slf@air": "f00c60837180",
    "alf@air": "c35a61ffe37b",
    "aff@air": "63e295fbe197",
    "slf@robustssl": "9203b1acc44d",
    "alf@robustssl": "d2d673d12eb1",
    "aff@robustssl": "cdaf237c724b",
    "slf@rocl": "8b1c57875338",
    "alf@rocl": "fc3fe960a5ab",
    "aff@rocl": "34858dfd4b66",
    "aff@rocl-bn": "4a59fbfebadc",
    "joint@rocl": "e4a6ca84e418",
    "joint@rocl-bn": "199a1f3c4d65",
    "slf@acl": "3483e12ee2c9",
    "alf@acl": "70bd6f69541d",
    "aff@acl": "319019eabc09",
}
"""By name. If one is another now, rows that were measured before are no longer comparable: put the recipe back, or give
it a new version as `bench.protocols.recipes` says, a new name in the case of this benchmark's own, and write that here.
"""


def test_what_changes_a_protocol_makes_a_new_version_of_it() -> None:
    assert {name: protocol.hash for name, protocol in PROTOCOLS.items()} == HASHES


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("slf-1", {"epochs": 26}),
        ("aff-1", {"beta": 5.0}),
        ("aff-1", {"routes": Routes.DUAL}),
        ("aff-1", {"inner": InnerAttack(raises=Raises.DIVERGENCE)}),
        ("slf@robustssl", {"cases": ()}),
        ("joint@rocl", {"second_view": SecondView(temperature=0.2)}),
    ],
)
def test_every_number_of_a_recipe_is_in_the_hash(name: str, change: dict[str, Any]) -> None:
    protocol = protocol_of(name)
    assert replace(protocol, recipe=replace(protocol.recipe, **change)).hash != protocol.hash


def test_a_new_field_that_stays_at_its_default_changes_no_hash() -> None:
    recipe = protocol_of("slf-1").recipe
    assert set(recipe.identity) == {
        "rates", "rate_by_dataset", "rate_from", "init", "epochs", "batch", "momentum", "weight_decay", "milestones",
        "decay", "encoder_mode", "augmentation", "pad_divisor", "unflipped", "objective", "inner",
    }  # fmt: skip
    assert recipe.identity["inner"] == {"steps": 10, "step_fraction": 0.25}


def test_who_lends_a_head_is_in_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before, slf = protocol_of("lp-aft-1").hash, protocol_of("slf@dynacl")
    other = replace(slf, recipe=replace(slf.recipe, epochs=30))
    monkeypatch.setitem(PROTOCOLS, "slf@dynacl", other)  # type: ignore[arg-type]
    assert protocol_of("lp-aft-1").hash != before


def test_an_override_that_changes_nothing_is_another_protocol_all_the_same() -> None:
    spelled_out = protocol_of("slf-1[precision=fp32]")
    assert spelled_out.hash != protocol_of("slf-1").hash, "named apart, so kept apart"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("slf-1[precission=tf32]", "unknown protocol override 'precission': did you mean 'precision'"),
        ("slf-1[precision=bf16]", "unknown precision of a protocol 'bf16'.*Available: fp32, tf32"),
        ("slf-1[precision=8]", "unknown precision of a protocol '8'"),
        ("slf-1[precision=[fp32,tf32]]", "several protocols where one is expected"),
        ("slf-2[precision=tf32]", "did you mean 'slf-1'"),
        ("slf-1[method=dynacl]", "'slf-1' is the same for every method: leave 'method=dynacl' out"),
        ("slf@robustssl[method=dynac]", "unknown method in the table of slf@robustssl 'dynac': did you mean 'dynacl'"),
    ],
)
def test_overrides_that_cannot_be_read(text: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        protocol_of(text)


def test_unknown_names_are_errors_with_a_suggestion() -> None:
    with pytest.raises(BenchError, match="did you mean 'slf-1'"):
        protocol_of("slf1")
    with pytest.raises(BenchError, match="clean, pgd20"):
        protocol_of("slf-1").attack("pgd")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"rates": GRID, "rate_from": "slf-1"},
        {"rates": (0.1, 0.01)},
        {"rates": GRID, "objective": Objective.ADVERSARIAL},
        {"rates": GRID, "encoder_mode": EncoderMode.TRAIN},
        {"rates": GRID, "augmentation": Augmentation.ZERO_PAD_CROP_FLIP},
        {"rates": GRID, "init": HeadInit.OWN, "epochs": 0},
    ],
)
def test_contradictory_recipes_cannot_be_written(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="rate"):
        HeadRecipe(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("settings", "error"),
    [
        ({"init": HeadInit.FITTED}, "init_from names it"),
        ({"init_from": "slf-1"}, "init_from names it"),
        ({"routes": Routes.DUAL}, "only the objective trades"),
        ({"objective": Objective.JOINT}, "a second view"),
        ({"second_view": SecondView()}, "a second view"),
        ({"rates": GRID, "rate_by_dataset": {}, "spares_held_out": True}, "all of train"),
        ({"rates": GRID, "rate_by_dataset": {}, "scope": Scope.ALL}, "cached features"),
    ],
)
def test_nor_contradictory_fine_tunings(settings: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        HeadRecipe(**{"rate_by_dataset": {"digits": 0.1}, **settings})


@pytest.mark.parametrize("settings", [{"init": HeadInit.OWN}, {"rates": GRID, "epochs": 0}])
def test_an_own_head_is_not_trained_and_every_other_is(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="0 epochs"):
        HeadRecipe(**settings)  # type: ignore[arg-type]


def test_reading_protocols_imports_no_torch() -> None:
    code = "import sys, bench.protocols.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

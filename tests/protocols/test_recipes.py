"""The protocols as data: what they say, what their hash covers, and what they refuse."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest

from bench.data.profiles import PROFILES
from bench.errors import BenchError
from bench.execution import Precision
from bench.protocols.recipes import (
    PROTOCOLS,
    Augmentation,
    EncoderMode,
    HeadInit,
    HeadRecipe,
    Metric,
    Objective,
    protocol_of,
)

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
    assert (recipe.epochs, recipe.momentum, recipe.weight_decay) == (25, 0.9, 2e-4)
    assert (recipe.milestones, recipe.decay) == ((15, 20), 0.1)
    assert (recipe.inner.steps, recipe.inner.step_fraction) == (10, 0.25)


@pytest.mark.parametrize(
    ("name", "rates"),
    [
        ("slf@ncp", {"digits": 0.1, "cifar10": 0.1, "cifar100": 10, "stl10": 10}),
        ("slf@ncp-bn", {"digits": 0.1, "cifar10": 0.1, "cifar100": 10, "stl10": 10}),
        ("slf@amoc", {"digits": 0.1, "cifar10": 0.1, "cifar100": 0.1, "stl10": 0.1}),
    ],
)
def test_legacy_rates(name: str, rates: dict[str, float]) -> None:
    recipe = protocol_of(name).recipe
    assert {dataset: recipe.rate_for(dataset) for dataset in PROFILES} == rates


def test_a_data_set_without_legacy_rate_is_an_error_that_lists_the_others() -> None:
    with pytest.raises(BenchError, match="cifar10, cifar100, digits, stl10"):
        protocol_of("slf@amoc").recipe.rate_for("svhn")


@pytest.mark.parametrize("name", PROTOCOLS)
def test_attacks_of_a_protocol(name: str) -> None:
    clean, pgd, autoattack = protocol_of(name).attacks
    assert (clean.metric, autoattack.metric) == (Metric.SA, Metric.AA)
    assert (pgd.steps, pgd.restarts) == (20, 1)
    assert autoattack.batch == 500


def test_a_metric_has_one_meaning() -> None:
    meanings = {(spec.metric, spec) for protocol in PROTOCOLS.values() for spec in protocol.attacks}
    assert len(meanings) == len({metric for metric, _ in meanings})
    by_metric = dict(meanings)
    assert by_metric[Metric.RA_PGD20].step_fraction == 1 / 4
    assert by_metric[Metric.PGD20].step_fraction == 1 / 10
    assert by_metric[Metric.PGD20].clip_start


def test_only_the_papers_protocols_are_legacy() -> None:
    assert [name for name, protocol in PROTOCOLS.items() if not protocol.legacy] == ["slf-1", "alf-1", "own-1"]


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
    recipe = replace(other.recipe, rate_from=plain.recipe.rate_from)
    assert replace(other, name=name, precision=Precision.FP32, recipe=recipe) == plain


def test_who_lends_the_rate_is_overridden_alike() -> None:
    recipe = protocol_of("alf-1[precision=tf32]").recipe
    assert recipe.rate_from == "slf-1[precision=tf32]"
    assert protocol_of(recipe.rate_from).precision is Precision.TF32


def test_hashes_are_those_from_before_there_were_overrides() -> None:
    assert protocol_of("slf-1").hash == "af6800291fa4"
    assert protocol_of("alf-1").hash == "9d563c6979cf"
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


@pytest.mark.parametrize("settings", [{"init": HeadInit.OWN}, {"rates": GRID, "epochs": 0}])
def test_an_own_head_is_not_trained_and_every_other_is(settings: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="0 epochs"):
        HeadRecipe(**settings)  # type: ignore[arg-type]


def test_reading_protocols_imports_no_torch() -> None:
    code = "import sys, bench.protocols.recipes; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

"""Which rows answer which claim: a green light for the very same question alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from made_rows import failed, frame, row, rows

from bench.attacks.catalogue import ATTACKS
from bench.attacks.threats import Metric
from bench.errors import BenchError
from bench.grammar import parse_spec
from bench.keys import canonical
from bench.protocols.recipes import PROTOCOLS
from bench.registry import Registry
from bench.schema import Row
from leaderboard.claims.claim import Claim
from leaderboard.claims.counterparts import Counterpart, Missing, load_counterparts
from leaderboard.claims.record import Entry, Record, measured
from leaderboard.claims.selection import select
from leaderboard.claims.verdicts import Ruling

RECORD = Record.shipped()
CONFIG = {"epochs": 200, "batch_size": 256}
PAPER: Mapping[str, Any] = {
    "dataset": "cifar10",
    "dataset_like": "cifar10",
    "schedule": "paper",
    "protocol": "slf@ncp",
    "eps": 8 / 255,
    "test_images": 10_000,
    "config": canonical(CONFIG),
}
NCP_AA = 49.22


def claim(method: str = "NCP-ACL", dataset: str = "cifar10", metric: str = "aa", table: str = "Table 2") -> Claim:
    [found] = [
        one
        for one in RECORD.claims
        if (one.method, one.dataset, one.metric, one.table) == (method, dataset, metric, table)
        and one.protocol == "slf"
    ]
    return found


def around(mean: float) -> list[float]:
    return [mean - 0.1, mean, mean + 0.1]


def ours(label: str = "ncp", aa: Sequence[float] = tuple(around(NCP_AA)), **columns: Any) -> list[Row]:
    return rows(label, aa, **{**PAPER, **columns})


def entries(of: Claim, *parts: list[Row]) -> list[Entry]:
    return list(RECORD.entries(of, measured(frame(*parts))))


def test_the_same_question_gets_a_verdict() -> None:
    [entry] = entries(claim(), ours())

    assert entry.verdict.ruling is Ruling.REPRODUCED
    assert (entry.verdict.n, entry.verdict.difference) == (3, pytest.approx(0.0))
    assert entry.where == "ncp/cifar10/slf@ncp, schedule paper, Linf eps 8/255"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"schedule": "short"}, "schedule short, not paper"),
        ({"schedule": "quick"}, "schedule quick, not paper"),
        ({"epochs": 20}, "20 epochs (--epochs), not the paper's"),
        ({"epochs": 200}, "200 epochs (--epochs), not the paper's"),
        ({"budget": 5000.0}, "5000 passes per image (--budget), not the paper's epochs"),
        ({"config": canonical({**CONFIG, "epochs": 20})}, "20 epochs, not 200"),
        ({"config": canonical({**CONFIG, "batch_size": 64})}, "batch size 64, not 512+256"),
        ({"dataset": "parquet:./cifar10[like=cifar10]"}, "data parquet:./cifar10[like=cifar10], not cifar10"),
        ({"pretrain_data": "stl10:unlabelled"}, "pre-trained on stl10:unlabelled, not cifar10"),
        ({"limit_test": 500, "limited": True}, "some images were left out (--limit)"),
        ({"protocol": "slf-1"}, "protocol slf-1, not slf@ncp or slf@ncp-bn"),
        ({"protocol": "slf@ncp[precision=tf32]"}, "protocol slf@ncp[precision=tf32], not slf@ncp or slf@ncp-bn"),
        ({"label": "ncp[trade_off=2]"}, "settings of ncp[trade_off=2], not ncp"),
        ({"label": "ncp[precision=bf16]"}, "settings of ncp[precision=bf16], not ncp"),
        ({"eps": 4 / 255}, "Linf eps 0.01569, not linf 8/255"),
        ({"norm": "L2"}, "L2 eps 0.03137, not linf 8/255"),
    ],
)
def test_another_question_gets_none_however_well_the_numbers_agree(change: dict[str, Any], reason: str) -> None:
    [entry] = entries(claim(), ours(**change))

    assert (entry.verdict.ruling, entry.verdict.difference) == (Ruling.NOT_COMPARABLE, None)
    assert entry.verdict.reasons == (reason,)


def test_seeds_that_failed_are_counted_beside_the_verdict() -> None:
    [entry] = entries(claim(), ours(), [failed("ncp", seed, **PAPER) for seed in (3, 4)])

    assert entry.verdict.text == "reproduced; 2 of 5 seeds failed"


def test_a_gate_that_failed_takes_the_verdict_away() -> None:
    table = frame(ours()).assign(gate_verdict=["ok", "fail", None])

    [entry] = RECORD.entries(claim(), measured(table))
    assert entry.verdict.text == "not comparable: a gate failed, so the number may be no robustness"


ANSWERABLE = [one for one in RECORD.claims if isinstance(RECORD.counterparts.of(one), Counterpart)]


def as_published(one: Claim, **columns: Any) -> list[Row]:
    """Three seeds that average to the published number, measured as its counterpart says."""
    here = RECORD.counterparts.of(one)
    assert isinstance(here, Counterpart)
    config = {name: int(text.split("+")[-1]) for name, text in stated(one) if text}
    single = one.pretrain_epochs is not None and "+" not in one.pretrain_epochs
    values = [min(max(one.value + wobble, 0.0), 100.0) for wobble in (-0.01, 0.0, 0.01)]
    facts = {
        **PAPER,
        "dataset": here.dataset,
        "pretrain_data": here.pretrain_data[0],
        "protocol": here.protocols[0],
        "config": canonical(config),
        "epochs": config["epochs"] if single else None,
        **columns,
    }
    label = here.label.replace("*", "file")
    return [row(label, seed, **facts, **scored(here.column, value)) for seed, value in enumerate(values)]


def scored(column: str, value: float) -> dict[str, Any]:
    return {column: value} if column in set(map(str, Metric)) else {"scores": canonical({column: value})}


def stated(one: Claim) -> list[tuple[str, str | None]]:
    return [("epochs", one.pretrain_epochs), ("batch_size", one.batch_size)]


@pytest.mark.parametrize("one", ANSWERABLE[::9], ids=lambda one: f"{one.paper} {one.table} {one.method} {one.metric}")
def test_a_claim_can_be_answered_and_no_short_schedule_is_ever_a_green_light(one: Claim) -> None:
    [full] = entries(one, as_published(one))
    [short] = entries(one, as_published(one, schedule="short"))

    assert (full.verdict.ruling, short.verdict.ruling) == (Ruling.REPRODUCED, Ruling.NOT_COMPARABLE)


def test_more_attacks_on_the_same_head_are_the_same_question() -> None:
    [entry] = entries(claim(), ours(protocol="slf@ncp[attacks=(pgd20,autoattack,deepfool)]"))

    assert entry.verdict.ruling is Ruling.REPRODUCED


@pytest.mark.parametrize(
    ("metric", "attack", "published"), [("deepfool", "deepfool", 51.89), ("pgd50_l1", "pgd-l1", 58.20)]
)
def test_attacks_without_a_column_are_found_among_the_scores(metric: str, attack: str, published: float) -> None:
    [one] = [one for one in RECORD.claims if (one.method, one.table, one.metric) == ("TRADES", "Table 5", metric)]
    table = [
        row.model_copy(update={"scores": canonical({attack: published + wobble})})
        for row, wobble in zip(ours("trades", protocol="own-1"), (-0.1, 0, 0.1), strict=True)
    ]

    [entry] = entries(one, table)
    assert (entry.verdict.ruling, entry.claim.value) == (Ruling.REPRODUCED, published)


def test_both_readings_of_a_protocol_are_answers() -> None:
    found = entries(claim(), ours(), ours(protocol="slf@ncp-bn", aa=around(40)), ours(protocol="slf-1"))

    assert {entry.where.split(",")[0]: entry.verdict.ruling for entry in found if entry.where} == {
        "ncp/cifar10/slf@ncp": Ruling.REPRODUCED,
        "ncp/cifar10/slf@ncp-bn": Ruling.LOWER,
    }


def test_without_an_answer_the_nearest_rows_are_shown() -> None:
    [entry] = entries(claim(), ours(protocol="slf-1", schedule="short"), ours(protocol="slf-1", aa=around(30)))

    assert entry.verdict.measured == pytest.approx(30)
    assert entry.verdict.reasons == ("protocol slf-1, not slf@ncp or slf@ncp-bn",)


def test_rows_of_other_methods_or_without_the_metric_are_no_answer() -> None:
    [entry] = entries(claim(), ours("amoc"), [ours()[0].model_copy(update={"aa": None})])

    assert entry.verdict.text == "not measured: ncp on cifar10 under slf@ncp or slf@ncp-bn"


@pytest.mark.parametrize(
    ("epochs", "batch", "label", "answered"),
    [
        (200, 256, "amoc", 79.10),
        (1000, 256, "amoc", 86.12),
        (200, 64, "amoc[batch_size=64]", 77.74),
        (1000, 256, "amoc[epochs=1000]", 86.12),
        (200, 512, "amoc[batch_size=512]", None),
    ],
)
def test_length_and_batch_of_pre_training_choose_the_claim(
    epochs: int, batch: int, label: str, answered: float | None
) -> None:
    override = {} if epochs == 200 or "epochs" in label else {"epochs": epochs}
    config = canonical({"epochs": epochs, "batch_size": batch})
    table = [
        row.model_copy(update={"pgd20": 37.0}) for row in ours(label, protocol="slf@amoc", config=config, **override)
    ]
    about_amoc = [one for one in RECORD.claims if (one.method, one.protocol, one.metric) == ("AMOC", "slf", "sa")]

    found = [entry for one in about_amoc for entry in entries(one, table) if not entry.verdict.reasons]
    assert [entry.claim.value for entry in found] == ([] if answered is None else [answered])


# The margin.


RELEASED: Mapping[str, Any] = {"external_data": True, "passes": 0.0}


@pytest.mark.parametrize(
    ("said", "reasons"),
    [
        ("ncp", ["unknown epochs, not 200", "batch size unknown, not 512+256"]),
        ("ncp[epochs=200,batch_size=256]", []),
        ("ncp[epochs=100,batch_size=256]", ["100 epochs, not 200"]),
        ("ncp[epochs=200,batch_size=256,neighbour=3]", ["settings of"]),
    ],
)
def test_released_weights_answer_for_the_method_that_they_are_said_to_be_of(said: str, reasons: list[str]) -> None:
    config = canonical({"layout": "acl", "weights_of": said})
    [entry] = entries(claim(), ours("checkpoint[path=a.pt]", config=config, **RELEASED))

    assert len(entry.verdict.reasons) == len(reasons)
    assert all(wanted in found for wanted, found in zip(reasons, entry.verdict.reasons, strict=True))
    assert (entry.verdict.ruling is Ruling.REPRODUCED) == (not reasons)


def test_released_weights_of_which_nothing_is_said_answer_nothing() -> None:
    [entry] = entries(claim(), ours("checkpoint[path=a.pt]", config=canonical({"layout": "acl"}), **RELEASED))
    assert entry.verdict.ruling is Ruling.NOT_MEASURED


def test_the_margin_is_one_point_or_how_far_the_record_spreads() -> None:
    twice = Record((claim(), claim().model_copy(update={"paper": "another", "value": 51.72})), RECORD.counterparts)
    rules = [rule.model_copy(update={"paper": None}) for rule in RECORD.counterparts.protocol if rule.here]
    both = Record(twice.claims, RECORD.counterparts.model_copy(update={"protocol": tuple(rules)}))

    assert RECORD.spread(claim()) is None
    assert both.spread(claim()) == pytest.approx(2.5)
    [entry] = both.entries(claim(), measured(frame(ours(aa=around(51)))))
    assert (entry.verdict.margin, entry.verdict.ruling) == (pytest.approx(2.5), Ruling.REPRODUCED)


def test_a_published_standard_deviation_is_a_spread() -> None:
    [one] = [one for one in RECORD.claims if (one.paper, one.protocol, one.metric) == ("DeACL-README", "alf", "aa")]
    wide = [one, one.model_copy(update={"metric": "aa_std", "value": 3.0})]

    assert Record(tuple(wide), RECORD.counterparts).spread(one) == 3.0


def test_the_record_contradicting_itself_widens_the_margin_of_what_it_contradicts() -> None:
    [one, other] = [one for one in RECORD.claims if one.value in (43.36, 43.46) and one.method == "AMOC"]

    both_alf = RECORD.counterparts.of(one)
    if isinstance(both_alf, Counterpart):
        assert RECORD.spread(one) == RECORD.spread(other) == pytest.approx(0.1)
    else:
        assert RECORD.spread(one) is None


# The mapping.


def test_every_claim_has_a_counterpart_or_a_reason() -> None:
    for one in RECORD.claims:
        found = RECORD.counterparts.of(one)
        assert found.reason if isinstance(found, Missing) else found.protocols
        if isinstance(found, Missing):
            assert "has no counterpart here" not in found.reason


def test_every_counterpart_exists() -> None:
    counterparts, registry = load_counterparts(), Registry.discover()

    for label in counterparts.methods.values():
        spec = parse_spec(label)
        assert set(spec.options) <= set(registry.find(spec.name).load().Config.model_fields)
    assert {name for rule in counterparts.protocol for name in rule.here} <= set(PROTOCOLS)
    assert set(counterparts.metrics.values()) <= {*map(str, Metric), *ATTACKS}


# In a table.


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        ({}, [("Table 2, Table 3, Table 5 (n=2)", Ruling.REPRODUCED)]),
        ({"schedule": "short"}, [("Table 2, Table 3, Table 5 (n=2)", Ruling.NOT_COMPARABLE)]),
        ({"label": "ncp[neighbour=3]"}, [("Table 5 (n=3)", Ruling.REPRODUCED)]),
        (
            {"dataset": "parquet:x[like=cifar10]", "pretrain_data": "parquet:x[like=cifar10]"},
            [("Table 2, Table 3, Table 5 (n=2)", Ruling.NOT_COMPARABLE)],
        ),
        ({"dataset": "other", "pretrain_data": "cifar10"}, []),
        ({"dataset": "digits", "dataset_like": "digits"}, []),
        ({"protocol": "own-1"}, []),
        ({"protocol": "unheard-of"}, []),
    ],
)
def test_a_cell_of_a_table_meets_the_claims_it_answers_or_comes_nearest_to(
    change: dict[str, Any], shown: list[tuple[str, Ruling]]
) -> None:
    found = RECORD.beside(frame(ours(**change)), "aa")

    assert [(entry.claim.table, entry.verdict.ruling) for entry in found] == shown


# Which claims are asked for.


@pytest.mark.parametrize(
    ("method", "wanted", "methods"),
    [
        ("NCP-ACL", {}, {"NCP-ACL"}),
        ("ncp-acl", {}, {"NCP-ACL"}),
        ("ncp", {"metric": "aa"}, {"NCP-ACL", *(f"NCP-ACL[n={n}]" for n in (3, 4, 5)), "NCP-ACL[K=10]"}),
        ("ncp[neighbour=3]", {}, {"NCP-ACL[n=3]"}),
        ("amoc[branches=acc]", {}, {"AMOC[ACC]"}),
        ("air_pp", {}, {"DynACL-AIR++"}),
        ("amoc", {"protocol": "aff"}, {"AMOC-dagger"}),
        (None, {"paper": "rocl-readme"}, {"RoCL"}),
        (None, {"data set": "cifar10->stl10", "protocol": "ALF", "paper": "RobustSSL-README", "metric": "aa"},
         {"DynACL-AIR", "DynACL", "AdvCL", "A-InfoNCE", "ACL", "DeACL"}),
    ],
)  # fmt: skip
def test_claims_are_selected_by_the_literatures_names_or_ours(
    method: str | None, wanted: dict[str, str], methods: set[str]
) -> None:
    assert {one.method for one in select(RECORD, method, wanted)} == methods


@pytest.mark.parametrize(
    ("method", "wanted", "message"),
    [
        ("amok", {}, "unknown method of the claims 'amok': did you mean 'amoc'"),
        (None, {"paper": "AMOG"}, "unknown paper 'AMOG'.*AMOC"),
        (None, {"metric": "ab"}, "unknown metric 'ab'"),
        (None, {"data set": "cifar11"}, "unknown data set 'cifar11': did you mean 'cifar1"),
        ("amoc", {"paper": "RoCL-README"}, "drop one of the filters"),
    ],
)
def test_a_name_that_no_claim_has_is_named(method: str | None, wanted: dict[str, str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        select(RECORD, method, wanted)

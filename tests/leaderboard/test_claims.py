"""The literature's numbers: all there, sound, with their sources, and with their contradictions."""

from __future__ import annotations

import re
from collections import defaultdict
from typing import Any

import pytest

from bench.errors import BenchError
from leaderboard.claims.claim import (
    MEANINGS,
    PUBLISHED,
    Form,
    Head,
    Quantity,
    about,
    load_claims,
    load_contradictions,
    parse_claims,
)

CLAIMS = load_claims()
CONTRADICTIONS = {one.id: one for one in load_contradictions()}
HEAD = "paper,table,method,dataset,pretrain_epochs,batch_size,protocol,metric,eps,norm,value,n_seeds,source"
SOUND = 'AMOC,Table 3,AMOC,cifar10,200,256,slf,pgd20,8/255,linf,37.12,,"line 193"'


def value(paper: str, table: str, method: str, dataset: str, protocol: str, metric: str) -> float:
    wanted = (paper, table, method, dataset, protocol, metric)
    [found] = [
        claim.value
        for claim in CLAIMS
        if (claim.paper, claim.table, claim.method, claim.dataset, claim.protocol, claim.metric) == wanted
    ]
    return found


def test_there_are_a_thousand_numbers_each_with_its_source() -> None:
    assert len(CLAIMS) == 1000
    assert all(claim.source for claim in CLAIMS)


@pytest.mark.parametrize(
    ("where", "number"),
    [
        (("NCP-ACL", "Table 2", "NCP-ACL", "stl10", "slf", "aa"), 63.55),
        (("NCP-ACL", "Table 3", "NCP-ACL", "cifar10", "alf", "ra_pgd20"), 54.61),
        (("AMOC", "Table 8", "AMOC[AAC]", "cifar10", "alf", "sa"), 10.0),
        (("AMOC", "Table 6", "AMOC-dagger", "cifar100", "aff", "cw_l2"), 32.78),
        (("DeACL-README", "2024-07-14 table", "DeACL", "cifar10", "aff", "aa_std"), 0.15),
        (("RobustSSL-README", "cifar10", "DynACL-AIR++", "cifar10", "slf", "corruption"), 72.11),
    ],
)
def test_numbers_are_those_of_the_papers(where: tuple[str, ...], number: float) -> None:
    assert value(*where) == number  # type: ignore[call-arg]


def test_every_metric_is_a_quantity_with_a_meaning_and_a_form() -> None:
    assert {claim.quantity for claim in CLAIMS} == set(MEANINGS) == set(Quantity)
    assert {claim.form for claim in CLAIMS} == set(Form)


def test_nothing_names_the_machine_it_was_collected_on() -> None:
    for file in PUBLISHED.iterdir():
        assert not re.search(r"/(work|tmp|home|mnt)/|\.\./", file.read_text(encoding="utf-8")), file.name


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (SOUND.replace("37.12", "137.12"), "line 2 is no sound claim: .*137.12 is not in"),
        (SOUND.replace("37.12", "nan"), "line 2 is no sound claim: value"),
        (SOUND.replace("pgd20", "pgd21"), "'pgd21' is not a valid Quantity"),
        (SOUND.replace("slf", "slv"), "protocol: Input should be 'slf', 'alf', 'aff' or 'none'"),
        (SOUND.replace("8/255,linf", ","), "pgd20 needs an attack budget"),
        (SOUND.replace("8/255,", ","), "eps and norm belong together"),
        (SOUND.replace(",200,", ",200+,"), "pretrain_epochs"),
        (f"{SOUND}\n{SOUND}", "line 3 repeats an earlier claim"),
        (f"{SOUND},more", "no sound claim"),
    ],
)
def test_a_broken_line_is_named(line: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        parse_claims(f"{HEAD}\n{line}\n", "claims.csv")


def test_an_empty_field_is_not_known() -> None:
    [claim] = parse_claims(f"{HEAD}\n{SOUND}\n", "claims.csv")

    assert (claim.n_seeds, claim.protocol, claim.form, claim.quantity) == (None, Head.SLF, Form.VALUE, Quantity.PGD)


# Contradictions.


def test_readme_and_leaderboard_disagree_in_27_of_the_211_cells_they_share() -> None:
    values: dict[Any, dict[str, float]] = defaultdict(dict)
    for claim in CLAIMS:
        if claim.paper.startswith("RobustSSL") and claim.form is Form.VALUE:
            values[claim.method, claim.dataset, claim.protocol, claim.metric][claim.paper] = claim.value

    shared = {cell: found for cell, found in values.items() if len(found) == 2}
    differing = {cell: set(found.values()) for cell, found in shared.items() if len(set(found.values())) == 2}
    told = {
        (number.method, number.dataset, number.protocol, number.metric): set(number.values)
        for one in CONTRADICTIONS.values()
        if one.papers == ("RobustSSL-README", "RobustSSL-leaderboard")
        for number in one.numbers
    }

    assert (len(shared), len(differing)) == (211, 27)
    assert told == differing


def test_every_number_that_a_contradiction_names_is_in_the_record() -> None:
    for one in CONTRADICTIONS.values():
        for number in one.numbers:
            found = {claim.value for claim in CLAIMS if claim.paper in one.papers and number.concerns(claim)}
            assert found == set(number.values), (one.id, number)


def test_the_swapped_rows_are_swapped() -> None:
    readme, site = (
        {
            method: [value(paper, table, method, "cifar10->stl10", "alf", metric) for metric in ("aa", "sa")]
            for method in ("ACL", "A-InfoNCE")
        }
        for paper, table in (
            ("RobustSSL-README", "cifar10 to stl10"),
            ("RobustSSL-leaderboard", "leaderboard cifar10-stl10-ALF"),
        )
    )

    assert readme == {"ACL": site["A-InfoNCE"], "A-InfoNCE": site["ACL"]}


def test_contradictions_are_found_by_the_claims_that_they_concern() -> None:
    [claim] = [one for one in CLAIMS if (one.method, one.table, one.metric) == ("AMOC", "Table 5", "pgd20")]

    assert [one.id for one in about(list(CONTRADICTIONS.values()), [claim])] == ["D10-amoc-pgd20"]

"""Which rows may stand in one table, and which are the current ones."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_rows import failed, frame, row, rows

from bench.errors import BenchError
from bench.keys import canonical
from leaderboard.rows import Selection, accuracies, by_setting, current, failed_seeds, fingerprint, scores, select

LATER = "2026-02-01T00:00:00+00:00"


@pytest.mark.parametrize(
    "other",
    [
        {"schedule": "short"},
        {"epochs": 3},
        {"budget": 100.0},
        {"limit_train": 200, "limited": True},
        {"limit_test": 50, "limited": True},
        {"norm": "L2"},
        {"eps": 8 / 255},
        {"precision": "bf16"},
    ],
)
def test_rows_of_two_settings_never_meet(other: dict[str, Any]) -> None:
    blocks = list(by_setting(frame(rows("ncp", [40, 41]), rows("ncp", [50], **other))))

    assert sorted(len(block) for _, block in blocks) == [1, 2]


def test_protocols_are_selected_with_their_overrides() -> None:
    selection = Selection.parse(protocols="slf-1,slf-1[precision=[fp32,tf32]]")
    assert selection.protocols == ("slf-1", "slf-1[precision=fp32]", "slf-1[precision=tf32]")


@pytest.mark.parametrize(
    ("columns", "text"),
    [
        ({}, "schedule quick, Linf eps 0.1"),
        ({"schedule": "short", "eps": 8 / 255}, "schedule short, Linf eps 8/255"),
        (
            {"epochs": 3, "limit_train": 200, "limit_test": 50},
            "schedule quick, 3 epochs, Linf eps 0.1, limit train=200, limit test=50",
        ),
    ],
)
def test_a_setting_reads_as_a_title(columns: dict[str, Any], text: str) -> None:
    [(setting, _)] = by_setting(frame(row("ncp", **columns)))

    assert setting.text == text


@pytest.mark.parametrize(
    "change",
    [
        {"config": '{"neighbour":3}'},
        {"protocol_hash": "p2"},
        {"plugin_hash": "h2"},
        {"data_fingerprint": "d2"},
        {"pool_fingerprint": "f2"},
        {"pretrain_data": "stl10"},
    ],
)
def test_rows_of_older_settings_code_or_data_are_left_out(change: dict[str, Any]) -> None:
    known = {"data_fingerprint": "d1", "pool_fingerprint": "f1"}
    old = rows("ncp", [40, 41, 42], **known)
    new = rows("ncp", [50, 51], created=LATER, **{**known, **change})

    kept = current(frame(old, new))

    assert kept["aa"].tolist() == [50, 51]


def test_the_newest_row_of_repeated_seeds_counts() -> None:
    kept = current(frame(row("ncp", 0, aa=40.0), row("ncp", 0, aa=60.0, created=LATER), row("ncp", 1, aa=41.0)))

    assert kept["aa"].tolist() == [60, 41]


def test_a_failed_row_that_knows_no_fingerprint_stays() -> None:
    kept = current(frame(row("ncp", 0, data_fingerprint="d1"), failed("ncp", 1, created=LATER)))

    assert kept["status"].tolist() == ["ok", "failed"]


def test_methods_do_not_age_each_other() -> None:
    kept = current(frame(rows("amoc", [1, 2], plugin_hash="a"), rows("ncp", [3, 4], plugin_hash="b", created=LATER)))

    assert len(kept) == 4


def test_the_unit_is_the_pre_training_seed() -> None:
    heads = [row("ncp", 0, seed_head=head, aa=value) for head, value in enumerate([40.0, 44.0])]

    assert scores(frame(heads, row("ncp", 1, aa=50.0)), "aa").to_dict() == {0: 42.0, 1: 50.0}


def test_failed_seeds_are_those_without_a_number() -> None:
    partly = failed("ncp", 2, sa=80.0)
    table = frame(rows("ncp", [40]), failed("ncp", 1), partly)

    assert failed_seeds(table, "aa") == (1, 2)
    assert failed_seeds(table, "sa") == (1,)
    assert scores(table, "sa").to_dict() == {0: 80.0, 2: 80.0}


STORED = frame(
    rows("ncp", [40]), rows("ncp[neighbour=3]", [41]), rows("amoc", [42], dataset="cifar10", schedule="short")
)


@pytest.mark.parametrize(
    ("wanted", "labels"),
    [
        ({}, ["ncp", "ncp[neighbour=3]", "amoc"]),
        ({"methods": "ncp"}, ["ncp"]),
        ({"methods": "NCP[ neighbour = 3 ],amoc"}, ["ncp[neighbour=3]", "amoc"]),
        ({"methods": "ncp[neighbour=[3]]"}, ["ncp[neighbour=3]"]),
        ({"datasets": "cifar10"}, ["amoc"]),
        ({"schedule": "quick", "protocols": "slf-1"}, ["ncp", "ncp[neighbour=3]"]),
    ],
)
def test_selection_speaks_the_language_of_run(wanted: dict[str, str], labels: list[str]) -> None:
    assert select(STORED, Selection.parse(**wanted))["label"].tolist() == labels


def test_a_plugin_file_selects_the_method_in_it(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text('from bench.contract import Method\n\n\nclass Mine(Method):\n    name = "my-own"\n')

    assert Selection.parse(methods=f"{file}:Mine[rate=2]").methods == ("my-own[rate=2]",)


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ({"methods": "amok"}, "unknown method .* 'amok': did you mean 'amoc'"),
        ({"datasets": "stl10"}, "unknown data set .* 'stl10'.*Available: cifar10, digits"),
        ({"protocols": "slf-2"}, "did you mean 'slf-1'"),
        ({"schedule": "sort"}, "did you mean 'short'"),
        ({"methods": "ncp", "datasets": "cifar10"}, "no result has all that was asked for together"),
    ],
)
def test_a_selection_without_rows_says_what_there_is(wanted: dict[str, str], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        select(STORED, Selection.parse(**wanted))


def test_the_fingerprint_is_of_the_numbers_not_of_their_order() -> None:
    table = frame(rows("ncp", [40, 41]), failed("amoc"))

    assert fingerprint(table) == fingerprint(table.iloc[::-1])
    assert fingerprint(table) != fingerprint(frame(rows("ncp", [40, 42]), failed("amoc")))


def test_attacks_without_a_column_are_read_from_the_scores_whatever_is_null() -> None:
    table = frame(
        row("ncp", 0, aa=40.0, scores=canonical({"deepfool": 41.0, "autoattack": 40.0, "transfer:x": 60.0})),
        failed("ncp", 1, corruption=70.0),
    )
    table.loc[1, "scores"] = None

    assert scores(table, "deepfool").to_dict() == {0: 41.0}
    assert accuracies(table) == ("aa", "corruption", "deepfool", "transfer:x")

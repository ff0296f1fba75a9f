"""`bench compare`: what may be compared, what is computed, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from made_rows import failed, frame, row, rows

from bench.errors import BenchError
from bench.keys import canonical
from bench.schema import Row
from bench.store import OUTCOMES, Store, parquet
from leaderboard.comparison.compare import Options, Result, compare
from leaderboard.comparison.pairs import Pair, find_pairs
from leaderboard.comparison.words import as_data, paragraphs, title
from leaderboard.rows import Selection
from leaderboard.statistics.families import Family
from leaderboard.statistics.paired import holm, paired_t

IMAGES = 200
ALL = Selection()
A, B = [46.0, 47.5, 45.5, 48.0, 46.5], [41.0, 41.5, 42.5, 41.0, 40.0]
NEAR = [45.0, 48.5, 46.5, 46.0, 47.5]


def pair_of(a: Sequence[float], b: Sequence[float], **columns: Any) -> tuple[Any, tuple[Pair, ...]]:
    table = frame(rows("ncp", a, test_images=IMAGES, **columns), rows("amoc", b, test_images=IMAGES, **columns))
    return table, find_pairs(table, "ncp", "amoc", ALL)


def result(a: Sequence[float], b: Sequence[float], tmp_path: Path, **options: Any) -> Result:
    table, pairs = pair_of(a, b)
    [found] = compare(table, pairs, Store.existing(tmp_path), Options(draws=200, **options))
    return found


def words(found: Result, options: Options | None = None) -> str:
    return "\n".join(line for heading, lines in paragraphs(found, options or Options()) for line in (heading, *lines))


# What may be compared.


def test_methods_meet_wherever_both_were_judged_alike() -> None:
    table = frame(
        rows("ncp", A),
        rows("amoc", B),
        rows("ncp", A, protocol="alf-1"),
        rows("amoc", B, protocol="alf-1"),
        rows("ncp", A, schedule="short"),
        rows("amoc", B, dataset="cifar10"),
    )

    found = find_pairs(table, "ncp", "amoc", ALL)
    assert [(pair.dataset, pair.protocol) for pair in found] == [("digits", "alf-1"), ("digits", "slf-1")]
    assert len(find_pairs(table, "ncp", "amoc", Selection.parse(protocols="slf-1"))) == 1


def test_cells_are_compared_whatever_their_seeds_and_schedules() -> None:
    table = frame(row("ncp", 0, aa=46.0), row("ncp[neighbour=3]", 1, schedule="short", aa=50.0))

    [pair] = find_pairs(table, "ncp/digits/slf-1/seed0", "ncp[neighbour=3]/digits/slf-1/seed1", ALL)
    assert [setting.schedule for setting in pair.settings] == ["quick", "short"]


def judged(label: str, values: Sequence[float], protocol: str, encoder: str = "k") -> list[Row]:
    made = enumerate(values)
    return [row(label, n, aa=value, protocol=protocol, pretrain_key=f"{encoder}{n}") for n, value in made]


class TestProtocols:
    def test_they_meet_on_the_encoders_that_both_judged(self, tmp_path: Path) -> None:
        table = frame(
            judged("ncp", A, "slf-1"), judged("ncp", B, "slf@ncp"), judged("amoc", B, "slf-1"),
            judged("acl", B, "slf-1", "c"), judged("acl", NEAR, "slf@ncp", "c"),
        )  # fmt: skip
        acl, ncp = compare(table, find_pairs(table, "slf-1", "slf@ncp", ALL), Store.existing(tmp_path), Options())
        assert title(ncp.pair).startswith("slf-1 against slf@ncp on digits on the same encoders, those of ncp")
        assert "those of acl" in title(acl.pair)
        assert [ncp.metrics[0].a.by_seed, ncp.metrics[0].b.by_seed] == [dict(enumerate(A)), dict(enumerate(B))]
        assert "The encoders are the same" in words(ncp)

    def test_other_encoders_under_the_same_label_are_refused(self) -> None:
        table = frame(judged("ncp", A[:2], "slf-1"), judged("ncp", B[:2], "slf@ncp", "other"))
        with pytest.raises(BenchError, match=r"different encoders of ncp \(seeds 0, 1\)"):
            find_pairs(table, "slf-1", "slf@ncp", ALL)

    def test_two_that_never_met_are_named_with_the_command(self) -> None:
        table = frame(judged("ncp", A, "slf-1"), judged("acl", B, "slf@ncp"))
        with pytest.raises(BenchError, match="--protocols slf-1,slf@ncp"):
            find_pairs(table, "slf-1", "slf@ncp", ALL)


TABLE = frame(
    rows("ncp", A[:2], test_images=128),
    rows("amoc", B[:2], dataset="cifar10"),
    rows("moco", B[:1], test_images=64),
    rows("acl", B[:1], data_fingerprint="d2", limit_test=64, limited=True),
    rows("rocl", B[:1], protocol="slf@amoc"),
)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        ("ncp", "ncp", "'ncp' is both sides"),
        ("ncp", "amoc", r"never judged alike: ncp has digits/slf-1 \(schedule quick.*\), amoc has cifar10/slf-1"),
        ("ncp", "nobody", r"unknown method \(in these results\) 'nobody'"),
        ("ncp/digits/slf-1/seed0", "nobody", "no finished cell is called 'nobody'"),
        ("ncp", "slf-1", "'slf-1' is a protocol beside a method"),
        ("ncp", "ncp/digits/slf-1/seed0", "'ncp' is a method and 'ncp/digits/slf-1/seed0' is a single cell"),
        ("ncp/digits/slf-1/seed0", "ncp/digits/slf-1/seed0", "one and the same cell"),
        ("ncp/digits/slf-1/seed0", "amoc/cifar10/slf-1/seed0", "dataset is digits and cifar10"),
        ("ncp/digits/slf-1/seed0", "rocl/digits/slf@amoc/seed0", "protocol is slf-1 and slf@amoc"),
        ("ncp/digits/slf-1/seed0", "acl/digits/slf-1/seed0", "limit_test is"),
        ("ncp", "moco", "test_images is 128 and 64"),
    ],
)
def test_what_cannot_be_compared_is_named(a: str, b: str, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        find_pairs(TABLE, a, b, ALL)


# What is computed.


def test_the_family_is_sa_and_aa_wherever_the_two_meet(tmp_path: Path) -> None:
    table = frame(*(rows(label, values, dataset=name) for label, values in (("ncp", A), ("amoc", B)) for name in "xy"))
    found = compare(table, find_pairs(table, "ncp", "amoc", ALL), Store.existing(tmp_path), Options(draws=50))

    aa = [metric for one in found for metric in one.metrics if metric.metric == "aa"]
    raw = [metric.seeds.test.p for metric in aa if metric.seeds]
    assert [metric.seeds.adjusted.holm for metric in aa if metric.seeds and metric.seeds.adjusted] == pytest.approx(
        holm([p for p in raw for _ in ("sa", "aa")])[::2]
    )
    assert [metric.seeds.adjusted for one in found for metric in one.metrics if metric.metric == "ra_pgd20"] == [
        None
    ] * 2


def test_a_declared_family_adjusts_over_all_its_members_measured_or_not(tmp_path: Path) -> None:
    family = Family(
        proposed="ncp", against=("amoc", "moco"), datasets=("digits",), protocols=("slf-1",), metrics=("sa", "aa")
    )
    table, pairs = pair_of(A, NEAR)

    [found] = compare(table, pairs, Store.existing(tmp_path), Options(draws=50, family=family))

    aa = found.metrics[-1].seeds
    assert aa is not None and aa.adjusted is not None
    assert aa.adjusted.holm == pytest.approx(min(1.0, 4 * aa.test.p))
    assert found.family == "the 4 comparisons of the declared family, of which 2 are not measured and count as p = 1"


def test_a_comparison_outside_the_declared_family_is_refused(tmp_path: Path) -> None:
    family = Family(
        proposed="moco", against=("amoc", "acl"), datasets=("digits",), protocols=("slf-1",), metrics=("sa", "aa")
    )
    table, pairs = pair_of(A, B)

    with pytest.raises(BenchError, match="the family does not hold this comparison"):
        compare(table, pairs, Store.existing(tmp_path), Options(family=family))


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two seeds of two methods; every stage of an attack keeps which images are right."""
    made = Store.open(tmp_path / "runs")
    rng = np.random.default_rng(0)
    for label, share in (("ncp", 0.8), ("amoc", 0.6)):
        for seed in (0, 1):
            made.add_row(_stored(made, label, seed, rng.random(IMAGES) < share))
    return made


def _stored(store: Store, label: str, seed: int, right: np.ndarray) -> Row:
    key = f"{label}{seed}aa"
    content = parquet(pa.table({"correct": right}))
    store.put(key, {"result": {"metric": "aa"}}, {OUTCOMES: content})
    accuracy = 100 * float(right.mean())
    cell = f"{label}cell{seed}"
    return row(label, seed, aa=accuracy, cell=cell, test_images=IMAGES, outcomes=canonical({"autoattack": key}))


def test_images_are_compared_seed_by_seed_and_together(store: Store) -> None:
    from bench.store import read_rows

    table = read_rows(store.root)
    [found] = compare(table, find_pairs(table, "ncp", "amoc", ALL), store, Options(draws=500))

    [aa] = found.metrics
    assert aa.images is not None and aa.seeds is not None
    assert set(aa.images.mcnemar) == {0, 1}
    by_hand = paired_t(
        table[table.label == "ncp"].set_index("seed_pretrain").aa,
        table[table.label == "amoc"].set_index("seed_pretrain").aa,
    )
    assert by_hand is not None
    assert aa.images.bootstrap.difference == pytest.approx(by_hand.mean_difference)
    assert np.mean([test.difference for test in aa.images.mcnemar.values()]) == pytest.approx(by_hand.mean_difference)


MET = ("clean", "deepfool")


@pytest.fixture
def many(tmp_path: Path) -> Store:
    """Two seeds of two methods that met an attack without a column, and corruptions."""
    made = Store.open(tmp_path / "many")
    rng = np.random.default_rng(0)
    for label, share in (("ncp", 0.8), ("amoc", 0.6)):
        for seed in (0, 1):
            made.add_row(_met(made, label, seed, {name: rng.random(IMAGES) < share for name in MET}))
    return made


def _met(store: Store, label: str, seed: int, right: Mapping[str, np.ndarray]) -> Row:
    stages = {name: f"{label}{seed}{name}" for name in right}
    for name, key in stages.items():
        column = "sa" if name == "clean" else None
        store.put(key, {"result": {"metric": column}}, {OUTCOMES: parquet(pa.table({"correct": right[name]}))})
    shares = {name: 100 * float(found.mean()) for name, found in right.items()}
    worst = 100 * float(np.logical_and.reduce(list(right.values())).mean())
    numbers = {"sa": shares["clean"], "ra_worst": worst, "corruption": shares["clean"] - seed}
    texts = {"scores": canonical(shares), "worst_over": canonical(MET), "outcomes": canonical(stages)}
    return row(label, seed, cell=f"{label}{seed}", test_images=IMAGES, **numbers, **texts)


def test_every_attack_that_both_met_is_compared_by_seed_and_by_image(many: Store) -> None:
    from bench.store import read_rows

    table = read_rows(many.root)
    [found] = compare(table, find_pairs(table, "ncp", "amoc", ALL), many, Options(draws=50))

    by_name = {metric.metric: metric for metric in found.metrics}
    assert list(by_name) == ["sa", "ra_worst", "corruption", "deepfool"]
    for metric in ("ra_worst", "deepfool"):
        images = by_name[metric].images
        assert images is not None
        difference = by_name[metric].a.mean - by_name[metric].b.mean
        assert np.mean([test.difference for test in images.mcnemar.values()]) == pytest.approx(difference)
    said = words(found)
    assert "deepfool, accuracy under attack deepfool" in said
    assert "The worst case is over clean, deepfool" in said
    assert by_name["corruption"].images is None
    assert "corrupted copies of one image do not count" in said


def test_a_worst_case_over_other_attacks_is_another_question() -> None:
    table = frame(
        row("ncp", 0, sa=90.0, ra_worst=40.0, worst_over=canonical(["clean", "autoattack"])),
        row("amoc", 0, sa=90.0, ra_worst=50.0, worst_over=canonical(["clean", "pgd20"])),
    )
    [pair] = find_pairs(table, "ncp", "amoc", ALL)
    assert pair.metrics == ("sa",)


def test_two_cells_of_other_seeds_are_compared_by_image(store: Store) -> None:
    from bench.store import read_rows

    table = read_rows(store.root)
    [found] = compare(table, find_pairs(table, "ncpcell0", "amoccell1", ALL), store, Options(draws=50))

    [aa] = found.metrics
    assert (aa.seeds, aa.images is not None) == (None, True)
    assert "one model of each says nothing about" in words(found)


# What is said.


@pytest.mark.parametrize(
    ("a", "b", "sentences"),
    [
        (A, B, ["In a word: ncp is better than amoc", "By seed, ncp - amoc: +5.50 points, 95 % interval"]),
        (B, A, ["In a word: ncp is better than amoc".replace("ncp is", "amoc is").replace("than amoc", "than ncp")]),
        (A, NEAR, ["In a word: not told apart, and not shown to be equal either."]),
        (
            A,
            [value + tiny for value, tiny in zip(A, (0.1, -0.1, 0.05, 0, 0), strict=True)],
            ["equal to within 0.5 points"],
        ),
        (
            A,
            [value - 1 for value in A],
            ["every seed has the same difference", "-1.00 points in each of 5 seeds".replace("-", "+")],
        ),
        (A[:1], B[:1], ["one model of each says nothing", "No test by seed"]),
        (A, B, ["silent: with 5 seeds their smallest p is 0.0625; they can speak from 6 seeds on"]),
        ([*A, 47.0], [*B, 41.0], ["sign flips p = 0.031, Wilcoxon's signed ranks p = 0.031. With fewer than 8 seeds"]),
        (A, B, ["Adjusted over the 2 tests of SA and AA", "the metric is secondary"]),
        (A, B, ["Not significant is not equal", "PGD-20 is no stand-in", "smoke test: no evidence"]),
        (A, [100 - value for value in A], ["did not help, it widened the interval"]),
        (A, B[:3], ["do not have the same seeds", "paired t-test over 3 seeds"]),
        (A, B, ["the per-image outcomes are not in the store"]),
    ],
)
def test_the_words_follow_the_numbers(
    a: Sequence[float], b: Sequence[float], sentences: list[str], tmp_path: Path
) -> None:
    said = words(result(a, b, tmp_path))

    assert all(sentence in said for sentence in sentences), said


def test_what_holds_for_one_side_is_said_of_it(tmp_path: Path) -> None:
    table = frame(rows("ncp", A), failed("ncp", 5), rows("amoc", B, external_data=True))
    [found] = compare(table, find_pairs(table, "ncp", "amoc", ALL), Store.existing(tmp_path), Options(draws=50))

    said = words(found)
    assert "ncp: seeds 5 failed; the numbers are of the others." in said
    assert "amoc: data or weights from outside the pre-training images were used." in said


def test_the_title_says_what_is_compared(tmp_path: Path) -> None:
    assert title(result(A, B, tmp_path).pair) == "ncp against amoc on digits under slf-1 (schedule quick, Linf eps 0.1)"


def test_programs_get_the_same(tmp_path: Path) -> None:
    [found] = json.loads(as_data([result(A, [value - 1 for value in A], tmp_path)], Options()))

    assert (found["a"], found["b"], found["dataset"]) == ("ncp", "amoc", "digits")
    assert [metric["metric"] for metric in found["metrics"]] == ["sa", "ra_pgd20", "aa"]
    assert found["metrics"][-1]["seeds"]["test"]["mean_difference"] == pytest.approx(1.0)
    assert found["metrics"][-1]["seeds"]["told_apart"] is None

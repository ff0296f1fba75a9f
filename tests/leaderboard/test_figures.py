"""What figures hold: points computed by hand, from rows and histories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from made_rows import failed, frame, row, rows

from bench.errors import BenchError
from bench.store import Store
from leaderboard.claims.record import Record
from leaderboard.figures import comparisons, corruptions, cost, curves, embedding, ladder, option, silhouette, tests
from leaderboard.figures.material import Material
from leaderboard.figures.model import Along, Figure, Panel, Point, Role, Scale, Series
from leaderboard.studies.embedding import Embedding, Separability
from tests.stores import finish


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.open(tmp_path / "runs")


def material(store: Store, *parts: Any, order: tuple[str, ...] = ()) -> Material:
    return Material.of(frame(*parts), store, "bench figure any", Path("data"), order)


def of_role(panel: Panel, role: Role) -> list[Series]:
    return [series for series in panel.series if series.role is role]


def places(series: Series) -> list[tuple[float, float]]:
    return [(point.x, point.y) for point in series.points]


def with_option(name: str, value: Any, aa: list[float], **columns: Any) -> list[Any]:
    config = json.dumps({name: value})
    label = columns.pop("label", f"amoc[{name}={value}]")
    return rows(label, aa, config=config, **columns)


# Means and intervals.


def test_an_interval_is_that_of_t_from_three_seeds_on(store: Store) -> None:
    three = [*with_option("bank_size", 64, [10.0, 11.0, 12.0]), *with_option("bank_size", 128, [20.0, 22.0])]

    [means] = of_role(option.build(material(store, three), "bank_size", ("aa",)).panels[0][0], Role.MEAN)

    first, second = means.points
    assert (first.x, first.y) == (64, 11.0)
    assert (first.low, first.high) == pytest.approx((11 - 4.302653 / 3**0.5, 11 + 4.302653 / 3**0.5), abs=1e-5)
    assert (second.y, second.low, second.high) == (21.0, None, None)


def test_failed_cells_have_no_mark_and_are_named(store: Store) -> None:
    found = [*with_option("bank_size", 64, [10.0]), *with_option("bank_size", 128, [20.0])]
    figure = option.build(
        material(store, found, failed("amoc[bank_size=128]", 1, config='{"bank_size": 128}')), "bank_size"
    )

    assert "1 of 3 cells failed and have no marks: amoc[bank_size=128]." in figure.notes


# A metric against an option.


def test_an_option_has_a_panel_per_metric_and_a_row_per_place(store: Store) -> None:
    found = [
        one
        for protocol in ("alf@amoc", "slf@amoc[attacks=pgd20]")
        for size in (64, 128)
        for one in with_option("bank_size", size, [10.0, 12.0], protocol=protocol)
    ]

    figure = option.build(material(store, found), "bank-size")

    assert [[panel.y.title for panel in line] for line in figure.panels] == [["SA (%)", "RA (%)", "AA (%)"]] * 2
    assert [line[0].title for line in figure.panels] == ["slf@amoc", "alf@amoc"]
    [means] = of_role(figure.panels[0][2], Role.MEAN)
    assert (means.label, places(means)) == ("amoc", [(64, 11.0), (128, 11.0)])


def test_the_default_of_an_option_is_a_point_of_the_curve(store: Store) -> None:
    found = [*with_option("bank_size", 256, [9.0], label="amoc"), *with_option("bank_size", 64, [8.0])]

    [means] = of_role(option.build(material(store, found), "bank_size", ("aa",)).panels[0][0], Role.MEAN)

    assert places(means) == [(64, 8.0), (256, 9.0)]


@pytest.mark.parametrize(
    ("values", "scale"),
    [
        ([64, 128, 2048], Scale.LOG),
        ([2, 3, 5], Scale.LINEAR),
        ([0.05, 0.5, 0.95], Scale.LINEAR),
        (["ACA", "CAC"], Scale.CATEGORIES),
    ],
)
def test_values_lie_on_the_axis_that_fits_them(store: Store, values: list[Any], scale: Scale) -> None:
    found = [one for value in values for one in with_option("it", value, [10.0])]

    axis = option.build(material(store, found), "it", ("aa",)).panels[0][0].x

    assert axis.scale is scale
    assert axis.categories == (tuple(values) if scale is Scale.CATEGORIES else ())


def test_what_the_method_chose_itself_is_marked_at_its_value(store: Store) -> None:
    found = [one for k in (10, 20) for one in with_option("clusters", k, [10.0, 12.0], label=f"ncp[clusters={k}]")]
    for seed, chosen in enumerate((10, 15)):
        finish(store, f"k{seed}", **{"history.json": json.dumps([{"clusters": chosen}]).encode()})
        found.append(row("ncp", seed, config='{"clusters":null}', aa=30.0 + seed, pretrain_key=f"k{seed}"))

    [chosen] = of_role(option.build(material(store, found), "clusters", ("aa",)).panels[0][0], Role.CHOSEN)

    assert places(chosen) == [(10, 30.0), (15, 31.0)]


def test_published_numbers_stand_at_the_value_they_are_of(store: Store) -> None:
    where = {"dataset": "cifar100", "dataset_like": "cifar100", "schedule": "paper", "protocol": "slf@ncp"}
    found = [one for k in (10, 20) for one in with_option("clusters", k, [20.0], label=f"ncp[clusters={k}]", **where)]

    figure = option.build(material(store, found), "clusters", record=Record.shipped())

    [line] = figure.panels
    assert [places(of_role(panel, Role.PUBLISHED)[0]) for panel in line] == [
        [(10, 51.76)],
        [(10, 30.66)],
        [(10, 21.77)],
    ]
    assert "Open marks are published numbers, of the paper's own schedule." in figure.notes


def test_an_option_needs_two_values(store: Store) -> None:
    with pytest.raises(BenchError, match=r'amoc has one value of bank_size alone \(64\).*bench run --methods "amoc\['):
        option.build(material(store, with_option("bank_size", 64, [1.0])), "bank_size")


def test_an_unknown_option_is_named_with_the_closest(store: Store) -> None:
    with pytest.raises(BenchError, match=r"unknown option .*'bank': did you mean 'bank_size'"):
        option.build(material(store, with_option("bank_size", 64, [1.0])), "bank")


# Accuracy against eps.


def rung(label: str, eps: float, ra: list[float], protocol: str = "own-1") -> list[Any]:
    text = f"{protocol}[attacks=pgd20,eps={eps}]"
    return [
        row(label, seed, ra_pgd20=value, eps=eps, protocol=text, config='{"eps":0.1}') for seed, value in enumerate(ra)
    ]


def test_rows_of_several_eps_make_one_line(store: Store) -> None:
    figure = ladder.build(
        material(store, rung("trades", 0.2, [5.0]), rung("trades", 0, [90.0]), rung("trades", 0.1, [40.0, 42.0]))
    )

    [[panel]] = figure.panels
    [means] = of_role(panel, Role.MEAN)
    assert (means.label, places(means)) == ("trades", [(0.0, 90.0), (0.1, 41.0), (0.2, 5.0)])
    assert panel.x.title == "eps (pixels in [0, 1])"
    assert [(guide.at, guide.text) for guide in panel.guides] == [(0.1, "eps of training")]


def test_a_ladder_of_whole_levels_is_counted_in_them(store: Store) -> None:
    [[panel]] = ladder.build(material(store, rung("trades", 4 / 255, [9.0]), rung("trades", 8 / 255, [5.0]))).panels

    assert panel.x.title == "eps (1/255)"
    assert panel.x.ticks == pytest.approx((4, 8))


def test_one_method_under_two_protocols_has_two_lines_with_dashes(store: Store) -> None:
    parts = [rung("amoc", eps, [9.0], protocol) for eps in (0.0, 0.1) for protocol in ("alf@amoc", "aff@amoc")]

    [[panel]] = ladder.build(material(store, *parts)).panels

    assert [(one.label, one.dashed) for one in panel.series] == [("amoc (aff@amoc)", True), ("amoc (alf@amoc)", True)]


def test_a_ladder_needs_two_rungs(store: Store) -> None:
    with pytest.raises(BenchError, match=r"no number under ra_pgd20 at two radii.*--eps"):
        ladder.build(material(store, rung("trades", 0.1, [9.0])))


# Paired tests.


THREE = (rows("moco", [10.0, 11.0, 12.0]), rows("acl", [20.0, 22.0, 21.0]), rows("amoc", [24.0, 25.5, 27.2]))


def test_p_values_stand_as_they_are_and_adjusted_over_the_whole_figure(store: Store) -> None:
    from scipy import stats

    figure = tests.build(material(store, *THREE, order=("moco", "acl", "amoc")), ("aa",))

    [[p_values, _]] = figure.panels
    assert p_values.y.categories == ("moco \N{MINUS SIGN} acl", "moco \N{MINUS SIGN} amoc", "acl \N{MINUS SIGN} amoc")
    [raw] = of_role(p_values, Role.RAW)
    numbers = {"moco": [10, 11, 12], "acl": [20, 22, 21], "amoc": [24, 25.5, 27.2]}
    expected = [
        stats.ttest_rel(numbers[a], numbers[b]).pvalue for a, b in (("moco", "acl"), ("moco", "amoc"), ("acl", "amoc"))
    ]
    assert [point.x for point in raw.points] == pytest.approx(expected)
    adjusted = {one.points[0].y: one.points[0].x for one in p_values.series if one.role is not Role.RAW}
    smallest = expected.index(min(expected))
    assert adjusted[smallest] == pytest.approx(3 * min(expected))
    assert [(guide.at, guide.along) for guide in p_values.guides] == [(0.05, Along.X)]


def test_beside_the_p_values_are_the_differences_with_their_intervals(store: Store) -> None:
    [[_, right]] = tests.build(material(store, *THREE, order=("moco", "acl", "amoc")), ("aa",)).panels

    [first, *_] = right.series
    [point] = first.points
    assert (point.x, point.y) == pytest.approx((-10.0, 0.0))
    half = 4.302653 * 1.0 / 3**0.5
    assert (point.low, point.high) == pytest.approx((-10 - half, -10 + half), abs=1e-5)


def test_a_difference_that_never_varies_has_neither_p_nor_interval(store: Store) -> None:
    figure = tests.build(material(store, rows("a", [1.0, 2.0]), rows("b", [3.0, 4.0])), ("aa",))

    [[left, right]] = figure.panels
    assert [series.points for series in left.series] == [()]
    assert right.series[0].points == (Point(-2.0, 0.0),)
    assert any("no variance" in note for note in figure.notes)


def test_comparisons_with_a_control_put_the_largest_difference_first(store: Store) -> None:
    figure = comparisons.build(material(store, *THREE), control="moco")

    [line] = figure.panels
    assert [panel.x.title for panel in line] == [f"{name} \N{MINUS SIGN} moco (points)" for name in ("SA", "RA", "AA")]
    assert line[0].y.categories == ("amoc", "acl")
    assert {series.subject for series in line[0].series} == {"amoc", "acl"}


def test_filled_marks_are_those_that_the_adjusted_test_tells_apart(store: Store) -> None:
    near = rows("near", [10.2, 10.9, 12.05])

    [[panel]] = comparisons.build(material(store, *THREE, near), ("aa",), control="moco").panels

    assert {one.subject: one.role for one in panel.series} == {
        "acl": Role.MEAN, "amoc": Role.MEAN, "near": Role.OPEN,
    }  # fmt: skip


def test_what_a_gate_failed_is_not_compared(store: Store) -> None:
    doubted = rows("doubted", [50.0, 51.0, 52.5], gate_verdict="fail")

    figure = comparisons.build(material(store, *THREE, doubted), ("aa",), control="moco")

    assert figure.panels[0][0].y.categories == ("amoc", "acl")
    assert "Methods of which a gate failed are left out: doubted." in figure.notes


@pytest.mark.parametrize(
    ("labels", "control", "message"),
    [
        (("a", "b"), "c", "unknown control .*'c'"),
        (tuple("abcdefghij"), None, "10 methods are 45 pairs"),
        (("a",), None, "no two methods share two seeds"),
    ],
)
def test_comparisons_that_cannot_be_drawn(
    store: Store, labels: tuple[str, ...], control: str | None, message: str
) -> None:
    parts = [rows(label, [1.0, 2.0 + index]) for index, label in enumerate(labels)]

    with pytest.raises(BenchError, match=message):
        comparisons.build(material(store, *parts), ("aa",), control)


# Cost.


def test_the_front_is_what_nothing_as_cheap_equals() -> None:
    points = [Point(1, 10), Point(2, 30), Point(2, 40), Point(3, 35), Point(4, 40), Point(5, 41)]

    assert [(point.x, point.y) for point in cost.front(points)] == [(1, 10), (2, 40), (5, 41)]


def test_hours_are_those_of_all_stages_before_the_head_too(store: Store) -> None:
    finish(store, "teacher", seconds=1800.0)
    finish(store, "student", {"teacher": "teacher"}, seconds=900.0)
    finish(store, "alone", seconds=360.0)
    parts = [
        row("ncp", aa=30.0, passes=300.0, pretrain_key="student"),
        row("amoc", aa=20.0, passes=100.0, pretrain_key="alone"),
    ]

    [[passes, hours]] = cost.build(material(store, parts)).panels

    assert {one.subject: one.points[0].x for one in passes.series[1:]} == {"amoc": 100, "ncp": 300}
    assert {one.subject: one.points[0].x for one in hours.series[1:]} == {"amoc": 0.1, "ncp": 0.75}
    assert hours.x.title == "CPU-hours"


def test_what_a_gate_failed_is_an_open_mark_and_never_on_the_front(store: Store) -> None:
    parts = [
        row("cheat", aa=90.0, passes=10.0, gate_verdict="fail"),
        row("amoc", aa=20.0, passes=100.0),
        row("ncp", aa=30.0, passes=200.0),
    ]

    [[panel]] = cost.build(material(store, parts)).panels

    front, *marks = panel.series
    assert [point.y for point in front.points] == [20.0, 30.0]
    assert {one.subject: one.role for one in marks}["cheat"] is Role.OPEN


# Histories.


def put_history(store: Store, key: str, *records: dict[str, Any]) -> None:
    finish(store, key, **{"history.json": json.dumps(records).encode()})


def test_a_curve_is_the_mean_of_the_seeds_over_the_epochs_that_all_have(store: Store) -> None:
    put_history(store, "a", *({"epoch": epoch, "loss": 4.0 - epoch} for epoch in range(3)))
    put_history(store, "b", *({"epoch": epoch, "loss": 2.0 - epoch} for epoch in range(2)))
    found = [row("ncp", 0, aa=1.0, pretrain_key="a"), row("ncp", 1, aa=1.0, pretrain_key="b")]

    [[panel]] = curves.build(material(store, found)).panels

    [mean] = of_role(panel, Role.LINE)
    assert places(mean) == [(1, 3.0), (2, 2.0)]
    assert [places(one) for one in of_role(panel, Role.SEED)] == [[(1, 4.0), (2, 3.0), (3, 2.0)], [(1, 2.0), (2, 1.0)]]


def test_a_silhouette_has_a_star_at_each_seeds_optimum_and_ticks_at_the_papers(store: Store) -> None:
    put_history(store, "a", {"silhouette": {"10": 0.1, "20": 0.3, "30": 0.3}})
    put_history(store, "b", {"silhouette": {"10": 0.4, "20": 0.2, "30": 0.1}})
    where = {"dataset": "cifar10", "dataset_like": "cifar10"}
    found = [row("ncp", 0, pretrain_key="a", **where), row("ncp", 1, pretrain_key="b", **where)]

    [[panel]] = silhouette.build(material(store, found), Record.shipped()).panels

    assert places(of_role(panel, Role.CHOSEN)[0]) == [(20, 0.3), (10, 0.4)]
    assert places(of_role(panel, Role.LINE)[0]) == [(10, 0.25), (20, 0.25), (30, pytest.approx(0.2))]
    assert sorted(guide.at for guide in panel.guides) == [60, 70, 75, 90]


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (curves.build, "no pre-training here has a history"),
        (silhouette.build, "no pre-training here recorded a silhouette"),
    ],
)
def test_without_a_history_there_is_nothing_to_draw(store: Store, build: Any, message: str) -> None:
    with pytest.raises(BenchError, match=message):
        build(material(store, row("ncp", aa=1.0, pretrain_key="gone")))


# Studies.


def test_corruptions_stand_a_line_each_with_methods_beside_each_other(store: Store) -> None:
    accuracies = {"acl": 50.0, "amoc": 60.0}

    def study(_: Store, one: Any) -> dict[str, float]:
        return {"fog": accuracies[one["label"]] + one["seed_pretrain"], "jpeg_compression": 10.0}

    figure = corruptions.build(material(store, rows("acl", [1.0, 1.0]), rows("amoc", [1.0, 1.0])), study)

    [[panel]] = figure.panels
    assert panel.y.categories == ("fog", "jpeg compression")
    assert {one.label: one.points[0].x for one in panel.series} == {"acl": 50.5, "amoc": 60.5}
    above, below = (one.points[1].y for one in panel.series)
    assert above < 1 < below


def test_an_embedding_has_a_panel_per_method_of_its_first_seed(store: Store) -> None:
    def study(_: Store, one: Any, __: Path) -> Embedding:
        labels = np.array([0, 1, 1])
        separable = Separability(0.25, 87.5, 3, 10, 5)
        return Embedding(f"{one['label']} {one['seed_pretrain']}", np.eye(3)[:, :2], labels, 30.0, 0.9, separable)

    parts = (rows("acl", [1.0, 2.0]), rows("amoc", [1.0, 2.0]))
    figure = embedding.build(material(store, *parts, order=("amoc",)), study)

    assert [panel.title for panel in figure.flat] == [
        "amoc\nsilhouette 0.25, 5-NN 87.5 %",
        "acl\nsilhouette 0.25, 5-NN 87.5 %",
    ]
    assert [places(one) for one in figure.panels[0][0].series] == [[(1, 0)], [(0, 1), (0, 0)]]
    assert figure.notes[0].startswith("amoc 0 on digits: 3 test images")


# Rows.


def test_methods_that_differ_by_their_epochs_are_called_by_them(store: Store) -> None:
    shorter = row("amoc", config='{"epochs":200}', aa=1.0)
    longer = row("amoc[epochs=1000]", config='{"epochs":1000}', aa=1.0)

    assert material(store, shorter).name_of("amoc") == "amoc"
    both = material(store, shorter, longer)
    assert [both.name_of(label) for label in both.labels] == ["amoc (200 epochs)", "amoc (1000 epochs)"]


def test_an_older_version_of_a_cell_is_not_drawn(store: Store) -> None:
    older = with_option("bank_size", 64, [50.0], plugin_hash="old", created="2025-01-01T00:00:00+00:00")
    newer = [*with_option("bank_size", 64, [10.0], plugin_hash="new"), *with_option("bank_size", 128, [20.0])]

    made = material(store, older, newer)

    assert isinstance(made.rows, pd.DataFrame)
    assert sorted(made.rows["aa"]) == [10.0, 20.0]


def test_a_metric_that_no_row_has_is_named(store: Store) -> None:
    with pytest.raises(BenchError, match=r"unknown metric .*'pgd20'"):
        comparisons.build(material(store, *THREE), ("pgd20",))


def test_a_figure_says_where_it_comes_from(store: Store) -> None:
    figure: Figure = comparisons.build(material(store, *THREE))

    assert figure.text.splitlines()[-1].startswith("Made by: bench figure any; 9 rows, hash ")

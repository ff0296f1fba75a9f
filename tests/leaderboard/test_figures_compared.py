"""What figures hold that compare methods: paired tests, differences with intervals, costs."""

from __future__ import annotations

import pytest
from made_figures import material, of_role
from made_rows import row, rows

from bench.errors import BenchError
from bench.store import Store
from leaderboard.figures import comparisons, cost, tests
from leaderboard.figures.model import Along, Figure, Point, Role
from tests.stores import finish

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


def test_the_family_of_a_figure_is_the_tests_that_were_adjusted_together_as_in_tables(store: Store) -> None:
    equal, apart = rows("equal", [10.0, 11.0, 12.0]), rows("apart", [13.0, 14.0, 15.0])

    figure = tests.build(material(store, *THREE, equal, apart), ("aa",), control="moco")

    [[p_values, _]] = figure.panels
    adjusted = {point.y: point.x for one in p_values.series if one.role is not Role.RAW for point in one.points}
    [raw] = of_role(p_values, Role.RAW)
    lines = {name.partition(" ")[0]: float(y) for y, name in enumerate(p_values.y.categories)}
    assert set(adjusted) == {lines[name] for name in ("acl", "amoc", "equal")}
    assert min(adjusted.values()) == pytest.approx(3 * min(point.x for point in raw.points))
    assert adjusted[lines["equal"]] == 1.0
    assert any("over the 3 tests of this figure" in note for note in figure.notes)
    assert "told apart (p < 0.05 after Holm over 3 tests)" in {one.label for one in p_values.series}


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


def test_a_metric_that_no_row_has_is_named(store: Store) -> None:
    with pytest.raises(BenchError, match=r"unknown metric .*'pgd20'"):
        comparisons.build(material(store, *THREE), ("pgd20",))


def test_a_figure_says_where_it_comes_from(store: Store) -> None:
    figure: Figure = comparisons.build(material(store, *THREE))

    assert figure.text.splitlines()[-1].startswith("Made by: bench figure any; 9 rows, hash ")


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


def test_a_method_whose_cost_is_unknown_is_named(store: Store) -> None:
    parts = [row(label, aa=20.0, passes=passes) for label, passes in (("a", 1.0), ("b", 2.0), ("imported", None))]

    figure = cost.build(material(store, parts))

    assert "Without a number or a known cost, and so without a mark: imported." in figure.notes

"""What figures hold, in points computed by hand: a metric against an option, and against eps."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest
from made_figures import material, of_role, places
from made_rows import failed, row, rows

from bench.errors import BenchError
from bench.store import Store
from leaderboard.claims.record import Record
from leaderboard.figures import ladder, option
from leaderboard.figures.model import Role, Scale
from tests.stores import finish


def with_option(name: str, value: Any, aa: list[float], **columns: Any) -> list[Any]:
    config = json.dumps({name: value})
    label = columns.pop("label", f"amoc[{name}={value}]")
    return rows(label, aa, config=config, **columns)


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


@pytest.mark.parametrize(
    ("lower", "upper", "shown"),
    [
        ({"ra_pgd20": 40.0, "pgd20": 50.0}, {"ra_pgd20": 30.0, "pgd20": 45.0}, "RA (%)"),
        ({"aa": 25.0, "pgd20": 50.0}, {"pgd20": 45.0}, "PGD-20 (%)"),
        ({"scores": '{"slide": 50.0}'}, {"scores": '{"slide": 45.0}'}, "slide (%)"),
    ],
)
def test_a_ladder_shows_the_first_attack_that_was_met_at_two_radii(
    store: Store, lower: dict[str, Any], upper: dict[str, Any], shown: str
) -> None:
    rungs = ((0.1, lower), (0.2, upper))
    parts = [row("trades", eps=eps, protocol=f"own-1[eps={eps}]", sa=90.0, **found) for eps, found in rungs]

    [[panel]] = ladder.build(material(store, parts)).panels

    assert panel.y.title == shown


@pytest.mark.parametrize(("metric", "attack"), [(None, "an attack"), ("ra_pgd20", "ra_pgd20")])
def test_a_ladder_needs_two_rungs(store: Store, metric: str | None, attack: str) -> None:
    with pytest.raises(BenchError, match=rf"no number under {attack} at two radii.*--eps"):
        ladder.build(material(store, rung("trades", 0.1, [9.0])), metric)


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

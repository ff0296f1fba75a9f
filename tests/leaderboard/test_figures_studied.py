"""What figures hold of histories, features and corrupted images."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_figures import material, of_role, places
from made_rows import row, rows

from bench.errors import BenchError
from bench.store import Store
from leaderboard.claims.record import Record
from leaderboard.figures import corruptions, curves, embedding, silhouette
from leaderboard.figures.model import Role
from leaderboard.studies.embedding import Embedding, Separability
from tests.stores import finish


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

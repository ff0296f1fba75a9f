"""Studies of finished cells: the network is the one that was attacked, and each study's numbers are known by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pytest
import torch

from bench.attacks.catalogue import ATTACKS
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.executors import execute
from bench.planning import plan_of
from bench.protocols.recipes import PROTOCOLS
from bench.store import CORRECT, OUTCOMES, Store, parquet, read_rows
from bench.sweep import Sweep
from leaderboard.studies.corruption import by_corruption
from leaderboard.studies.effects import Perturbation
from leaderboard.studies.embedding import EmbeddingSettings, embedding, plane, separability, unit
from leaderboard.studies.judged import Judged
from leaderboard.studies.pursuit import PursuitSettings, pursuit
from methods.ncp import NCPConfig
from tests.leaderboard.made_rows import failed, row
from tests.plugins import CHEAP, write_method

DATA = Path("unused")  # Digits come with scikit-learn.


Cell: TypeAlias = tuple[Store, dict[str, Any]]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """A finished cell on 40 training and 20 test digits."""
    folder = tmp_path_factory.mktemp("studies")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PROTOCOLS, CHEAP.name, CHEAP)  # type: ignore[arg-type]
        sweep = Sweep.of(
            methods=write_method(folder),
            protocols=CHEAP.name,
            seeds=1,
            limit="train=40,test=20",
            device="cpu",
            jobs=1,
            out=folder / "runs",
        )
        plan, store = plan_of(sweep), Store.open(sweep.out)
        execute(plan, store, sweep, lambda event: None)
    return store, store.latest_rows()[plan.cells[0].key]


def silent(text: str) -> None:
    raise AssertionError(f"nothing was to be said, but: {text}")


class TestJudged:
    def test_it_classifies_as_the_stored_outcomes_say(self, cell: Cell) -> None:
        store, row = cell
        judged = Judged.load(store, row, DATA)

        right = judged.classifier(pixels_of(judged.images.pixels)).argmax(1) == judged.images.labels

        np.testing.assert_array_equal(right.numpy(), store.outcomes(json.loads(row["outcomes"])["clean"]))

    def test_a_row_of_a_data_frame_is_as_good(self, cell: Cell) -> None:
        store, row = cell
        framed = {**read_rows(store.root).to_dict("records")[0], "seed_pretrain": 0.0}

        there, here = (Judged.load(store, one, DATA) for one in (row, framed))

        assert there.name == here.name == "mine/digits/cheap/seed0"
        assert len(there.training_images()) == len(here.training_images()) == 40
        assert len(there.pretraining_images()) == 40 and len(there.images) == 20

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            (
                {"status": "failed", "error": "the loss is NaN"},
                r"seed0', which failed \(the loss is NaN\).*run it again",
            ),
            ({"head_key": "gone"}, r"lost its stage gone \(`bench rm` or `bench gc`\)"),
            ({"data_fingerprint": "others"}, r"images of 'digits' .* not those that .* was judged with: .*--data-dir"),
        ],
    )
    def test_what_is_missing_is_named(self, cell: Cell, columns: dict[str, str], message: str) -> None:
        store, row = cell
        with pytest.raises(BenchError, match=message):
            Judged.load(store, {**row, **columns}, DATA)

    @pytest.mark.parametrize(("passes", "told"), [(1, 0), (1e12, 1)])
    def test_only_long_work_is_announced(self, cell: Cell, passes: float, told: int) -> None:
        said: list[str] = []
        Judged.load(*cell, DATA).announce("embedding", passes, said.append)

        assert len(said) == told
        assert all("embedding of mine/digits/cheap/seed0" in text and "min on cpu" in text for text in said)


class TestSeparability:
    """Features of two classes on two axes, and the same ones as a gallery."""

    features = np.array([[1, 0], [2, 0], [0, 1], [0, 3]], dtype=np.float32)

    @pytest.mark.parametrize(
        ("labels", "silhouette", "accuracy"),
        [
            ([0, 0, 1, 1], 1.0, 100.0),  # Only directions count: lengths differ within a class.
            ([0, 1, 0, 1], -0.5, 50.0),  # a = 1 to the own class, b = 1/2 to the other.
        ],
    )
    def test_it_is_that_of_directions(self, labels: list[int], silhouette: float, accuracy: float) -> None:
        classes = np.array([0, 0, 1, 1])
        found = separability(self.features, np.array(labels), self.features, classes, neighbours=2)

        assert (found.silhouette, found.knn_accuracy) == pytest.approx((silhouette, accuracy))
        assert (found.images, found.gallery, found.neighbours) == (4, 4, 2)

    def test_no_more_neighbours_vote_than_there_are(self) -> None:
        labels = np.array([0, 0, 1, 1])
        assert separability(self.features, labels, self.features[:1], labels[:1], neighbours=20).knn_accuracy == 50.0

    @pytest.mark.parametrize("labels", [[0, 0, 0, 0], [0, 1, 2, 3]])
    def test_classes_without_a_silhouette_are_refused(self, labels: list[int]) -> None:
        with pytest.raises(BenchError, match="have no silhouette: use more test images"):
            separability(self.features, np.array(labels), self.features, np.array(labels), 1)


class TestEmbedding:
    def test_lengths_are_taken_out(self) -> None:
        np.testing.assert_allclose(unit(np.array([[3.0, 4.0], [0.0, 0.0]])), [[0.6, 0.8], [0.0, 0.0]])

    def test_what_lies_apart_stays_apart(self) -> None:
        features = np.repeat(np.eye(2, 5), 20, axis=0) + 0.01 * np.random.default_rng(0).normal(size=(40, 5))

        points, perplexity = plane(features.astype(np.float32), EmbeddingSettings())

        assert perplexity == 13
        gap = np.linalg.norm(points[:20].mean(axis=0) - points[20:].mean(axis=0))
        assert gap > 3 * max(points[:20].std(axis=0).max(), points[20:].std(axis=0).max())

    def test_few_images_are_refused(self) -> None:
        with pytest.raises(BenchError, match="9 test images are too few for t-SNE"):
            plane(np.zeros((9, 2)), EmbeddingSettings())

    def test_it_is_repeated_to_the_bit(self, cell: Cell) -> None:
        settings = EmbeddingSettings(images=12, gallery=30, neighbours=3)

        first, again = (embedding(*cell, DATA, settings, say=silent) for _ in range(2))

        np.testing.assert_array_equal(first.points, again.points)
        assert first.points.shape == (12, 2) and first.separability == again.separability
        assert (first.separability.images, first.separability.gallery) == (12, 30)
        assert 0.5 < first.trustworthiness <= 1 and np.isfinite(first.points).all()

    def test_it_looks_at_the_route_that_was_judged(self, cell: Cell) -> None:
        judged = Judged.load(*cell, DATA)
        pixels = judged.images.pixels

        with torch.no_grad():
            expected = judged.classifier.encoder.encode(pixels_of(pixels))

        torch.testing.assert_close(judged.features(pixels), expected)


def test_a_pursuit_is_repeated_to_the_bit(cell: Cell) -> None:
    own = PursuitSettings(NCPConfig(cluster_grid=(4, 8, 2)), eps=0.1, draws=2)

    first, again = (pursuit(*cell, DATA, own, say=silent) for _ in range(2))

    assert first == again
    assert first.clusters in (4, 6, 8) and 0 < first.images <= 20 and set(first.effects) == set(Perturbation)


class TestByCorruption:
    """Outcomes of two images of each type and severity."""

    @staticmethod
    def stored(folder: Path, attack: str, correct: np.ndarray, **columns: Any) -> Cell:
        store = Store.open(folder)
        store.put("k", {}, {OUTCOMES: parquet(pa.table({CORRECT: correct.reshape(-1)}))})
        return store, row("amoc", dataset_like="cifar10", outcomes=json.dumps({attack: "k"}), **columns).as_dict()

    @pytest.mark.parametrize("attack", ["corruption", "corruption-19"])
    def test_outcomes_are_taken_apart_by_type_and_severity(self, tmp_path: Path, attack: str) -> None:
        types = ATTACKS[attack].corruptions
        correct = np.zeros((len(types), 5, 2), dtype=bool)
        correct[types.index("fog")] = True
        correct[types.index("snow"), :3, 0] = True  # Half of the images at severities 1 to 3.

        found = by_corruption(*self.stored(tmp_path, attack, correct))

        assert (found.attack, found.images, tuple(found.accuracies)) == (attack, 2, types)
        assert found.accuracies["snow"] == (50, 50, 50, 0, 0)
        assert found.means["fog"] == 100 and found.means["snow"] == pytest.approx(30) and found.means["frost"] == 0
        assert np.mean(list(found.means.values())) == pytest.approx(100 * correct.mean())  # As the row has it.

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"dataset_like": "cifar100"}, r"download CIFAR-100-C\.tar from .* --attacks clean,corruption-19"),
            ({"dataset_like": "digits"}, "none were published for 'digits': there are some for cifar10 and cifar100"),
        ],
    )
    def test_a_cell_that_met_none_is_told_how(self, tmp_path: Path, columns: dict[str, str], message: str) -> None:
        with pytest.raises(BenchError, match=message):
            by_corruption(Store.existing(tmp_path), row("amoc", outcomes='{"clean": "k"}', **columns).as_dict())

    def test_a_failed_cell_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"cell 'amoc/digits/slf-1/seed0', which failed \(the loss"):
            by_corruption(Store.existing(tmp_path), failed("amoc").as_dict())

    def test_outcomes_of_another_number_are_damaged(self, tmp_path: Path) -> None:
        with pytest.raises(BenchError, match=r"outcomes\.parquet' is damaged \(7 outcomes of 15 types\)"):
            by_corruption(*self.stored(tmp_path, "corruption", np.ones(7, dtype=bool)))

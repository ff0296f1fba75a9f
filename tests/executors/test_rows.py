"""What a row says of its attacks: every accuracy by name, columns, and the union image by image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.attacks.catalogue import ATTACKS
from bench.errors import BenchError
from bench.plan import StageKind
from bench.planning import plan_of
from tests.plugins import write_images, write_method


def attack_keys(done: Any) -> dict[str, str]:
    return {stage.task.attack: key for key, stage in done.plan.stages.items() if stage.kind is StageKind.ATTACK}


class TestScores:
    def test_all_attacks_are_in_the_scores_and_some_in_columns(self, make_sweep: Any, ran: Any) -> None:
        done = ran(make_sweep(attacks="pgd20,fgsm,pgd-l2", eps="0.05"))
        (row,) = done.rows
        scores = json.loads(row["scores"])
        assert set(scores) == {"clean", "pgd20", "fgsm", "pgd-l2"}
        assert (scores["clean"], scores["pgd20"]) == (row["sa"], row["ra_pgd20"])
        for name, key in attack_keys(done).items():
            assert scores[name] == pytest.approx(100 * done.store.outcomes(key).mean())
        assert (row["norm"], row["eps"], row["test_images"]) == ("Linf", 0.05, 20)

    def test_pgd_with_other_steps_leaves_the_column_of_pgd20_empty(self, make_sweep: Any, ran: Any) -> None:
        (row,) = ran(make_sweep(attacks="pgd20", steps=50)).rows
        assert set(json.loads(row["scores"])) == {"clean", "pgd50"}
        assert row["ra_pgd20"] is None

    def test_the_worst_case_is_the_union_over_images(self, make_sweep: Any, ran: Any) -> None:
        done = ran(make_sweep(attacks="pgd-l1,pgd-l2,fgsm"))
        (row,) = done.rows
        outcomes = np.array([done.store.outcomes(key) for key in attack_keys(done).values()])
        assert row["ra_worst"] == pytest.approx(100 * outcomes.min(0).mean())
        assert json.loads(row["worst_over"]) == ["clean", "pgd-l1", "pgd-l2", "fgsm"]

    def test_without_an_attack_there_is_no_worst_case(self, make_sweep: Any, ran: Any) -> None:
        (row,) = ran(make_sweep(attacks="clean")).rows
        assert (row["ra_worst"], json.loads(row["worst_over"])) == (None, [])


class TestSharing:
    def test_another_attack_costs_only_itself(self, make_sweep: Any, ran: Any) -> None:
        ran(make_sweep(attacks="pgd20"))
        more = ran(make_sweep(attacks="pgd20,fgsm"))
        assert (more.summary.done, more.summary.cached) == (2, 4), "the attack and the gates"

    def test_a_ladder_is_a_row_per_radius_on_one_head_and_one_clean_score(self, make_sweep: Any, ran: Any) -> None:
        done = ran(make_sweep(attacks="pgd20", eps="0,0.02,0.15"))
        assert done.summary.done == 2 + 1 + 3 + 3, "gates look at each row"
        assert [row["eps"] for row in done.rows] == [0, 0.02, 0.15]
        accuracies = [row["ra_pgd20"] for row in done.rows]
        assert accuracies[0] == done.rows[0]["sa"]
        assert accuracies == sorted(accuracies, reverse=True)

    def test_the_data_sets_own_radius_is_the_same_stage_by_whatever_name(self, make_sweep: Any, ran: Any) -> None:
        ran(make_sweep(attacks="pgd20"))
        again = ran(make_sweep(attacks="pgd20", eps=0.15))
        assert (again.summary.done, again.summary.cached) == (0, 5)

    def test_other_norms_are_rows_of_their_own(self, make_sweep: Any, ran: Any) -> None:
        done = ran(make_sweep(attacks="pgd20", norm="linf,l2,l1"))
        assert [row["norm"] for row in done.rows] == ["Linf", "L2", "L1"]
        assert [row["eps"] for row in done.rows] == pytest.approx([0.15, 0.59766, 3.58594], rel=1e-4)
        assert len({row["cell"] for row in done.rows}) == len({row["protocol_hash"] for row in done.rows}) == 3


class TestCorruptions:
    @pytest.fixture
    def corrupted(self, tmp_path: Path) -> str:
        """Images like CIFAR-10's, and CIFAR-10-C with four images that look all the same under all types but `fog`."""
        images = write_images(tmp_path / "images", side=32)
        folder = tmp_path / "data/CIFAR-10-C"
        folder.mkdir(parents=True)
        labels, pixels = np.tile(np.arange(4), 5), np.full((20, 32, 32, 3), 200, dtype=np.uint8)
        np.save(folder / "labels.npy", labels)
        for name in ATTACKS["corruption-19"].corruptions:
            pixels[..., 0] = 60 * labels[:, None, None] if name == "fog" else 180
            np.save(folder / f"{name}.npy", pixels)
        return f"folder:{images}[like=cifar10]"

    def test_both_averages_have_columns_and_no_part_in_the_worst_case(
        self, make_sweep: Any, ran: Any, corrupted: str, tmp_path: Path
    ) -> None:
        mine = f"{write_method(tmp_path)}[settings=default]"
        names = "corruption,corruption-19,fgsm"
        (row,) = ran(make_sweep(methods=mine, datasets=corrupted, limit="train=40", attacks=names)).rows
        assert row["status"] == "ok", row["error"]
        fog = 15 * row["corruption"] - 14 * 25
        assert fog == pytest.approx(19 * row["corruption_19"] - 18 * 25)
        assert min(abs(fog - share) for share in (0, 25, 50, 75, 100)) < 1e-6
        assert (row["test_images"], json.loads(row["worst_over"])) == (20, ["clean", "fgsm"])

    def test_missing_files_are_an_error_before_anything_runs(
        self, make_sweep: Any, corrupted: str, tmp_path: Path
    ) -> None:
        (tmp_path / "data/CIFAR-10-C/fog.npy").unlink()
        mine = f"{write_method(tmp_path)}[settings=default]"
        with pytest.raises(BenchError, match=r"lacks fog\.npy"):
            plan_of(make_sweep(methods=mine, attacks="corruption", datasets=corrupted, limit="train=40"))

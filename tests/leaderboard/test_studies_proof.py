"""NCP-ACL's Table 1 of made effects: SimCLR on digits with seeds 0 to 2, noise costing 1 + seed, and on CIFAR-10."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from bench.errors import BenchError
from bench.store import Store
from leaderboard.claims.record import Record
from leaderboard.studies.cells import Row
from leaderboard.studies.effects import Effect, Perturbation, Pursuit
from leaderboard.studies.proof import tables
from leaderboard.tables.model import Cell, Table
from tests.leaderboard.made_rows import failed, frame, row


def study(store: Store, row: Row, data_dir: Path) -> Pursuit:
    dataset, seed = str(row["dataset"]), int(row["seed_pretrain"])
    noise = Effect(1.0 + seed, 2.0) if dataset == "digits" else Effect(-0.1, 0.0)
    effects = {kind: Effect(50.0 + seed, 80.0) for kind in Perturbation} | {Perturbation.NOISE: noise}
    return Pursuit("c", dataset, seed, 10 + seed, {2: 0.5}, 0.1, 100 - seed, effects)


def made(rows: pd.DataFrame) -> tuple[Table, ...]:
    return tables(rows, Store(Path("unused")), Path("unused"), "bench reproduce", Record.shipped(), study)


@pytest.fixture
def table() -> Table:
    digits = [row("simclr", seed) for seed in range(3)]
    [table] = made(frame(digits, row("simclr", dataset="cifar10"), failed("simclr", 3)))
    return table


def numbers(table: Table, label: str) -> dict[str, Cell]:
    """Of a line, by column."""
    [line] = [line for line in table.lines if line.label == label]
    return {table.name_of(key): cell for key, cell in zip(table.keys, line.cells, strict=True)}


def test_it_has_the_papers_columns_and_lines_and_two_controls(table: Table) -> None:
    columns = [f"{dataset} {name}" for dataset in ("CIFAR-10", "digits") for name in ("Prob. Dec.", "Attk. Succ.")]
    lines = ["random noise", "random signs", "toward a random cluster", "toward the neighbouring cluster"]

    assert [table.name_of(key) for key in table.keys] == columns
    assert [line.label for line in table.lines] == lines and table.stub == ("perturbation",)


def test_numbers_are_means_over_seeds_with_their_spread(table: Table) -> None:
    noise, pursued = (numbers(table, label) for label in ("random noise", "toward the neighbouring cluster"))

    found = noise["digits Prob. Dec."]
    assert (found.mean, found.spread, found.n) == (2, 1, 3)
    assert (pursued["digits Prob. Dec."].mean, pursued["digits Attk. Succ."].mean) == (51, 80)
    assert (pursued["CIFAR-10 Prob. Dec."].mean, pursued["CIFAR-10 Prob. Dec."].spread) == (50, None)


@pytest.mark.parametrize(
    "remark",
    [
        "digits: K = 10-12 by silhouette, 98-100 images; Prob. Dec. toward the neighbour 25.5 times random noise",
        "Attk. Succ. toward the neighbour 40.0 times random noise; the same steps on the head's cross-entropy",
        "CIFAR-10: K = 10 by silhouette, 100 images; Prob. Dec. toward the neighbour no ratio",
        "up to 25.7 times (Prob. Dec.) and 20.6 times (Attk. Succ.) random noise",
        "1 of 4 seeds failed (seed 3)",
    ],
)
def test_ratios_stand_beside_what_is_left_of_the_papers(table: Table, remark: str) -> None:
    assert remark in "\n".join(table.notes)


def test_protocols_have_tables_of_their_own() -> None:
    titles = [table.title for table in made(frame(row("simclr"), row("simclr", protocol="slf@ncp")))]
    assert [title.split(", ")[1] for title in titles] == ["slf-1", "slf@ncp"]


def test_without_a_finished_cell_there_is_none() -> None:
    with pytest.raises(BenchError, match="no cell finished, so there is no network"):
        made(frame(failed("simclr")))

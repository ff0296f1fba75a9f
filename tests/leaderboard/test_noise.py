"""`bench noise`: plans and runs the seeds that are missing, and tells the split in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.plan import Cell, DataRef, MethodRef, Seeds
from bench.store import Store
from leaderboard.noise.command import report
from tests.cli.runner import invoke, whole_app
from tests.leaderboard.made_rows import failed, row


def cells_and_rows(numbers: dict[tuple[int, int, int], float | None]) -> tuple[list[Cell], dict[str, Any]]:
    """Cells of these seeds, and rows whose `aa` are these numbers; None is a failed cell."""
    cells, rows = [], {}
    for seeds, aa in numbers.items():
        where = Seeds(*seeds)
        method, data = MethodRef("a", "a", {}, "digits"), DataRef("digits")
        cell = Cell("a", method, data, data, where, "slf-1", "p", "h", {}, dict.fromkeys(FACTS))
        cells.append(cell)
        rows[cell.key] = (failed("a") if aa is None else row("a", aa=aa)).as_dict()
    return cells, rows


FACTS = (
    "schedule", "epochs", "limit_train", "limit_test", "data_fingerprint", "pool_fingerprint", "protocol_hash", "eps",
    "precision",
)  # fmt: skip
CROSSED = {
    (p, h, a): 50.0 + 4 * p + (h if p else -h) + (0.5 if (p + h + a) % 2 else 0.0)
    for p in range(3)
    for h in range(2)
    for a in range(2)
}


def said(numbers: dict[tuple[int, int, int], float | None]) -> str:
    return "\n".join(part for part in report(*cells_and_rows(numbers)) if isinstance(part, str))


def test_what_head_fits_alone_would_show_is_told_in_words() -> None:
    assert "aa, 3 x 2 x 2 seeds: a ± over head fits of one encoder" in said(CROSSED)


def test_encoders_with_a_failed_cell_are_left_out_and_named() -> None:
    text = said({**CROSSED, (1, 0, 1): None})
    assert "aa: pre-training seeds 1 are left out" in text
    assert "aa, 2 x 2 x 2 seeds" in text


def test_one_attack_seed_is_not_enough_to_tell_all_sources_apart() -> None:
    text = said({seeds: number for seeds, number in CROSSED.items() if seeds[2] == 0})
    assert "aa, 3 x 2 x 1 seeds: two seeds of each kind are needed" in text


def test_a_metric_that_failed_nearly_everywhere_is_bad_input() -> None:
    with pytest.raises(BenchError, match="fewer than two pre-training seeds"):
        said({seeds: None if seeds[0] else number for seeds, number in CROSSED.items()})


def test_it_computes_what_is_missing_and_nothing_else(make_sweep: Any, ran: Any) -> None:
    there = ran(make_sweep())
    before = set(there.store.finished())
    options = ["--pretrain", "2", "--head", "2", "--attack", "3", "--jobs", "1", "--device", "cpu"]
    code, out, err = invoke("noise", "mine", "--out", str(there.store.root), *options, app=whole_app())
    assert code == 0, err
    assert "sa, 2 x 2 x 3 seeds" in out and "ra_pgd20, 2 x 2 x 3 seeds" in out
    new = [there.store.record(key)["kind"] for key in set(there.store.finished()) - before]
    assert [new.count(kind) for kind in ("pretrain", "head", "attack")] == [1, 3, 2 * (2 * 2 * 3) - 2]


def test_a_cell_that_is_not_there_is_answered_with_candidates(tmp_path: Path) -> None:
    Store.open(tmp_path / "runs").add_row(row("ncp"))
    code, _, err = invoke("noise", "amoc", "--out", str(tmp_path / "runs"), app=whole_app())
    assert (code, "ncp/digits/slf-1/seed0" in err) == (2, True)

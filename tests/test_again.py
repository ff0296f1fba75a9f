"""From rows back to the cells that they came from."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bench.again import sweep_of, sweeps_of
from bench.errors import BenchError
from bench.planning import plan_of
from tests.leaderboard.made_rows import row
from tests.plugins import write_method


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"methods": "amoc[temperature=0.3]", "epochs": 3},
        {"methods": "simclr", "seeds": "2,", "head_seeds": "0,", "attack_seeds": "5,"},
        {"methods": "simclr", "budget": 500},
        {"methods": "simclr", "limit": "test=20"},
        {"protocols": "cheap[precision=tf32]"},
        {"methods": "amoc", "precision": "bf16"},
    ],
)
def test_a_row_asks_for_its_own_cell(options: dict[str, Any], make_sweep: Any, ran: Any) -> None:
    sweep = make_sweep(**options)
    (cell,) = plan_of(sweep).cells
    seeds = {f"seed_{name}": getattr(cell.seeds, name) for name in ("pretrain", "head", "attack")}
    facts = {name: cell.facts[name] for name in cell.facts if name not in ("method", "label")}
    made = row(cell.label, method=cell.method.name, config=json.dumps(cell.method.config), **facts, **seeds)
    (again,) = plan_of(sweep_of(made.as_dict(), out=sweep.out, data_dir=sweep.data_dir)).cells
    assert again.key == cell.key


def test_rows_that_differ_by_their_methods_alone_are_one_sweep() -> None:
    rows = [row("ncp").as_dict(), row("amoc[temperature=0.3]").as_dict(), row("ncp", 1).as_dict()]
    found = [(sweep.methods, sweep.seeds) for sweep in sweeps_of(rows)]
    assert found == [("ncp,amoc[temperature=0.3]", (0,)), ("ncp", (1,))]


def test_what_is_asked_for_goes_before_what_the_row_says(tmp_path: Path) -> None:
    sweep = sweep_of(row("ncp").as_dict(), seeds=5, head_seeds=3, out=tmp_path)
    assert (len(sweep.seeds), len(sweep.head_seeds or ()), sweep.out) == (5, 3, tmp_path)


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"method": "gone", "plugin": "gone.py"}, "method 'gone' of gone.py is no longer there"),
        ({"config": '{"labels": {"sha256": "ab", "size": 3}}'}, r"'any' was given a file \(labels\)"),
    ],
)
def test_a_row_whose_cell_cannot_be_asked_for_says_why(columns: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        sweep_of(row("any", **columns).as_dict())


def test_a_file_is_found_again_where_it_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_method(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert sweep_of(row("mine[width=3]", plugin="mine.py").as_dict()).methods.endswith("mine.py:Mine[width=3]")

"""`bench why`: what changed since a stage was finished, in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.explain import why
from bench.planning import plan_of
from bench.sweep import Sweep
from tests.plugins import write_method


def reasons(sweep: Sweep, store: Any) -> dict[str, str]:
    """Kind and attack to the reason, for a sweep of one cell."""
    found = why(plan_of(sweep), store)
    return {" ".join(filter(None, (one.stage.kind, one.stage.task.attack))): one.text for one in found}


def test_what_was_never_run_says_so(make_sweep: Any, ran: Any) -> None:
    done = ran(make_sweep())
    assert set(reasons(make_sweep(seeds="7"), done.store).values()) == {"never finished"}


def test_what_is_there_says_since_when(make_sweep: Any, ran: Any) -> None:
    found = why(plan_of(make_sweep()), ran(make_sweep()).store)
    assert all(one.cached and one.text.startswith("finished on 20") for one in found)
    assert str(found[0]).startswith("cached  pretrain  mine digits seed 0: finished on ")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            {"option": "[width=5]"},
            {
                "pretrain": "changed: width: 4 -> 5",
                "head": "changed: its encoder (mine[width=5] digits seed 0 pretrain)",
            },
        ),
        ({"body": "encoder.linear.bias.data += 1"}, {"pretrain": "changed: source of mine.py"}),
        (
            {"limit": "train=40,test=30"},
            {"pretrain": "finished", "head": "changed: the images (the data, or --limit)"},
        ),
        ({"threads": 2}, {"pretrain": "changed: threads: 1 -> 2"}),
    ],
)
def test_a_change_is_named_by_the_stages_that_it_touches(
    make_sweep: Any, ran: Any, tmp_path: Path, options: dict[str, Any], expected: dict[str, str]
) -> None:
    done = ran(make_sweep())
    text = write_method(tmp_path, body=options.pop("body", "pass")) + options.pop("option", "")
    found = reasons(make_sweep(methods=text, **options), done.store)
    for kind, reason in expected.items():
        assert found[kind].startswith(reason)


def test_what_failed_before_says_why(make_sweep: Any, ran: Any, tmp_path: Path) -> None:
    sweep = make_sweep(methods=write_method(tmp_path, body="raise ValueError('no')"))
    assert reasons(sweep, ran(sweep).store)["pretrain"] == "failed before (ValueError: no); it is tried again"


def test_only_stages_that_are_asked_for(make_sweep: Any, ran: Any) -> None:
    done = ran(make_sweep())
    assert [one.stage.task.attack for one in why(done.plan, done.store, "attack mine")] == ["clean", "pgd2"]

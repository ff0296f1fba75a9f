"""Which stage comes next, and what a failure takes with it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.executors.agenda import Agenda
from bench.executors.events import StageState, Summary
from bench.plan import Cell, DataRef, MethodRef, Plan, Seeds, Stage, StageKind, Task

DATA, METHOD = DataRef("digits"), MethodRef("m", "m", {}, "digits")


def stage(name: str, weight: float = 1, *upstream: Stage) -> Stage:
    needs = {one.label: one.key for one in upstream}
    return Stage(StageKind.PRETRAIN, name, Task(METHOD, DATA, 0), {"name": name}, needs, weight)


TEACHER = stage("teacher", 1)
PUPIL = stage("pupil", 1, TEACHER)
HEAD = stage("head", 1, PUPIL)
ATTACK = stage("attack", 50, PUPIL, HEAD)
HEAVY = stage("heavy", 9)
CELLS = (
    Cell("a", METHOD, DATA, DATA, Seeds(0, 0, 0), "p", PUPIL.key, HEAD.key, {"attack": ATTACK.key}, {}),
    Cell("b", METHOD, DATA, DATA, Seeds(0, 0, 0), "p", HEAVY.key, HEAVY.key, {}, {}),
)
PLAN = Plan(CELLS, {one.key: one for one in (TEACHER, PUPIL, HEAD, ATTACK, HEAVY)})


@pytest.fixture
def agenda() -> Callable[..., Agenda]:
    """An agenda with some stages in the store."""
    return lambda *there: Agenda(PLAN, lambda key: PLAN.stages[key].label in there)


def drained(agenda: Agenda) -> list[str]:
    """Labels in the order in which stages come, each done before the next."""
    order = []
    while one := agenda.next():
        order.append(one.label)
        agenda.end(one.key, StageState.DONE)
    return order


@pytest.mark.parametrize(
    ("there", "order"),
    [
        ((), ["teacher", "pupil", "head", "attack", "heavy"]),
        (("pupil",), ["head", "attack", "heavy"]),
        (("attack", "head", "pupil"), ["heavy"]),
        (("attack", "head"), ["heavy", "teacher", "pupil"]),
        (("head", "pupil", "heavy"), ["attack"]),
        (("teacher", "pupil", "head", "attack", "heavy"), []),
    ],
)
def test_only_what_is_missing_is_done_heaviest_chain_first(
    agenda: Callable[..., Agenda], there: tuple[str, ...], order: list[str]
) -> None:
    assert drained(agenda(*there)) == order


def test_the_first_one_stays_the_first_until_it_is_taken(agenda: Callable[..., Agenda]) -> None:
    one = agenda()
    assert one.first() is one.first() is one.next() is TEACHER
    assert one.first() is HEAVY


def test_a_stage_waits_for_its_upstreams(agenda: Callable[..., Agenda]) -> None:
    one = agenda("heavy")
    assert one.next() is TEACHER
    assert one.next() is None
    assert not one.finished


def test_a_failure_blocks_what_needs_it_and_nothing_else(agenda: Callable[..., Agenda]) -> None:
    one = agenda()
    assert one.next() is TEACHER
    assert one.end(TEACHER.key, StageState.FAILED) == [PUPIL.key, HEAD.key, ATTACK.key]
    assert drained(one) == ["heavy"]
    assert one.finished
    assert one.summary() == Summary(done=1, failed=1, blocked=3)
    assert not one.summary().ok


def test_what_another_run_works_on_is_waited_for_while_the_rest_goes_on(agenda: Callable[..., Agenda]) -> None:
    one = agenda()
    assert one.next() is TEACHER
    one.end(TEACHER.key, StageState.ELSEWHERE)
    assert drained(one) == ["heavy"]
    assert not one.finished
    one.retry(lambda key: False)
    assert one.next() is None
    one.retry(lambda key: True)
    assert drained(one) == ["teacher", "pupil", "head", "attack"]


def test_what_was_interrupted_waits_again(agenda: Callable[..., Agenda]) -> None:
    one = agenda("heavy")
    assert one.next() is TEACHER
    assert one.end(TEACHER.key, StageState.WAITING) == []
    assert one.next() is TEACHER

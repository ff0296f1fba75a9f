"""The plan as data: keys from recipes alone, and a graph in which every stage stands once."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from bench.keys import canonical
from bench.plan import IDENTITY, Cell, DataRef, MethodRef, Plan, Seeds, Stage, StageKind, Task

METHOD = MethodRef("/a/mine.py:Mine", "mine", {"width": 4}, "digits")
STAGE = Stage(StageKind.PRETRAIN, "mine", Task(METHOD, DataRef("digits"), 0), {"lr": (0.1, 1), "on": True})
CELL = Cell(
    label="mine",
    method=METHOD,
    data=DataRef("digits"),
    pool=DataRef("digits"),
    seeds=Seeds(0, 0, 0),
    protocol="slf-1",
    pretrain="p",
    head="h",
    attacks={"clean": "c"},
    facts=dict.fromkeys(IDENTITY),
)


def test_a_recipe_is_the_json_data_that_the_store_gives_back() -> None:
    assert STAGE.recipe == json.loads(canonical(STAGE.recipe)) == {"lr": [0.1, 1], "on": True}


def test_joined_plans_have_each_cell_and_stage_once_after_its_upstreams() -> None:
    teacher, pupil = STAGE, replace(STAGE, upstream={"teacher": STAGE.key})
    alone = Plan((CELL,), {teacher.key: teacher})
    both = Plan((CELL, replace(CELL, label="other")), {teacher.key: teacher, pupil.key: pupil})
    joined = Plan.joined([alone, both])
    assert [cell.label for cell in joined.cells] == ["mine", "other"]
    assert list(joined.stages) == [teacher.key, pupil.key]


def test_a_recipe_that_is_no_json_is_refused_where_it_is_made() -> None:
    with pytest.raises(TypeError):
        replace(STAGE, recipe={"path": object()})


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"label": "other"}, True),
        ({"weight": 9.0}, True),
        ({"task": Task(replace(METHOD, text="/b/mine.py:Mine"), DataRef("elsewhere"), 0)}, True),
        ({"recipe": {"on": True, "lr": [0.1, 1]}}, True),
        ({"recipe": {"on": True, "lr": [0.1, 2]}}, False),
        ({"kind": StageKind.HEAD}, False),
        ({"upstream": {"teacher": "k"}}, False),
    ],
)
def test_the_key_is_kind_recipe_and_upstream_alone(change: dict[str, Any], same: bool) -> None:
    assert (replace(STAGE, **change).key == STAGE.key) is same


@pytest.mark.parametrize(
    ("change", "same"),
    [
        ({"method": replace(METHOD, text="/b/mine.py:Mine")}, True),
        ({"data": DataRef("moved")}, True),
        ({"pretrain": "other code"}, True),
        ({"label": "mine[width=4]"}, False),
        ({"method": replace(METHOD, config={"width": 5})}, False),
        ({"seeds": Seeds(0, 1, 0)}, False),
        ({"protocol": "alf-1"}, False),
        *(({"facts": {**CELL.facts, name: 1}}, False) for name in IDENTITY),
        ({"facts": {**CELL.facts, "plugin": "elsewhere"}}, True),
    ],
)
def test_a_cell_is_what_was_asked_for_whatever_code_answers(change: dict[str, Any], same: bool) -> None:
    assert (replace(CELL, **change).key == CELL.key) is same


class TestGraph:
    @staticmethod
    def stage(name: str, weight: float, *upstream: Stage) -> Stage:
        needs = {f"{number}": one.key for number, one in enumerate(upstream)}
        return replace(STAGE, label=name, recipe={"name": name}, upstream=needs, weight=weight)

    @pytest.fixture
    def plan(self) -> Plan:
        """A diamond and a stage on its own: a -> b, c -> d; e."""
        a = self.stage("a", 1)
        b, c = self.stage("b", 10, a), self.stage("c", 2, a)
        stages = (a, b, c, self.stage("d", 1, b, c), self.stage("e", 5))
        return Plan((), {stage.key: stage for stage in stages})

    def named(self, plan: Plan, keys: Any) -> list[str]:
        return [plan.stages[key].label for key in keys]

    @pytest.mark.parametrize(("name", "needs"), [("a", "a"), ("b", "ab"), ("d", "abcd"), ("e", "e")])
    def test_needs_are_all_upstreams_once_and_in_order(self, plan: Plan, name: str, needs: str) -> None:
        (key,) = (key for key, stage in plan.stages.items() if stage.label == name)
        assert self.named(plan, plan.needs(key)) == list(needs)

    def test_downstream_is_who_reads_a_product(self, plan: Plan) -> None:
        readers = {plan.stages[key].label: self.named(plan, keys) for key, keys in plan.downstream.items()}
        assert readers == {"a": ["b", "c"], "b": ["d"], "c": ["d"], "d": [], "e": []}

    def test_urgency_is_the_weight_of_the_heaviest_chain(self, plan: Plan) -> None:
        everything = {plan.stages[key].label: value for key, value in plan.urgency(plan.stages).items()}
        assert everything == {"a": 12, "b": 11, "c": 3, "d": 1, "e": 5}

    def test_what_is_done_makes_nothing_urgent(self, plan: Plan) -> None:
        todo = {key for key, stage in plan.stages.items() if stage.label in "ac"}
        assert {plan.stages[key].label: value for key, value in plan.urgency(todo).items()} == {"a": 3, "c": 2}

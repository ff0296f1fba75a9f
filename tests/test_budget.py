"""A budget of passes, cut into epochs: cases worked out by hand, and what cannot be cut."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from bench.budget import Trained, epochs_within
from bench.errors import BenchError
from bench.planning import plan_of
from tests.cli.runner import invoke
from tests.plugins import write_method

SIMCLR, NCP, MOCO = Trained("simclr", 6, 1000), Trained("ncp", 17, 200), Trained("moco", 4, 200)


@pytest.mark.parametrize(
    ("budget", "own", "upstreams", "expected"),
    [
        # 6 x 1000 = 6000 is the paper's; half of it is half as long, twice is twice.
        (6000, SIMCLR, (), {"simclr": 1000}),
        (3000, SIMCLR, (), {"simclr": 500}),
        (12000, SIMCLR, (), {"simclr": 2000}),
        (3005.9, SIMCLR, (), {"simclr": 500}),
        # 6 x 1000 + 17 x 200 = 9400; at a tenth, 940: 100 and 20.
        (940, NCP, (SIMCLR,), {"simclr": 100, "ncp": 20}),
        # 500 / 9400 = .0532: 53 epochs cost 318, and of the 182 that are left 17 fit 10 times.
        (500, NCP, (SIMCLR,), {"simclr": 53, "ncp": 10}),
        # 30 / 9400 would be 3 epochs: 18, and 12 are no epoch of NCP. With one of those kept, 13 // 6 = 2 are left.
        (30, NCP, (SIMCLR,), {"simclr": 2, "ncp": 1}),
        (23, NCP, (SIMCLR,), {"simclr": 1, "ncp": 1}),
        # Its 5 epochs are paid for first, 30: 17 fits 27 times into 470.
        (500, NCP, (Trained("simclr[epochs=5]", 6, 5, fixed=True),), {"simclr[epochs=5]": 5, "ncp": 27}),
        # 9400 + 800 = 10200; at a tenth 100, 20 and 20.
        (1020, NCP, (SIMCLR, MOCO), {"simclr": 100, "moco": 20, "ncp": 20}),
    ],
)
def test_a_method_and_its_upstreams_are_cut_alike(
    budget: float, own: Trained, upstreams: tuple[Trained, ...], expected: dict[str, int]
) -> None:
    found = epochs_within(budget, own, upstreams)
    assert found == expected
    spent = sum(one.passes * found[one.name] for one in (own, *upstreams))
    assert budget - own.passes < spent <= budget


@pytest.mark.parametrize(
    ("budget", "own", "upstreams", "told"),
    [
        (5, SIMCLR, (), "less than one epoch of 'simclr'"),
        (22, NCP, (SIMCLR,), "(simclr 6, ncp 17): give --budget 23 or more"),
        (40, NCP, (Trained("simclr", 6, 5, fixed=True),), "simclr 6 in each of its 5, ncp 17): give --budget 47"),
        (500, Trained("ncp[epochs=3]", 17, 3, fixed=True), (SIMCLR,), "names its epochs"),
    ],
)
def test_a_budget_that_fits_nothing_is_bad_input(
    budget: float, own: Trained, upstreams: tuple[Trained, ...], told: str
) -> None:
    with pytest.raises(BenchError) as error:
        epochs_within(budget, own, upstreams)
    assert told in str(error.value)


ENOUGH = "train=70,test=20"
"""Images for every number of clusters that `ncp` tries."""


class TestSweep:
    def test_every_method_gets_the_same_passes(self, make_sweep: Any) -> None:
        """digits, quick. SimCLR: 16 epochs of 6. NCP: 16 of 17 and 17 clusterings' passes over it, 18.06 an epoch.

        A share of 100 / 385 is 4 epochs of SimCLR, and 76 // 18.06 = 4 of NCP, with 5 clusterings.
        """
        plan = plan_of(make_sweep(methods="simclr,ncp", budget=100, limit=ENOUGH))
        epochs = [
            [plan.stages[key].task.method.config["epochs"] for key in plan.needs(cell.pretrain)] for cell in plan.cells
        ]
        assert epochs == [[16], [4, 4]]
        assert [cell.facts["passes"] for cell in plan.cells] == [96, 4 * 6 + 4 * 17 + 5]
        assert {cell.facts["budget"] for cell in plan.cells} == {100}

    def test_another_budget_is_another_cell_and_no_budget_is_as_before(self, make_sweep: Any) -> None:
        none, some, other = (
            plan_of(make_sweep(methods="ncp", budget=budget, limit=ENOUGH)).cells[0] for budget in (None, 100, 101)
        )
        assert len({none.key, some.key, other.key}) == 3
        assert some.pretrain == other.pretrain  # As many epochs.
        assert none.facts["passes"] == 16 * 6 + 16 * 17 + 17

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"methods": "ncp[epochs=3]", "budget": 500}, "'ncp[epochs=3]' names its epochs"),
            ({"methods": "ncp", "budget": 5}, "less than one epoch of 'ncp'"),
            ({"methods": "simclr", "budget": 60, "epochs": 3}, "leave epochs 3 out"),
            ({"methods": "simclr", "budget": -1}, "greater than 0"),
            ({"budget": 60}, "method 'mine' does not say what a step of it costs"),
        ],
    )
    def test_what_cannot_be_cut_is_bad_input(self, make_sweep: Any, options: dict[str, Any], told: str) -> None:
        with pytest.raises(BenchError) as error:
            plan_of(make_sweep(**options))
        assert told in str(error.value)

    def test_a_method_without_epochs_cannot_be_cut(self, make_sweep: Any, tmp_path: Any) -> None:
        more = "    def passes(self): return Passes(1)"
        text = write_method(tmp_path, "other", imports="from bench.contract import Passes", more=more)
        with pytest.raises(BenchError, match="'other' has none"):
            plan_of(make_sweep(methods=text, budget=60))

    def test_an_upstream_that_names_its_epochs_keeps_them(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(methods='ncp[teacher="simclr[epochs=2]"]', budget=100, limit=ENOUGH))
        epochs = [plan.stages[key].task.method.config["epochs"] for key in plan.needs(plan.cells[0].pretrain)]
        assert epochs == [2, 4]  # 100 - 12 = 88, of 18.06.


def test_the_plan_says_what_each_method_trains_and_the_passes_of_that(tmp_path: Path) -> None:
    where = ["--out", str(tmp_path / "runs"), "--data-dir", str(tmp_path)]
    code, text, _ = invoke("plan", "--methods", "simclr,ncp", "--seeds", "1", "--budget", "100", *where)
    assert code == 0
    assert re.search(r"^simclr +digits +16 +96 *$", text, re.MULTILINE)
    assert re.search(r"^ncp +digits +4, on simclr 4 +97 *$", text, re.MULTILINE)

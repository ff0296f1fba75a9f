"""On which device a stage is put."""

from __future__ import annotations

import pytest

from bench.executors.placement import Device, Placed, place

SMALL, LARGE = Device("cuda:0", 100), Device("cuda:1", 200)


@pytest.mark.parametrize(
    ("need", "at_work", "expected"),
    [
        pytest.param(None, [], "cuda:1", id="an idle device, the largest first"),
        pytest.param(10, [("cuda:1", 10)], "cuda:0", id="an idle device before one that has room"),
        pytest.param(900, [("cuda:1", 10)], "cuda:0", id="an idle device even if it is too small: none is larger"),
        pytest.param(90, [("cuda:0", 20), ("cuda:1", 20)], "cuda:1", id="else where there is room"),
        pytest.param(50, [("cuda:0", 10), ("cuda:1", 120)], "cuda:0", id="else where there is most room"),
        pytest.param(80, [("cuda:0", 20), ("cuda:1", 199)], "cuda:0", id="it may fit exactly"),
        pytest.param(81, [("cuda:0", 20), ("cuda:1", 199)], None, id="where there is no room it waits"),
        pytest.param(None, [("cuda:0", 1), ("cuda:1", 1)], None, id="a stage of unknown need joins nobody"),
        pytest.param(1, [("cuda:0", None), ("cuda:1", None)], None, id="nobody joins a stage of unknown need"),
        pytest.param(1, [("cuda:0", None), ("cuda:1", 1)], "cuda:1", id="but one beside it"),
        pytest.param(1, [("cuda:0", None), ("cuda:0", 1), ("cuda:1", 200)], None, id="all needs must be known"),
        pytest.param(1, [("cuda:0", 1)] * 4, None, id="no more than the jobs"),
    ],
)
def test_a_stage_takes_an_idle_device_or_joins_where_it_is_known_to_fit(
    need: float | None, at_work: list[tuple[str, float | None]], expected: str | None
) -> None:
    placed = [Placed("other", device, other) for device, other in at_work]
    found = place(need, [SMALL, LARGE], placed, jobs=4)
    assert (found and found.name) == expected


@pytest.mark.parametrize(("at_work", "fits"), [(0, True), (1, True), (2, False)])
def test_a_cpu_takes_as_many_as_the_jobs(at_work: int, fits: bool) -> None:
    cpu = Device("cpu")
    assert (place(0.0, [cpu], [Placed("other", "cpu", 0.0)] * at_work, jobs=2) is cpu) is fits

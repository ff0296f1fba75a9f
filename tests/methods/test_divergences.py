"""How far two batches of projections are apart: the official values, naive float64 references, what they promise."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from scipy.optimize import linear_sum_assignment
from stand_in import arrays
from torch import Tensor

from methods.parts import divergences
from methods.parts.divergences import (
    jensen_shannon,
    min_max_divergence,
    optimal_transport,
    reversed_jensen_shannon,
    transport_plan,
)

Measure = Callable[[Tensor, Tensor], Tensor]


def two_batches(rows: int = 6, columns: int = 5, scale: float = 2.0) -> tuple[Tensor, Tensor]:
    first, second = scale * torch.randn(
        2, rows, columns, dtype=torch.float64, generator=torch.Generator().manual_seed(0)
    )
    return first, second


def softmaxes(*batches: Tensor) -> list[list[list[float]]]:
    return [
        [[math.exp(value) / sum(map(math.exp, row)) for value in row] for row in batch.tolist()] for batch in batches
    ]


@pytest.mark.parametrize(
    ("measure", "name"), [(min_max_divergence, "kl"), (reversed_jensen_shannon, "js")], ids=["kl", "js"]
)
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-9), (torch.float32, 1e-5)])
def test_as_released(measure: Measure, name: str, dtype: torch.dtype, tolerance: float) -> None:
    """RCS.py:64-80, values and gradients."""
    golden = arrays("rcs")
    first, second = (golden[f"div_{which}"].to(dtype).requires_grad_() for which in ("first", "second"))
    value = measure(first, second)
    assert value.item() == pytest.approx(golden[f"{name}_loss"].item(), abs=tolerance)
    if dtype is torch.float64:  # Of `kl`, slopes of 1e8 at the smallest entries, scaled to 1e-8, have to cancel.
        slopes = torch.autograd.grad(value, [first, second])
        for slope, which in zip(slopes, ("first", "second"), strict=True):
            torch.testing.assert_close(slope, golden[f"{name}_grad_{which}"], rtol=0, atol=1e-9)


def naive_jensen_shannon(first: Tensor, second: Tensor) -> float:
    def kl(a: list[float], b: list[float]) -> float:
        return sum(x * math.log(x / y) for x, y in zip(a, b, strict=True))

    pairs = list(zip(*softmaxes(first, second), strict=True))
    middles = [[(x + y) / 2 for x, y in zip(p, q, strict=True)] for p, q in pairs]
    return sum(kl(p, m) + kl(q, m) for (p, q), m in zip(pairs, middles, strict=True)) / 2 / len(pairs)


def naive_transport(first: Tensor, second: Tensor) -> float:
    """ot.py in loops: the cost, Sinkhorn's potentials one entry at a time, and the sum over the plan."""
    p, q = softmaxes(first, second)
    size, smoothing = len(p), 0.01

    def cosine(a: list[float], b: list[float]) -> float:
        return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)

    cost = [[max(0.0, 1 - cosine(a, b)) for b in q] for a in p]
    u, v = [0.0] * size, [0.0] * size

    def plan(i: int, j: int) -> float:
        return math.exp((u[i] + v[j] - cost[i][j]) / smoothing)

    for _ in range(100):
        before = list(u)
        sums = [sum(plan(i, j) for j in range(size)) + 1e-6 for i in range(size)]
        u = [u[i] + smoothing * (math.log(1 / size) - math.log(sums[i])) for i in range(size)]
        sums = [sum(plan(i, j) for i in range(size)) + 1e-6 for j in range(size)]
        v = [v[j] + smoothing * (math.log(1 / size) - math.log(sums[j])) for j in range(size)]
        if sum(abs(now - then) for now, then in zip(u, before, strict=True)) < 0.1:
            break
    return sum(plan(i, j) * cost[i][j] for i in range(size) for j in range(size))


@pytest.mark.parametrize(
    ("measure", "naive"),
    [(jensen_shannon, naive_jensen_shannon), (optimal_transport, naive_transport)],
    ids=["js", "ot"],
)
def test_against_loops(measure: Measure, naive: Callable[[Tensor, Tensor], float]) -> None:
    first, second = two_batches()
    assert measure(first, second).item() == pytest.approx(naive(first, second), abs=1e-12)


@pytest.mark.parametrize("measure", [jensen_shannon, optimal_transport], ids=["js", "ot"])
def test_gradients_flow_through_both_batches_as_finite_differences_say(measure: Measure) -> None:
    batches = [batch.requires_grad_() for batch in two_batches(rows=3, columns=4)]
    assert torch.autograd.gradcheck(measure, batches)
    slopes = torch.autograd.grad(measure(*batches), batches)
    assert all(slope.abs().max() > 1e-4 for slope in slopes)


def test_jensen_shannon_lies_between_nothing_and_ln_2() -> None:
    first, second = two_batches()
    assert jensen_shannon(first, first).item() == pytest.approx(0, abs=1e-15)
    one, other = (100 * torch.nn.functional.one_hot(torch.tensor([k, k]), 3).double() for k in (0, 1))
    assert jensen_shannon(one, other).item() == pytest.approx(math.log(2), abs=1e-9)
    assert jensen_shannon(first, second).item() == pytest.approx(jensen_shannon(second, first).item())


def test_a_plan_moves_the_mass_of_every_row_to_every_column(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(divergences, "SETTLED", 0.0)
    cost = torch.rand(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    plan = transport_plan(cost)
    assert (plan >= 0).all()
    for dim in range(2):
        torch.testing.assert_close(plan.sum(dim=dim), torch.full((8,), 1 / 8, dtype=torch.float64), rtol=0.05, atol=0)


def test_transport_costs_what_the_best_assignment_does(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a smoothing worth the name: the exact optimum by the Hungarian algorithm."""
    monkeypatch.setattr(divergences, "SETTLED", 0.0)
    first, second = two_batches(rows=8, scale=4.0)
    p, q = (torch.nn.functional.normalize(batch.softmax(dim=1), dim=1) for batch in (first, second))
    cost = (1 - p @ q.T).numpy()
    best = cost[linear_sum_assignment(cost)].mean()
    assert cost.mean() > best + 0.1
    assert optimal_transport(first, second).item() == pytest.approx(best, abs=0.02)


def test_transport_does_not_care_which_image_is_which() -> None:
    first, second = two_batches()
    assert optimal_transport(first, second.flip(0)).item() == pytest.approx(optimal_transport(first, second).item())

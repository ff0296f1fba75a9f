"""Losses and their gradients against the official code's, in float64."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from methods.parts.losses import info_nce, negative_cosine, nt_xent, nt_xent_of_views

GOLDEN = Path(__file__).parents[1] / "golden"

LOSSES = re.compile("loss|ntxent|simclr_B")

Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Callable[[str], Golden]:
    def load(name: str) -> Golden:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            return {key: torch.from_numpy(arrays[key]) for key in arrays.files if LOSSES.match(key)}

    return load


def halves(z: Tensor, temperature: float) -> Tensor:
    return nt_xent(z[: len(z) // 2], z[len(z) // 2 :], temperature)


def interleaved(z: Tensor, temperature: float) -> Tensor:
    return nt_xent(z[0::2], z[1::2], temperature)


@dataclass(frozen=True)
class Recorded:
    """A loss of one tensor of features, its recorded value and gradient."""

    arrays: str
    loss: Callable[[Tensor], Tensor]
    z: str
    value: str
    gradient: str
    tolerance: float = 1e-9


def solo_learn(batch: str, temperature: float) -> Recorded:
    key = f"simclr_{batch}_t{temperature}"
    loss = partial(halves, temperature=temperature)
    return Recorded("sololearn", loss, f"simclr_{batch}_z", f"{key}_loss", f"{key}_grad")


def dynacl(size: str, temperature: float, suffix: str = "") -> Recorded:
    loss = partial(interleaved, temperature=temperature)
    return Recorded("dynacl", loss, f"ntxent_{size}_z", f"ntxent_{size}_loss{suffix}", f"ntxent_{size}_grad{suffix}")


def acl(stream: str, temperature: float, suffix: str = "") -> Recorded:
    loss = partial(interleaved, temperature=temperature)
    names = (f"loss/z_{stream}", f"loss/ntxent_{stream}{suffix}", f"loss/grad_{stream}{suffix}")
    # The official code subtracts exp(1 / t) computed in float32 where the row itself is masked out here.
    return Recorded("acl", loss, *names, tolerance=1e-6)


@pytest.mark.parametrize(
    "recorded",
    [
        *(solo_learn(batch, temperature) for batch in ("B6", "B12") for temperature in (0.5, 0.2)),
        dynacl("6x16", 0.5),
        dynacl("24x32", 0.5),
        dynacl("6x16", 0.1, "_t0.1"),
        acl("clean", 0.5),
        acl("adv", 0.5),
        acl("clean", 0.2, "_tau0.2"),
    ],
    ids=lambda recorded: f"{recorded.arrays}-{recorded.value}",
)
def test_nt_xent(recorded: Recorded, golden: Callable[[str], Golden]) -> None:
    arrays = golden(recorded.arrays)
    z = arrays[recorded.z].requires_grad_()
    loss = recorded.loss(z)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss.item() == pytest.approx(arrays[recorded.value].item(), rel=recorded.tolerance)
    torch.testing.assert_close(gradient, arrays[recorded.gradient], rtol=recorded.tolerance, atol=recorded.tolerance)


def test_nt_xent_does_not_depend_on_lengths_or_on_the_order_of_views() -> None:
    a, b = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    loss = nt_xent(a, b, 0.5)
    torch.testing.assert_close(nt_xent(b, 3 * a, torch.tensor(0.5)), loss)


@pytest.mark.parametrize("term", ["c", "a"])
def test_info_nce(term: str, golden: Callable[[str], Golden]) -> None:
    """AMOC's engine, three calls on end: the clean term and the adversarial one."""
    arrays, index = golden("amoc"), "ca".index(term)
    bank = arrays[f"loss/ACA_PLUS/bank_{'clean' if term == 'c' else 'adv'}"]
    for call in range(3):
        query = F.normalize(arrays["loss/ACA_PLUS/forward_q_outputs"][call, index], dim=1)
        key = F.normalize(arrays["loss/ACA_PLUS/forward_k_outputs"][call, 0], dim=1)
        expected = arrays["loss/ACA_PLUS/Lc_La_total"][call, index].item()
        assert info_nce(query, key, bank[call].T, 0.2).item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("batch", ["B6", "B8"])
def test_nt_xent_of_views(batch: str) -> None:
    """AdvCL's SupCon, losses.py:7-94: the same but for the factor temperature / .07."""
    with np.load(GOLDEN / "advcl.npz") as arrays:
        raw, expected, slope = (torch.from_numpy(arrays[f"supcon_{batch}_{x}"]) for x in ("raw", "loss", "grad_raw"))
    raw.requires_grad_()
    views = raw.unbind(dim=1)
    loss = 0.5 / 0.07 * nt_xent_of_views(views, 0.5) / (len(views) - 1)
    (gradient,) = torch.autograd.grad(loss, raw)
    assert loss.item() == pytest.approx(expected.item(), rel=1e-9)
    torch.testing.assert_close(gradient, slope, rtol=1e-9, atol=1e-12)
    in_float32 = nt_xent_of_views(raw.detach().float().unbind(dim=1), 0.5) / (len(views) - 1)
    assert in_float32.item() == pytest.approx(0.07 / 0.5 * expected.item(), rel=1e-5)


def test_nt_xent_of_views_by_hand() -> None:
    """Row by row and pair by pair, in float64."""
    views = torch.randn(3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    z = [[row / row.norm() for row in view] for view in views]
    terms = []
    for own, one in itertools.product(range(3), range(4)):
        others = [(view, row) for view in range(3) for row in range(4) if (view, row) != (own, one)]
        total = sum(torch.exp(z[own][one] @ z[view][row] / 0.3) for view, row in others)
        pairs = [torch.exp(z[own][one] @ z[view][one] / 0.3) / total for view in range(3) if view != own]
        terms.append(-sum(torch.log(pair) for pair in pairs))
    assert nt_xent_of_views(list(views), 0.3).item() == pytest.approx(float(sum(terms)) / 12, rel=1e-12)


def test_two_views_are_simclrs() -> None:
    a, b = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(nt_xent_of_views([a, b], 0.5), nt_xent(a, b, 0.5))


def test_info_nce_puts_the_positive_first() -> None:
    query = F.normalize(torch.randn(4, 8, generator=torch.Generator().manual_seed(0)), dim=1)
    assert info_nce(query, query, -query, 0.01).item() == pytest.approx(0, abs=1e-6)
    assert info_nce(query, -query, query, 0.01).item() > 100


@pytest.mark.parametrize("weight", [2, 3, 6])
def test_the_loss_of_deacl_and_ncp(weight: int, golden: Callable[[str], Golden]) -> None:
    arrays = golden("deacl")
    clean, adversarial, teacher = (arrays[f"loss_{name}"].requires_grad_() for name in ("zc", "za", "zt"))
    loss = negative_cosine(clean, teacher) + weight * negative_cosine(adversarial, clean)
    assert loss.item() == pytest.approx(arrays[f"loss_k{weight}"].item(), rel=1e-9)
    gradients = torch.autograd.grad(loss, (clean, adversarial, teacher))
    for name, gradient in zip(("zc", "za", "zt"), gradients, strict=True):
        torch.testing.assert_close(gradient, arrays[f"loss_k{weight}_grad_{name}"], rtol=1e-9, atol=1e-12)


def test_negative_cosine() -> None:
    a = torch.tensor([[1.0, 0.0], [0.0, 2.0]])
    b = torch.tensor([[3.0, 0.0], [0.0, -1.0]])
    assert negative_cosine(a, a).item() == -1
    assert negative_cosine(a, b).item() == 0

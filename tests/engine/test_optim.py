"""LARS against the three published implementations, five steps on given gradients in float64."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bench.engine.optim import ACL, SOLO_LEARN, TORCHLARS, Lars, LarsForm, make_capturable

GOLDEN = Path(__file__).parents[1] / "golden"


@dataclass(frozen=True)
class Recorded:
    """A run of an official optimiser.

    Attributes:
        arrays: the .npz file.
        form, weight_decay: the optimiser.
        start, gradient, after, lr: names of the arrays; `{p}` is the parameter, `{s}` the step from 1. An array of the
            steps of one parameter is stacked along axis 0 where its name has no `{s}`.
        parameters: their names.
    """

    arrays: str
    form: LarsForm
    weight_decay: float
    start: str
    gradient: str
    after: str
    lr: str
    parameters: tuple[str, ...]


def numbered(arrays: str, form: LarsForm, decay: float, after: str, count: int) -> Recorded:
    names = tuple(f"p{index}" for index in range(count))
    return Recorded(arrays, form, decay, "lars_{p}_init", "lars_{p}_grad{s}", after, "lars_lr", names)


def stacked(arrays: str, form: LarsForm) -> Recorded:
    names = ("w4d", "w2d", "bias1d", "bnweight1d", "zeronorm1d", "zerograd1d")
    return Recorded(arrays, form, 1e-6, "lars/p0/{p}", "lars/grads/{p}", "lars/p_after_f64/{p}", "lars/lr", names)


RECORDED = {
    "solo-learn": numbered("sololearn", SOLO_LEARN, 1e-4, "lars_simclr_{p}_after{s}", 6),
    "solo-learn, nothing excluded": numbered(
        "sololearn", replace(SOLO_LEARN, exclude_vectors=False), 1e-4, "lars_noexclude_{p}_after{s}", 6
    ),
    "solo-learn, not clipped": numbered(
        "sololearn", replace(SOLO_LEARN, clip=False), 1e-4, "lars_noclip_{p}_after{s}", 6
    ),
    "dynacl": numbered("dynacl", ACL, 1e-6, "lars_{p}_after{s}", 5),
    "acl": stacked("acl", ACL),
    "torchlars": stacked("rocl", TORCHLARS),
}


@pytest.mark.parametrize("as_tensor", [False, True], ids=["lr number", "lr tensor"])
@pytest.mark.parametrize("recorded", RECORDED.values(), ids=RECORDED.keys())
def test_lars(recorded: Recorded, as_tensor: bool) -> None:
    with np.load(GOLDEN / f"{recorded.arrays}.npz") as arrays:

        def array(pattern: str, parameter: str, step: int) -> Tensor:
            stored = torch.from_numpy(arrays[pattern.format(p=parameter, s=step)])
            return stored if "{s}" in pattern else stored[step - 1]

        weights = [nn.Parameter(torch.from_numpy(arrays[recorded.start.format(p=p)])) for p in recorded.parameters]
        optimiser = Lars(weights, 0.0, form=recorded.form, weight_decay=recorded.weight_decay)
        for step, lr in enumerate(arrays[recorded.lr].tolist(), start=1):
            optimiser.param_groups[0]["lr"] = torch.tensor(lr, dtype=torch.float64) if as_tensor else lr
            for weight, name in zip(weights, recorded.parameters, strict=True):
                weight.grad = array(recorded.gradient, name, step)
            optimiser.step()
            for weight, name in zip(weights, recorded.parameters, strict=True):
                torch.testing.assert_close(weight.detach(), array(recorded.after, name, step), rtol=1e-9, atol=1e-12)


def trained(steps: int, optimiser: Lars, weight: nn.Parameter) -> Tensor:
    for step in range(steps):
        optimiser.zero_grad()
        torch.autograd.backward((weight * (step + 1)).square().sum())
        optimiser.step()
    return weight.detach().clone()


@pytest.mark.parametrize("form", [SOLO_LEARN, ACL, TORCHLARS])
def test_a_stored_optimiser_goes_on_where_it_was(form: LarsForm) -> None:
    first, second = (nn.Parameter(torch.arange(1.0, 7.0).view(2, 3)) for _ in range(2))
    one, two = Lars([first], 0.5, form=form), Lars([second], 0.5, form=form)
    trained(3, one, first)
    second.data.copy_(first.data)
    two.load_state_dict(copy.deepcopy(one.state_dict()))
    assert torch.equal(trained(2, one, first), trained(2, two, second))


@pytest.mark.parametrize("form", [SOLO_LEARN, ACL, TORCHLARS])
def test_a_step_at_a_rate_on_the_device_does_not_wait_for_the_host(form: LarsForm) -> None:
    """torch's `meta` device has no numbers: whoever asks it for one gets an error."""
    weights = [nn.Parameter(torch.ones(shape, device="meta")) for shape in ((4, 3), (4,))]
    optimiser = Lars(weights, 0.5, form=form, weight_decay=0.1)
    make_capturable(optimiser, torch.device("meta"))
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimiser.step()
    assert all(optimiser.state[weight]["velocity"].device.type == "meta" for weight in weights)


def test_an_optimiser_of_torchs_own_that_counts_steps_becomes_capturable_after_it_was_restored() -> None:
    weight = nn.Parameter(torch.ones(3))
    adam = torch.optim.Adam([weight], lr=0.5)
    weight.grad = torch.ones(3)
    adam.step()
    make_capturable(adam, torch.device("cpu"))
    (group,) = adam.param_groups
    assert (group["capturable"], group["fused"], float(group["lr"])) == (True, True, 0.5)
    adam.step()
    assert weight.tolist() == pytest.approx([0.0] * 3, abs=1e-5)


def test_parameters_without_gradient_stay() -> None:
    weight = nn.Parameter(torch.ones(2, 2))
    Lars([weight], 1.0, form=ACL, weight_decay=0.1).step()
    assert torch.equal(weight, torch.ones(2, 2))


def test_the_first_step_has_the_length_of_eta_whatever_the_gradient() -> None:
    for scale in (1e-3, 1e3):
        weight = nn.Parameter(torch.tensor([[3.0, 4.0]]))
        weight.grad = scale * torch.tensor([[1.0, 1.0]])
        Lars([weight], 2.0, form=ACL).step()
        assert (weight - torch.tensor([[3.0, 4.0]])).norm().item() == pytest.approx(2 * 0.001 * 5, rel=1e-3)

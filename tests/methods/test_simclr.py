"""SimCLR as solo-learn trains it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tiny import BATCH, batch_of, digits, seen, tiny
from torch import Tensor

from bench.data.views import (
    ColourJitter,
    GaussianBlur,
    Grayscale,
    HorizontalFlip,
    Interpolation,
    RandomResizedCrop,
    Views,
)
from bench.engine.loop import Averages, optimiser_update
from bench.engine.optim import SOLO_LEARN, Lars
from bench.models.projectors import Head, Projector
from bench.models.resnet import Architecture
from bench.models.routes import RoutedBatchNorm
from methods.parts.projected import Projected
from methods.simclr import SimCLR

GOLDEN = Path(__file__).parents[1] / "golden" / "sololearn.npz"
STEPS = 97
"""Steps of an epoch: 50,000 images in batches of 512, the rest dropped."""


def simclr(**settings: Any) -> SimCLR:
    method = tiny("simclr", **settings)
    assert isinstance(method, SimCLR)
    return method


@pytest.mark.parametrize("size", ["B6", "B12"])
@pytest.mark.parametrize("temperature", [0.5, 0.2])
def test_a_step_has_solo_learns_loss(size: str, temperature: float, monkeypatch: pytest.MonkeyPatch) -> None:
    with np.load(GOLDEN) as arrays:
        z, loss, gradient = (
            torch.from_numpy(arrays[name])
            for name in (f"simclr_{size}_z", *(f"simclr_{size}_t{temperature}_{part}" for part in ("loss", "grad")))
        )
    z.requires_grad_()
    net = Projected(simclr().encoder(digits().profile), Head.SIMCLR)
    features, losses = iter(z.chunk(2)), list[Tensor]()
    monkeypatch.setattr(net.encoder, "encode", lambda view: next(features))
    monkeypatch.setattr(net.projector, "forward", lambda features, route: features)
    simclr(temperature=temperature).step(
        net,
        batch_of(seen()),
        lambda loss, **_: losses.append(loss),
    )
    assert losses[0].item() == pytest.approx(loss.item(), rel=1e-9)
    torch.testing.assert_close(torch.autograd.grad(losses[0], z)[0], gradient, rtol=1e-9, atol=1e-12)


def views_of(method: SimCLR) -> tuple[Tensor, Tensor, Projected]:
    """The two views that a step makes of a batch, and the network after it."""
    views: list[Tensor] = []
    net = Projected(method.encoder(digits().profile), Head.SIMCLR)
    net.encoder.register_forward_pre_hook(lambda _, inputs: views.append(inputs[0]))
    method.step(net, batch_of(seen()), optimiser_update(method.optimiser(net), Averages()))
    first, second = views
    return first, second, net


def test_a_step_sees_two_views_of_every_image_each_as_a_batch_of_its_own() -> None:
    first, second, net = views_of(simclr())
    assert first.shape == second.shape == (BATCH, 3, 8, 8)
    assert not (first == second).flatten(1).all(dim=1).any()
    assert int(net.encoder.get_buffer("backbone.bn1.main.num_batches_tracked")) == 2


def test_the_projector_which_has_no_batch_norm_sees_both_views_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fed, forward = list[int](), Projector.forward
    monkeypatch.setattr(Projector, "forward", lambda self, z, route: (fed.append(len(z)), forward(self, z, route))[1])
    _, _, net = views_of(simclr())
    assert fed == [2 * BATCH]
    assert not any(isinstance(part, RoutedBatchNorm) for part in net.projector.modules())


def test_row_by_row_both_views_show_the_same_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SimCLR, "view", property(lambda self: Views(HorizontalFlip(0.5))))
    pixels = batch_of(seen()).pixels
    for view in views_of(simclr())[:2]:
        as_it_is, mirrored = ((view == image).flatten(1).all(dim=1) for image in (pixels, pixels.flip(-1)))
        assert (as_it_is | mirrored).all()
        assert 0 < as_it_is.sum() < BATCH


def test_the_recipe_of_the_paper() -> None:
    """NCP-ACL A.2.1; solo-learn where it is silent."""
    cifar, stl = SimCLR(SimCLR.PAPER["cifar10"]), SimCLR(SimCLR.PAPER["stl10"])
    crop, jitter, gray, blur, flip = cifar.view.operations
    assert crop == RandomResizedCrop((0.08, 1.0), interpolation=Interpolation.BICUBIC)
    assert jitter == ColourJitter(0.4, 0.4, 0.4, 0.1, p=0.8)
    assert gray == Grayscale(0.2)
    assert blur == GaussianBlur(sigma=(0.1, 2.0), p=0.5)
    assert flip == HorizontalFlip(0.5)
    assert stl.view.operations[1] == ColourJitter(0.8, 0.8, 0.8, 0.2, p=0.8)
    assert stl.config.architecture is Architecture.RESNET18_IMAGENET
    assert (cifar.config.weight_decay, stl.config.weight_decay) == (1e-4, 1e-5)
    assert SimCLR.PAPER["cifar100"] == SimCLR.PAPER["cifar10"]


def test_the_optimiser_is_solo_learns_lars() -> None:
    method = simclr(weight_decay=1e-4)
    net = Projected(method.encoder(digits().profile), Head.SIMCLR)
    optimiser = method.optimiser(net)
    assert isinstance(optimiser, Lars)
    assert optimiser.form == SOLO_LEARN
    (group,) = optimiser.param_groups
    assert (group["momentum"], group["weight_decay"]) == (0.9, 1e-4)
    assert len(group["params"]) == len(list(net.parameters()))


@pytest.mark.parametrize(("epoch", "step", "rate"), [(0, 0, 3e-5), (9, STEPS - 1, 0.8), (10, 0, 0.8), (505, 0, 0.4)])
def test_the_learning_rate_is_solo_learns(epoch: int, step: int, rate: float) -> None:
    """Per step: 3e-5 at first, the peak at the end of ten epochs, half of it in the middle of the rest."""
    assert SimCLR(SimCLR.PAPER["cifar10"]).learning_rate()(epoch, step, STEPS, 1000) == pytest.approx(rate, rel=1e-3)


def test_the_projector_is_not_exported() -> None:
    method = simclr()
    net = Projected(method.encoder(digits().profile), Head.SIMCLR)
    assert method.export(net) is net.encoder
    assert not [name for name in method.export(net).state_dict() if "projector" in name]

"""The inner attack: pixel by pixel against the official ones, and without a trace."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.attacks.pgd import LinfPGD, Objective, ascend, trajectory, undisturbed, uniform_start
from bench.models.routes import RoutedBatchNorm2d
from methods.parts.losses import info_nce, nt_xent

GOLDEN = Path(__file__).parents[1] / "golden"

TRAINING = LinfPGD(8 / 255, 5, 2 / 255)
JUDGING = LinfPGD(8 / 255, 20, 2 / 255)


class Golden:
    """The arrays of one file as tensors."""

    def __init__(self, name: str) -> None:
        with np.load(GOLDEN / f"{name}.npz") as arrays:
            self.arrays = {key: arrays[key] for key in arrays.files}

    def __getitem__(self, key: str) -> Tensor:
        return torch.from_numpy(self.arrays[key])


class StandIn(nn.Module):
    """The small network of the golden files: convolution, routed batch norm or none, ReLU, linear layer."""

    def __init__(self, tensors: dict[str, Tensor], routes: tuple[str, ...] = ()) -> None:
        super().__init__()
        outputs = len(tensors["head.weight"])
        self.conv = nn.Conv2d(3, 4, 3, padding=1, bias="conv.bias" in tensors)
        self.bn = RoutedBatchNorm2d(4, routes) if routes else None
        self.head = nn.Linear(256, outputs)
        counters = {key: value for key, value in self.state_dict().items() if key.endswith("num_batches_tracked")}
        self.double().load_state_dict(tensors | counters)

    def forward(self, x: Tensor, route: str = "") -> Tensor:
        y = self.conv(x)
        y = y if self.bn is None else self.bn(y, route)
        outputs: Tensor = self.head(F.relu(y).flatten(1))
        return outputs


def routed(golden: Golden, name: str, routes: tuple[str, ...]) -> StandIn:
    """The stand-in of `rocl.npz`, `acl.npz` and `amoc.npz`."""
    parts = ["conv.weight", "head.weight", "head.bias"]
    tensors = {part: golden[f"{name}/{part}"] for part in parts}
    for index, route in enumerate(routes):
        for part in ("weight", "bias", "running_mean", "running_var"):
            tensors[f"bn.{route}.{part}"] = golden[f"{name}/bn{index}.{part}"]
    return StandIn(tensors, routes)


def plain(golden: Golden, name: str) -> StandIn:
    """The stand-in of `deacl.npz` and `dynacl.npz`."""
    official = {"conv.weight": "conv_w", "conv.bias": "conv_b", "head.weight": "lin_w", "head.bias": "lin_b"}
    return StandIn({ours: golden[f"standin_{name}_{theirs}"] for ours, theirs in official.items()})


@dataclass(frozen=True)
class Recorded:
    """An official attack.

    Attributes:
        objective, x, start: what it raises, around what, from where.
        attack: its budget.
        images: the images after some numbers of steps.
        networks: what it ran through.
    """

    objective: Objective
    x: Tensor
    start: Tensor
    attack: LinfPGD
    images: dict[int, Tensor]
    networks: tuple[StandIn, ...]


def amoc_aca_plus() -> Recorded:
    """Query and key in one attack; the key has no gradient, so its half stays at the random start."""
    golden = Golden("amoc")
    query, key = (routed(golden, name, ("clean", "adv")) for name in ("standin", "standin_key"))
    mean, std = (golden[name].view(1, 3, 1, 1) for name in ("mean", "std"))
    bank = golden["bank_adv_init"].T
    x = torch.cat([golden["attack/xq"], golden["attack/xk"]])

    def objective(images: Tensor) -> Tensor:
        x_query, x_key = ((images - mean) / std).chunk(2)
        q, k = F.normalize(query(x_query, "adv")), F.normalize(key(x_key, "clean").detach())
        return info_nce(q, k, bank, 0.2)

    steps = golden["attack/ACA_PLUS/x_steps"]
    start = (x + golden["attack/noise"]).clamp(0, 1)
    return Recorded(objective, x, start, TRAINING, dict(enumerate(steps)), (query, key))


def acl_contrastive(route: str, end: str | None) -> Recorded:
    """Both views of every image at once, from a start that is not clipped."""
    golden = Golden("acl")
    net = routed(golden, "standin", ("normal", "pgd"))
    x = golden["attack/x_interleaved"]
    images = {5: golden[end]} if end else dict(enumerate(golden["attack/pgdc/x_steps"]))

    def objective(images: Tensor) -> Tensor:
        z = net(images, route)
        return nt_xent(z[0::2], z[1::2], 0.5)

    return Recorded(objective, x, x + golden["attack/pgdc/delta0"], TRAINING, images, (net,))


def dynacl_contrastive() -> Recorded:
    """One view through the query network, the other through the momentum network."""
    golden = Golden("dynacl")
    query, key = plain(golden, "q"), plain(golden, "k")
    images = {steps: golden[f"atk_result_{steps}step"] for steps in (1, 5, 10)}
    attack = LinfPGD(8 / 255, 10, 2 / 255)

    def objective(images: Tensor) -> Tensor:
        return nt_xent(query(images[0::2]), key(images[1::2]), 0.5)

    return Recorded(objective, golden["atk_x"], golden["atk_start"], attack, images, (query, key))


def deacl_distillation() -> Recorded:
    """Away from the teacher's clean features."""
    golden = Golden("deacl")
    student, target = plain(golden, "student"), golden["atk_away_target"]
    images = {steps: golden[f"atk_result_{steps}step"] for steps in (1, 5)}

    def objective(images: Tensor) -> Tensor:
        return -F.cosine_similarity(student(images), target).sum()

    return Recorded(objective, golden["atk_x"], golden["atk_start"], TRAINING, images, (student,))


def cross_entropy(net: StandIn, labels: Tensor, route: str) -> Objective:
    return lambda images: F.cross_entropy(net(images, route), labels, reduction="sum")


def amoc_pgd20(route: str) -> Recorded:
    golden = Golden("amoc")
    net = routed(golden, "classifier", ("clean", "adv"))
    mean, std = (golden[name].view(1, 3, 1, 1) for name in ("mean", "std"))
    x, loss = golden["attack/xq"], cross_entropy(net, golden["attack/labels"], route)
    recorded = dict(zip((0, 1, 2, 3, 5, 10, 15, 20), golden["attack/pgd20/x_steps"], strict=True))
    images = recorded if route == "adv" else {20: golden["attack/pgd20/x_end_bn_clean"]}
    start = (x + golden["attack/pgd20/noise"]).clamp(0, 1)
    return Recorded(lambda x: loss((x - mean) / std), x, start, LinfPGD(8 / 255, 20, 0.8 / 255), images, (net,))


def acl_pgd20() -> Recorded:
    golden = Golden("acl")
    net, x = routed(golden, "classifier", ("normal",)), golden["attack/x"]
    images = dict(enumerate(golden["attack/pgd20/x_steps"]))
    loss = cross_entropy(net, golden["attack/labels"], "normal")
    return Recorded(loss, x, x + golden["attack/pgd20/delta0"], JUDGING, images, (net,))


def rocl_pgd20() -> Recorded:
    golden = Golden("rocl")
    net, x = routed(golden, "classifier", ("main",)), golden["attack/v1"]
    images = dict(enumerate(golden["attack/pgd/x_steps_eps0.0314_alpha0.00314"]))
    start = (x + golden["attack/pgd/noise"]).clamp(0, 1)
    loss = cross_entropy(net, golden["attack/pgd/labels"], "main")
    return Recorded(loss, x, start, LinfPGD(0.0314, 20, 0.00314), images, (net,))


def deacl_pgd20() -> Recorded:
    golden = Golden("deacl")
    net, weight, bias = plain(golden, "student"), golden["step_classifier_w"], golden["step_classifier_b"]
    start, images = golden["pgd20_start"].double(), {20: golden["pgd20_result"]}

    def objective(images: Tensor) -> Tensor:
        return F.cross_entropy(F.linear(net(images), weight, bias), golden["step_y"])

    return Recorded(objective, golden["atk_x"], start, JUDGING, images, (net,))


RECORDED: dict[str, Callable[[], Recorded]] = {
    "amoc ACA_PLUS": amoc_aca_plus,
    "acl both views": lambda: acl_contrastive("pgd", None),
    "acl both views, normal route": lambda: acl_contrastive("normal", "attack/pgdc/x_end_sameBN"),
    "dynacl both views, momentum pair": dynacl_contrastive,
    "deacl distillation": deacl_distillation,
    "amoc pgd20": lambda: amoc_pgd20("adv"),
    "amoc pgd20, clean route": lambda: amoc_pgd20("clean"),
    "acl pgd20": acl_pgd20,
    "rocl pgd20": rocl_pgd20,
    "deacl pgd20": deacl_pgd20,
}


@pytest.fixture(params=list(RECORDED.values()), ids=list(RECORDED))
def recorded(request: pytest.FixtureRequest) -> Recorded:
    made: Recorded = request.param()
    return made


def test_every_recorded_step_pixel_by_pixel(recorded: Recorded) -> None:
    with undisturbed(*recorded.networks):
        steps = trajectory(recorded.objective, recorded.x, recorded.start, recorded.attack)
        images = dict(enumerate([recorded.start, *steps]))
        last = ascend(recorded.objective, recorded.x, recorded.start, recorded.attack)
    for step, expected in recorded.images.items():
        torch.testing.assert_close(images[step], expected, rtol=0, atol=1e-9)
    assert torch.equal(last, images[recorded.attack.steps])


def test_the_attack_stays_in_the_ball_and_among_images(recorded: Recorded) -> None:
    with undisturbed(*recorded.networks):
        for image in trajectory(recorded.objective, recorded.x, recorded.start, recorded.attack):
            assert (image - recorded.x).abs().max() <= recorded.attack.eps + 1e-12
            assert image.min() >= 0 and image.max() <= 1
            assert not image.requires_grad


def test_a_pixel_without_gradient_does_not_move() -> None:
    recorded = amoc_aca_plus()
    with undisturbed(*recorded.networks):
        end = ascend(recorded.objective, recorded.x, recorded.start, recorded.attack)
    query, key = (end - recorded.start).abs().chunk(2)
    assert key.max() < 1e-15 and query.max() > 1 / 255


def state(nets: tuple[nn.Module, ...]) -> list[Any]:
    """All that an attack might touch."""
    tensors = [value.clone() for net in nets for value in net.state_dict().values()]
    flags = [part.training for net in nets for part in net.modules()]
    weights = [(weight.requires_grad, weight.grad) for net in nets for weight in net.parameters()]
    return [*tensors, flags, weights]


def same(before: list[Any], after: list[Any]) -> bool:
    return all(torch.equal(a, b) if isinstance(a, Tensor) else a == b for a, b in zip(before, after, strict=True))


@pytest.mark.parametrize("grad_enabled", [True, False])
def test_an_attack_leaves_no_trace(recorded: Recorded, grad_enabled: bool) -> None:
    for net in recorded.networks:
        net.train()
        net.head.eval()
        net.head.bias.requires_grad_(False)
    before = state(recorded.networks)
    with torch.set_grad_enabled(grad_enabled), undisturbed(*recorded.networks):
        assert not any(part.training for net in recorded.networks for part in net.modules())
        assert not any(weight.requires_grad for net in recorded.networks for weight in net.parameters())
        ascend(recorded.objective, recorded.x, recorded.start, recorded.attack)
    assert same(before, state(recorded.networks))


def test_everything_is_restored_after_an_exception() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.Dropout()).train()
    before = state((net,))
    with pytest.raises(ZeroDivisionError), undisturbed(net):
        raise ZeroDivisionError
    assert same(before, state((net,)))


def test_undisturbed_may_be_nested() -> None:
    net = nn.Linear(2, 2)
    with undisturbed(net):
        with undisturbed(net, net):
            pass
        assert not net.training and not net.weight.requires_grad
    assert net.training and net.weight.requires_grad


@pytest.mark.parametrize("clip", [True, False])
def test_the_start_is_uniform_in_the_ball(clip: bool) -> None:
    x = torch.full((64, 3, 8, 8), 0.02)
    start = uniform_start(x, 0.1, torch.Generator().manual_seed(0), clip=clip)
    noise = start - x
    assert (start.min() >= 0) == clip
    assert noise.max() <= 0.1 and noise.max() > 0.099
    assert (noise > 0).double().mean().item() == pytest.approx(0.5, abs=0.02)
    if not clip:
        assert noise.min() < -0.099 and noise.std().item() == pytest.approx(0.1 / 3**0.5, rel=0.02)


def test_the_start_depends_on_the_generator_alone() -> None:
    x = torch.rand(4, 3, 8, 8)
    starts = [
        uniform_start(image, 0.1, torch.Generator().manual_seed(3), clip=False)
        for image in (x, x, x.contiguous(memory_format=torch.channels_last))
    ]
    assert all(torch.equal(starts[0], start) for start in starts)


def test_no_steps_give_the_start() -> None:
    x = torch.rand(2, 3, 4, 4)
    assert torch.equal(ascend(lambda image: image.sum(), x, x, LinfPGD(0.1, 0, 0.1)), x)

"""How much of a GPU's memory a stage is expected to take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch.autograd.graph import saved_tensors_hooks

from bench.data.profiles import profile_of
from bench.executors.needs import FOOTPRINTS, Needs
from bench.models.resnet import Architecture, resnet
from bench.plan import Plan, Stage, StageKind
from bench.planning import plan_of
from bench.store import Store
from tests.plugins import write_method

PRETRAIN, HEAD, ATTACK, AUDIT = StageKind
PROFILES = {Architecture.SMALL: "digits", Architecture.RESNET18_IMAGENET: "stl10"}


def put(store: Store, stage: Stage, peak: float, cuda: str | None) -> None:
    store.put(stage.key, {"peak_memory_mb": peak, "context": {"cuda": cuda}}, {})


@pytest.fixture
def needs(make_sweep: Any, tmp_path: Path) -> Any:
    """Needs of the stages of two seeds, and how to reach these stages."""

    def needs(methods: str, **options: Any) -> tuple[Needs, Plan]:
        plan = plan_of(make_sweep(methods=methods, seeds=2, protocols="slf-1", **options))
        return Needs(plan, Store.open(tmp_path / "runs")), plan

    return needs


def of_kind(plan: Plan, kind: StageKind) -> list[Stage]:
    return [stage for stage in plan.stages.values() if stage.kind is kind]


def test_what_another_seed_took_on_a_gpu_is_the_measure(needs: Any) -> None:
    found, plan = needs("simclr")
    first, second = of_kind(plan, PRETRAIN)
    estimated = found.of(second)
    put(found.store, first, 5000, "13.2")
    assert found.of(second) == 1.2 * 5000 + 1000 != estimated
    assert found.of(of_kind(plan, HEAD)[0]) != found.of(second)


def test_what_it_took_on_a_cpu_says_nothing(needs: Any) -> None:
    found, plan = needs("simclr")
    first, second = of_kind(plan, PRETRAIN)
    before = found.of(second)
    put(found.store, first, 5000, None)
    assert found.of(second) == before


@pytest.mark.parametrize(
    ("larger", "smaller"),
    [
        ("simclr[batch_size=256]", "simclr[batch_size=128]"),
        ("simclr[architecture=resnet18-padding1]", "simclr"),
        ("amoc", "amoc[batch_size=2]"),
    ],
)
def test_else_network_and_batch_are(needs: Any, larger: str, smaller: str) -> None:
    estimates = [
        found.of(of_kind(plan, PRETRAIN)[0]) for found, plan in (needs(text, limit=None) for text in (larger, smaller))
    ]
    assert estimates[0] > estimates[1] > 1000


def test_of_an_unknown_network_nothing_is_known(needs: Any, tmp_path: Path) -> None:
    found, plan = needs(write_method(tmp_path))
    assert [found.of(stage) for stage in plan.stages.values()] == [None] * len(plan.stages)


@pytest.mark.parametrize("architecture", Architecture)
def test_activations_are_what_a_backward_pass_keeps(architecture: Architecture) -> None:
    size = profile_of(PROFILES.get(architecture, "cifar10")).image_size
    net, kept = resnet(architecture, ("main",)).train(), {}
    own = {one.untyped_storage().data_ptr() for one in (*net.parameters(), *net.buffers())}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = 0 if storage.data_ptr() in own else storage.nbytes()
        return tensor

    with saved_tensors_hooks(keep, lambda tensor: tensor):
        features = net(torch.rand(4, 3, size, size), "main")
    assert features.requires_grad
    assert sum(kept.values()) / 4 / 2**20 == pytest.approx(FOOTPRINTS[architecture].image, rel=0.05)

"""What a stage computes in is what its recipe says, and its row tells."""

from __future__ import annotations

import json
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from bench.errors import BenchError
from bench.execution import Execution, Precision
from bench.executors import work
from bench.models.precision import _MIXED
from bench.plan import StageKind
from tests.plugins import write_method

TRAINS = """
from bench.config import EpochLength, TrainingConfig
from bench.engine.loop import TrainingMethod
from bench.engine.schedules import StepDecay
from bench.models.encoder import resnet_encoder

class Trains(TrainingConfig):
    epochs: EpochLength = 1
    batch_size: int = 20

class Trained(TrainingMethod[Trains, Encoder]):
    name = "trained"
    Config = Trains
    QUICK = {"digits": Trains()}
    def encoder(self, profile): return resnet_encoder("small", profile)
    def build(self, images, run): return self.encoder(images.profile)
    def optimiser(self, net):
        import torch
        return torch.optim.SGD(net.parameters(), lr=1.0)
    def learning_rate(self): return StepDecay(0.01)
    def step(self, net, batch, update): update(net.encode(batch.pixels).square().mean())
    def export(self, net): return net
"""


def test_the_precision_of_a_stage_holds_while_it_is_carried_out(
    make_sweep: Any, ran: Any, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: dict[str, tuple[bool, bool]] = {}
    for kind in StageKind:
        honest = getattr(work, kind)

        def noted(*args: Any, honest: Any = honest, kind: str = kind, **options: Any) -> Any:
            held[kind] = torch.backends.cudnn.allow_tf32, _MIXED.get()
            return honest(*args, **options)

        monkeypatch.setattr(work, kind, noted)
    text = write_method(tmp_path, more=TRAINS).partition(".py")[0] + ".py:Trained"
    (row,) = ran(make_sweep(methods=f"{text}[precision=bf16]", protocols="cheap[precision=tf32]")).rows
    assert held == {"pretrain": (False, True), "head": (True, False), "attack": (True, False), "audit": (True, False)}
    assert (row["label"], row["status"]) == ("trained[precision=bf16]", "ok")
    assert (row["protocol"], row["precision"]) == ("cheap[precision=tf32]", Precision.TF32)
    assert row["context_execution"] == Execution.EAGER


def test_what_a_training_remarked_is_a_warning_of_its_row(make_sweep: Any, ran: Any, tmp_path: Any) -> None:
    remark = "the step is not captured: it waits"
    body = f"run.record({{'epoch': 0, 'remark': '{remark}'}})"
    (row,) = ran(make_sweep(methods=write_method(tmp_path, body=body))).rows
    assert json.loads(row["warnings"]) == [remark]


def test_a_graph_on_a_cpu_is_refused_before_anything_runs(make_sweep: Any, ran: Any) -> None:
    with pytest.raises(BenchError, match="--execution auto"):
        ran(make_sweep(execution="graph"))


def test_the_execution_is_part_of_the_context_of_the_pre_training_alone(make_sweep: Any, ran: Any) -> None:
    done = ran(make_sweep(execution="compiled"))
    found = {stage.kind: done.store.record(key)["context"]["execution"] for key, stage in done.plan.stages.items()}
    assert found == {kind: "compiled" if kind is StageKind.PRETRAIN else "eager" for kind in StageKind}
    assert done.rows[0]["context_execution"] == "compiled"


@pytest.mark.parametrize(
    ("device", "wanted", "deterministic"), [("cpu", False, True), ("cuda:1", False, False), ("cuda:1", True, True)]
)
def test_kernels_are_deterministic_on_a_cpu_and_where_asked_for(
    device: str, wanted: bool, deterministic: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[Any, ...]] = []

    def conditions(*given: Any) -> Any:
        asked.append(given)
        return SimpleNamespace(hold=nullcontext)

    monkeypatch.setattr(work, "Conditions", conditions)
    work.Site(Path("runs"), Path("data"), device, 1, deterministic=wanted).settled()
    assert asked == [(device, Precision.FP32, deterministic, 1)]

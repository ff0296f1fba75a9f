"""Every method's step may be captured in a CUDA graph, and its replays are its eager steps."""

from __future__ import annotations

import copy
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from test_conformance import pytest_generate_tests as pytest_generate_tests
from tiny import BATCH, bits, digits, quiet, registry, run_of, seen, tiny, upstream_of
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bench.contract import Encoder, Method, Run, UnlabelledImages
from bench.engine.conditions import Conditions
from bench.engine.loop import Batch, TrainingMethod, classes_at, optimiser_update, pixels_at, train
from bench.engine.state import Averages
from bench.errors import Interrupted
from bench.execution import Execution, Precision
from bench.executors.checkpoints import Keeper
from bench.executors.stop import Stop
from bench.grammar import parse_spec
from bench.randomness import Randomness
from bench.stages.pretrain import pretrain
from bench.store import Store
from tests.engine.tape import Tapes

EPOCHS = 7
"""Of three steps each: a few more than 20 steps."""
BATCH_SIZES = {"rcs": 2}
"""How many there are in an epoch, each captured on its own: of the 95 images that `rcs` trains on the last batch is
smaller."""
GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def training(text: str, epochs: int, **settings: Any) -> TrainingMethod[Any, Any]:
    if not issubclass(registry().find(parse_spec(text).name).load(), TrainingMethod):
        pytest.skip("not trained by the engine's loop")
    method = tiny(text)
    config = type(method.config).model_validate({**method.config.with_epochs(epochs).model_dump(), **settings})
    return type(method)(config)


def weights(encoder: nn.Module) -> Mapping[str, Tensor]:
    return {name: value.detach().cpu().double() for name, value in encoder.state_dict().items()}


def test_replays_on_a_tape_equal_eager_steps_with_the_same_kernels(text: str) -> None:
    epochs, encoders, remarks = 3, [], list[Mapping[str, Any]]()
    for graphs in (Tapes(fails="never"), tapes := Tapes()):
        method, history = training(text, epochs), list[Mapping[str, Any]]()
        images = seen(labelled=method.labelled)
        encoders.append(train(method, images, run_of(method, record=history.append), graphs))
        remarks = [entry for entry in history if "remark" in entry]
    if remarks:
        pytest.skip(f"runs eagerly: {remarks[0]['remark']}")
    assert bits(encoders[0]) == bits(encoders[1])
    assert tapes.replays == epochs * 3 - 3 * BATCH_SIZES.get(text, 1)


class Host(TorchDispatchMode):  # type: ignore[misc]
    """Collects the operations in which host and device meet, or for which the host waits."""

    def __init__(self) -> None:
        super().__init__()
        self.met: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        parts = [part for part in tree_leaves((args, kwargs, result)) if isinstance(part, Tensor)]
        if len({part.device.type for part in parts}) > 1 or "_local_scalar_dense" in str(func):
            self.met.append(str(func))
        return result


class Placed(Batch):
    """A batch on the device that computes nothing, which has no generators either."""

    def generator(self, purpose: str) -> Any:
        return type("Generator", (), {"device": torch.device("meta")})()


@contextmanager
def drawing_without_generators() -> Iterator[None]:
    def without(draw: Callable[..., Tensor]) -> Callable[..., Tensor]:
        return lambda *shape, generator=None, **options: draw(*shape, **options)

    with (
        patch.object(torch, "rand", without(torch.rand)),
        patch.object(torch, "randn", without(torch.randn)),
        patch("torch.autocast"),  # knows no such device
    ):
        yield


def test_its_step_never_meets_the_host(text: str) -> None:
    """On torch's `meta` device, which like a GPU is not the host's: no copy from it, no wait for a number."""
    method = training(text, 1)
    images, run = seen(labelled=method.labelled), run_of(method)
    net = copy.deepcopy(method.build(images, run)).to(memory_format=torch.channels_last).to("meta").train()
    optimiser = method.optimiser(net)
    placed = images.to("meta")
    index = torch.zeros(BATCH, dtype=torch.int64, device="meta")
    place = Randomness(0, "pretrain"), 0, 0
    update = optimiser_update(optimiser, Averages())
    with drawing_without_generators(), patch.object(optimiser, "step"), Host() as host:
        method.step(net, Placed(pixels_at(placed, index), index, *place, classes_at(placed, index)), update)
    assert host.met == []


@pytest.mark.parametrize("label", ["simclr", "ncp[recluster_every=2]", "amoc[bank_size=150]"])
def test_a_captured_training_that_is_interrupted_equals_a_straight_one(label: str, tmp_path: Path) -> None:
    def steps(store: Store, until: int | None = None) -> str:
        method, stop, done = training(label, 3), Stop(), 0

        def report(*_: Any) -> None:
            nonlocal done
            done += 1
            if done == until:
                stop.receive(signal.SIGTERM)

        def captured(self: TrainingMethod[Any, Any], images: UnlabelledImages, run: Run) -> Encoder:
            return train(self, images, run, Tapes())

        keeper = Keeper(store, "k", "cpu", 1e9, stop, [], waits=True)
        with patch.object(TrainingMethod, "pretrain", captured):
            return bits(pretrain(method, digits(), upstream_of(method, 0), 0, report, quiet, keeper))

    straight, interrupted = (Store.open(tmp_path / name) for name in ("straight", "interrupted"))
    for until in (5, 2):  # In the middle of an epoch: among replays, then among the warm-up steps that follow.
        with pytest.raises(Interrupted):
            steps(interrupted, until)
    assert steps(interrupted) == steps(straight)


# On a GPU.


def on_gpu(method: Method[Any], execution: Execution, record: Any = quiet) -> Encoder:
    run = run_of(method, record=record)
    upstream = {name: encoder.to("cuda") for name, encoder in run.upstream.items()}
    images = seen(labelled=method.labelled).to("cuda")
    own = replace(run, device=torch.device("cuda"), upstream=upstream, execution=execution)
    return method.pretrain(images, own)


@GPU
@pytest.mark.gpu
def test_a_graph_equals_eager_steps(text: str) -> None:
    """In deterministic mode: in the other one not even eager steps equal eager steps."""
    encoders, history = [], list[Mapping[str, Any]]()
    with Conditions("cuda").hold():
        for execution in (Execution.EAGER, Execution.GRAPH):
            encoders.append(on_gpu(training(text, EPOCHS), execution, history.append))
    assert [entry["remark"] for entry in history if "remark" in entry] == []
    one, other = map(weights, encoders)
    for name, value in one.items():
        torch.testing.assert_close(other[name], value, rtol=1e-5, atol=1e-5 * float(value.abs().max()))


@GPU
@pytest.mark.gpu
@pytest.mark.parametrize("execution", [Execution.GRAPH, Execution.COMPILED])
@pytest.mark.parametrize("precision", [Precision.TF32, Precision.BF16])
def test_lower_precision_is_captured_too(text: str, precision: Precision, execution: Execution) -> None:
    method, history = training(text, 2, precision=precision), list[Mapping[str, Any]]()
    with Conditions("cuda", precision, deterministic=False).hold():
        encoder = on_gpu(method, execution, history.append)
    assert [entry["remark"] for entry in history if "remark" in entry] == []
    assert all(bool(value.isfinite().all()) for value in encoder.state_dict().values())
    assert {value.dtype for value in encoder.parameters()} == {torch.float32}


@GPU
@pytest.mark.gpu
def test_a_graph_is_resumed_to_the_bit(tmp_path: Path) -> None:
    def steps(store: Store, until: int | None = None) -> str:
        method, stop, done = training("amoc[bank_size=150]", 3), Stop(), 0

        def report(*_: Any) -> None:
            nonlocal done
            done += 1
            if done == until:
                stop.receive(signal.SIGTERM)

        keeper = Keeper(store, "k", "cuda", 1e9, stop, [], waits=True, execution=Execution.GRAPH)
        images = digits().to("cuda")
        return bits(pretrain(method, images, {}, 0, report, quiet, keeper, Execution.GRAPH).cpu())

    straight, interrupted = (Store.open(tmp_path / name) for name in ("straight", "interrupted"))
    with Conditions("cuda").hold():
        with pytest.raises(Interrupted):
            steps(interrupted, 5)
        assert steps(interrupted) == steps(straight)

"""Captured steps: when they are captured, what of Python they follow, and what happens where they cannot be.

`Tapes` stand in for CUDA graphs: a tape knows of Python no more than a graph does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.config import EpochLength, TrainingConfig
from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.profiles import PROFILES
from bench.engine.capture import WARM_UP, Uncapturable, graphs_for, reason, replayed
from bench.engine.conditions import resolved
from bench.engine.loop import Batch, TrainingMethod, Update, train
from bench.engine.optim import ACL, Lars, make_capturable
from bench.errors import BenchError, StageError
from bench.execution import Execution
from bench.randomness import Randomness
from tests.engine.tape import Tapes

STEPS = 5
"""Of an epoch."""


class Config(TrainingConfig):
    """Twenty images make five batches of four."""

    epochs: EpochLength = 3
    """Chosen."""
    batch_size: int = 4
    """Chosen."""


class Net(Encoder):
    """A linear map of the pixels, a buffer that steps write, and one that they read."""

    routes = ("main",)
    active_route = "main"
    seen: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(48, 4)
        self.register_buffer("seen", torch.zeros(4))
        self.register_buffer("scale", torch.ones(()))

    def encode(self, x: Tensor) -> Tensor:
        return torch.as_tensor(self.linear(x.flatten(1)))


def noisy(net: Net, batch: Batch) -> Tensor:
    """A loss that depends on the batch, on draws, and on state that the step itself moves."""
    noise = torch.rand(batch.pixels.shape, generator=batch.generator("noise"))
    features = net.encode(batch.pixels + net.scale * noise)
    with torch.no_grad():
        net.seen.lerp_(features.mean(0), 0.5)
    return (features - net.seen).square().mean()


@dataclass
class Toy(TrainingMethod[Config, Net]):
    """A method whose loss and hooks a test chooses."""

    loss: Callable[[Net, Batch], Tensor] = noisy
    before: Callable[[Net, int], None] = lambda net, epoch: None
    config: Config = field(default_factory=Config)
    lars: bool = False

    name = "toy"
    Config = Config

    def encoder(self, profile: Any) -> Net:
        return Net()

    def build(self, images: UnlabelledImages, run: Run) -> Net:
        return Net()

    def optimiser(self, net: Net) -> torch.optim.Optimizer:
        if self.lars:
            return Lars(net.parameters(), 99.0, form=ACL)
        return torch.optim.SGD(net.parameters(), lr=99.0, momentum=0.9, weight_decay=1e-4)

    def learning_rate(self) -> Callable[[int, int, int, int], float]:
        return lambda epoch, step, steps, epochs: 0.1 / (1 + epoch * steps + step)

    def before_epoch(self, net: Net, images: UnlabelledImages, run: Run, epoch: int) -> None:
        self.before(net, epoch)

    def step(self, net: Net, batch: Batch, update: Update) -> None:
        loss = self.loss(net, batch)
        update(loss, twice=2 * loss)

    def export(self, net: Net) -> Encoder:
        return net


@dataclass
class Trained:
    """What a training leaves behind."""

    state: Mapping[str, Tensor]
    history: list[Mapping[str, Any]]

    @property
    def remarks(self) -> list[str]:
        return [entry["remark"] for entry in self.history if "remark" in entry]

    @property
    def means(self) -> list[Mapping[str, Any]]:
        return [entry for entry in self.history if "loss" in entry]

    def equals(self, other: Trained) -> bool:
        same = all(torch.equal(value, other.state[name]) for name, value in self.state.items())
        return same and self.means == other.means


def trained(toy: Toy, graphs: Tapes, images: int = 20) -> Trained:
    pixels = torch.arange(images * 48, dtype=torch.uint8).view(images, 3, 4, 4)
    history: list[Mapping[str, Any]] = []
    run = Run(Randomness(0, "pretrain"), torch.device("cpu"), {}, lambda *_: None, history.append)
    encoder = train(toy, UnlabelledImages(pixels, PROFILES["digits"]), run, graphs)
    return Trained(encoder.state_dict(), history)


def eager(toy: Toy, images: int = 20) -> Trained:
    """With the kernels of a captured training, every step done by Python."""
    return trained(toy, Tapes(fails="never"), images)


def reads_epoch(net: Net, batch: Batch) -> Tensor:
    return (1 + batch.epoch) * noisy(net, batch)


def draws_twice(net: Net, batch: Batch) -> Tensor:
    same, again, other = (torch.rand(4, generator=batch.generator(name)) for name in ("a", "a", "b"))
    return ((same - again + other) * net.encode(batch.pixels)).mean()


def rescale(net: Net, epoch: int) -> None:
    net.scale.fill_(epoch)


def rest(net: Net, epoch: int) -> None:
    net.linear.weight.requires_grad_(epoch != 1)


def replace_scale(net: Net, epoch: int) -> None:
    net.scale = torch.full((), float(epoch))


def switch(net: Net, epoch: int) -> None:
    net.factor = 2.0 if epoch == 1 else 1.0  # type: ignore[assignment]


def follows_switch(net: Net, batch: Batch) -> Tensor:
    return noisy(net, batch) * float(getattr(net, "factor", 1.0))  # type: ignore[arg-type]


FOLLOWED = {
    "batches, rates, draws and state": (Toy(), 1),
    "LARS": (Toy(lars=True), 1),
    "two generators of one purpose": (Toy(draws_twice), 1),
    "a tensor that an epoch writes": (Toy(before=rescale), 1),
    "a tensor that an epoch replaces": (Toy(before=replace_scale), 3),
    "what is frozen for an epoch": (Toy(before=rest), 3),
    "a number that an epoch sets": (Toy(follows_switch, before=switch), 3),
    "the epoch's number": (Toy(reads_epoch), 3),
}


@pytest.mark.parametrize(("toy", "captures"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_a_replayed_step_follows(toy: Toy, captures: int) -> None:
    graphs = Tapes()
    captured = trained(toy, graphs)
    assert captured.equals(eager(toy))
    assert captured.remarks == []
    assert (graphs.captures, graphs.replays) == (captures, 3 * STEPS - WARM_UP)


def test_a_second_batch_size_has_a_capture_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Toy, "drop_last", False)
    toy, graphs = Toy(config=Config(epochs=5)), Tapes()
    assert trained(toy, graphs, images=22).equals(eager(toy, images=22))
    assert (graphs.captures, graphs.replays) == (2, 5 * (STEPS + 1) - 2 * WARM_UP)


def reads_step(net: Net, batch: Batch) -> Tensor:
    return (1 + batch.step) * noisy(net, batch)


def takes_randomness(net: Net, batch: Batch) -> Tensor:
    return noisy(net, batch) + 0 * batch.randomness.seed


def waits(net: Net, batch: Batch) -> Tensor:
    return noisy(net, batch) * (2 if net.seen.sum().item() > 0 else 1)


def replaces(net: Net, batch: Batch) -> Tensor:
    net.seen = net.seen + 1
    return noisy(net, batch)


class Changing:
    """A step that draws for something new each time."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self, net: Net, batch: Batch) -> Tensor:
        self.count += 1
        batch.generator(f"draw {self.count}")
        return noisy(net, batch)


REFUSED = {
    "reads the step": (lambda: reads_step, "it reads `batch.step`"),
    "takes the randomness": (lambda: takes_randomness, "it reads `batch.step`, or `batch.randomness`"),
    "waits for the device": (lambda: waits, "RuntimeError: operation not permitted when stream is capturing"),
    "replaces its state": (lambda: replaces, "it replaces a tensor of its state"),
    "draws for something else": (Changing, "it draws for 'draw 4' where the step before it did not"),
}


@pytest.mark.parametrize(("loss", "why"), REFUSED.values(), ids=REFUSED.keys())
def test_a_step_that_cannot_be_repeated_runs_eagerly_and_the_record_says_why(
    loss: Callable[[], Callable[[Net, Batch], Tensor]], why: str
) -> None:
    graphs = Tapes()
    attempted = trained(Toy(loss()), graphs)
    assert attempted.equals(eager(Toy(loss())))
    (remark,) = attempted.remarks
    assert remark.startswith(f"the step is not captured: {why}")
    assert graphs.replays == 0


def test_a_device_that_refuses_leaves_no_trace() -> None:
    """What the broken capture wrote, and what it made Python believe, is gone: as if it had never been tried."""
    attempted = trained(Toy(), Tapes(fails="out of memory"))
    assert attempted.remarks == ["the step is not captured: RuntimeError: out of memory"]
    assert [entry["loss"] * 2 == pytest.approx(entry["twice"]) for entry in attempted.means] == [True] * 3
    plain = Toy(config=Config(epochs=1))
    assert trained(plain, Tapes()).equals(eager(plain))


def test_a_part_on_the_host_is_no_part_of_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Toy, "step", lambda self, net, batch, update: update(noisy(net, batch), rows=torch.ones((), device="meta"))
    )
    monkeypatch.setattr("bench.engine.state.Averages.means", lambda self: {})
    (remark,) = trained(Toy(), Tapes()).remarks
    assert "a part to `update` that lies on" in remark


def test_replayed_steps_are_checked_as_eager_ones_are(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StageError, match="mean loss of epoch 2"):
        trained(Toy(before=lambda net, epoch: rescale(net, torch.inf if epoch else 1)), Tapes())
    monkeypatch.setattr(Toy, "step", lambda self, net, batch, update: None)
    with pytest.raises(StageError, match="0 calls of `update` in an epoch of 5 batches"):
        trained(Toy(), Tapes())


def test_a_bare_action_can_be_replayed() -> None:
    source, target = torch.arange(3.0), torch.zeros(3)

    def double() -> None:
        target.copy_(source * 2)

    again = replayed(double, Tapes())
    source += 1
    again()
    assert target.tolist() == [2, 4, 6]


def test_the_reason_is_where_a_chain_of_errors_began() -> None:
    first, second = Uncapturable("it waits"), RuntimeError("capture_end: operation failed")
    second.__context__ = first
    assert (reason(second), reason(first)) == ("it waits", "it waits")
    assert reason(RuntimeError("no\nmore")) == "RuntimeError: no"


@pytest.mark.parametrize(
    ("execution", "device", "meaning"),
    [
        (Execution.AUTO, "cpu", Execution.EAGER),
        (Execution.AUTO, "cuda:1", Execution.GRAPH),
        (Execution.EAGER, "cuda", Execution.EAGER),
        (Execution.COMPILED, "cpu", Execution.COMPILED),
    ],
)
def test_what_an_execution_means(execution: Execution, device: str, meaning: Execution) -> None:
    assert resolved(execution, device) is meaning


def test_there_is_no_graph_without_a_gpu() -> None:
    with pytest.raises(BenchError, match="a CUDA device alone"):
        resolved(Execution.GRAPH, "cpu")
    assert graphs_for(Execution.COMPILED, torch.device("cpu")) is None


@pytest.mark.parametrize("dampening", [0.0, 0.5])
def test_a_capturable_optimiser_takes_the_same_steps(dampening: float) -> None:
    """Also where a parameter has its first gradient later than others, which torch's fused SGD does not forgive."""
    results = []
    for capturable in (False, True):
        weights = [nn.Parameter(torch.arange(1.0, 4.0)) for _ in range(2)]
        sgd = torch.optim.SGD(weights, lr=1.0, momentum=0.9, dampening=dampening, weight_decay=0.1)
        if capturable:
            make_capturable(sgd, torch.device("cpu"))
        for rate in (0.5, 0.25):
            for group in sgd.param_groups:
                group["lr"] = torch.tensor(rate) if capturable else rate
            late = rate < 0.5 or dampening > 0
            torch.autograd.backward(weights[0].square().sum() + (weights[1].square().sum() if late else 0))
            sgd.step()
            sgd.zero_grad()
        results.append([weight.detach() for weight in weights])
    torch.testing.assert_close(*results)

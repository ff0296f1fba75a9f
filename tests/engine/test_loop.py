"""The training loop: order, batches, rates, averages, and the errors of a training that goes wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bench.config import EpochLength, TrainingConfig
from bench.contract import Encoder, Run, UnlabelledImages
from bench.data.profiles import PROFILES
from bench.engine.loop import Averages, Batch, TrainingMethod, Update, encode_all
from bench.errors import StageError
from bench.execution import Precision
from bench.randomness import Randomness


class ToyConfig(TrainingConfig):
    """Ten images make three batches of three."""

    epochs: EpochLength = 2
    """Chosen."""
    batch_size: int = 3
    """Chosen."""


class ToyEncoder(Encoder):
    """The mean pixel times a weight."""

    routes = ("main",)
    active_route = "main"

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.rand(1))

    def encode(self, x: Tensor) -> Tensor:
        return self.weight * x.flatten(1).mean(dim=1, keepdim=True)


@dataclass
class Diary:
    """What a method saw."""

    batches: list[Batch] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)
    asked: list[tuple[int, int, int, int]] = field(default_factory=list)
    events: list[str] = field(default_factory=list)


class Toy(TrainingMethod[ToyConfig, ToyEncoder]):
    """A method that writes down what it is given."""

    name = "toy"
    Config = ToyConfig

    def __init__(self, config: ToyConfig, loss: Callable[[ToyEncoder, Batch], Tensor] | None = None) -> None:
        super().__init__(config)
        self.diary = Diary()
        self.loss = loss or (lambda net, batch: net.encode(batch.pixels).mean())

    def encoder(self, profile: Any) -> ToyEncoder:
        return ToyEncoder()

    def build(self, images: UnlabelledImages, run: Run) -> ToyEncoder:
        return ToyEncoder()

    def optimiser(self, net: ToyEncoder) -> torch.optim.Optimizer:
        self.sgd = torch.optim.SGD([{"params": net.parameters()}, {"params": [nn.Parameter(torch.zeros(1))]}], lr=99.0)
        return self.sgd

    def learning_rate(self) -> Callable[[int, int, int, int], float]:
        return lambda *position: self.diary.asked.append(position) or 0.1 / len(self.diary.asked)

    def prepare(self, net: ToyEncoder, images: UnlabelledImages, run: Run) -> None:
        self.diary.events.append("prepare")

    def before_epoch(self, net: ToyEncoder, images: UnlabelledImages, run: Run, epoch: int) -> Tensor | None:
        self.diary.events.append(f"before epoch {epoch}, {'train' if net.training else 'eval'}")
        net.eval()
        return None

    def step(self, net: ToyEncoder, batch: Batch, update: Update) -> None:
        self.diary.batches.append(batch)
        self.diary.rates += [group["lr"] for group in self.sgd.param_groups]
        self.diary.events.append("step")
        update(self.loss(net, batch), size=torch.tensor(float(len(batch.index))))

    def export(self, net: ToyEncoder) -> Encoder:
        self.diary.events.append("export")
        return net


def images(count: int = 10) -> UnlabelledImages:
    """Image i is of the value i."""
    values = torch.arange(count, dtype=torch.uint8).view(-1, 1, 1, 1)
    return UnlabelledImages(values.expand(-1, 3, 4, 4).contiguous(), PROFILES["digits"])


def run(seed: int = 0, record: Any = lambda _: None, report: Any = lambda *_: None) -> Run:
    return Run(Randomness(seed, "pretrain"), torch.device("cpu"), {}, report, record)


def order_of(toy: Toy) -> list[list[int]]:
    return [batch.index.tolist() for batch in toy.diary.batches]


class TestOrder:
    def test_an_epoch_is_a_permutation_of_its_own_and_of_the_seeds_own(self) -> None:
        toys = {seed: Toy(ToyConfig(batch_size=5)) for seed in (0, 1)}
        for seed, toy in toys.items():
            toy.pretrain(images(), run(seed))
        first, second = (order_of(toys[0])[epoch] + order_of(toys[0])[epoch + 1] for epoch in (0, 2))
        assert sorted(first) == sorted(second) == list(range(10))
        assert first != second
        assert order_of(toys[1]) != order_of(toys[0])

    def test_two_methods_of_a_seed_see_the_same_order(self) -> None:
        one, other = Toy(ToyConfig()), Toy(ToyConfig(epochs=4), loss=lambda net, batch: net.weight.sum())
        one.pretrain(images(), run())
        other.pretrain(images(), run())
        assert order_of(one) == order_of(other)[: len(order_of(one))]

    @pytest.mark.parametrize(("drop_last", "sizes"), [(True, [3, 3, 3]), (False, [3, 3, 3, 1])])
    def test_the_last_batch(self, drop_last: bool, sizes: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Toy, "drop_last", drop_last)
        toy = Toy(ToyConfig(epochs=1))
        toy.pretrain(images(), run())
        assert [len(index) for index in order_of(toy)] == sizes

    def test_a_method_may_bring_its_own_order_of_any_length(self, monkeypatch: pytest.MonkeyPatch) -> None:
        orders = [torch.tensor([4, 4, 4, 1, 2, 3]), torch.tensor([7, 8, 9])]
        monkeypatch.setattr(Toy, "before_epoch", lambda self, net, images, run, epoch: orders[epoch])
        toy = Toy(ToyConfig())
        toy.pretrain(images(), run())
        assert order_of(toy) == [[4, 4, 4], [1, 2, 3], [7, 8, 9]]
        assert toy.diary.asked == [(0, 0, 2, 2), (0, 1, 2, 2), (1, 0, 1, 2)]

    def test_pixels_belong_to_their_index_and_lie_in_0_to_1(self) -> None:
        toy = Toy(ToyConfig())
        toy.pretrain(images(), run())
        for batch in toy.diary.batches:
            assert batch.pixels.dtype == torch.float32
            assert batch.pixels.shape == (3, 3, 4, 4)
            torch.testing.assert_close(batch.pixels[:, 0, 0, 0], batch.index / 255)


class TestSteps:
    def test_things_happen_in_this_order(self) -> None:
        toy = Toy(ToyConfig())
        toy.pretrain(images(6), run())
        epochs = [event for epoch in (0, 1) for event in (f"before epoch {epoch}, train", "step", "step", "export")]
        assert toy.diary.events == ["prepare", *epochs, "export"]

    def test_the_rate_is_set_before_every_step_in_every_group(self) -> None:
        toy = Toy(ToyConfig())
        toy.pretrain(images(), run())
        assert toy.diary.asked == [(epoch, step, 3, 2) for epoch in (0, 1) for step in range(3)]
        assert toy.diary.rates == [0.1 / count for count in range(1, 7) for _ in range(2)]

    def test_an_update_takes_one_step_of_the_optimiser_with_fresh_gradients(self) -> None:
        toy = Toy(ToyConfig(), loss=lambda net, batch: 2 * net.weight.sum())
        with run().randomness.as_global("initialisation"):
            start = ToyEncoder().weight.item()
        encoder = toy.pretrain(images(), run())
        assert isinstance(encoder, ToyEncoder)
        assert encoder.weight.item() == pytest.approx(start - 2 * sum(0.1 / count for count in range(1, 7)), abs=1e-6)

    def test_the_start_depends_on_the_seed_alone(self) -> None:
        weights = []
        for seed in (0, 0, 1):
            torch.rand(3)
            encoder = Toy(ToyConfig(), loss=lambda net, batch: 0 * net.weight.sum()).pretrain(images(), run(seed))
            weights.append(next(encoder.parameters()).item())
        assert weights[0] == weights[1] != weights[2]

    def test_draws_depend_on_purpose_epoch_and_step(self) -> None:
        toy = Toy(ToyConfig())
        toy.pretrain(images(), run())
        batches = toy.diary.batches
        draws = {
            torch.rand(1, generator=batch.generator(name)).item() for batch in batches for name in ("view", "noise")
        }
        assert len(draws) == 12
        again = torch.rand(1, generator=batches[0].generator("view")).item()
        assert again == torch.rand(1, generator=batches[0].generator("view")).item()

    def test_progress_ends_at_its_total(self) -> None:
        told: list[tuple[int, int, str]] = []
        Toy(ToyConfig()).pretrain(images(), run(report=lambda *told_now: told.append(told_now)))
        assert [done for done, _, _ in told] == [1, 2, 3, 4, 5, 6]
        assert {total for _, total, _ in told} == {6}
        assert told[-1][2] == "epoch 2/2"


class TestRecord:
    def test_an_epoch_keeps_the_means_of_its_loss_and_parts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Toy, "drop_last", False)
        records: list[Mapping[str, Any]] = []
        values = iter(torch.arange(8, dtype=torch.float32))
        toy = Toy(ToyConfig(), loss=lambda net, batch: 0 * net.weight.sum() + next(values))
        toy.pretrain(images(), run(record=records.append))
        means = [facts for facts in records if "loss" in facts]
        assert means == [{"epoch": 0, "loss": 1.5, "size": 2.5}, {"epoch": 1, "loss": 5.5, "size": 2.5}]

    def test_a_part_that_is_missing_from_some_steps_is_averaged_over_the_others(self) -> None:
        averages = Averages()
        averages.add(loss=torch.tensor(1.0), rare=torch.tensor(4.0))
        averages.add(loss=torch.tensor(2.0))
        assert averages.means() == {"loss": 1.5, "rare": 4.0}

    def test_sums_keep_their_precision(self) -> None:
        averages = Averages()
        averages.add(loss=torch.tensor(2.0**24))
        for _ in range(1000):
            averages.add(loss=torch.tensor(1.0))
        assert averages.means()["loss"] == (2**24 + 1000) / 1001

    def test_averages_hold_no_graph(self) -> None:
        averages = Averages()
        averages.add(loss=torch.ones((), requires_grad=True) * 2)
        assert not averages.sums["loss"].requires_grad


class TestFailures:
    @pytest.mark.parametrize("value", [math.nan, math.inf])
    def test_a_loss_that_is_no_number_names_the_epoch(self, value: float) -> None:
        def loss(net: ToyEncoder, batch: Batch) -> Tensor:
            return net.weight.sum() * (value if (batch.epoch, batch.step) == (1, 2) else 1)

        with pytest.raises(StageError, match=f"mean loss of epoch 2 is {value}"):
            Toy(ToyConfig(epochs=3), loss).pretrain(images(), run())

    def test_so_does_a_part_of_the_loss(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            Toy, "step", lambda self, net, batch, update: update(net.weight.sum(), clean=net.weight.sum() / 0)
        )
        with pytest.raises(StageError, match="mean clean of epoch 1 is inf"):
            Toy(ToyConfig()).pretrain(images(), run())

    def test_weights_that_the_last_step_breaks_are_not_handed_over(self) -> None:
        def loss(net: ToyEncoder, batch: Batch) -> Tensor:
            last = (batch.epoch, batch.step) == (1, 2)
            return (net.weight * 0).sqrt().sum() if last else net.weight.sum()  # 0, with an infinite slope

        with pytest.raises(StageError, match="after the last step the encoder's 'weight' is not finite"):
            Toy(ToyConfig(), loss).pretrain(images(), run())

    @pytest.mark.parametrize("count", [1, 2])
    def test_images_that_do_not_fill_a_batch(self, count: int) -> None:
        with pytest.raises(StageError, match=rf"toy: {count} .* do not fill one batch of 3; .*'toy\[batch_size=1\]'"):
            Toy(ToyConfig()).pretrain(images(count), run())

    @pytest.mark.parametrize("drop_last", [True, False])
    def test_an_empty_order(self, drop_last: bool, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Toy, "drop_last", drop_last)
        monkeypatch.setattr(Toy, "before_epoch", lambda *_: torch.zeros(0, dtype=torch.int64))
        with pytest.raises(StageError, match="toy: 0 pre-training images"):
            Toy(ToyConfig()).pretrain(images(), run())

    @pytest.mark.parametrize(("calls", "updates"), [(0, 0), (2, 6)])
    def test_a_step_that_does_not_update_once(self, calls: int, updates: int, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(
            Toy, "step", lambda self, net, batch, update: [update(net.weight.sum()) for _ in range(calls)]
        )
        with pytest.raises(StageError, match=f"toy: {updates} calls of `update` in an epoch of 3 batches"):
            Toy(ToyConfig()).pretrain(images(), run())


@pytest.mark.parametrize("batch_size", [1, 4, 1000])
def test_encode_all_keeps_the_order_of_the_images(batch_size: int) -> None:
    encoder = ToyEncoder()
    features = encode_all(encoder, images(), batch_size)
    assert not features.requires_grad
    torch.testing.assert_close(features[:, 0], encoder.weight.detach() * torch.arange(10) / 255)


def test_bfloat16_that_reaches_no_network_is_an_error() -> None:
    with pytest.raises(StageError, match=r"toy: precision=bf16 reaches no part of its network.*in_network_precision"):
        Toy(ToyConfig(precision=Precision.BF16)).pretrain(images(), run())
    Toy(ToyConfig(precision=Precision.TF32)).pretrain(images(), run())

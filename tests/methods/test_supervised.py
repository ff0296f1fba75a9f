"""The supervised baselines: their losses by hand, AMOC's TRADES to its numbers, and the head that they leave."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_conformance import Prepared
from tiny import BATCH, batch_of, digits, fresh, pixels, seen, tiny, trained
from torch import Tensor, nn

import methods.trades as trades_module
from bench.config import TrainingConfig
from bench.contract import Encoder, UnlabelledImages
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.errors import StageError
from bench.randomness import Randomness
from bench.stages.pretrain import pretrain
from methods.alp import ALP, ALPConfig
from methods.parts.supervised import AdversarialConfig
from methods.pgd_at import PGDAT, PGDATConfig
from methods.standard import Standard, StandardConfig
from methods.trades import TRADES, Start, TRADESConfig

GOLDEN = Path(__file__).parents[1] / "golden" / "amoc.npz"
SUPERVISED = ("standard", "pgd-at", "alp", "trades")


class Linear(Encoder):
    """Pixels times a matrix, then a head: what is left can be done by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.routes, self.active_route = ("main",), "main"
        torch.manual_seed(0)
        self.weights = nn.Linear(12, 5, bias=False)
        self.head = nn.Linear(5, 4)
        self.double()

    def encode(self, x: Tensor) -> Tensor:
        features: Tensor = self.weights(x.flatten(1))
        return features


def drawn() -> tuple[Tensor, Tensor, Tensor]:
    """Images, perturbed images and classes."""
    generator = torch.Generator().manual_seed(0)
    x, x_adv = torch.rand(2, 3, 3, 2, 2, generator=generator, dtype=torch.float64)
    return x, x_adv, torch.tensor([2, 0, 3])


def predictions(net: Linear, x: Tensor) -> np.ndarray[Any, Any]:
    logits = net.logits(x).detach().numpy()
    exponentials = np.exp(logits)
    normed: np.ndarray[Any, Any] = exponentials / exponentials.sum(1, keepdims=True)
    return normed


def cross_entropies(net: Linear, x: Tensor, labels: Tensor) -> list[float]:
    return [-np.log(p[label]) for p, label in zip(predictions(net, x), labels.tolist(), strict=True)]


def standard_by_hand(net: Linear, x: Tensor, x_adv: Tensor, labels: Tensor) -> float:
    return float(np.mean(cross_entropies(net, x, labels)))


def pgd_at_by_hand(net: Linear, x: Tensor, x_adv: Tensor, labels: Tensor) -> float:
    return float(np.mean(cross_entropies(net, x_adv, labels)))


def alp_by_hand(net: Linear, x: Tensor, x_adv: Tensor, labels: Tensor) -> float:
    mixed = cross_entropies(net, x, labels) + cross_entropies(net, x_adv, labels)
    gaps = (net.logits(x) - net.logits(x_adv)).detach().numpy()
    return float(np.mean(mixed) + 0.5 * np.mean(gaps**2))


def trades_by_hand(net: Linear, x: Tensor, x_adv: Tensor, labels: Tensor) -> float:
    pairs = zip(predictions(net, x), predictions(net, x_adv), strict=True)
    divergences = [sum(p * np.log(p / q) for p, q in zip(clean, moved, strict=True)) for clean, moved in pairs]
    return float(np.mean(cross_entropies(net, x, labels)) + 6 * np.mean(divergences))


@pytest.mark.parametrize(
    ("method", "by_hand"),
    [
        (Standard(StandardConfig()), standard_by_hand),
        (PGDAT(PGDATConfig()), pgd_at_by_hand),
        (ALP(ALPConfig()), alp_by_hand),
        (TRADES(TRADESConfig()), trades_by_hand),
    ],
    ids=SUPERVISED,
)
def test_a_loss_is_the_one_of_its_paper(monkeypatch: pytest.MonkeyPatch, method: Any, by_hand: Any) -> None:
    net, (x, x_adv, labels) = Linear(), drawn()
    monkeypatch.setattr(type(method), "view", lambda self, batch: batch.pixels)
    monkeypatch.setattr(type(method), "perturb", lambda *_: x_adv, raising=False)
    losses: list[Tensor] = []
    batch = Batch(x, torch.arange(3), Randomness(0, "pretrain"), 0, 0, labels)
    method.step(net, batch, lambda loss, **_: losses.append(loss))
    assert losses[0].item() == pytest.approx(by_hand(net, x, x_adv, labels), rel=1e-12)
    losses[0].backward()
    assert all(weight.grad is not None for weight in net.parameters())


class StandIn(Encoder):
    """The small network of the golden file on AMOC's adversarial batch norm."""

    def __init__(self, golden: dict[str, Tensor]) -> None:
        super().__init__()
        self.routes, self.active_route = ("main",), "main"
        self.conv, self.bn = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.head = nn.Linear(256, 10)
        self.mean, self.std = golden["mean"].view(3, 1, 1), golden["std"].view(3, 1, 1)
        state = {f"{part}.{name}": golden[f"classifier/{theirs}.{name}"] for part, theirs, name in PARTS}
        self.double().load_state_dict(state, strict=False)

    def encode(self, x: Tensor) -> Tensor:
        normed: Tensor = self.bn(self.conv((x - self.mean) / self.std))
        return normed.relu().flatten(1)


PARTS = [
    ("conv", "conv", "weight"),
    ("bn", "bn1", "weight"),
    ("bn", "bn1", "bias"),
    ("bn", "bn1", "running_mean"),
    ("bn", "bn1", "running_var"),
    ("head", "head", "weight"),
    ("head", "head", "bias"),
]


def test_trades_is_amocs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """MTandHJ/amoc src/base.py:315-346: perturbed images, loss, gradients and running mean of one batch."""
    with np.load(GOLDEN) as arrays:
        golden = {name: torch.from_numpy(arrays[name]) for name in arrays.files if not name.startswith("arch")}
    x, noise = golden["attack/xq"], golden["trades_noise"]
    monkeypatch.setattr(trades_module, "uniform_start", lambda x, *_, **__: (x + noise).clamp(0, 1))
    monkeypatch.setattr(TRADES, "view", lambda self, batch: batch.pixels)
    net, method = StandIn(golden).train(), TRADES(TRADESConfig())
    batch = Batch(x, torch.arange(6), Randomness(0, "pretrain"), 0, 0, golden["attack/labels"])
    torch.testing.assert_close(method.perturb(net, x, batch), golden["trades_finetune/x_adv"], atol=1e-12, rtol=0)
    averages = Averages()
    method.step(net, batch, optimiser_update(torch.optim.SGD(net.parameters(), lr=0.0), averages))
    assert averages.means()["loss"] == pytest.approx(golden["trades_finetune/loss"].item(), abs=1e-10)
    weights = dict(net.named_parameters())
    for part, theirs, name in PARTS:
        if (key := f"trades_finetune/grad/{theirs}.{name}") in golden:
            torch.testing.assert_close(weights[f"{part}.{name}"].grad, golden[key], atol=1e-10, rtol=0)
    torch.testing.assert_close(net.bn.running_mean, golden["trades_finetune/bn1_running_mean_after"])


@pytest.mark.parametrize("start", Start)
def test_every_start_of_trades_is_inside_the_ball_and_off_its_centre(start: Start) -> None:
    x = torch.full((2, 3, 8, 8), 0.5)
    moved = trades_module.STARTS[start](x, 8 / 255, torch.Generator().manual_seed(0)) - x
    assert moved.abs().max() <= 8 / 255 + 1e-6
    assert moved.std() == pytest.approx({Start.UNIFORM: 8 / 255 / 3**0.5, Start.GAUSSIAN: 0.001}[start], rel=0.1)


@pytest.mark.parametrize(
    ("text", "epochs", "rates"),
    [
        ("standard", 164, {0: 0.1, 82: 0.01, 123: 0.001}),
        ("pgd-at", 205, {0: 0.1, 102: 0.01, 153: 0.001}),
        ("alp", 205, {0: 0.1, 102: 0.01, 153: 0.001}),
        ("trades", 76, {0: 0.1, 74: 0.01}),
    ],
)
@pytest.mark.parametrize("data", ["cifar10", "cifar100"])
def test_the_schedule_of_the_paper(text: str, epochs: int, rates: dict[int, float], data: str) -> None:
    cls = type(tiny(text))
    config = cls.PAPER[data]
    assert isinstance(config, TrainingConfig)
    assert (config.epochs, config.batch_size) == (epochs, 128)
    schedule = cls(config).learning_rate()
    for epoch, rate in rates.items():
        assert schedule(epoch, 0, 1, epochs) == pytest.approx(rate)
        if epoch:
            assert schedule(epoch - 1, 0, 1, epochs) == pytest.approx(10 * rate)


@pytest.mark.parametrize("text", SUPERVISED[1:])
def test_the_attack_is_the_one_of_amoc(text: str) -> None:
    config = type(tiny(text)).PAPER["cifar10"]
    assert isinstance(config, AdversarialConfig)
    assert (config.attack.eps, config.attack.steps) == (8 / 255, 10)
    assert config.attack.step_size == pytest.approx(2 / 255)


@pytest.mark.parametrize("text", ["pgd-at", "alp"])
def test_the_attack_raises_its_objective_inside_the_ball(text: str) -> None:
    prepared = Prepared(text)
    batch = batch_of(prepared.images)
    x_adv = prepared.method.perturb(prepared.net, batch.pixels, batch)
    assert (x_adv - batch.pixels).abs().max() <= prepared.method.config.eps + 1e-6
    prepared.net.eval()
    with torch.no_grad():
        clean, moved = (
            nn.functional.cross_entropy(prepared.net.logits(x), batch.labels) for x in (batch.pixels, x_adv)
        )
    assert moved > clean


@pytest.mark.parametrize("text", SUPERVISED)
class TestHead:
    def test_it_tells_the_classes_of_the_data_apart_and_was_trained(self, text: str) -> None:
        head = trained(text).head
        assert head is not None
        assert head.out_features == digits().profile.classes
        assert not torch.equal(head.weight, tiny(text).encoder(digits().profile).head.weight)

    def test_it_is_stored_with_the_weights_and_loaded_strictly(self, text: str) -> None:
        stored, loaded = fresh(text), tiny(text).encoder(digits().profile).eval()
        loaded.load_state_dict(stored.state_dict(), strict=True)
        assert {"head.weight", "head.bias"} <= stored.state_dict().keys()
        torch.testing.assert_close(loaded.logits(pixels()), stored.logits(pixels()), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("text", SUPERVISED)
def test_images_without_classes_are_refused(text: str) -> None:
    bare = UnlabelledImages(digits().pixels, digits().profile)
    with pytest.raises(StageError, match=f"'{text}' trains on classes"):
        pretrain(tiny(text), bare, {}, 0, lambda *_: None, lambda _: None)


def test_a_class_stays_with_its_image() -> None:
    """Through the stage's shuffle and the loop's batches."""
    known = {image.numpy().tobytes(): int(label) for image, label in zip(digits().pixels, digits().labels, strict=True)}
    images = seen(labelled=True)
    for step in range(len(images) // BATCH):
        batch = batch_of(images, step * BATCH, step)
        raw = (batch.pixels * 255).round().to(torch.uint8)
        assert [known[image.contiguous().numpy().tobytes()] for image in raw] == batch.labels.tolist()


def test_a_method_that_is_not_labelled_asks_for_classes_in_vain() -> None:
    batch = batch_of(seen())
    assert batch.classes is None
    with pytest.raises(StageError, match="set `labelled = True`"):
        _ = batch.labels

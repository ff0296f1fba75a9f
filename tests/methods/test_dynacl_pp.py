"""DynACL++: pseudo-labels, linear probing, adversarial fine-tuning."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from pydantic import ValidationError
from stand_in import StandIn, arrays
from tiny import BATCH, IMAGES, batch_of, bits, fresh, run_of, seen, tiny
from torch import Tensor, nn

import methods.dynacl_pp
from bench.data.profiles import PROFILES
from bench.data.views import HorizontalFlip, PaddedCrop, pixels_of
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.errors import BenchError
from bench.models.resnet import Architecture
from bench.randomness import Randomness
from methods.dynacl_pp import DynACLPP, DynACLPPConfig, DynACLPPState
from methods.parts.dual_stream import ADVERSARIAL, CLEAN
from methods.parts.kmeans import pseudo_labels


def dynacl_pp(**settings: Any) -> DynACLPP:
    method = tiny("dynacl-pp", **settings)
    assert isinstance(method, DynACLPP)
    return method


def built(method: DynACLPP) -> DynACLPPState:
    """The network before k-means and probing."""
    return method.build(seen(), run_of(method))


def prepared(method: DynACLPP, record: Any = lambda _: None) -> DynACLPPState:
    """The network before its first step of fine-tuning, in train mode."""
    net = built(method)
    method.prepare(net, seen(), run_of(method, record=record))
    return net.train()


class TestPseudoLabels:
    def test_they_are_the_clusters_of_dynacls_clean_route(self) -> None:
        """assign_label.py: images as they are, by position in the data."""
        method, upstream = dynacl_pp(clusters=5, probe_epochs=1), fresh("dynacl").eval()
        labels = prepared(method).labels
        with torch.no_grad():
            features = {route: upstream.route(route).encode(pixels_of(seen().pixels)) for route in (CLEAN, ADVERSARIAL)}
        found = {
            route: pseudo_labels(rows, 5, Randomness(0, "pretrain").generator("k-means"))
            for route, rows in features.items()
        }
        assert torch.equal(labels, found[CLEAN])
        assert not torch.equal(labels, found[ADVERSARIAL])

    @pytest.mark.parametrize(
        ("settings", "data", "clusters"),
        [({}, "cifar10", 10), ({}, "cifar100", 10), ({"clusters": None}, "cifar100", 100)],
    )
    def test_their_number(self, settings: dict[str, Any], data: str, clusters: int) -> None:
        """10 as released, CIFAR-100 included."""
        assert DynACLPP(DynACLPPConfig(**settings)).clusters(PROFILES[data]) == clusters

    def test_the_head_is_as_wide_as_there_are_classes_and_starts_at_zero(self) -> None:
        for clusters, outputs in ((3, 10), (12, 12)):
            head = built(dynacl_pp(clusters=clusters)).head
            assert head.weight.shape[0] == outputs
            assert not head.weight.any() and not head.bias.any()

    def test_more_clusters_than_images(self) -> None:
        with pytest.raises(BenchError, match=f"{IMAGES + 1} clusters of {IMAGES} images"):
            prepared(dynacl_pp(clusters=IMAGES + 1))

    @pytest.mark.parametrize("clusters", [0, "many"])
    def test_a_number_that_is_none(self, clusters: Any) -> None:
        with pytest.raises(ValidationError, match="clusters"):
            DynACLPPConfig(clusters=clusters)

    def test_their_sizes_are_recorded(self) -> None:
        facts: list[Mapping[str, Any]] = []
        net = prepared(dynacl_pp(clusters=5), facts.append)
        assert facts == [{"cluster_sizes": torch.bincount(net.labels).tolist()}]
        assert sum(facts[0]["cluster_sizes"]) == IMAGES


class TestStart:
    def test_it_starts_as_dynacls_adversarial_route_with_a_single_batch_norm(self) -> None:
        net, upstream, x = built(dynacl_pp()).eval(), fresh("dynacl").eval(), pixels_of(seen().pixels)
        with torch.no_grad():
            torch.testing.assert_close(net.encoder.encode(x), upstream.encode(x), rtol=1e-4, atol=1e-5)
        assert len(net.encoder.routes) == 1
        assert upstream.active_route == ADVERSARIAL

    def test_something_without_a_clean_route_cannot_be_adapted(self) -> None:
        method = dynacl_pp(pretrained="simclr", normalisation="dataset")
        with pytest.raises(BenchError, match="clean"):
            prepared(method)

    def test_probing_moves_the_head_alone(self) -> None:
        method = dynacl_pp()
        before, net = bits(built(method).encoder), prepared(method)
        assert bits(net.encoder) == before
        assert all(weight.requires_grad and weight.grad is None for weight in net.parameters())
        x, labels = pixels_of(seen().pixels), net.labels
        with torch.no_grad():
            net.eval()
            assert F.cross_entropy(net(x), labels) < F.cross_entropy(torch.zeros(IMAGES, 10), labels)

    def test_probing_is_sgd_on_clean_views_in_eval_mode(self) -> None:
        """Step by step, by hand: momentum .9, weight decay, constant rate."""
        method = dynacl_pp(probe_epochs=2, weight_decay=0.01)
        net, run, c = prepared(method), run_of(method), method.config
        encoder = built(method).encoder.eval()
        weight, velocity = torch.zeros(10, encoder.feature_dim + 1), torch.zeros(10, encoder.feature_dim + 1)
        for epoch in range(2):
            order = torch.randperm(IMAGES, generator=run.randomness.generator("probe order", epoch=epoch))
            for step, index in enumerate(order.split(BATCH)):
                generator = run.randomness.generator("probe view", epoch=epoch, step=step)
                x = method.view(pixels_of(seen().pixels[index]), generator)
                with torch.no_grad():
                    rows = F.pad(encoder.encode(x), (0, 1), value=1.0)
                error = (rows @ weight.T).softmax(dim=1) - F.one_hot(net.labels[index], 10)
                velocity = c.momentum * velocity + error.T @ rows / BATCH + 0.01 * weight
                weight = weight - c.probe_rate * velocity
        torch.testing.assert_close(net.head.weight.detach(), weight[:, :-1], rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(net.head.bias.detach(), weight[:, -1], rtol=1e-4, atol=1e-6)


class GoldenClassifier(DynACLPPState):
    """The stand-in of the golden files with its head of ten outputs."""

    def __init__(self, golden: Mapping[str, Tensor]) -> None:
        nn.Module.__init__(self)
        stored = {
            name.removeprefix("classifier/").replace("bn0", "bn.main"): value
            for name, value in golden.items()
            if name.startswith("classifier/")
        }
        self.encoder = StandIn(("main",), outputs=10).fill(stored)  # type: ignore[assignment]
        self.register_buffer("labels", golden["attack/labels"])

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.encoder(x, "main")  # type: ignore[call-arg]
        return logits


class TestFineTuning:
    def test_a_step_is_trades_as_acl_runs_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """ACL trades.py:43-110, with its start of .001 N(0, 1): attack, loss, gradients, running statistics."""
        golden = arrays("acl")
        net, x = GoldenClassifier(golden).train(), golden["attack/x"]
        method, perturbed = DynACLPP(DynACLPPConfig(start_noise=0.001, learning_rate=0.1)), list[Tensor]()
        monkeypatch.setattr(DynACLPP, "view", property(lambda self: lambda pixels, generator: pixels))
        monkeypatch.setattr(methods.dynacl_pp.torch, "randn", lambda *_, **__: golden["trades/noise_std_normal"])
        net.register_forward_pre_hook(lambda _, inputs: perturbed.append(inputs[0]) if net.training else None)
        averages = Averages()
        batch = Batch(x, torch.arange(6), Randomness(0, "pretrain"), 0, 0)
        method.step(net, batch, optimiser_update(method.optimiser(net), averages))
        assert averages.means()["loss"] == pytest.approx(golden["trades/loss"].item(), rel=1e-9)
        torch.testing.assert_close(perturbed[1], golden["trades/x_adv"], rtol=0, atol=1e-9)
        for name, weight in net.encoder.named_parameters():
            expected = golden[f"trades/grad/{name.replace('bn.main', 'bn0')}"]
            torch.testing.assert_close(weight.grad, expected, rtol=0, atol=1e-9)
        for part in ("mean", "var"):
            after = net.encoder.get_buffer(f"bn.main.running_{part}")
            torch.testing.assert_close(after, golden[f"trades/bn_running_{part}_after"], rtol=0, atol=1e-9)

    def test_the_loss_is_trades_against_a_naive_sum(self) -> None:
        """CE + beta KL(clean || adversarial) on each image's pseudo-label, in float64."""
        generator = torch.Generator().manual_seed(0)
        natural, adversarial = torch.randn(2, 5, 3, generator=generator, dtype=torch.float64)
        labels = torch.tensor([0, 2, 1, 1, 0])
        p, q = natural.softmax(dim=1), adversarial.softmax(dim=1)
        expected = sum(
            -p[i, labels[i]].log() + 6 * sum(p[i, k] * (p[i, k] / q[i, k]).log() for k in range(3)) for i in range(5)
        )
        assert methods.dynacl_pp.trades(natural, adversarial, labels, 6.0).item() == pytest.approx(float(expected) / 5)

    def test_an_image_keeps_its_pseudo_label_wherever_it_stands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        given: list[Tensor] = []
        monkeypatch.setattr(methods.dynacl_pp, "trades", lambda a, b, labels, beta: given.append(labels) or a.sum())
        method = dynacl_pp()
        net, index = prepared(method), torch.tensor([7, 3, 90, 41])
        batch = Batch(pixels_of(seen().pixels[index]), index, Randomness(0, "pretrain"), 0, 0)
        method.step(net, batch, lambda loss, **_: None)
        assert torch.equal(given[0], net.labels[index])

    def test_the_attack_leads_away_from_the_clean_prediction(self) -> None:
        method, batch = dynacl_pp(), batch_of(seen())
        net, x = prepared(method), batch.pixels
        divergence = methods.dynacl_pp.divergence
        images = [dynacl_pp(attack_steps=steps).perturb(net, x, batch) for steps in (1, 3, 10)]
        with torch.no_grad():
            net.eval()
            risen = [divergence(net(x), net(image)).item() for image in images]
        assert 0 < risen[0] < risen[1] < risen[2]
        assert (images[-1] - x).abs().max() <= method.config.eps * (1 + 1e-5)
        assert 0 <= images[-1].min() <= images[-1].max() <= 1

    @pytest.mark.parametrize("noise", [0.0, 0.001])
    def test_its_start(self, noise: float, monkeypatch: pytest.MonkeyPatch) -> None:
        """As released at the image itself."""
        starts: list[Tensor] = []
        monkeypatch.setattr(
            methods.dynacl_pp, "ascend", lambda objective, x, start, attack: starts.append(start - x) or x
        )
        method, batch = dynacl_pp(start_noise=noise), batch_of(seen())
        method.perturb(built(method), batch.pixels, batch)
        assert starts[0].std().item() == pytest.approx(noise, rel=0.05, abs=0)

    def test_it_falls_in_training(self) -> None:
        facts: list[Mapping[str, Any]] = []
        method = dynacl_pp(epochs=4, milestones=(3, 4))
        method.pretrain(seen(), run_of(method, record=facts.append))
        losses = [fact["loss"] for fact in facts if "loss" in fact]
        assert len(losses) == 4
        assert losses[-1] < losses[0]


class TestRecipe:
    method = DynACLPP(DynACLPP.PAPER["cifar10"])

    @pytest.mark.parametrize(("epoch", "rate"), [(0, 0.1), (9, 0.1), (10, 0.01), (19, 0.01), (20, 0.001), (24, 0.001)])
    def test_its_learning_rate(self, epoch: int, rate: float) -> None:
        assert self.method.learning_rate()(epoch, 0, 97, 25) == pytest.approx(rate)

    def test_its_numbers(self) -> None:
        c = self.method.config
        assert (c.epochs, c.probe_epochs, c.batch_size, c.probe_rate) == (25, 10, 512, 0.01)
        assert (c.momentum, c.weight_decay, c.beta, c.clusters) == (0.9, 1e-4, 6.0, 10)
        assert (c.eps * 255, c.attack_steps, c.eps * c.step_fraction * 255) == pytest.approx((8, 10, 2))
        assert self.method.view.operations == (PaddedCrop(4), HorizontalFlip(0.5))
        assert DynACLPP.PAPER["stl10"].architecture is Architecture.RESNET18_IMAGENET

    def test_the_head_of_pseudo_labels_is_not_handed_over(self) -> None:
        method = dynacl_pp()
        net = copy.deepcopy(prepared(method))
        assert method.export(net) is net.encoder
        assert net.encoder.head is None

    def test_it_needs_dynacl_first(self) -> None:
        assert self.method.requires()["pretrained"].method == "dynacl"

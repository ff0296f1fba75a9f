"""NCP-ACL, stage 2: clusters, the attack on them, the two batch norms and the loss."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from tiny import BATCH, IMAGES, batch_of, bits, digits, fresh, run_of, seen, tiny
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity

import methods.ncp
from bench.contract import UnlabelledImages
from bench.data.views import pixels_of
from bench.engine.loop import Averages, optimiser_update
from bench.engine.schedules import WarmupCosine
from bench.errors import BenchError, StageError
from methods.ncp import ADVERSARIAL, CLEAN, NCP, NCPState, Strategy

CLUSTERS = 6


def ncp(**settings: Any) -> NCP:
    method = tiny("ncp", **{"clusters": CLUSTERS, **settings})
    assert isinstance(method, NCP)
    return method


def built(method: NCP, images: UnlabelledImages | None = None) -> NCPState:
    """The network before its first step, in train mode."""
    images, run = images or seen(), run_of(method)
    with run.randomness.as_global("initialisation"):
        net = method.build(images, run)
    method.prepare(net, images, run)
    net.train()
    method.before_epoch(net, images, run, 0)
    return net


def stepped(method: NCP, net: NCPState, rate: float = 0.05) -> dict[str, float]:
    """One step; the numbers it reports."""
    averages = Averages()
    optimiser = method.optimiser(net)
    for group in optimiser.param_groups:
        group["lr"] = rate
    method.step(net, batch_of(seen()), optimiser_update(optimiser, averages))
    return averages.means()


def statistics(net: NCPState, route: str) -> dict[str, Tensor]:
    """Buffers of one route's batch norms."""
    return {name: value.clone() for name, value in net.f2.named_buffers() if f".{route}." in name}


def same(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.fixture(scope="module")
def net() -> NCPState:
    """Not to be changed."""
    return built(ncp())


def still(net: NCPState, route: str, x: Tensor) -> Tensor:
    """Features in eval mode; the network stays as it is."""
    with torch.no_grad():
        return copy.deepcopy(net.f2).eval().features(x, route)


class TestClusters:
    def test_the_own_cluster_is_the_nearest_to_the_image_as_it_is(self, net: NCPState) -> None:
        """By position in the data, whatever batch the image is in: its view and the loader's order do not matter."""
        for index in torch.randperm(len(seen()), generator=torch.Generator().manual_seed(0))[:24].tolist():
            feature = still(net, CLEAN, pixels_of(seen().pixels[index : index + 1]))
            nearest = cosine_similarity(feature, net.centroids[:CLUSTERS]).argsort(descending=True)
            assert net.own[index] == nearest[0]
            assert net.neighbour[index] == nearest[1]

    def test_no_image_neighbours_its_own_cluster(self, net: NCPState) -> None:
        assert not (net.own == net.neighbour).any()
        assert int(torch.cat([net.own, net.neighbour]).max()) < CLUSTERS
        assert len(net.own.unique()) == CLUSTERS

    @pytest.mark.parametrize("rank", [2, 3, CLUSTERS])
    def test_the_neighbour_is_the_nth_nearest(self, rank: int) -> None:
        net = built(ncp(neighbour=rank))
        similarity = nn.functional.normalize(still(net, CLEAN, pixels_of(seen().pixels))) @ net.centroids[:CLUSTERS].T
        assert torch.equal(net.neighbour, similarity.argsort(dim=1, descending=True)[:, rank - 1])

    def test_the_neighbour_may_be_that_of_the_centroid(self) -> None:
        net = built(ncp(neighbour_of="centroid"))
        centroids = net.centroids[:CLUSTERS]
        nearest = (centroids @ centroids.T).argsort(dim=1, descending=True)[:, 1]
        assert torch.equal(net.neighbour, nearest[net.own])

    def test_an_epoch_says_whether_features_collapse(self) -> None:
        facts: list[Mapping[str, Any]] = []
        method = ncp()
        method.before_epoch(built(method), seen(), run_of(method, record=facts.append), 1)
        (fact,) = facts
        assert fact["epoch"] == 1
        assert fact["feature_std"] > 0
        assert 1 / CLUSTERS <= fact["largest_cluster"] <= 1
        assert fact["empty_clusters"] == 0

    def test_centroids_are_unit_vectors(self, net: NCPState) -> None:
        torch.testing.assert_close(net.centroids[:CLUSTERS].norm(dim=1), torch.ones(CLUSTERS))

    def test_the_number_of_clusters_has_the_highest_silhouette(self) -> None:
        facts: list[Mapping[str, Any]] = []
        method = ncp(clusters=None, cluster_grid=(4, 16, 3), epochs=2)
        method.pretrain(seen(), run_of(method, record=facts.append))
        scores = facts[0]["silhouette"]
        assert list(scores) == ["4", "7", "10", "13", "16"]
        assert all(-1 <= score <= 1 for score in scores.values())
        assert [fact["clusters"] for fact in facts if "clusters" in fact] == [int(max(scores, key=scores.get))]

    def test_the_number_of_clusters_can_be_given(self) -> None:
        facts: list[Mapping[str, Any]] = []
        method = ncp(clusters=9)
        method.prepare(method.build(seen(), run_of(method)), seen(), run_of(method, record=facts.append))
        assert facts == [{"clusters": 9}]

    def test_it_is_chosen_once_and_the_clusters_follow_the_student(self) -> None:
        method = ncp(clusters=None, cluster_grid=(4, 16, 3))
        net = built(method)
        chosen, before = int(net.clusters), net.centroids.clone()
        stepped(method, net)
        method.before_epoch(net, seen(), run_of(method), 1)
        assert int(net.clusters) == chosen
        assert not torch.equal(net.centroids, before)
        assert not net.centroids[chosen:].any()

    @pytest.mark.parametrize(("every", "renewed"), [(1, [1, 2, 3]), (2, [2]), (3, [3]), (9, [])])
    def test_they_are_renewed_every_so_many_epochs(self, every: int, renewed: list[int]) -> None:
        method = ncp(recluster_every=every)
        net, found = built(method), []
        for epoch in (1, 2, 3):
            net.centroids.zero_()
            method.before_epoch(net, seen(), run_of(method), epoch)
            if net.centroids.any():
                found.append(epoch)
        assert found == renewed

    def test_clustering_leaves_the_student_as_it_was(self) -> None:
        method = ncp()
        net = built(method)
        before = bits(net.f2)
        method.before_epoch(net, seen(), run_of(method), 1)
        assert bits(net.f2) == before
        assert net.f2.training
        assert all(weight.requires_grad for weight in net.f2.parameters())

    def test_another_route_gives_other_clusters(self, net: NCPState) -> None:
        method = ncp(cluster_route=ADVERSARIAL)
        other = built(method)
        assert torch.equal(other.own, net.own), "at the start both routes are the teacher's"
        stepped(method, other)
        clean = copy.deepcopy(other)
        method.before_epoch(other, seen(), run_of(method), 1)
        ncp().before_epoch(clean, seen(), run_of(method), 1)
        assert not torch.equal(clean.centroids, other.centroids)


def iterates(strategy: Strategy, steps: int = 5) -> tuple[Tensor, list[Tensor]]:
    """The views, and what each of the attack's steps makes of them: 0 is the random start."""
    net, batch = built(ncp()), batch_of(seen())
    x = ncp().weak(batch.pixels, batch.generator("view"))
    start = methods.ncp.uniform_start(x, ncp().config.eps, batch.generator("attack"), clip=False)
    attacks = (ncp(strategy=strategy, attack_steps=count) for count in range(1, steps + 1))
    return x, [start, *(attack.perturb(net, x, batch) for attack in attacks)]


def similarities(net: NCPState, images: list[Tensor], targets: Tensor) -> list[float]:
    """Mean cosine to the centroids `targets` on the attacked route."""
    return [cosine_similarity(still(net, ADVERSARIAL, x), net.centroids[targets]).mean().item() for x in images]


def falls(values: list[float]) -> bool:
    return all(after < before for before, after in pairwise(values))


class TestAttack:
    @pytest.mark.parametrize(
        ("strategy", "leaves", "nears"),
        [(Strategy.BOTH, True, True), (Strategy.AWAY, True, False), (Strategy.TOWARD, False, True)],
    )
    def test_every_step_leaves_the_own_cluster_and_nears_the_neighbour(
        self, net: NCPState, strategy: Strategy, leaves: bool, nears: bool
    ) -> None:
        """The sign of the paper's CosSim, which is the negative cosine (Eq. 4 and appendix B.1)."""
        _, images = iterates(strategy)
        own = similarities(net, images, net.own[:BATCH])
        neighbour = similarities(net, images, net.neighbour[:BATCH])
        if leaves:
            assert falls(own)
        if nears:
            assert falls(neighbour[::-1])

    def test_each_strategy_is_best_at_what_it_pursues(self, net: NCPState) -> None:
        ends = {strategy: [iterates(strategy)[1][-1]] for strategy in Strategy}
        own = {strategy: similarities(net, end, net.own[:BATCH])[0] for strategy, end in ends.items()}
        neighbour = {strategy: similarities(net, end, net.neighbour[:BATCH])[0] for strategy, end in ends.items()}
        assert min(own, key=lambda strategy: own[strategy]) is Strategy.AWAY
        assert max(neighbour, key=lambda strategy: neighbour[strategy]) is Strategy.TOWARD
        gap = {strategy: neighbour[strategy] - own[strategy] for strategy in Strategy}
        assert max(gap, key=lambda strategy: gap[strategy]) is Strategy.BOTH

    @pytest.mark.parametrize("strategy", Strategy)
    def test_it_stays_in_the_ball_and_in_the_pixel_box(self, strategy: Strategy) -> None:
        x, (_, *images) = iterates(strategy)
        eps = ncp().config.eps
        for image in images:
            assert (image - x).abs().max() <= eps * (1 + 1e-5)
            assert 0 <= image.min() <= image.max() <= 1
        assert (images[-1] - x).abs().max() > 0.9 * eps

    def test_an_image_is_attacked_by_its_own_clusters_wherever_it_stands(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(methods.ncp, "uniform_start", lambda x, *_, **__: x)
        net, batch = built(ncp()), batch_of(seen())
        order = torch.arange(BATCH).flip(0)
        turned = copy.copy(batch)
        object.__setattr__(turned, "index", batch.index[order])
        straight = ncp().perturb(net, batch.pixels, batch)
        torch.testing.assert_close(ncp().perturb(net, batch.pixels[order], turned)[order], straight)

    def test_it_starts_at_random_without_clipping(self, net: NCPState, monkeypatch: pytest.MonkeyPatch) -> None:
        starts: list[Tensor] = []
        monkeypatch.setattr(methods.ncp, "ascend", lambda objective, x, start, attack: starts.append(start) or x)
        batch, eps = batch_of(seen()), ncp().config.eps
        ncp().perturb(net, batch.pixels, batch)
        noise = starts[0] - batch.pixels
        assert noise.abs().max() <= eps * (1 + 1e-5)
        assert noise.std().item() == pytest.approx(eps / 3**0.5, rel=0.03)
        assert starts[0].min() < 0


class TestStudent:
    def test_it_starts_as_the_teacher_on_both_routes(self) -> None:
        method = ncp()
        net, x = method.build(seen(), run_of(method)), pixels_of(seen().pixels)
        expected = fresh("simclr").encode(x)
        for route in (CLEAN, ADVERSARIAL):
            torch.testing.assert_close(still(net, route, x), expected, rtol=1e-4, atol=1e-5)

    def test_its_routes_part_in_training_and_never_mix(self) -> None:
        """The clean batch norm sees the views alone, the adversarial one the perturbed views alone."""
        method, batch = ncp(), batch_of(seen())
        net = built(method)
        expected = copy.deepcopy(net)
        x = method.weak(batch.pixels, batch.generator("view"))
        x_adv = method.perturb(expected, x, batch)
        expected.f2.features(x, CLEAN)
        expected.f2.features(x_adv, ADVERSARIAL)
        stepped(method, net)
        for route in (CLEAN, ADVERSARIAL):
            assert same(statistics(net, route), statistics(expected, route))
        assert not torch.equal(
            net.f2.get_buffer("backbone.bn1.clean.running_mean"), net.f2.get_buffer("backbone.bn1.adv.running_mean")
        )

    def test_the_teacher_never_changes(self) -> None:
        method = ncp(epochs=2)
        run = run_of(method)
        teacher = run.upstream["teacher"]
        before = bits(teacher)
        method.pretrain(seen(), run)
        assert bits(teacher) == before == bits(fresh("simclr"))
        assert not any(module.training for module in teacher.modules())
        assert all(weight.grad is None and not weight.requires_grad for weight in teacher.parameters())

    def test_it_is_scored_on_the_adversarial_route(self) -> None:
        assert ncp().encoder(digits().profile).active_route == ADVERSARIAL
        assert ncp(scored_route=CLEAN).encoder(digits().profile).active_route == CLEAN
        method = ncp(scored_route=CLEAN)
        assert method.export(built(method)).active_route == CLEAN

    def test_a_teacher_of_another_architecture_is_refused(self) -> None:
        method = ncp(architecture="resnet18-padding2")
        with pytest.raises(StageError, match="architecture"):
            method.build(seen(), run_of(method))


class TestLoss:
    def test_it_is_equation_3(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """On features made by hand: -mean c(z, z_1) - 6 mean c(z_adv, z) = -(1 + 0)/2 - 6 (0 - 1)/2."""
        z_1 = torch.tensor([[3.0, 0.0], [1.0, 0.0]])
        features = {CLEAN: torch.tensor([[1.0, 0.0], [0.0, 2.0]]), ADVERSARIAL: torch.tensor([[0.0, 5.0], [0.0, -1.0]])}
        given: dict[str, Tensor] = {}

        def features_of(x: Tensor, route: str) -> Tensor:
            given[route] = x
            return features[route]

        net = SimpleNamespace(f1=SimpleNamespace(encode=lambda x: z_1), f2=SimpleNamespace(features=features_of))
        perturbed = torch.zeros(1)
        monkeypatch.setattr(NCP, "perturb", lambda self, net, x, batch: perturbed)
        losses: list[Tensor] = []
        batch = batch_of(seen())
        ncp(trade_off=6).step(net, batch, lambda loss, **_: losses.append(loss))  # type: ignore[arg-type]
        assert losses[0].item() == pytest.approx(2.5)
        assert torch.equal(given[CLEAN], ncp().weak(batch.pixels, batch.generator("view")))
        assert given[ADVERSARIAL] is perturbed

    @pytest.mark.parametrize("stop", [False, True])
    def test_the_second_term_moves_the_clean_features_unless_told_not_to(
        self, stop: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        z = torch.tensor([[1.0, 0.0]], requires_grad=True)
        features = {CLEAN: z, ADVERSARIAL: torch.tensor([[0.6, 0.8]])}
        student = SimpleNamespace(features=lambda x, route: features[route])
        net = SimpleNamespace(f1=SimpleNamespace(encode=lambda x: z.detach()), f2=student)
        monkeypatch.setattr(NCP, "perturb", lambda self, net, x, batch: x)
        losses: list[Tensor] = []
        ncp(stop_gradient=stop).step(net, batch_of(seen()), lambda loss, **_: losses.append(loss))
        (slope,) = torch.autograd.grad(losses[0], z)
        assert bool(slope.any()) is not stop

    def test_it_starts_at_minus_seven_for_a_perfect_copy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without perturbation both terms are -1 in eval mode, and lambda is 6."""
        net, batch = built(ncp()), batch_of(seen())
        monkeypatch.setattr(NCP, "perturb", lambda self, net, x, batch: x)
        losses: list[Tensor] = []
        net.f2.eval()
        ncp().step(net, batch, lambda loss, **_: losses.append(loss))
        assert losses[0].item() == pytest.approx(-7, abs=1e-3)

    def test_it_falls_in_training(self) -> None:
        facts: list[Mapping[str, Any]] = []
        method = ncp(epochs=3)
        method.pretrain(seen(), run_of(method, record=facts.append))
        losses = [fact["loss"] for fact in facts if "loss" in fact]
        assert len(losses) == 3
        assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("data", "epochs", "rates"),
    [("cifar10", 200, {0: 0.003, 9: 0.5, 10: 0.5}), ("cifar100", 100, {0: 0.003, 9: 0.5, 10: 0.5, 99: 1.5229e-4})],
)
def test_the_learning_rate_is_deacls(data: str, epochs: int, rates: dict[int, float]) -> None:
    method = NCP(NCP.PAPER[data])
    schedule = method.learning_rate()
    assert isinstance(schedule, WarmupCosine)
    assert method.config.epochs == epochs
    for epoch, rate in rates.items():
        assert [schedule(epoch, step, 195, epochs) for step in (0, 194)] == [pytest.approx(rate, rel=1e-3)] * 2


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": None, "cluster_grid": (10, 300, 5)}, "95"),
        ({"clusters": IMAGES + 1}, "clusters"),
        ({"neighbour": CLUSTERS + 1}, "neighbour"),
    ],
)
def test_settings_that_cannot_be_met(settings: dict[str, Any], message: str) -> None:
    with pytest.raises((BenchError, ValidationError), match=message):
        built(ncp(**settings))

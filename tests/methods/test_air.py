"""AIR and AIR++: the official losses and attacks, the corrected regularisers, the two batch norms after adaptation."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from stand_in import StandIn, arrays, views_apart
from tiny import batch_of, bits, fresh, run_of, seen, tiny
from torch import Tensor, nn

import methods.dynacl_pp
from bench.data.profiles import PROFILES
from bench.data.views import Interpolation, RandomResizedCrop, pixels_of
from bench.engine.loop import Averages, Batch, optimiser_update
from bench.models.encoder import with_routes
from bench.models.resnet import Architecture
from bench.randomness import Randomness
from methods.air import AIR, AIRConfig, Variant
from methods.air_pp import AIRPP, AIRPPConfig
from methods.dynacl_pp import DynACLPP, DynACLPPState
from methods.parts import dual_stream
from methods.parts.dual_stream import ADVERSARIAL, CLEAN
from methods.parts.fading import Base, FadingBranch
from methods.parts.kmeans import pseudo_labels

ROUTES = {"0": CLEAN, "1": ADVERSARIAL}
RELEASE = AIR(AIRConfig(variant=Variant.RELEASE))
PAPER = AIR(AIRConfig())
INPUTS = ("zi", "zj", "zo", "zi_adv", "zj_adv")
CASES = [(tag, views) for tag in ("B6", "B16") for views in ("indep", "corr")]
Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return arrays("air")


def air(**settings: Any) -> AIR:
    method = tiny("air", **settings)
    assert isinstance(method, AIR)
    return method


def built(method: AIR, epoch: int = 0) -> FadingBranch:
    """The network before the first step of an epoch, in train mode."""
    run = run_of(method)
    with run.randomness.as_global("initialisation"):
        net = method.build(seen(), run).train()
    method.before_epoch(net, seen(), run, epoch)
    return net


def projections(golden: Golden, tag: str, views: str, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
    return {name: golden[f"loss_{tag}_{views}_{name}"].to(dtype).requires_grad_() for name in INPUTS}


class Given(nn.Module):
    """Hands out projections in the order in which a step asks for them: perturbed, clean, and of the image itself."""

    def __init__(self, z: Mapping[str, Tensor], strength: float) -> None:
        super().__init__()
        asked = (torch.cat([z["zi_adv"], z["zj_adv"]]), torch.cat([z["zi"], z["zj"]]), z["zo"])
        self.strength, self.rest = torch.tensor(strength, dtype=z["zo"].dtype), list(asked)

    def forward(self, x: Tensor, route: str) -> Tensor:
        assert route == (ADVERSARIAL if len(self.rest) == 3 else CLEAN)
        return self.rest.pop(0)


def stepped(method: AIR, net: Any) -> dict[str, Tensor]:
    """What a step hands to its update, without the attack."""
    handed: dict[str, Tensor] = {}
    method.step(net, batch_of(seen()), lambda loss, **parts: handed.update(loss=loss, **parts))
    return handed


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """No attack."""
    monkeypatch.setattr(AIR, "perturb", lambda self, net, x, batch: x)


@pytest.mark.usefixtures("calm")
class TestRelease:
    """`AIR_Loss`, AIR.py:15-101, as released."""

    @pytest.mark.parametrize(("tag", "views"), CASES)
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["double", "single"])
    def test_every_part_of_the_loss(self, tag: str, views: str, dtype: torch.dtype, golden: Golden) -> None:
        tolerance = 1e-9 if dtype is torch.float64 else 1e-5
        parts = stepped(RELEASE, Given(projections(golden, tag, views, dtype), 1.0))
        names = {"clean": "nat", "adversarial": "adv", "sir": "SIR", "air": "AIR"}
        for ours, official in names.items():
            expected = golden[f"loss_{tag}_{views}_{official}"].item()
            assert parts[ours].item() == pytest.approx(expected, abs=tolerance)

    @pytest.mark.parametrize(("tag", "views"), CASES)
    @pytest.mark.parametrize(("weight", "strength"), [("0.0000", 1.0), ("0.0333", 0.95), ("0.6333", 0.05)])
    def test_the_total_and_its_gradients_as_weights_move(
        self, tag: str, views: str, weight: str, strength: float, golden: Golden
    ) -> None:
        z = projections(golden, tag, views)
        loss = stepped(RELEASE, Given(z, strength))["loss"]
        assert loss.item() == pytest.approx(golden[f"loss_{tag}_{views}_w{weight}_total"].item(), abs=1e-9)
        for name, slope in zip(z, torch.autograd.grad(loss, list(z.values())), strict=True):
            expected = golden[f"loss_{tag}_{views}_w{weight}_grad_{name}"]
            torch.testing.assert_close(slope, expected, rtol=0, atol=1e-9)

    def test_regularisers_are_nearly_constant_at_the_papers_batch_size(self) -> None:
        """-log N - 1/N of uniform p: -6.240 at N = 512."""
        z, z_o = torch.ones(1024, 4), torch.ones(512, 4)
        value = RELEASE.standard_regulariser(z, z_o).item()
        assert value == pytest.approx(-math.log(512) - 1 / 512, abs=1e-5)
        assert value == pytest.approx(-6.240, abs=1e-3)


def naive_relation(a: Tensor, b: Tensor, temperature: float) -> list[float]:
    """Of the batch's pairs a_k, b_k: exp(cos / t), their sum 1."""
    values = []
    for row, other in zip(a.tolist(), b.tolist(), strict=True):
        product = sum(x * y for x, y in zip(row, other, strict=True))
        values.append(math.exp(product / math.hypot(*row) / math.hypot(*other) / temperature))
    return [value / sum(values) for value in values]


@pytest.mark.usefixtures("calm")
class TestPaper:
    @pytest.mark.parametrize(("tag", "views"), CASES)
    def test_regularisers_are_divergences_against_a_naive_sum(self, tag: str, views: str, golden: Golden) -> None:
        """SIR = KL(p_j || p_i), AIR = sum m_j log(m_j / m_i), in float64."""
        z = {name: value.detach() for name, value in projections(golden, tag, views).items()}
        parts = stepped(PAPER, Given(z, 1.0))
        p_i, p_j = (naive_relation(z[view], z["zo"], 0.5) for view in ("zi", "zj"))
        m_i, m_j = (
            [
                q * r
                for q, r in zip(
                    naive_relation(z[f"{view}_adv"], z[view], 0.5),
                    naive_relation(z[f"{view}_adv"], z["zo"], 0.5),
                    strict=True,
                )
            ]
            for view in ("zi", "zj")
        )
        for name, (target, other) in {"sir": (p_j, p_i), "air": (m_j, m_i)}.items():
            expected = sum(t * math.log(t / p) for t, p in zip(target, other, strict=True))
            assert parts[name].item() == pytest.approx(expected, abs=1e-12)

    def test_contrastive_parts_are_the_official_ones(self, golden: Golden) -> None:
        parts = stepped(PAPER, Given(projections(golden, "B16", "corr"), 1.0))
        for ours, official in {"clean": "nat", "adversarial": "adv"}.items():
            assert parts[ours].item() == pytest.approx(golden[f"loss_B16_corr_{official}"].item(), abs=1e-9)

    def test_regularisers_are_0_where_both_views_are_the_same(self, golden: Golden) -> None:
        z = projections(golden, "B16", "indep")
        z |= {"zj": z["zi"], "zj_adv": z["zi_adv"]}
        parts = stepped(PAPER, Given(z, 1.0))
        assert parts["sir"].item() == pytest.approx(0, abs=1e-12) == parts["air"].item()

    def test_the_weights_of_the_parts(self) -> None:
        """(1 - w) clean + (1 + w) adversarial + lambda_1 SIR + lambda_2 AIR, not halved."""
        method = air(epochs=4, plateau=1, sir_weight=0.3, air_weight=0.7)
        parts = stepped(method, built(method, epoch=3))
        w = 2 / 3 * 3 / 4
        expected = (1 - w) * parts["clean"] + (1 + w) * parts["adversarial"] + 0.3 * parts["sir"] + 0.7 * parts["air"]
        torch.testing.assert_close(parts["loss"], expected)


class TestSchedules:
    def test_strength_and_weight_are_the_official_ones(self, golden: Golden) -> None:
        """pretraining.py:285; both change at once, at the epochs 51, 101, ... from 1."""
        strengths = torch.tensor([PAPER.strength(epoch) for epoch in range(1000)], dtype=torch.float64)
        torch.testing.assert_close(strengths, golden["strength_e1_to_1000"], rtol=0, atol=1e-12)
        torch.testing.assert_close(2 / 3 * (1 - strengths), golden["weight_e1_to_1000"], rtol=0, atol=1e-12)

    @pytest.mark.parametrize(("e", "w"), [(1, 0.0), (50, 0.0), (51, 0.0333), (1000, 0.6333)])
    def test_weight(self, e: int, w: float) -> None:
        net = FadingBranch(tiny_encoder(), PAPER.config.projector)
        PAPER.before_epoch(net, seen(), run_of(PAPER), e - 1)
        assert PAPER.weight(net).item() == pytest.approx(w, abs=5e-5)

    def test_over_acl_neither_changes(self) -> None:
        """Without --DynAug."""
        method = AIR(AIRConfig(base=Base.ACL))
        assert {method.strength(epoch) for epoch in range(1000)} == {1.0}

    def test_the_learning_rate_is_the_official_one(self, golden: Golden) -> None:
        """98 updates an epoch, pretraining.py:40-48, 243-250, 324."""
        schedule = PAPER.learning_rate()
        expected = {
            "lr_iterations_1_to_1274": [schedule(step // 98, step % 98, 98, 1000) for step in range(1274)],
            "lr_first_iteration_of_each_epoch": [schedule(epoch, 0, 98, 1000) for epoch in range(1000)],
            "lr_last_iteration_of_each_epoch": [schedule(epoch, 97, 98, 1000) for epoch in range(1000)],
        }
        for name, rates in expected.items():
            torch.testing.assert_close(torch.tensor(rates, dtype=torch.float64), golden[name], rtol=1e-9, atol=1e-12)

    def test_crops_are_bicubic(self) -> None:
        crop = PAPER.view(0.5).operations[0]
        assert crop == RandomResizedCrop((0.55, 1.0), interpolation=Interpolation.BICUBIC)


def tiny_encoder() -> Any:
    return air().encoder(seen().profile)


class TestStep:
    def test_the_attack_is_the_official_one(self, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
        """`PGD_contrastive`, pretraining.py:384-416: NT-Xent alone is raised."""
        net = StandIn((CLEAN, ADVERSARIAL), bias=True)
        kept = {"conv.weight": "conv_w", "conv.bias": "conv_b", "head.weight": "lin_w", "head.bias": "lin_b"}
        net.fill({ours: golden[f"standin_{official}"] for ours, official in kept.items()})
        net.bn = Skipped()  # type: ignore[assignment]
        monkeypatch.setattr(dual_stream, "uniform_start", lambda *_, **__: views_apart(golden["atk_start"]))
        found = PAPER.perturb(net, views_apart(golden["atk_x"]), batch_of(seen()))  # type: ignore[arg-type]
        torch.testing.assert_close(found, views_apart(golden["atk_result_5step"]), rtol=0, atol=1e-9)

    def test_clean_statistics_see_the_views_and_then_the_image_itself(self) -> None:
        method = air()
        net, batch = built(method), batch_of(seen())
        stem, encoder = net.encoder.backbone.conv1.weight.clone(), net.encoder
        x = method.two_views(batch, net.strength)
        method.step(net, batch, optimiser_update(method.optimiser(net), Averages()))
        expected = torch.zeros(stem.shape[0])
        for images in (x, batch.pixels):
            maps = nn.functional.conv2d(encoder.normalise(images), stem, padding=1)
            expected = 0.9 * expected + 0.1 * maps.mean(dim=(0, 2, 3))
        torch.testing.assert_close(encoder.get_buffer("backbone.bn1.clean.running_mean"), expected)
        assert int(encoder.get_buffer("backbone.bn1.adv.num_batches_tracked")) == 1

    @pytest.mark.parametrize("variant", Variant)
    def test_it_trains(self, variant: Variant) -> None:
        facts: list[Mapping[str, Any]] = []
        method = air(variant=variant, epochs=3, plateau=1)
        method.pretrain(seen(), run_of(method, record=facts.append))
        losses = [fact["loss"] for fact in facts if "loss" in fact]
        assert losses[-1] < losses[0]


class Skipped(nn.Module):
    """In the place of the batch norm that the golden attack has not."""

    def forward(self, x: Tensor, route: str) -> Tensor:
        assert route == ADVERSARIAL
        return x


def air_pp(**settings: Any) -> AIRPP:
    method = tiny("air-pp", **settings)
    assert isinstance(method, AIRPP)
    return method


def prepared(method: AIRPP) -> DynACLPPState:
    """The network before its first step of fine-tuning, in train mode."""
    run = run_of(method)
    net = method.build(seen(), run)
    method.prepare(net, seen(), run)
    return net.train()


class DualEncoder(StandIn):
    """The golden stand-in as an encoder of 16 features."""

    def features(self, x: Tensor, route: str) -> Tensor:
        outputs: Tensor = self.head(super().features(x, route))
        return outputs

    def encode(self, x: Tensor) -> Tensor:
        """On the adversarial route."""
        return self.features(x, ADVERSARIAL)


class DualClassifier(DynACLPPState):
    """The golden network with two batch norms and its head of ten outputs."""

    def __init__(self, golden: Golden) -> None:
        nn.Module.__init__(self)
        stored = {self.ours(name): value for name, value in golden.items() if name.startswith("trades_model_")}
        self.encoder = DualEncoder((CLEAN, ADVERSARIAL), bias=True)  # type: ignore[assignment]
        self.head = nn.Linear(16, 10).double()
        self.register_buffer("labels", golden["trades_y"])
        self.load_state_dict({**self.state_dict(), **stored})

    @staticmethod
    def ours(official: str) -> str:
        name = official.removeprefix("trades_model_").replace("lin.", "head.")
        name = f"bn.{ROUTES[name[11]]}.{name[13:]}" if "bn_list" in name else name
        return name.replace("fc.", "head.") if "fc." in name else f"encoder.{name}"


class TestAdaptation:
    def test_a_step_is_the_official_trades_with_two_batch_norms(
        self, golden: Golden, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """finetuning_utils.py:533-572 with LP-AFF.py's natural_mode `pgd`: attack, loss, gradients, statistics."""
        net, x, perturbed = DualClassifier(golden).train(), golden["atk_x"], list[Tensor]()
        noise = (golden["tradesdual_start"] - x) / 0.001
        monkeypatch.setattr(DynACLPP, "view", property(lambda self: lambda pixels, generator: pixels))
        monkeypatch.setattr(methods.dynacl_pp.torch, "randn", lambda *_, **__: noise)
        net.register_forward_pre_hook(lambda _, inputs: perturbed.append(inputs[0]) if net.training else None)
        method, averages = AIRPP(AIRPPConfig()), Averages()
        batch = Batch(x, torch.arange(6), Randomness(0, "pretrain"), 0, 0)
        method.step(net, batch, optimiser_update(method.optimiser(net), averages))
        assert averages.means()["loss"] == pytest.approx(golden["tradesdual_pgd_loss"].item(), rel=1e-9)
        torch.testing.assert_close(perturbed[1], golden["tradesdual_x_adv"], rtol=0, atol=1e-9)
        slopes = {
            DualClassifier.ours(name.removeprefix("tradesdual_pgd_grad_")): value
            for name, value in golden.items()
            if name.startswith("tradesdual_pgd_grad_")
        }
        assert {name for name, weight in net.named_parameters() if weight.grad is not None} == set(slopes)
        for name, slope in slopes.items():
            torch.testing.assert_close(net.get_parameter(name).grad, slope, rtol=0, atol=1e-9)
        for number, route in ROUTES.items():
            for part in ("mean", "var"):
                after = net.get_buffer(f"encoder.bn.{route}.running_{part}")
                expected = golden[f"tradesdual_pgd_bn{number}_running_{part}_after"]
                torch.testing.assert_close(after, expected, rtol=0, atol=1e-9)

    def test_it_starts_as_air_on_both_routes(self) -> None:
        method, x = air_pp(), pixels_of(seen().pixels)
        net, upstream = method.build(seen(), run_of(method)).eval(), fresh("air").eval()
        with torch.no_grad():
            for route in (CLEAN, ADVERSARIAL):
                found, expected = (encoder.route(route).encode(x) for encoder in (net.encoder, upstream))
                torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
        assert net.encoder.active_route == ADVERSARIAL

    def test_no_step_touches_the_clean_batch_norms(self) -> None:
        method = air_pp()
        net = prepared(method)
        before = with_routes(net.encoder, (CLEAN,), source=CLEAN).state_dict()
        optimiser = method.optimiser(net)
        method.step(net, batch_of(seen()), optimiser_update(optimiser, Averages()))
        after = with_routes(net.encoder, (CLEAN,), source=CLEAN).state_dict()
        moved = {name for name, value in after.items() if not torch.equal(value, before[name])}
        assert moved
        assert not any(f".{CLEAN}." in name for name in moved)

    def test_pseudo_labels_are_as_many_as_classes_on_the_clean_route(self) -> None:
        method, upstream = air_pp(probe_epochs=1), fresh("air").eval()
        with torch.no_grad():
            features = upstream.route(CLEAN).encode(pixels_of(seen().pixels))
        generator = Randomness(0, "pretrain").generator("k-means")
        expected = pseudo_labels(features, 10, generator, tolerance=1e-5)
        assert torch.equal(prepared(method).labels, expected)
        assert AIRPP(AIRPPConfig()).clusters(PROFILES["cifar100"]) == 100

    def test_probing_leaves_the_encoder_as_it_is(self) -> None:
        method = air_pp()
        before = method.build(seen(), run_of(method))
        net = prepared(method)
        assert bits(net.encoder) == bits(before.encoder)
        assert net.head.weight.any()

    def test_what_is_handed_over(self) -> None:
        method = air_pp()
        net = prepared(method)
        assert method.export(net) is net.encoder
        assert method.requires()["pretrained"].method == "air"
        assert AIRPP.PAPER["stl10"].architecture is AIR.PAPER["stl10"].architecture is Architecture.RESNET18_IMAGENET

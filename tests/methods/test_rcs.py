"""RCS: the official selection, its cadence, what a coreset is and what selection leaves alone."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
from pydantic import ValidationError
from stand_in import StandIn, arrays, views_apart
from tiny import BATCH, IMAGES, batch_of, bits, digits, run_of, seen, tiny
from torch import Tensor

import methods.rcs
from bench.contract import UnlabelledImages
from bench.data.views import Interpolation, RandomResizedCrop
from bench.engine.loop import Batch, batches_of
from bench.errors import BenchError
from bench.models.encoder import ResNetEncoder
from bench.models.projectors import Head
from bench.models.resnet import Architecture
from methods.parts import dual_stream
from methods.parts.divergences import jensen_shannon, min_max_divergence, optimal_transport, reversed_jensen_shannon
from methods.parts.dual_stream import ADVERSARIAL, CLEAN
from methods.parts.fading import Base
from methods.parts.losses import divergence
from methods.rcs import RCS, Divergence, RCSConfig, RCSState, Variant, half_twice, summary

ROUTES = {"0": CLEAN, "1": ADVERSARIAL}
PAPER = RCS(RCSConfig())
SELECTING = {"epochs": 4, "plateau": 1, "select_after": 1, "select_every": 2, "fraction": 0.7}
HELD_IN = 95
"""Of `IMAGES`; the last one is for validation."""
Golden = dict[str, Tensor]


@pytest.fixture(scope="module")
def golden() -> Golden:
    return arrays("rcs")


def rcs(**settings: Any) -> RCS:
    method = tiny("rcs", **settings)
    assert isinstance(method, RCS)
    return method


def built(method: RCS) -> RCSState:
    run = run_of(method)
    with run.randomness.as_global("initialisation"):
        return method.build(seen(), run).train()


class GoldenEncoder(StandIn):
    """The stand-in as an encoder of 16 features."""

    feature_dim, routes = 16, (CLEAN, ADVERSARIAL)

    def __init__(self) -> None:
        super().__init__(self.routes, bias=True)

    def features(self, x: Tensor, route: str) -> Tensor:
        outputs: Tensor = self.head(super().features(x, route))
        return outputs


def golden_net(golden: Golden, images: int) -> RCSState:
    """The official model: stand-in and projector of three layers."""

    def ours(official: str) -> str:
        name = official.removeprefix("model_")
        for number, route in ROUTES.items():
            name = name.replace(f"bn_list.{number}", route)
        for layer in range(3):
            name = name.replace(f"fc.fc{layer + 1}", f"projector.layers.{layer}.linear")
            name = name.replace(f"fc.bn{layer + 1}", f"projector.layers.{layer}.bn")
        return name if name.startswith("projector") else f"encoder.{name.replace('lin.', 'head.')}"

    net = RCSState(GoldenEncoder(), Head.ACL, images).double()  # type: ignore[arg-type]
    stored = {ours(name): value for name, value in golden.items() if name.startswith("model_")}
    net.load_state_dict({**net.state_dict(), **stored})
    return net


class GoldenRCS(RCS):
    """Sees the golden batches and validation images; `views` gives a batch its two views."""

    views: Tensor
    held_out: Tensor
    batches: list[Tensor]

    def two_views(self, batch: Batch, strength: Any = 1.0) -> Tensor:
        return self.views[batch.index].transpose(0, 1).flatten(0, 1)

    def random_batches(self, images: Any, randomness: Any, epoch: int) -> list[Tensor]:
        return self.batches

    def validation(self, images: Any, randomness: Any, epoch: int, choice: int) -> Batch:
        return Batch(half_twice(self.held_out), torch.arange(4), randomness, epoch, choice)

    def choices(self, images: int) -> int:
        return 3


class TestGolden:
    """Official functions of RCS.py, in float64."""

    def test_the_attack_on_training_views(self, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
        """`PGD_contrastive`, RCS.py:128-161."""
        start = views_apart(golden["ctrpgd_delta_start"])
        monkeypatch.setattr(dual_stream, "uniform_start", lambda x, *_, **__: x + start)
        found = PAPER.perturb(golden_net(golden, 0), views_apart(golden["atk_x"]), batch_of(seen()))
        torch.testing.assert_close(found, views_apart(golden["ctrpgd_result_5step"]), rtol=0, atol=1e-9)

    @pytest.mark.parametrize("divergence", [Divergence.KL, Divergence.JS])
    def test_the_attack_on_validation_images(
        self, divergence: Divergence, golden: Golden, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """`PGD`, RCS.py:90-125: three steps of (10/255)/3."""
        perturbed: list[Tensor] = []
        ascend = methods.rcs.ascend
        monkeypatch.setattr(methods.rcs, "ascend", lambda *args: perturbed.append(ascend(*args)) or perturbed[-1])
        monkeypatch.setattr(methods.rcs, "uniform_start", lambda *_, **__: golden["valpgd_start"])
        method = RCS(RCSConfig(variant=Variant.RELEASE, divergence=divergence))
        batch = Batch(golden["atk_x"], torch.arange(6), run_of(method).randomness, 0, 0)
        method.validation_gradient(golden_net(golden, 0).eval(), batch)
        torch.testing.assert_close(perturbed[0], golden[f"valpgd_{divergence.upper()}_result_3step"], rtol=0, atol=1e-9)

    def test_a_whole_selection(self, golden: Golden, monkeypatch: pytest.MonkeyPatch) -> None:
        """`update_subset_indice`, RCS.py:213-369: batches, their order, and the gain of each."""
        starts = [golden[f"sel_delta_start_{number}"] for number in range(9)]
        training, validating = (iter(map(views_apart, starts[1:7])), iter([starts[0], *starts[7:]]))
        monkeypatch.setattr(dual_stream, "uniform_start", lambda x, *_, **__: x + next(training))
        monkeypatch.setattr(methods.rcs, "uniform_start", lambda x, *_, **__: x + next(validating))
        method = GoldenRCS(RCSConfig(variant=Variant.RELEASE, fraction=0.5, batch_size=4))
        method.views, method.held_out = golden["sel_data"], golden["sel_val"][:, 0]
        method.batches = list(golden["sel_batch_indices"])
        net, facts = golden_net(golden, 12), list[Mapping[str, Any]]()
        pixels = torch.zeros(24, 3, 8, 8, dtype=torch.uint8)
        images = UnlabelledImages(pixels, digits().profile)
        found = method.select(net, images, run_of(method, record=facts.append), 0)
        assert torch.equal(found, golden["sel_selected_indices"])
        gains = [golden[f"sel_gain_{choice}"].max().item() for choice in range(3)]
        assert facts[0]["coreset_gains"] == pytest.approx(gains, rel=1e-6)

    def test_when_it_selects(self, golden: Golden) -> None:
        """DynACL_RCS.py:299: before the epochs 101, 121, ..., 981, counted from 1."""
        assert [epoch + 1 for epoch in range(1000) if PAPER.selects(epoch)] == golden["selection_epochs"].tolist()

    def test_the_learning_rate_follows_the_epoch_however_many_batches_it_has(self, golden: Golden) -> None:
        """DynACL_RCS.py:120-127, 313-323, 351."""
        schedule = PAPER.learning_rate()
        for epoch, batches in golden["lr_cases"].tolist():
            rates = [schedule(epoch - 1, step, batches, 1000) for step in range(batches)]
            expected = golden[f"lr_epoch{epoch}_batches{batches}"]
            torch.testing.assert_close(torch.tensor(rates, dtype=torch.float64), expected, rtol=1e-9, atol=1e-12)


class TestCoreset:
    @pytest.mark.parametrize(("fraction", "batches"), [(0.05, 4), (0.1, 9), (0.2, 19)])
    def test_its_size_on_cifar(self, fraction: float, batches: int) -> None:
        assert RCS(RCSConfig(fraction=fraction)).choices(50_000) == batches

    def test_it_has_one_batch_at_least(self) -> None:
        assert RCS(RCSConfig(fraction=0.01)).choices(10_000) == 1

    def test_it_is_made_of_whole_batches_of_the_pool(self) -> None:
        method = rcs(**SELECTING)
        net, run = built(method), run_of(method)
        found = method.select(net, seen(), run, 1)
        assert len(found) == 2 * BATCH == len(found.unique())
        assert found.max() < HELD_IN
        batches = [set(batch.tolist()) for batch in found.split(BATCH)]
        offered = method.random_batches(seen(), selecting(run), 1)
        assert all(batch in [set(one.tolist()) for one in offered] for batch in batches)

    @pytest.mark.parametrize("variant", Variant)
    def test_selection_repeats_itself_and_leaves_no_trace(self, variant: Variant) -> None:
        method = rcs(variant=variant, **SELECTING)
        net = built(method)
        before, modes = bits(net), [part.training for part in net.modules()]
        first = method.select(net, seen(), run_of(method), 1)
        torch.rand(7)
        assert torch.equal(method.select(net, seen(), run_of(method), 1), first)
        assert bits(net) == before
        assert [part.training for part in net.modules()] == modes
        assert all(weight.grad is None and weight.requires_grad for weight in net.parameters())

    def test_epochs_are_on_the_pool_first_and_then_on_the_coreset_in_a_new_order_each(self) -> None:
        method, run = rcs(**SELECTING), run_of(rcs())
        net = built(method)
        orders = [method.before_epoch(net, seen(), run, epoch) for epoch in range(4)]
        assert [len(order) for order in orders] == [HELD_IN, 64, 64, 64]
        assert orders[0].sort().values.tolist() == list(range(HELD_IN))
        assert set(orders[1].tolist()) == set(orders[2].tolist())
        assert not torch.equal(orders[1], orders[2])
        assert set(orders[2].tolist()) != set(orders[3].tolist())
        assert torch.equal(orders[3].sort().values, net.coreset.sort().values)
        assert [len(batch) for batch in batches_of(orders[0], method)] == [32, 32, 31]

    @pytest.mark.parametrize(
        ("variant", "base", "pool"),
        [
            (Variant.PAPER, Base.ACL, HELD_IN),
            (Variant.PAPER, Base.DYNACL, HELD_IN),
            (Variant.RELEASE, Base.ACL, HELD_IN),
            (Variant.RELEASE, Base.DYNACL, IMAGES),
        ],
    )
    def test_whether_validation_images_are_trained_on(self, variant: Variant, base: Base, pool: int) -> None:
        """DynACL_RCS.py:298 forgets the split; ACL_RCS.py does not."""
        assert len(rcs(variant=variant, base=base).pool(seen())) == pool

    def test_validation_images_are_looked_at_as_they_are(self) -> None:
        method = rcs(validation_share=0.05)
        batch = method.validation(seen(), selecting(run_of(method)), 1, 0)
        assert batch.index.tolist() == [91, 92, 93, 94, 95]
        assert torch.equal(batch.pixels, seen().pixels[91:].float() / 255)

    def test_as_released_the_first_half_of_them_twice(self) -> None:
        method = rcs(variant="release", validation_share=0.05)
        batch = method.validation(seen(), selecting(run_of(method)), 1, 0)
        assert batch.index.tolist() == [91, 91, 92, 92, 93]


def selecting(run: Any) -> Any:
    """The randomness that selection draws from."""
    return methods.rcs.replace(run.randomness, stage="coreset")


def toy(method: RCS) -> tuple[RCSState, list[tuple[Tensor, ...]], Tensor]:
    """A network, gradients of four batches and the validation's fixed gradient, that of the third batch."""
    net = copy.deepcopy(built(method)).eval()
    generator = torch.Generator().manual_seed(0)
    gradients = [tuple(torch.randn(part.shape, generator=generator) for part in net.theta) for _ in range(4)]
    return net, gradients, summary(gradients[2])


class TestSearch:
    def test_a_summary_is_the_mean_over_rows_of_each_part(self) -> None:
        """Against loops; 512 + 1 + 512 + 512 numbers for features of 512."""
        gradient = (torch.randn(3, 2), torch.randn(3), torch.randn(3, 3))
        weight, bias, last = (part.tolist() for part in gradient)
        expected = [sum(row[column] for row in weight) / 3 for column in range(2)]
        expected += [sum(bias) / 3] + [sum(row[column] for row in last) / 3 for column in range(3)]
        assert summary(gradient).tolist() == pytest.approx(expected, abs=1e-6)
        profile = seen().profile
        with torch.device("meta"):
            net = RCSState(PAPER.encoder(profile), Head.ACL, 0)
        assert summary(net.theta).shape == (512 + 1 + 512 + 512,)

    def test_the_batch_most_aligned_with_the_validation_is_chosen_first(self, monkeypatch: pytest.MonkeyPatch) -> None:
        method = rcs(**SELECTING)
        net, gradients, _ = toy(method)
        monkeypatch.setattr(RCS, "validation_gradient", lambda self, trial, batch: gradients[2])
        chosen, gains = method.search(net, gradients, [batch_of(seen())] * 4)
        summaries = [summary(gradient) for gradient in gradients]
        products = [float(one @ summaries[2]) for one in summaries]
        assert chosen == sorted(range(4), key=lambda number: -products[number])
        assert chosen[0] == 2
        assert gains == pytest.approx(sorted(products, reverse=True), rel=1e-5)

    @pytest.mark.parametrize(("variant", "steps"), [(Variant.PAPER, 1), (Variant.RELEASE, 2)])
    def test_theta_moves_as_if_trained_on_what_was_chosen(
        self, variant: Variant, steps: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The release takes each step twice: RCS.py:321-329."""
        method = rcs(variant=variant, coreset_rate=0.5, **SELECTING)
        net, gradients, _ = toy(method)
        thetas: list[list[Tensor]] = []

        def gradient(self: RCS, trial: RCSState, batch: Batch) -> tuple[Tensor, ...]:
            thetas.append([weight.detach().clone() for weight in trial.theta])
            return gradients[2]

        monkeypatch.setattr(RCS, "validation_gradient", gradient)
        method.search(net, gradients, [batch_of(seen())] * 2)
        for before, after, slope in zip(*thetas, gradients[2], strict=True):
            torch.testing.assert_close(after, before - steps * 0.5 * slope)

    def test_a_batchs_gradient_is_that_of_both_streams_in_eval_mode(self) -> None:
        method, batch = rcs(), batch_of(seen())
        net = built(method).eval()
        x = method.two_views(batch, net.strength)
        loss = (method.contrast(net(x, CLEAN)) + method.contrast(net(method.perturb(net, x, batch), ADVERSARIAL))) / 2
        expected = torch.autograd.grad(loss, net.theta)
        for found, slope in zip(method.training_gradient(net, batch), expected, strict=True):
            torch.testing.assert_close(found, slope, rtol=1e-4, atol=1e-6)

    def test_the_validations_gradient_is_that_of_a_divergence_which_the_attack_has_raised(self) -> None:
        method = rcs(validation_share=0.3)
        net = built(method).eval()
        batch = method.validation(seen(), selecting(run_of(method)), 1, 0)
        perturbed = list[Tensor]()
        net.register_forward_pre_hook(lambda _, inputs: perturbed.append(inputs[0]))
        found = method.validation_gradient(net, batch)
        x, starting = perturbed[0], perturbed[1]
        assert torch.equal(x, batch.pixels)
        assert (starting - x).abs().max() <= method.config.eps * (1 + 1e-5)
        with torch.no_grad():
            values = [divergence(net(image, ADVERSARIAL), net(x, CLEAN)).item() for image in perturbed[1:4]]
        assert values[0] < values[1] < values[2]
        assert all(part.abs().max() > 0 for part in found)

    def test_kl_is_that_of_perturbed_from_clean_softmaxes(self) -> None:
        """KL(softmax z~ || softmax z), summed naively in float64."""
        z_adv, z = torch.randn(2, 5, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        q, p = z_adv.softmax(dim=1).tolist(), z.softmax(dim=1).tolist()
        expected = sum(q[i][k] * math.log(q[i][k] / p[i][k]) for i in range(5) for k in range(7)) / 5
        assert PAPER.measure(z_adv, z).item() == pytest.approx(expected, abs=1e-12)

    @pytest.mark.parametrize(
        ("variant", "divergence", "measure"),
        [
            (Variant.PAPER, Divergence.JS, jensen_shannon),
            (Variant.PAPER, Divergence.OT, optimal_transport),
            (Variant.RELEASE, Divergence.KL, min_max_divergence),
            (Variant.RELEASE, Divergence.JS, reversed_jensen_shannon),
            (Variant.RELEASE, Divergence.OT, optimal_transport),
        ],
    )
    def test_which_divergence_an_option_names(
        self, variant: Variant, divergence: Divergence, measure: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        assert RCS(RCSConfig(variant=variant, divergence=divergence)).measure is measure

    def test_what_is_chosen_depends_on_the_divergence(self) -> None:
        """The gains of the first choice, whose attack, too, raises that divergence."""

        def gains(divergence: Divergence) -> list[float]:
            facts: list[Mapping[str, Any]] = []
            method = rcs(divergence=divergence, validation_share=0.1, **SELECTING)
            method.select(built(method), seen(), run_of(method, record=facts.append), 1)
            found: list[float] = facts[0]["coreset_gains"]
            return found

        first = {gains(divergence)[0] for divergence in Divergence}
        assert len(first) == len(Divergence)
        assert all(math.isfinite(gain) and gain != 0 for gain in first)


class TestTraining:
    @pytest.mark.parametrize(("base", "w"), [(Base.ACL, 0.0), (Base.DYNACL, 2 / 3 * 3 / 4)])
    def test_the_loss_weighs_both_streams(self, base: Base, w: float) -> None:
        method = rcs(base=base, **{**SELECTING, "select_after": 4})
        net, handed = built(method), dict[str, Tensor]()
        method.before_epoch(net, seen(), run_of(method), 3)
        method.step(net, batch_of(seen()), lambda loss, **parts: handed.update(loss=loss, **parts))
        expected = ((1 - w) * handed["clean"] + (1 + w) * handed["adversarial"]) / 2
        torch.testing.assert_close(handed["loss"], expected)

    def test_selection_sees_views_of_the_strength_of_its_epoch(self, monkeypatch: pytest.MonkeyPatch) -> None:
        strengths: list[float] = []
        make = RCS.two_views
        monkeypatch.setattr(RCS, "two_views", lambda self, batch, s: strengths.append(float(s)) or make(self, batch, s))
        method = rcs(**SELECTING)
        method.before_epoch(built(method), seen(), run_of(method), 3)
        assert strengths == pytest.approx([0.25] * (HELD_IN // BATCH))

    def test_it_falls(self) -> None:
        facts: list[Mapping[str, Any]] = []
        method = rcs(**SELECTING)
        method.pretrain(seen(), run_of(method, record=facts.append))
        losses = [fact["loss"] for fact in facts if "loss" in fact]
        assert losses[-1] < losses[0]
        assert [len(fact["coreset_gains"]) for fact in facts if "coreset_gains" in fact] == [2, 2]


class TestCost:
    def test_of_the_run_as_counted(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Images through the encoder, selection's included, but for the validation's."""
        counted, features = [0], ResNetEncoder.features

        def passed(self: ResNetEncoder, x: Tensor, route: str) -> Tensor:
            counted[0] += len(x) if len(x) in (2 * BATCH, 2) else 0
            return features(self, x, route)

        monkeypatch.setattr(ResNetEncoder, "features", passed)
        monkeypatch.setattr("bench.engine.loop.signs_of_life", lambda *_: {})
        method = rcs(**{**SELECTING, "fraction": 2 / 3})
        images = UnlabelledImages(seen().pixels.repeat(2, 1, 1, 1)[:97], seen().profile)  # Of which 96 are trained on.
        method.pretrain(images, run_of(method))
        declared = method.passes_per_epoch()
        assert counted[0] / 96 / method.config.epochs == pytest.approx(declared.forward)

    def test_of_the_papers_run_next_to_acl(self) -> None:
        """28 % of the images and 45 selections in 1000 epochs: a third of 32 passes per image and epoch."""
        c, found = PAPER.config, PAPER.passes_per_epoch()
        assert PAPER.passes().total == 32
        assert found.backward == pytest.approx(0.28 * 4)
        assert found.total == pytest.approx(0.28 * 32 + 0.045 * 24)
        everything = RCS(c.model_copy(update={"select_after": c.epochs}))
        assert everything.passes_per_epoch() == everything.passes()


class TestBadInput:
    def test_fewer_images_than_a_batch(self) -> None:
        with pytest.raises(BenchError, match=r"rcs .* batches of 32 images, but of 30 only 29"):
            rcs().check(30)
        rcs().check(40)

    @pytest.mark.parametrize(
        "setting",
        [
            {"fraction": 0},
            {"fraction": 1.5},
            {"validation_share": 1.0},
            {"variant": "original"},
            {"divergence": "wasserstein"},
        ],
    )
    def test_settings_out_of_range(self, setting: dict[str, Any]) -> None:
        with pytest.raises(ValidationError, match=next(iter(setting))):
            RCSConfig(**setting)


def test_the_recipe() -> None:
    """DynACL-RCS on CIFAR-10; STL-10 with its own stem."""
    c = RCS.PAPER["cifar10"]
    assert (c.base, c.epochs, c.batch_size, c.learning_rate) == (Base.DYNACL, 1000, 512, 5.0)
    assert (c.select_after, c.select_every, c.fraction, c.coreset_rate) == (100, 20, 0.2, 0.01)
    assert PAPER.view(1.0).operations[0] == RandomResizedCrop((0.1, 1.0), interpolation=Interpolation.BICUBIC)
    assert RCS.PAPER["stl10"].architecture is Architecture.RESNET18_IMAGENET

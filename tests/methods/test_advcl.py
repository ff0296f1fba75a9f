"""AdvCL: the official attacks, losses and network, its pseudo-labels, and the traces that its attack leaves."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tiny import BATCH, IMAGES, batch_of, digits, quiet, run_of, seen, tiny, trained
from torch import Tensor, nn
from torch.nn.functional import normalize

import methods.advcl
from bench.contract import UnlabelledImages
from bench.data.profiles import PROFILES
from bench.engine.loop import Batch, encode_all
from bench.errors import BenchError
from bench.inputs import InputFile
from bench.planning import plan_of
from bench.randomness import Randomness
from bench.stages.pretrain import pretrain
from methods.advcl import ADVERSARIAL, CLEAN, PSEUDO, AdvCL, AdvCLConfig, AdvCLState
from methods.parts.frequency import high_frequency
from methods.parts.pseudo_labels import clustered
from tests.models.test_architectures import FILLS, close, official_shapes, translated

GOLDEN = Path(__file__).parents[1] / "golden" / "advcl.npz"
CLUSTERS = (2, 10, 50, 100, 500)


@pytest.fixture(scope="module")
def golden() -> dict[str, Tensor]:
    with np.load(GOLDEN) as arrays:
        return {name: torch.from_numpy(arrays[name]) for name in arrays.files}


def no_update(loss: Tensor, **parts: Tensor) -> None:
    """Leaves the weights as they are."""


class StandIn(nn.Module):
    """The small network of the golden file in the place of the encoder."""

    feature_dim = 16

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)
        self.lin = nn.Linear(256, 16)

    def features(self, x: Tensor, route: str) -> Tensor:
        features: Tensor = self.lin(self.conv(x).relu().flatten(1))
        return features


class Linear(nn.Linear):
    """The golden file's projection, which has no routes."""

    def forward(self, x: Tensor, route: str) -> Tensor:  # type: ignore[override]
        return super().forward(x)


OFFICIAL = {"encoder": "enc", "projector": "proj", "heads": "heads"}
"""Our parts of the network and the golden file's."""


def theirs(name: str) -> str:
    part, _, rest = name.partition(".")
    return f"{OFFICIAL[part]}.{rest}"


def official(golden: Mapping[str, Tensor]) -> AdvCLState:
    encoder: Any = StandIn()
    net = AdvCLState(encoder, CLUSTERS, 6)
    net.projector = Linear(16, 8)  # type: ignore[assignment]
    net.double().load_state_dict(
        {name: golden[f"standin_{theirs(name)}"] for name, _ in net.named_parameters()}, strict=False
    )
    net.labels.copy_(golden["atk_targets"].T)
    return net


def golden_method(steps: int) -> AdvCL:
    return AdvCL(AdvCLConfig(attack_steps=steps, radius=2))


@pytest.fixture
def from_golden(golden: Mapping[str, Tensor], monkeypatch: pytest.MonkeyPatch) -> Batch:
    """The golden images, of which views and random starts are the golden ones."""
    views = {"first view": "x1", "second view": "x2", "weak view": "x_org"}
    starts = {"attack": "cl", "pseudo-label attack": "ce"}

    class GoldenBatch(Batch):
        def generator(self, purpose: str) -> Any:
            return purpose

    def view(self: AdvCL) -> Callable[[Tensor, Any], Tensor]:
        return lambda pixels, purpose: golden[f"atk_{views[purpose]}"]

    def start(x: Tensor, eps: float, purpose: Any, clip: bool) -> Tensor:
        assert not clip
        return golden[f"atk_start_{starts[purpose]}"]

    monkeypatch.setattr(AdvCL, "view", property(view))
    monkeypatch.setattr(AdvCL, "weak", property(view))
    monkeypatch.setattr(methods.advcl, "uniform_start", start)
    return GoldenBatch(golden["atk_x_org"], torch.arange(6), Randomness(0, "pretrain"), 0, 0)


class TestOfficial:
    @pytest.mark.parametrize("steps", [1, 5])
    def test_both_attacks(
        self, steps: int, golden: Mapping[str, Tensor], from_golden: Batch, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found: dict[str, Tensor] = {}
        perturb = AdvCL.perturb

        def watched(self: AdvCL, net: AdvCLState, x: Tensor, batch: Batch, purpose: str, loss: Any) -> Tensor:
            found[purpose] = perturb(self, net, x, batch, purpose, loss)
            return found[purpose]

        monkeypatch.setattr(AdvCL, "perturb", watched)
        golden_method(steps).step(official(golden), from_golden, no_update)
        for purpose, name in (("attack", "cl"), ("pseudo-label attack", "ce")):
            torch.testing.assert_close(found[purpose], golden[f"atk_{name}_{steps}step"], rtol=0, atol=1e-9)

    def test_the_step(self, golden: Mapping[str, Tensor], from_golden: Batch) -> None:
        net, reported = official(golden), dict[str, Tensor]()
        golden_method(5).step(net, from_golden, lambda loss, **parts: reported.update(parts, loss=loss))
        for ours, name in (("contrast", "contrast_loss"), ("pseudo", "ce_loss"), ("loss", "loss")):
            assert reported[ours].item() == pytest.approx(golden[f"total_{name}"].item(), rel=1e-9)
        named = dict(net.named_parameters())
        for name, slope in zip(named, torch.autograd.grad(reported["loss"], list(named.values())), strict=True):
            torch.testing.assert_close(slope, golden[f"total_grad_{theirs(name)}"], rtol=1e-9, atol=1e-12, msg=name)

    def test_the_losses_in_float32(self, golden: Mapping[str, Tensor]) -> None:
        net, method = official(golden).float(), golden_method(5)
        x_cl, x_ce, *clean = (golden[f"atk_{x}"].float() for x in ("cl_5step", "ce_5step", "x1", "x2", "x_hfc"))
        contrast, pseudo = method.contrast(net, x_cl, tuple(clean)), method.pseudo(net, x_ce, net.labels)
        assert contrast.item() == pytest.approx(golden["total_contrast_loss"].item(), rel=1e-5)
        assert pseudo.item() == pytest.approx(golden["total_ce_loss"].item(), rel=1e-5)

    @pytest.mark.parametrize(("name", "radius"), [("hfc_32", 8), ("hfc_8r2", 2)])
    def test_the_high_frequency_view(self, name: str, radius: int, golden: Mapping[str, Tensor]) -> None:
        x, expected = golden[f"{name}_x"], golden[f"{name}_out"]
        torch.testing.assert_close(high_frequency(x, radius), expected, rtol=0, atol=1e-12)
        torch.testing.assert_close(high_frequency(x.float(), radius), expected.float(), rtol=0, atol=1e-5)

    @pytest.mark.parametrize("rule", ["arch", "archB"])
    def test_the_network(self, rule: str, golden: Mapping[str, Tensor]) -> None:
        net = AdvCLState(AdvCL(AdvCLConfig()).encoder(PROFILES["cifar10"]).double(), CLUSTERS, 1).double().eval()
        net.load_state_dict({**net.state_dict(), **filled(rule)})
        x = FILLS[rule].image(32)
        with torch.no_grad():
            for route, name in ((CLEAN, "normal"), (ADVERSARIAL, "pgd"), (PSEUDO, "pgd_ce")):
                close(net.encoder.features(x, route), golden[f"{rule}_features_{name}"].numpy())
                close(normalize(net.project(x, route)), golden[f"{rule}_proj_{name}"].numpy())
            for count, logits in zip(CLUSTERS, net.logits(x), strict=True):
                close(logits, golden[f"{rule}_logits{count}_pgd_ce"].numpy())


PARTS = (
    (r"^head_proj\.0\.", "projector.layers.0.linear."),
    (r"^head_proj\.1\.", "projector.layers.0.bn.shared."),
    (r"^head_proj\.3\.", "projector.layers.1.linear."),
    (r"^fc_(\d+)\.", lambda m: f"heads.{CLUSTERS.index(int(m[1]))}."),
    (r"bn_list\.0\.", f"{CLEAN}."),
    (r"bn_list\.1\.", f"{ADVERSARIAL}."),
    (r"bn_list\.2\.", f"{PSEUDO}."),
)
UNUSED = ("head_ce.", "head_pred.")


def filled(rule: str) -> dict[str, Tensor]:
    """Our names and tensors filled by the official names; what no loss reaches is left out."""
    shapes = official_shapes("advcl_resnet18")
    floating = [name for name in sorted(shapes) if not name.endswith("num_batches_tracked")]
    tensors = {name: FILLS[rule].tensor(name, shapes[name], index) for index, name in enumerate(floating)}
    return {ours(name): tensor for name, tensor in tensors.items() if not name.startswith(UNUSED)}


def ours(name: str) -> str:
    for pattern, replacement in PARTS:
        name = re.sub(pattern, replacement, name)
    return name if name.startswith(("projector.", "heads.")) else f"encoder.backbone.{translated(name)}"


def test_a_constant_image_has_no_high_frequencies_and_a_fine_grid_has_all() -> None:
    flat, grid = torch.full((1, 3, 8, 8), 0.7), torch.tensor([1.0, -1.0]).repeat(4).expand(1, 3, 8, 8)
    torch.testing.assert_close(high_frequency(flat, 1), torch.zeros_like(flat), rtol=0, atol=1e-6)
    torch.testing.assert_close(high_frequency(grid, 3), grid, rtol=0, atol=1e-6)


def advcl(**settings: Any) -> AdvCL:
    method = tiny("advcl", **settings)
    assert isinstance(method, AdvCL)
    return method


def built(method: AdvCL) -> AdvCLState:
    run = run_of(method)
    with run.randomness.as_global("initialisation"):
        net = method.build(seen(), run)
    method.prepare(net, seen(), run)
    return net.train()


def tracked(net: AdvCLState) -> dict[str, int]:
    """Updates of each route's running statistics."""
    stem = net.encoder.backbone.bn1
    return {route: int(stem.get_buffer(f"{route}.num_batches_tracked")) for route in (CLEAN, ADVERSARIAL, PSEUDO)}


class TestTraces:
    @pytest.mark.parametrize(
        ("mode", "updates"),
        [
            ("train", {CLEAN: 15 + 3, ADVERSARIAL: 5 + 1, PSEUDO: 5 + 1}),
            ("eval", {CLEAN: 3, ADVERSARIAL: 1, PSEUDO: 1}),
        ],
    )
    def test_running_statistics_move_with_every_pass_of_the_attack_where_it_says_so(
        self, mode: str, updates: dict[str, int]
    ) -> None:
        net = built(advcl(attack_mode=mode))
        advcl(attack_mode=mode).step(net, batch_of(seen()), no_update)
        assert tracked(net) == updates

    def test_the_attack_normalises_by_its_batch(self) -> None:
        """In train mode an image's perturbation depends on its batch mates."""
        net, batch = built(advcl()), batch_of(seen())

        def perturbed(mode: str, x: Tensor) -> Tensor:
            method = advcl(attack_mode=mode)
            labels = net.labels[batch.index[: len(x)]]
            return method.perturb(net, x, batch, "attack", lambda x: len(x) * method.pseudo(net, x, labels))

        starts = methods.advcl.uniform_start(batch.pixels, 0.1, batch.generator("attack"), clip=False)[:8]
        alone = methods.advcl.uniform_start(batch.pixels[:8], 0.1, batch.generator("attack"), clip=False)
        torch.testing.assert_close(starts, alone)
        assert torch.equal(perturbed("eval", batch.pixels)[:8], perturbed("eval", batch.pixels[:8]))
        assert not torch.equal(perturbed("train", batch.pixels)[:8], perturbed("train", batch.pixels[:8]))


class TestPseudoLabels:
    def test_they_are_clusters_of_the_named_methods_features(self) -> None:
        method, encoder = advcl(clusters=(3, 7)), trained("simclr")
        net = built(method)
        features = normalize(encode_all(encoder, seen()))
        assert net.labels.shape == (IMAGES, 2)
        for column, count in enumerate((3, 7)):
            own = net.labels[:, column]
            assert sorted(own.unique().tolist()) == list(range(count))
            centres = normalize(torch.stack([features[own == k].mean(0) for k in range(count)]))
            assert ((features @ centres.T).argmax(1) == own).float().mean() > 0.95

    def test_they_depend_on_the_seed_of_the_clustering_alone(self) -> None:
        def labels(seed: int) -> Tensor:
            return clustered(trained("simclr"), seen(), (5, 9), lambda k: torch.Generator().manual_seed(seed + k))

        assert torch.equal(labels(0), labels(0))
        assert not torch.equal(labels(0), labels(100))

    def test_those_of_a_file_follow_their_images_through_the_shuffle(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The label of an image is made from its pixels, and the run finds it beside the same pixels."""
        kept: list[tuple[AdvCLState, UnlabelledImages]] = []
        prepare = AdvCL.prepare

        def watched(self: AdvCL, net: AdvCLState, images: UnlabelledImages, run: Any) -> None:
            prepare(self, net, images, run)
            kept.append((net, images))

        def brightness(images: UnlabelledImages) -> Tensor:
            return images.pixels.long().flatten(1).sum(1) % 10

        monkeypatch.setattr(AdvCL, "prepare", watched)
        path = tmp_path / "labels.npz"
        np.savez(path, k10=brightness(digits()).numpy().astype(np.int32))
        pretrain(advcl(clusters=(10,), labels=str(path), labels_from=None), digits(), {}, 0, quiet, quiet)
        ((net, images),) = kept
        assert torch.equal(net.labels[:, 0], brightness(images))
        assert not torch.equal(images.pixels, digits().pixels)

    def test_each_image_of_a_batch_meets_its_own(self, monkeypatch: pytest.MonkeyPatch) -> None:
        met: list[Tensor] = []
        monkeypatch.setattr(AdvCL, "pseudo", lambda self, net, x, labels: met.append(labels) or x.sum())
        net = built(advcl())
        batch = batch_of(seen())
        turned = Batch(batch.pixels, batch.index.flip(0), batch.randomness, 0, 0)
        advcl().step(net, turned, no_update)
        assert all(torch.equal(labels, net.labels[:BATCH].flip(0)) for labels in met)
        assert len(met) == 5 + 1


def npz(**arrays: Any) -> Callable[[Path], object]:
    return lambda path: np.savez(path, **arrays)


GOOD = np.zeros(IMAGES, dtype=np.int64)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path: path.write_bytes(b"k2,k10"), r"is no \.npz file\. It should"),
        (lambda path: path.write_bytes(b""), r"is no \.npz file\. It should"),
        (lambda path: GOOD.tofile(path), r"is no \.npz file\. It should"),
        (npz(k2=np.array([{}])), r"is no \.npz file of plain arrays"),
        (npz(k10=GOOD), "has no array 'k2'; it holds k10"),
        (npz(k2=GOOD.astype(np.float32), k10=GOOD), "holds float32 in 'k2' where there should be integers"),
        (npz(k2=GOOD[1:], k10=GOOD), rf"has 'k2' of shape \({IMAGES - 1},\) for {IMAGES} pre-training images"),
        (npz(k2=GOOD, k10=GOOD + 10), "has labels 10 .. 10 in 'k10' where there should be 0 .. 9"),
        (npz(k2=GOOD - 1, k10=GOOD), "has labels -1 .. -1 in 'k2'"),
    ],
)
def test_a_file_that_holds_no_labels_of_these_images_is_named(
    write: Callable[[Path], object], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "labels.npz"
    write(path)
    method = advcl(clusters=(2, 10), labels=str(path), labels_from=None)
    with pytest.raises(BenchError, match=rf"labels\.npz' {message}.*arrays k2, k10"):
        method.check(IMAGES)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("", "needs pseudo-labels from a source that you name: .*labels_from=simclr"),
        ("labels_from=simclr,labels=README.md", "from one source, not two"),
        ("labels_from=simclr,clusters=(2,500)", "are more than the 40 images.*fewer clusters"),
        ("labels_from=symclr,clusters=(2,10)", "builds on 'symclr': unknown method"),
        ("labels=missing.npz", r"missing\.npz' cannot be read"),
    ],
)
def test_what_cannot_be_met_is_refused_while_planning(
    options: str, message: str, make_sweep: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    with pytest.raises(BenchError, match=message):
        plan_of(make_sweep(methods=f"advcl[settings=default,{options}]", schedule="paper"))


class TestRows:
    def facts(self, make_sweep: Any, options: str) -> Mapping[str, Any]:
        (cell,) = plan_of(make_sweep(methods=f"advcl[clusters=(2,10),{options}]")).cells
        return {**cell.facts, "files": cell.method.files}

    def test_labels_of_a_file_are_external_data(self, make_sweep: Any, tmp_path: Path) -> None:
        path = tmp_path / "labels.npz"
        np.savez(path, k2=GOOD[:40], k10=GOOD[:40])
        facts = self.facts(make_sweep, f'labels_from=none,labels="{path}"')
        assert (facts["external_data"], facts["labelled_pretraining"]) == (True, False)
        assert facts["label"] == f"advcl[clusters=(2,10),labels={InputFile.model_validate(path)},labels_from=none]"
        assert facts["files"] == {"labels": str(path)}

    def test_clusters_of_another_methods_features_are_not(self, make_sweep: Any) -> None:
        assert not self.facts(make_sweep, "labels_from=simclr")["external_data"]


@pytest.mark.parametrize(("epoch", "rate"), [(0, 0.01), (10, 0.49985), (999, 0.0005), (1001, 0.000505)])
def test_the_learning_rate(epoch: int, rate: float) -> None:
    method = AdvCL(AdvCL.PAPER["cifar10"])
    assert method.config.epochs == 1000
    assert method.learning_rate()(epoch, 0, 98, 1000) == pytest.approx(rate, rel=1e-3)


def test_the_base_temperature_scales_the_contrastive_loss_alone() -> None:
    def parts(**settings: Any) -> dict[str, float]:
        reported: dict[str, Tensor] = {}
        method = advcl(**settings)
        method.step(built(method), batch_of(seen()), lambda loss, **found: reported.update(found))
        return {name: value.item() for name, value in reported.items()}

    released, plain = parts(), parts(base_temperature=0.5)
    assert released["contrast"] == pytest.approx(plain["contrast"] * 0.5 / 0.07, rel=1e-5)
    assert released["pseudo"] == pytest.approx(plain["pseudo"], rel=1e-5)


def test_no_cluster_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="greater than or equal to 1"):
        AdvCLConfig(clusters=(0, 2))

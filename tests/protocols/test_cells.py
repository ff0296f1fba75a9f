"""Protocols through plan, store and export: what is shared, what is scored, what cannot be judged so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data import archives, loading, sources
from bench.data.profiles import PROFILES
from bench.data.splits import Examples
from bench.data.views import pixels_of
from bench.errors import BenchError
from bench.executors.product import stored
from bench.executors.work import load_encoder, load_head, method_of
from bench.exports.cells import as_encoder_file, as_safetensors, load_cell
from bench.models.encoder import resnet_encoder
from bench.models.portable import card_of, pack
from bench.models.resnet import Architecture
from bench.plan import Plan, StageKind
from bench.planning import plan_of
from bench.protocols.heads import classifier_of, judged_encoder
from bench.protocols.recipes import PROTOCOLS, Protocol, Routes
from tests.plugins import CHEAP, write_method, write_trained

AFF = replace(PROTOCOLS["aff-1"].recipe, epochs=2, batch=20, inner=replace(PROTOCOLS["aff-1"].recipe.inner, steps=2))
CHEAP_ONES = (
    Protocol("cheap-aff", 1, AFF, CHEAP.attacks, legacy=False, why=""),
    Protocol("cheap-dual", 1, replace(AFF, routes=Routes.DUAL), CHEAP.attacks, legacy=False, why=""),
    Protocol(
        "cheap-lp-aft",
        1,
        replace(PROTOCOLS["lp-aft-1"].recipe, epochs=1, batch=20, inner=AFF.inner, init_from="cheap"),
        CHEAP.attacks,
        legacy=False,
        why="",
    ),
)


@pytest.fixture(autouse=True)
def cheap_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fine-tunings of moments."""
    for protocol in CHEAP_ONES:
        monkeypatch.setitem(PROTOCOLS, protocol.name, protocol)  # type: ignore[arg-type]


def keys(plan: Plan, kind: StageKind) -> list[str]:
    return [key for key, stage in plan.stages.items() if stage.kind is kind]


def two_routed(folder: Path, active: str = "adv") -> str:
    """A checkpoint whose encoder has a batch norm for each kind of image."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        routes = ("clean", "adv")
        encoder = resnet_encoder(Architecture.SMALL, PROFILES["digits"], routes=routes, active_route=active)
    file = folder / f"{active}.safetensors"
    file.write_bytes(pack(encoder, {}, {}))
    return f'checkpoint[path="{file}"]'


class TestFineTuning:
    @pytest.fixture
    def done(self, make_sweep: Any, ran: Any, tmp_path: Path) -> Any:
        return ran(make_sweep(methods=write_trained(tmp_path), protocols="cheap,cheap-aff"))

    def test_the_stage_keeps_encoder_and_head_and_they_are_what_is_scored(self, done: Any, tmp_path: Path) -> None:
        frozen, tuned = done.plan.cells
        assert [row["status"] for row in done.rows] == ["ok", "ok"]
        names = stored(done.store, tuned.head, StageKind.HEAD).keys()
        assert {"weight", "bias", "encoder.backbone.conv1.weight", "encoder.backbone.bn1.main.running_mean"} <= names
        assert stored(done.store, frozen.head, StageKind.HEAD).keys() == {"weight", "bias"}

        data = loading.data_set(tuned.data, tmp_path / "data").test
        encoder = load_encoder(done.store, tuned.pretrain, tuned.method, "cpu")
        for cell in (frozen, tuned):
            right = classifier_of(encoder, load_head(done.store, cell.head))(pixels_of(data.pixels)).argmax(1)
            assert done.store.outcomes(cell.attacks["clean"]).tolist() == (right == data.labels).tolist()
        counted = (StageKind.PRETRAIN, StageKind.HEAD, StageKind.ATTACK)
        assert [len(keys(done.plan, kind)) for kind in counted] == [1, 2, 4], "one pre-training for both"

    def test_its_export_is_the_fine_tuned_encoder_which_other_protocols_then_judge(
        self, done: Any, make_sweep: Any, tmp_path: Path
    ) -> None:
        cell, row = done.plan.cells[1], done.rows[1]
        trained = load_cell(done.store, row)
        pretrained = load_encoder(done.store, cell.pretrain, cell.method, "cpu")
        expected = judged_encoder(pretrained, load_head(done.store, cell.head)).state_dict()
        exported = trained.encoder.state_dict()
        assert all(torch.equal(exported[name], value) for name, value in expected.items())
        assert not torch.equal(exported["backbone.conv1.weight"], pretrained.state_dict()["backbone.conv1.weight"])
        assert trained.head.encoder_state is None
        card = card_of(as_safetensors(trained))
        assert card is not None
        assert card.origin["protocol"] == "cheap-aff"

        file = tmp_path / "tuned.safetensors"
        file.write_bytes(as_encoder_file(trained))
        (again,) = plan_of(make_sweep(methods=f'checkpoint[path="{file}"]')).cells
        weights = method_of(again.method).weights()  # type: ignore[attr-defined]
        assert all(torch.equal(weights[name], value) for name, value in exported.items())

    def test_linear_probing_comes_first_and_is_shared(self, make_sweep: Any, ran: Any, tmp_path: Path) -> None:
        done = ran(make_sweep(methods=write_trained(tmp_path), protocols="cheap,cheap-lp-aft"))
        probed, tuned = done.plan.cells
        assert [row["status"] for row in done.rows] == ["ok", "ok"]
        assert done.plan.stages[tuned.head].upstream["start"] == probed.head
        alone = plan_of(make_sweep(methods=write_trained(tmp_path), protocols="cheap-lp-aft"))
        assert keys(alone, StageKind.HEAD) == keys(done.plan, StageKind.HEAD)

    @pytest.mark.parametrize("active", ["adv", "clean"])
    def test_two_routes_need_two(self, make_sweep: Any, tmp_path: Path, active: str) -> None:
        sweep = make_sweep(methods=two_routed(tmp_path, active), protocols="cheap-dual")
        if active == "adv":
            assert len(plan_of(sweep).cells) == 1
        else:
            with pytest.raises(BenchError, match="is scored on the route 'clean' itself: fine-tune it by 'aff-1'"):
                plan_of(sweep)

    def test_an_encoder_without_them_is_named_while_the_sweep_is_planned(self, make_sweep: Any) -> None:
        with pytest.raises(BenchError, match="'simclr' has the route main alone: fine-tune it by 'aff-1'"):
            plan_of(make_sweep(methods="amoc,simclr", protocols="aff-dual-1"))


class TestWhatIsShared:
    def test_legacy_protocols_judge_one_encoder(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(methods="amoc", protocols="slf-1,slf@deacl-2024,slf@dynacl,lp-aft-1,aff@robustssl"))
        assert [len(keys(plan, kind)) for kind in (StageKind.PRETRAIN, StageKind.HEAD)] == [1, 5]

    def test_a_table_by_method_makes_two_heads_of_one_name(self, make_sweep: Any) -> None:
        plan = plan_of(make_sweep(methods="dynacl,simclr", protocols="slf@robustssl"))
        recipes = {plan.stages[cell.head].label.split()[0]: plan.stages[cell.head].recipe for cell in plan.cells}
        assert [recipes[name]["recipe"]["rate"] for name in ("dynacl", "simclr")] == [0.01, 0.1]
        assert [recipes[name]["recipe"]["batch"] for name in ("dynacl", "simclr")] == [512, 128]

    @pytest.mark.parametrize(
        ("protocols", "error"),
        [
            ("aff-2", "unknown protocol 'aff-2': did you mean 'aff-1'"),
            ("slf@deacl-2025", "unknown protocol 'slf@deacl-2025': did you mean 'slf@deacl-202[34]'"),
            ("own-1", "'simclr' trains none: judge it by 'slf-1'"),
        ],
    )
    def test_what_cannot_be_judged_so_is_named(self, make_sweep: Any, protocols: str, error: str) -> None:
        with pytest.raises(BenchError, match=error):
            plan_of(make_sweep(methods="simclr", protocols=protocols))

    def test_a_data_set_that_a_legacy_protocol_has_no_rate_for(self, make_sweep: Any, tmp_path: Path) -> None:
        data = f"{made(tmp_path, 'stl', 96)}[like=stl10]"
        sweep = make_sweep(methods="dynacl", datasets=data, schedule="paper", protocols="slf@deacl-2023", limit=None)
        with pytest.raises(BenchError, match=r"rate for data set 'stl10'.*cifar10, digits\. Use 'slf-1'"):
            plan_of(sweep)


def made(folder: Path, name: str, side: int, level: int = 0) -> str:
    """A folder of 7 grey training and 4 test images in each of 4 classes, which their brightness tells apart."""
    draw = np.random.default_rng(level)
    for split, count in (("train", 7), ("test", 4)):
        for label in range(4):
            place = folder / name / split / str(label)
            place.mkdir(parents=True)
            for number in range(count):
                pixels = draw.integers(0, 60, (side, side, 3)) + 45 * label + level
                Image.fromarray(pixels.astype(np.uint8)).save(place / f"{number}.png")
    return f"folder:{folder / name}"


class TestTransfer:
    """Pre-trained on one data set, judged on another at its size: `TARGET[from=SOURCE]`."""

    @pytest.fixture
    def target(self, tmp_path: Path) -> str:
        source = f"{made(tmp_path, 'source', 8)}[like=digits]"
        return f'{made(tmp_path, "target", 8, level=5)}[from="{source}"]'

    def test_encoders_come_from_the_source_and_heads_meet_the_target(
        self, make_sweep: Any, ran: Any, tmp_path: Path, target: str
    ) -> None:
        done = ran(make_sweep(methods=write_method(tmp_path), datasets=target, limit=None))
        (cell,), (row,) = done.plan.cells, done.rows
        source = f"folder:{tmp_path / 'source'}[like=digits]"
        assert (row["status"], row["dataset"], row["pretrain_data"]) == ("ok", target, source)
        assert (row["dataset_like"], row["train_images"], row["test_images"]) == ("digits", 28, 16)
        assert done.plan.stages[cell.pretrain].task.data.source == source
        alone = plan_of(make_sweep(methods=write_method(tmp_path), datasets=source, limit=None))
        assert alone.cells[0].pretrain == cell.pretrain, "the encoder is the one of the source itself"
        assert alone.cells[0].head != cell.head

    def test_upstreams_come_from_the_source_too(self, make_sweep: Any, target: str) -> None:
        plan = plan_of(make_sweep(methods="dynacl-pp", datasets=target, limit=None))
        used = {plan.stages[key].task.data.source for key in keys(plan, StageKind.PRETRAIN)}
        assert len(keys(plan, StageKind.PRETRAIN)) == 2
        assert all(name.endswith("source[like=digits]") for name in used)

    def test_a_setting_that_names_a_pool_goes_first(self, make_sweep: Any, target: str) -> None:
        plan = plan_of(make_sweep(methods="simclr[pretrain_pool=digits]", datasets=target, limit=None))
        assert [plan.stages[key].task.data.source for key in keys(plan, StageKind.PRETRAIN)] == ["digits"]

    def test_robustssl_has_settings_for_it(self, make_sweep: Any, target: str) -> None:
        plan = plan_of(make_sweep(methods="dynacl", datasets=f"digits,{target}", protocols="slf@robustssl", limit=None))
        assert [plan.stages[cell.head].recipe["recipe"]["batch"] for cell in plan.cells] == [512, 128]

    def test_stl10_is_judged_at_the_size_of_the_source(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Each quarter of an image has one colour at 96 pixels, and so it has at 32, but for a seam."""
        labels = np.arange(20) % 10
        pixels = np.zeros((20, 3, 96, 96), np.uint8)
        pixels[:, 0, :48], pixels[:, 1, :, :48] = 200, (10 * labels)[:, None, None]
        monkeypatch.setattr(archives, "read", lambda *_: (Examples(pixels, labels), Examples(pixels, labels)))
        data = sources.load(sources.parse_source("stl10[from=cifar100]"), data_dir=tmp_path)
        assert data.profile is PROFILES["cifar100"]
        assert data.classes == 10
        small = data.train.pixels
        assert small.shape == (20, 3, 32, 32)
        assert torch.equal(small[:, 0, :15], torch.full((20, 15, 32), 200, dtype=torch.uint8))
        assert torch.equal(small[:, 1, 3, 3], torch.from_numpy(10 * labels).to(torch.uint8))
        assert small[:, 0, 17:].max() == 0

    @pytest.mark.parametrize(
        ("text", "error"),
        [
            ("stl10[from=cifar]", "unknown data set 'cifar'"),
            ("stl10[from=[cifar10,cifar100]]", "from takes one data set"),
            ('stl10[from="cifar10[from=digits]"]', "transfers twice"),
            ("folder:x[like=digits,from=cifar10]", "leave like= out"),
        ],
    )
    def test_what_cannot_be_read(self, text: str, error: str) -> None:
        with pytest.raises(BenchError, match=error):
            sources.parse_source(text)

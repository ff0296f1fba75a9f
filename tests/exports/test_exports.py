"""What leaves the store is what was scored: read back it has the same outcomes, elsewhere the same logits."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from bench.attacks.evaluate import Target
from bench.attacks.reference import robustbench_benchmark, robustbench_clean_accuracy
from bench.data.profiles import PROFILES
from bench.errors import BenchError
from bench.exports.cells import Trained, as_safetensors, load_cell
from bench.exports.robustbench import as_robustbench, model_info
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.portable import card_of
from bench.models.resnet import Architecture, Init
from bench.protocols.heads import FittedHead, classifier_of
from bench.protocols.recipes import protocol_of
from tests.leaderboard.made_rows import row
from tests.plugins import write_method, write_trained


def trained(architecture: Architecture = Architecture.SMALL, **facts: Any) -> Trained:
    """A classifier with two routes that differ, and with statistics that moved while its head was fitted."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        profile = PROFILES["digits"]
        encoder = resnet_encoder(
            architecture, profile, routes=("clean", "adv"), active_route="adv", init=Init.KAIMING_FAN_OUT
        ).eval()
        for name, value in encoder.state_dict().items():
            if name.endswith(("running_mean", "running_var")):
                value.add_(torch.rand_like(value) - 0.5)
        moved = {"backbone.bn1.adv.running_mean": torch.rand(encoder.backbone.layout.widths[0]) - 0.5}
        head = FittedHead(torch.randn(10, encoder.feature_dim), torch.randn(10), 0.1, encoder_state=moved)
    made = row("ncp", 0, **{"external_data": True, "dataset_like": "cifar10", "eps": 8 / 255, **facts})
    return Trained(made.as_dict(), encoder, head)


def images(size: int = 8) -> Tensor:
    return torch.rand(6, 3, size, size, generator=torch.Generator().manual_seed(1))


def logits(encoder: ResNetEncoder, head: FittedHead, x: Tensor) -> Tensor:
    """Of what is scored, in float64, where rounding hides nothing."""
    scored: Tensor = classifier_of(encoder, head).double()(x)
    return scored


def write(made: Trained, folder: Path, name: str = "Mine2026") -> Path:
    for suffix, content in as_robustbench(made).items():
        (folder / name).with_suffix(suffix).write_bytes(content)
    return folder / f"{name}.py"


def imported(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class TestRobustBench:
    @pytest.mark.parametrize(("architecture", "size"), [(one, 32 if "imagenet" in one else 8) for one in Architecture])
    def test_the_module_gives_the_logits_that_were_scored(
        self, tmp_path: Path, architecture: Architecture, size: int
    ) -> None:
        made, x = trained(architecture), images(size)[:3].double()
        model: nn.Module = imported(write(made, tmp_path)).load_model()
        assert not model.training
        scored = logits(made.encoder, made.head, x)
        torch.testing.assert_close(model.double()(x), scored, rtol=0, atol=1e-6)
        assert torch.pdist(scored).min() > 1e-2, "images differ"
        clean, unmoved = made.encoder.route("clean"), dataclasses.replace(made.head, encoder_state=None)
        for unlike in (logits(clean, made.head, x), logits(made.encoder, unmoved, x)):
            assert (unlike - scored).abs().amax(dim=1).min() > 1e-2, "so do routes and statistics"

    def test_it_needs_torch_alone(self, tmp_path: Path) -> None:
        made = trained()
        write(made, tmp_path)
        code = (
            "import json, sys; sys.modules.update(dict.fromkeys(['bench', 'methods', 'safetensors', 'pydantic']))\n"
            "import torch, Mine2026\n"
            "x = torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(1))\n"
            "print(json.dumps(Mine2026.load_model()(x).tolist()))"
        )
        told = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
        expected = classifier_of(made.encoder, made.head)(images())
        torch.testing.assert_close(torch.tensor(json.loads(told.stdout)), expected, rtol=1e-5, atol=1e-6)

    def test_robustbench_scores_it(self, tmp_path: Path) -> None:
        model, x = imported(write(trained(), tmp_path)).load_model(), images()
        right = model(x).argmax(1)
        mixed = torch.where(torch.arange(6) == 0, (right + 1) % 10, right)
        try:
            assert robustbench_clean_accuracy(Target(model, x, mixed, 0.1), batch=4) == pytest.approx(5 / 6)
        except BenchError as reason:
            pytest.skip(str(reason))
        nothing_to_attack = Target(model, x, (right + 1) % 10, 0.1)
        with torch.random.fork_rng():
            benchmark = robustbench_benchmark(nothing_to_attack, seed=0, batch=6)
            assert (benchmark.clean, benchmark.robust) == (0, 0)

    def test_its_facts_are_those_of_model_info(self) -> None:
        utils = pytest.importorskip("robustbench.utils", exc_type=ImportError)
        facts = model_info(trained(sa=85.714, aa=52.483).row, Architecture.RESNET18_PADDING1)
        assert facts.keys() - {"unreliable"} <= {field.name for field in dataclasses.fields(utils.ModelInfo)}

    @pytest.mark.parametrize(
        ("facts", "expected"),
        [
            ({"sa": 85.714, "aa": 52.483}, {"clean_acc": "85.71", "autoattack_acc": "52.48", "eps": "8/255"}),
            ({"sa": 85.714, "aa": None}, {"clean_acc": "85.71", "autoattack_acc": None}),
            ({"eps": 0.15}, {"eps": "3/20"}),
            ({"external_data": False}, {"additional_data": False, "dataset": "cifar10", "architecture": "ResNet-18"}),
        ],
    )
    def test_facts_come_from_the_row(self, facts: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
        assert expected.items() <= model_info(trained(**facts).row, Architecture.RESNET18_PADDING1).items()


class TestSafetensors:
    def test_the_file_says_what_it_is_and_where_it_comes_from(self, tmp_path: Path) -> None:
        made = trained(sa=70.0)
        content = as_safetensors(made)
        card = card_of(content)
        assert card is not None
        assert (card.architecture, card.routes, card.active_route) == (Architecture.SMALL, ("clean", "adv"), "adv")
        assert (card.origin["label"], card.origin["sa"], card.origin["protocol"]) == ("ncp", 70.0, "slf-1")
        (tmp_path / "x.safetensors").write_bytes(content)
        with safe_open(tmp_path / "x.safetensors", "pt") as file:
            torch.testing.assert_close(file.get_tensor("head.weight"), made.head.weight)
            assert "scored.backbone.bn1.adv.running_mean" in file.keys()  # noqa: SIM118

    def test_read_back_every_outcome_is_the_same(self, tmp_path: Path, make_sweep: Any, ran: Any) -> None:
        before = ran(make_sweep(methods=write_trained(tmp_path)))
        (row,) = before.rows
        file = tmp_path / "exported.safetensors"
        file.write_bytes(as_safetensors(load_cell(before.store, row)))
        after = ran(make_sweep(methods=f'checkpoint[path="{file}"]'))
        (again,) = after.rows
        assert (again["status"], again["head_rate"]) == ("ok", row["head_rate"])
        for attack in ("clean", "pgd2"):
            keys = [json.loads(one["outcomes"])[attack] for one in (row, again)]
            first, second = (before.store.outcomes(key) for key in keys)
            assert keys[0] != keys[1]
            assert first.tolist() == second.tolist()

    def test_a_checkpoint_that_was_judged_is_exported_without_its_file(
        self, tmp_path: Path, make_sweep: Any, ran: Any
    ) -> None:
        file = tmp_path / "exported.safetensors"
        file.write_bytes(as_safetensors(trained()))
        done = ran(make_sweep(methods=f'checkpoint[path="{file}"]'))
        file.unlink()
        encoder = load_cell(done.store, done.rows[0]).encoder
        x = images()
        torch.testing.assert_close(encoder.encode(x), trained().encoder.encode(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("body", "change", "message"),
    [
        ("pass", {}, "encoder of its own kind .Flat."),
        ("raise ValueError('no luck')", {}, "failed .*no luck.* nothing to export"),
        ("pass", {"head_key": "gone"}, "lost its stage gone"),
    ],
)
def test_what_cannot_be_exported_is_said(
    tmp_path: Path, make_sweep: Any, ran: Any, body: str, change: Mapping[str, Any], message: str
) -> None:
    done = ran(make_sweep(methods=write_method(tmp_path, body=body)))
    with pytest.raises(BenchError, match=message):
        load_cell(done.store, {**done.rows[0], **change})


def test_every_protocol_that_moves_statistics_is_exported_as_it_was_scored() -> None:
    """`slf@ncp-bn` alone does; the export keeps both states of the encoder."""
    assert protocol_of("slf@ncp-bn").recipe.encoder_mode == "train"
    made = trained()
    moved = classifier_of(made.encoder, made.head).encoder.state_dict()["backbone.bn1.adv.running_mean"]
    assert not torch.equal(moved, made.encoder.state_dict()["backbone.bn1.adv.running_mean"])

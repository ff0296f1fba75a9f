"""Released weights load strictly and give the features that the official code gave; what does not fit is named."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from bench.config import MethodConfig
from bench.data.profiles import PROFILES, profile_of
from bench.errors import BenchError
from bench.grammar import parse_spec
from bench.inputs import InputFile
from bench.models.encoder import ResNetEncoder, resnet_encoder
from bench.models.portable import pack
from bench.models.resnet import Architecture
from bench.planning import plan_of
from bench.registry import Registry, resolve
from bench.sweep import Schedule
from bench.validation import validated
from methods.checkpoint import Checkpoint, CheckpointConfig
from methods.parts.layouts import OFFICIAL, Network, WeightLayout
from tests.models.test_architectures import FILLS, GOLDEN, official_shapes

Tensors = dict[str, Tensor]
IMAGENET: Tensors = {
    "normalize.mean": torch.tensor([0.485, 0.456, 0.406]).double(),
    "normalize.std": torch.tensor([0.229, 0.224, 0.225]).double(),
}
CIFAR10: Tensors = {
    "normalize.mean": torch.tensor([0.4914, 0.4822, 0.4465]).double(),
    "normalize.std": torch.tensor([0.247, 0.243, 0.261]).double(),
}
STL: Mapping[str, Any] = {"architecture": "resnet18-imagenet"}


def official(entry: str, rule: str = "arch", constants: Tensors | None = None) -> Tensors:
    """A file as the official code would have left it, filled by a golden rule; `constants` are its normalisation."""
    shapes = official_shapes(entry)
    floating = [name for name in sorted(shapes) if not name.endswith("num_batches_tracked")]
    tensors = {name: FILLS[rule].tensor(name, shapes[name], index) for index, name in enumerate(floating)}
    counters = {name: torch.tensor(0) for name in shapes if name.endswith("num_batches_tracked")}
    return {**tensors, **counters, **(constants or {})}


def named(pattern: str, tensors: Tensors) -> Tensors:
    return {pattern.format(name): value for name, value in tensors.items()}


def single(tensors: Tensors, index: int) -> Tensors:
    """What DynACL's and ACL's `cvt_state_dict` makes of a file with two batch norms (DynACL test_LF.py:296-337)."""
    kept = {name.replace(f".bn_list.{index}", ""): value for name, value in tensors.items()}
    kept = {name.replace("downsample.conv", "downsample.0"): value for name, value in kept.items()}
    kept = {name.replace("downsample.bn", "downsample.1"): value for name, value in kept.items()}
    plain = {name: value for name, value in kept.items() if not re.search(r"bn_list|^fc\.", name)}
    return {**plain, "fc.weight": torch.zeros(10, 512), "fc.bias": torch.zeros(10)}


Save = Callable[..., Path]


@pytest.fixture
def save(tmp_path: Path) -> Save:
    def save(stored: object, name: str = "model.pt") -> Path:
        torch.save(stored, tmp_path / name)
        return tmp_path / name

    return save


def loaded(path: Path, layout: str, data: str = "cifar10", **options: Any) -> ResNetEncoder:
    """The encoder of a file in float64, so that golden numbers can be compared with."""
    method = Checkpoint(validated(CheckpointConfig, {"path": str(path), "layout": layout, **options}, "checkpoint"))
    method.check()
    encoder = method.encoder(profile_of(data)).double()
    encoder.load_state_dict({**encoder.normalise.state_dict(prefix="normalise."), **method.weights()}, strict=True)
    return encoder.eval()


@dataclass(frozen=True)
class Golden:
    """A key list of an official code base, and what its network gives.

    Attributes:
        entry: `file` or `file/part` of the golden key lists.
        arrays: the .npz file.
        features: our route -> its array.
        scored: the route that the official evaluation takes.
    """

    layout: str
    entry: str
    arrays: str
    features: Mapping[str, str]
    scored: str
    rule: str = "arch"
    constants: Tensors | None = None
    options: Mapping[str, Any] | None = None
    size: int = 32


def dual(layout: str, entry: str, arrays: str, pattern: str, **rest: Any) -> Golden:
    features = {"clean": pattern.format("normal"), "adv": pattern.format("pgd")}
    return Golden(layout, entry, arrays, features, "adv", constants=IMAGENET, **rest)


NONE = {"normalisation": "none"}
ACL_FEATURES = "arch/features_eval_{}"
CASES = (
    dual("acl", "acl/pretrain_model", "acl", ACL_FEATURES),
    dual("air", "acl/pretrain_model", "acl", ACL_FEATURES),
    dual("dynacl", "dynacl_cifar_resnet18", "dynacl", "archB_cifar_features_{}", rule="archB"),
    dual(
        "dynacl", "dynacl_stl_resnet18", "dynacl", "archB_stl_features_{}", rule="archB", options=STL, size=96
    ),
    Golden("deacl", "deacl_resnet18", "deacl", {"main": "archB_features_eval"}, "main", "archB", CIFAR10),
    Golden(
        "advcl",
        "advcl_resnet18",
        "advcl",
        {"clean": "archB_features_normal", "adv": "archB_features_pgd", "adv_ce": "archB_features_pgd_ce"},
        "adv",
        "archB",
    ),
    Golden("rocl", "rocl/encoder", "rocl", {"main": "arch/features_eval"}, "main"),
    Golden(
        "amoc",
        "amoc/encoder",
        "amoc",
        {"clean": "arch/features_eval_clean_normalised_input", "adv": "arch/features_eval_adv_normalised_input"},
        "adv",
    ),
    Golden(
        "solo-learn", "sololearn_cifar_resnet18_simclr", "sololearn", {"main": "archB_cifar_features"}, "main",
        "archB", options=NONE,
    ),
    Golden(
        "solo-learn", "sololearn_stl_resnet18_simclr", "sololearn", {"main": "archB_stl_features"}, "main",
        "archB", options={**STL, **NONE}, size=96,
    ),
)  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.layout}-{case.entry.replace('/', '-')}")
def test_a_released_file_gives_the_features_that_its_own_code_gives(case: Golden, save: Save) -> None:
    path = save(official(case.entry, case.rule, case.constants))
    encoder = loaded(path, case.layout, **(case.options or {}))
    assert (encoder.routes, encoder.active_route) == (tuple(case.features), case.scored)
    x = FILLS[case.rule].image(case.size)
    with torch.no_grad(), np.load(GOLDEN / f"{case.arrays}.npz") as golden:
        for route, array in case.features.items():
            expected = torch.from_numpy(golden[array])
            torch.testing.assert_close(encoder.features(x, route), expected, rtol=1e-5, atol=1e-5)
        default = torch.from_numpy(golden[case.features[case.scored]])
        torch.testing.assert_close(encoder.encode(x), default, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("index", [0, 1])
def test_a_file_with_one_batch_norm_is_read_in_the_same_layout(index: int, save: Save) -> None:
    """As DynACL++ and fine-tuning leave it."""
    path = save(single(official("acl/pretrain_model", constants=IMAGENET), index))
    encoder = loaded(path, "acl")
    assert encoder.routes == ("main",)
    assert set(official_shapes("acl/finetune_model")) | IMAGENET.keys() == torch.load(path).keys()
    with torch.no_grad(), np.load(GOLDEN / "acl.npz") as golden:
        expected = torch.from_numpy(golden[f"arch/finetune_features_eval_bnNameCnt{index}"])
        torch.testing.assert_close(encoder.encode(FILLS["arch"].image(32)), expected, rtol=1e-5, atol=1e-5)


def stem(encoder: ResNetEncoder) -> Tensor:
    return encoder.backbone.conv1.weight.detach()


def small(entry: str, constants: Tensors | None = None) -> Tensors:
    """A file with the right names and shapes, of a byte per number."""
    tensors = {name: torch.zeros(shape, dtype=torch.int8) for name, shape in official_shapes(entry).items()}
    ones = {name: torch.full_like(value, 3) for name, value in tensors.items() if name.endswith("q.conv1.weight")}
    return {**tensors, **ones, **(constants or {})}


PLAIN = small("rocl/encoder")
OTHER = {name: value + 1 if name == "conv1.weight" else value for name, value in PLAIN.items()}
HEADS: Tensors = {
    "queue": torch.zeros(2),
    "classifier.weight": torch.zeros(2),
    "momentum_projector.0.bias": torch.ones(1),
}
SOLO = {name.replace("shortcut", "downsample"): value for name, value in PLAIN.items()}
SOLO_OTHER = {name.replace("shortcut", "downsample"): value for name, value in OTHER.items()}
AMOC = small("amoc/moco_keys_with_K1_K2_64")
DUAL = small("acl/pretrain_model", IMAGENET)
DUAL_OTHER = {**DUAL, "conv1.weight": DUAL["conv1.weight"] + 1}
PAIR = {**named("encoder_q.{}", DUAL), **named("encoder_k.{}", DUAL_OTHER)}
TEACHER = {**named("backbone.{}", {**SOLO, **CIFAR10}), **named("momentum_backbone.{}", {**SOLO_OTHER, **CIFAR10})}


@pytest.mark.parametrize(
    ("layout", "stored", "network", "expected"),
    [
        ("rocl", {"model": named("module.{}", PLAIN), "rng_state": torch.zeros(3)}, None, PLAIN["conv1.weight"]),
        ("rocl", {"state_dict": PLAIN}, None, PLAIN["conv1.weight"]),
        ("solo-learn", {**named("backbone.{}", SOLO), **HEADS}, None, SOLO["conv1.weight"]),
        ("solo-learn", {**named("encoder.{}", SOLO), **HEADS}, None, SOLO["conv1.weight"]),
        ("solo-learn", {**named("backbone.{}", SOLO), **named("momentum_backbone.{}", SOLO_OTHER)}, "momentum",
         SOLO_OTHER["conv1.weight"]),
        ("deacl", {"state_dict": {**TEACHER, **HEADS}}, None, SOLO["conv1.weight"]),
        ("deacl", {"state_dict": {**TEACHER, **HEADS}}, "momentum", SOLO_OTHER["conv1.weight"]),
        ("dynacl", PAIR, None, DUAL_OTHER["conv1.weight"]),
        ("dynacl", PAIR, "online", DUAL["conv1.weight"]),
        ("dynacl", DUAL, None, DUAL["conv1.weight"]),
        ("amoc", AMOC, None, AMOC["encoder_q.conv1.weight"]),
        ("amoc", AMOC, "momentum", AMOC["encoder_k.conv1.weight"]),
    ],
)  # fmt: skip
def test_wrappers_prefixes_and_pairs_are_seen_through(
    save: Save, layout: str, stored: object, network: str | None, expected: Tensor
) -> None:
    """Of a pair, the network is loaded that the official evaluation takes, unless another is asked for."""
    options = {"network": network} if network else {}
    assert torch.equal(stem(loaded(save(stored), layout, **options)), expected.double())


def test_safetensors_are_read_too(tmp_path: Path) -> None:
    save_file({name: value.contiguous() for name, value in PLAIN.items()}, tmp_path / "weights.safetensors")
    assert torch.equal(stem(loaded(tmp_path / "weights.safetensors", "rocl")), PLAIN["conv1.weight"].double())


@pytest.mark.parametrize(
    ("layout", "data", "mean"),
    [("acl", "stl10", 0.485), ("rocl", "cifar10", 0.0), ("amoc", "cifar10", 0.4914), ("amoc", "cifar100", 0.5071)],
)
def test_normalisation_is_stated_by_the_layout(save: Save, layout: str, data: str, mean: float) -> None:
    files = {"acl": DUAL, "rocl": PLAIN, "amoc": AMOC}
    assert loaded(save(files[layout]), layout, data).normalise.mean.flatten()[0] == pytest.approx(mean)


def test_what_is_stated_overrides_the_layout(save: Save) -> None:
    options = {"architecture": "resnet18-padding2", "normalisation": "dataset", "route": "clean"}
    encoder = loaded(save(DUAL), "acl", "stl10", **options)
    assert encoder.backbone.conv1.padding == (2, 2)
    assert encoder.normalise.std.flatten().tolist() == pytest.approx(PROFILES["stl10"].std)
    assert encoder.active_route == "clean"


def settings(path: Path, **options: Any) -> MethodConfig:
    entry = Registry.discover().find("checkpoint")
    return resolve(entry, {"path": str(path), **options}, PROFILES["cifar10"], Schedule.QUICK)


def test_settings_say_all_that_the_layout_says_and_need_the_file_no_more(save: Save) -> None:
    path = save(PAIR)
    found = settings(path, layout="dynacl")
    path.unlink()
    assert found.identity() == {
        "path": {"sha256": found.input_files()["path"].sha256, "size": found.input_files()["path"].size},
        "layout": "dynacl",
        "architecture": "resnet18-padding1",
        "normalisation": "file",
        "network": "momentum",
        "route": "adv",
        "routes": ["clean", "adv"],
        "weights_of": None,
    }
    assert CheckpointConfig.model_validate(found.model_dump(mode="json")) == found


def test_the_method_that_trained_them_is_one_that_is_installed(save: Save) -> None:
    path = save(DUAL)
    said = settings(path, layout="acl", weights_of="dynacl_pp[epochs=100]")
    assert said.identity()["weights_of"] == "dynacl-pp[epochs=100]"
    with pytest.raises(BenchError, match="'dynacll'"):
        settings(path, layout="acl", weights_of="dynacll")


def test_settings_list_what_every_layout_takes_with_its_source() -> None:
    fields = CheckpointConfig.model_fields
    for layout, taken in OFFICIAL.items():
        for part in ("architecture", "normalisation", "network", "route"):
            value, source = getattr(taken, part)
            assert f"{layout} {value}" in str(fields[part].description)
            assert source in str(fields[part].description)


def test_our_own_layout_says_everything_itself(tmp_path: Path) -> None:
    ours = resnet_encoder(Architecture.SMALL, PROFILES["digits"], routes=("clean", "adv"), active_route="adv")
    path = tmp_path / "ours.safetensors"
    path.write_bytes(pack(ours, {"head.weight": torch.zeros(2)}, {"label": "ncp"}))
    found = loaded(path, "bench")
    assert (found.routes, found.active_route) == (ours.routes, "adv")
    x = torch.rand(2, 3, 8, 8)
    assert torch.equal(found.float().encode(x), ours.eval().encode(x))
    with pytest.raises(BenchError, match="leave weights_of out"):
        loaded(path, "bench", weights_of="ncp")


BIG = {name: value for name, value in DUAL.items() if name != "layer1.0.conv1.weight"}
OTHER_STEM = small("dynacl_stl_resnet18", IMAGENET)
WIDE = {name: value.repeat(*[2] + [1] * (value.ndim - 1)) if value.ndim else value for name, value in DUAL.items()}
PLAINER = {name: value for name, value in DUAL.items() if not name.startswith("normalize.")}


@pytest.mark.parametrize(
    ("layout", "stored", "options", "parts"),
    [
        ("acl", BIG, {}, ("it lacks layer1.0.conv1.weight;", "no resnet18-padding1")),
        ("acl", {**DUAL, "layer1.0.conv3.weight": torch.zeros(1)}, {}, ("should not, layer1.0.conv3.weight;",)),
        ("rocl", DUAL, {}, (" more; ", "it has, and should not, bn1.bn_list.0.", "layout=acl or dynacl")),
        ("dynacl", OTHER_STEM, {}, ("conv1.weight (64, 3, 7, 7) for (64, 3, 3, 3)", "architecture=resnet18-imagenet")),
        ("acl", WIDE, {}, ("shapes conv1.weight (128, 3, 3, 3) for (64, 3, 3, 3)", "ResNet-18 alone")),
        ("acl", PLAINER, {}, ("no normalize.mean", "normalisation=imagenet")),
        ("acl", DUAL, {"route": "pgd"}, ("batch-norm route 'pgd'", "Available: adv, clean")),
        ("acl", DUAL, {"network": "momentum"}, ("no network 'momentum', it has only", "network=only")),
        ("dynacl", named("encoder_q.{}", DUAL), {}, ("no network 'momentum', it has online", "network=online")),
        ("acl", DUAL, {"routes": ("main",), "route": "main"}, ("the batch norms clean, adv, not main",)),
        ("bench", DUAL, {}, ("does not say what is in it", "--layout NAME")),
        ("acl", {"state_dict": DUAL, "args": argparse.Namespace()}, {}, ("could run any code", "keep the weights")),
        ("acl", {"epoch": 3}, {}, ("holds no weights: it holds epoch", "state_dict")),
        ("acl", [1, 2], {}, ("it holds a list",)),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named_while_planning(
    save: Save, layout: str, stored: object, options: Mapping[str, Any], parts: tuple[str, ...]
) -> None:
    with pytest.raises(BenchError) as raised:
        loaded(save(stored), layout, **options)
    for part in parts:
        assert part in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"no weights", b"PK\x03\x04 half a file"])
def test_a_damaged_file_is_bad_input(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "bad.pt").write_bytes(content)
    with pytest.raises(BenchError, match=r"bad\.pt' cannot be read as weights"):
        loaded(tmp_path / "bad.pt", "acl")


def test_statistics_that_are_not_known_for_a_data_set_are_not_borrowed(save: Save) -> None:
    with pytest.raises(BenchError, match="normalisation 'amoc' has no statistics for 'stl10'"):
        loaded(save(AMOC), "amoc", "stl10")


class TestRows:
    @pytest.fixture
    def ours(self, tmp_path: Path) -> Path:
        path = tmp_path / "ours.safetensors"
        path.write_bytes(pack(resnet_encoder(Architecture.SMALL, PROFILES["digits"]), {}, {}))
        return path

    def test_a_file_is_judged_like_any_method_and_its_hash_is_in_the_row(
        self, ours: Path, make_sweep: Any, ran: Any
    ) -> None:
        (row,) = ran(make_sweep(methods=f'checkpoint[path="{ours}"]')).rows
        file = InputFile.model_validate(str(ours))
        assert (row["status"], row["external_data"]) == ("ok", True)
        assert row["label"] == f"checkpoint[path=sha256:{file.sha256[:12]}]"
        assert file.sha256 in row["config"]
        assert str(ours) not in str(row)

    def test_where_it_lies_is_no_part_of_the_key(self, ours: Path, make_sweep: Any) -> None:
        other = ours.rename(ours.with_name("renamed.safetensors"))
        ours.write_bytes(other.read_bytes())
        plans = [plan_of(make_sweep(methods=f'checkpoint[path="{path}"]')) for path in (ours, other)]
        assert plans[0].cells[0].key == plans[1].cells[0].key


def test_the_grammar_takes_a_path() -> None:
    assert parse_spec("checkpoint[path=./model.pt,layout=acl]").options["path"] == "./model.pt"
    assert {str(network) for network in Network} == {"only", "online", "momentum"}
    assert set(OFFICIAL) == set(WeightLayout) - {WeightLayout.BENCH}

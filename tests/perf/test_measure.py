"""`bench perf`: it measures a real step and real passes, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from bench.data.profiles import profile_of
from bench.engine.conditions import Conditions
from bench.execution import Execution, Precision
from bench.grammar import parse_spec
from bench.perf.arithmetic import Bare
from bench.perf.breakdown import Part
from bench.perf.measure import Bench, measured
from bench.perf.probes import flops_of, traffic_of
from bench.perf.subject import Subject, TrainShares, method_for, recorded_views, train_shares
from tests.cli.runner import invoke

DIGITS = profile_of("digits")
POSITIVE = ("step_ms", "floor_ms", "ratio", "images_per_s", "views_ms", "flops", "matrix_share", "copy_share")
QUICK_NCP = "ncp[clusters=3]"


def bench_of(text: str, batch_size: int = 16) -> Bench:
    return Bench.of(parse_spec(text), DIGITS, Conditions(), {"batch_size": batch_size})


def kinds_of(action: Callable[[], object]) -> set[torch.dtype]:
    """Of the results of its convolutions."""

    class Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if func._schema.name == "aten::convolution":
                seen.add(result.dtype)
            return result

    seen: set[torch.dtype] = set()
    with Watch():
        action()
    return seen


class TestCommand:
    def test_it_prints_and_writes_positive_numbers_for_both_modes(self, tmp_path: Path) -> None:
        out = tmp_path / "perf.parquet"
        code, text, err = invoke(
            "perf", "simclr", "--steps", "2", "--batch-size", "16", "--device", "cpu", "--profile", "--out", str(out)
        )
        assert code == 0, err
        for quantity in (
            "step / floor",
            "images/s",
            "% of matmul rate",
            "peak memory, MiB",
            "aten::convolution_backward",
        ):
            assert quantity in text
        rows = pd.read_parquet(out)
        assert list(rows["method"]) == ["simclr"] * 2
        assert list(rows["context_deterministic"]) == [False, True]
        assert set(rows["batch_size"]) == {16}
        assert (rows[list(POSITIVE)] > 0).all(axis=None)

    def test_several_precisions_and_batch_sizes_are_rows_and_the_parts_add_up(self, tmp_path: Path) -> None:
        out = tmp_path / "perf.parquet"
        wanted = ["--precision", "fp32,bf16", "--batch-size", "8,16", "--steps", "1", "--device", "cpu"]
        code, _, err = invoke("perf", "simclr", *wanted, "--out", str(out))
        assert code == 0, err
        rows = pd.read_parquet(out)
        assert sorted(set(zip(rows["precision"], rows["batch_size"], strict=True))) == [
            ("bf16", 8), ("bf16", 16), ("fp32", 8), ("fp32", 16),
        ]  # fmt: skip
        parts = rows[[f"{part.name.lower()}_part" for part in Part]]
        assert (parts.sum(axis=1) - 1).abs().max() < 1e-9

    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (["simclr", "--precision", "fp32,fp23"], "unknown precision 'fp23': did you mean 'fp32'?"),
            (["simclr", "--batch-size", "64,many"], "'many' is no batch size"),
            (["simclr", "--batch-size", "1"], "'1' is no batch size"),
            (["nonesuch"], "unknown method 'nonesuch'"),
            (["simclr", "--datasets", "nonesuch"], "unknown data set 'nonesuch'"),
            (["amoc", "--datasets", "stl10"], "no settings for 'stl10'"),
            (["simclr[epochs=none]"], "epochs"),
        ],
    )
    def test_what_cannot_be_measured_is_said(self, arguments: list[str], told: str) -> None:
        code, _, err = invoke("perf", *arguments, "--device", "cpu")
        assert code == 2
        assert told in err

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
    def test_a_device_that_is_not_there(self) -> None:
        assert "'cuda'" in invoke("perf", "simclr", "--device", "cuda")[2]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_replayed_step_and_its_floor_are_faster_than_eager_ones() -> None:
    eager, replayed = (
        next(measured(parse_spec("amoc"), DIGITS, Conditions("cuda"), 5, execution=execution)).speed
        for execution in (Execution.EAGER, Execution.GRAPH)
    )
    assert replayed.step_ms < eager.step_ms
    assert replayed.floor_ms < eager.floor_ms


class TestBench:
    @pytest.mark.parametrize(("text", "views"), [("simclr", 2), (QUICK_NCP, 1), ("amoc", 2)])
    def test_it_times_the_augmentations_of_the_step(self, text: str, views: int) -> None:
        bench = bench_of(text)
        with recorded_views() as calls:
            bench.views()
        assert [count for _, _, count in calls] == [views], "all views of a step are made at once"
        assert all(pixels.shape == (16, 3, 8, 8) for _, pixels, _ in calls)

    @pytest.mark.parametrize(
        ("text", "forward", "to_input"),
        [
            ("simclr", 0, 0),  # no pass without a gradient
            (QUICK_NCP, 0, 0),  # the teacher rests
            ("amoc", 3 / 4, 0),  # the clean key, before and after the update, and the adversarial one; not the attack's
            ("amoc[variant=release]", 2 / 3, 0),
            ("moco", 1, 0),
            ("advcl", 1, 1),  # attacks in train mode, the views that they leave alone too
        ],
    )
    def test_a_pass_is_measured_in_the_mode_in_which_the_step_makes_it(
        self, text: str, forward: float, to_input: float
    ) -> None:
        subject = Subject(method_for(parse_spec(text), DIGITS, {"batch_size": 16}), DIGITS, "cpu")
        assert train_shares(subject) == TrainShares(forward, to_input)

    def test_passes_of_both_modes_weigh_as_the_step_makes_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        bench = bench_of("amoc")
        cost = {bench.bare.forward: 2.0, bench.trained.forward: 6.0}
        monkeypatch.setattr("bench.perf.measure.seconds", lambda action, *_: cost.get(action, 1.0))
        assert bench.round().bare == Bare(forward=2.0 / 4 + 6.0 * 3 / 4, to_input=1.0, full=1.0)

    def test_bare_passes_leave_the_network_as_it_was(self) -> None:
        bench = bench_of("amoc")
        net = bench.subject.net
        before = {name: value.clone() for name, value in net.state_dict().items()}
        gradients = [weight.grad for weight in net.parameters()]
        for act in (bench.bare.forward, bench.bare.to_input, bench.bare.full):
            act()
        assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
        assert all(a is b for a, b in zip(gradients, (weight.grad for weight in net.parameters()), strict=True))

    @pytest.mark.parametrize(("text", "precision"), [("simclr", "fp32"), ("simclr[precision=bf16]", "bf16")])
    def test_it_computes_in_the_precision_of_the_settings(self, text: str, precision: str) -> None:
        bench = bench_of(text)
        assert bench.conditions.precision == precision
        with bench.conditions.hold():
            seen = kinds_of(bench.subject.step)
        assert (torch.bfloat16 in seen) is (precision == "bf16")

    def test_a_step_trains(self) -> None:
        bench = bench_of("simclr")
        before = [weight.clone() for weight in bench.subject.net.parameters()]
        bench.subject.step()
        pairs = zip(before, bench.subject.net.parameters(), strict=True)
        assert not any(torch.equal(old, new) for old, new in pairs)

    def test_work_is_counted_not_guessed(self) -> None:
        work = bench_of("simclr").work()
        assert work.flops.forward > 16 * 2 * 3 * 9 * 16 * 64, "more than its stem"
        assert work.flops.full == 3 * work.flops.forward
        assert work.traffic.forward < work.traffic.to_input < work.traffic.full


def test_flops_and_bytes_of_a_matrix_product() -> None:
    a, b = torch.ones(4, 8), torch.ones(8, 2)
    assert flops_of(lambda: a @ b) == 2 * 4 * 8 * 2
    assert traffic_of(lambda: (a @ b).T) == 4 * (4 * 8 + 8 * 2 + 4 * 2)


@pytest.mark.parametrize("precision", Precision)
def test_conditions_hold_inside_alone(precision: Precision) -> None:
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32
    with Conditions(precision=precision, threads=1).hold():
        assert torch.get_num_threads() == 1
        assert torch.are_deterministic_algorithms_enabled()
        assert torch.backends.cudnn.allow_tf32 == (precision is Precision.TF32)
    after = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled(), torch.backends.cudnn.allow_tf32
    assert after == before


def test_a_batch_size_replaces_the_settings_own() -> None:
    assert method_for(parse_spec("simclr"), DIGITS, {"batch_size": 24}).config.batch_size == 24
    assert method_for(parse_spec("simclr"), DIGITS).config.batch_size == 128

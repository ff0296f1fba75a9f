"""The options of a run mean the same from Python, TOML and flags, and bad ones are explained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import bench.sweep as sweeps
from bench.errors import BenchError
from bench.sweep import Schedule, Sweep, default_data_dir


@pytest.mark.parametrize(
    ("seeds", "expected"),
    [
        (5, (0, 1, 2, 3, 4)),
        ("5", (0, 1, 2, 3, 4)),
        (1, (0,)),
        ("0,3,7", (0, 3, 7)),
        ("3,", (3,)),
        ([7, 2], (7, 2)),
    ],
)
def test_seeds_are_a_count_or_a_list(seeds: Any, expected: tuple[int, ...]) -> None:
    assert Sweep.of(methods="ncp", seeds=seeds).seeds == expected


@pytest.mark.parametrize(
    ("schedule", "protocols", "expected"),
    [
        ("quick", None, "slf-1"),
        ("short", None, "slf-1,alf-1"),
        ("paper", None, "slf-1,alf-1"),
        ("paper", ["slf@ncp"], "slf@ncp"),
    ],
)
def test_default_protocols_follow_the_schedule(schedule: str, protocols: Any, expected: str) -> None:
    assert Sweep.of(methods="ncp", schedule=schedule, protocols=protocols).protocol_names == expected


@pytest.mark.parametrize(
    ("schedule", "epochs", "expected"), [("quick", None, None), ("paper", 3, 3), ("short", None, 20), ("short", 5, 5)]
)
def test_pretraining_is_rescaled_by_short_and_by_epochs(
    schedule: str, epochs: int | None, expected: int | None
) -> None:
    assert Sweep.of(methods="ncp", schedule=schedule, epochs=epochs).pretrain_epochs == expected


def test_lists_and_texts_are_one() -> None:
    assert Sweep.of(methods=["ncp[neighbour=[2,3]]", "amoc"]) == Sweep.of(methods="ncp[neighbour=[2,3]],amoc")


def test_defaults() -> None:
    sweep = Sweep.of(methods="ncp")
    assert (sweep.datasets, sweep.schedule, sweep.out) == ("digits", Schedule.QUICK, Path("runs"))
    assert (sweep.device, sweep.threads, sweep.limit, sweep.rerun) == ("auto", 1, None, False)
    assert sweep.gpus is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-3", (0, 1, 2, 3)),
        ("0,2", (0, 2)),
        ("1", (1,)),
        ("0-1, 3", (0, 1, 3)),
        ("2-2", (2,)),
        (2, (2,)),
        ([0, 2], (0, 2)),
    ],
)
def test_gpus_are_a_range_or_a_list(text: Any, expected: tuple[int, ...]) -> None:
    assert Sweep.of(methods="ncp", gpus=text).gpus == expected


@pytest.mark.parametrize(
    ("options", "device", "jobs", "at_once"),
    [
        ({}, "cpu", 4, 4),
        ({"jobs": 1}, "cpu", 1, 1),
        ({"jobs": 8}, "cpu", 8, 4),
        ({"threads": 2}, "cpu", 2, 2),
        ({"threads": 8}, "cpu", 1, 1),
        ({}, "cuda", 1, 1),
        ({"jobs": 3}, "cuda", 3, 1),
        ({"gpus": "0-1"}, "cuda:0", 4, 2),
        ({"gpus": "0-7"}, "cuda:0", 8, 8),
        ({"gpus": "0-1", "jobs": 1}, "cuda:0", 1, 1),
    ],
)
def test_workers_are_as_many_as_the_machine_carries_and_those_that_share_a_place_share_its_speed(
    options: dict[str, Any], device: str, jobs: int, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeps, "cores", lambda: 4)
    sweep = Sweep.of(methods="ncp", **options)
    assert (sweep.jobs_on(device), sweep.at_once(device)) == (jobs, at_once)


def test_the_data_folder_is_the_users_choice(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BENCH_DATA", str(tmp_path))
    assert default_data_dir() == Sweep.of(methods="ncp").data_dir == tmp_path


def test_a_toml_file_says_the_same_and_flags_override_it(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    file.write_text('methods = ["ncp", "amoc"]\nseeds = [0, 3]\nschedule = "short"\nlimit = 200\ndata-dir = "/data"\n')
    expected = {"methods": "ncp,amoc", "seeds": "0,3", "limit": "200", "data_dir": "/data"}
    assert Sweep.from_toml(file) == Sweep.of(schedule="short", **expected)
    assert Sweep.from_toml(file, schedule="paper") == Sweep.of(schedule="paper", **expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": 0}, "'seeds' cannot be 0: 0 seeds leave nothing to run; give a count from 1 up"),
        ({"seeds": -2}, "-2 seeds leave nothing"),
        ({"seeds": "0,0"}, "seed 0 is named twice"),
        ({"seeds": "1,-2"}, "seed -2 is negative"),
        ({"seeds": "many"}, "seeds are a count such as 5, or a list"),
        ({"seeds": []}, "no seed leaves nothing to run"),
        ({"schedule": "quik"}, "unknown schedule 'quik': did you mean 'quick'"),
        ({"epochs": 0}, "'epochs' cannot be 0"),
        ({"jobs": "two"}, "'jobs' cannot be 'two'"),
        ({"precision": "bf61"}, "unknown precision 'bf61': did you mean 'bf16'.*Available: bf16, fp32, tf32"),
        ({"execution": "graphs"}, "unknown execution 'graphs': did you mean 'graph'.*auto, compiled, eager, graph"),
        ({"gpus": "3-1"}, "'gpus' cannot be '3-1': the range 3-1 counts down; write 1-3"),
        ({"gpus": "0,0"}, "GPU 0 is named twice"),
        ({"gpus": "0-2,1"}, "GPU 1 is named twice"),
        ({"gpus": "all"}, "GPUs are a range such as 0-3, a list such as 0,2, or one number"),
        ({"gpus": ""}, "GPUs are a range"),
        ({"gpus": []}, "no GPU leaves nothing to run on"),
        ({"gpus": [-1]}, "greater than or equal to 0"),
        ({"gpus": "0", "device": "cpu"}, "device cpu and gpus name different devices; leave one of them out"),
        ({"gpus": "0", "device": "cuda:1"}, "device cuda:1 and gpus"),
        ({"device": "gpu"}, "devices are auto, cpu, cuda, or one GPU such as cuda:0"),
        ({"sedes": 5}, "unknown sweep option 'sedes': did you mean 'seeds'"),
        ({"methods": ""}, "'methods' cannot be ''"),
    ],
)
def test_bad_options_name_themselves_and_the_remedy(options: dict[str, Any], message: str) -> None:
    with pytest.raises(BenchError, match=message):
        Sweep.of(**{"methods": "ncp", **options})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "sweep.toml' cannot be read .*No such file"),
        ("methods = \n", "sweep.toml' is not valid TOML: .*line 1"),
        ('method = "ncp"', "unknown sweep.toml option 'method': did you mean 'methods'"),
        ("seeds = 5", "sweep.toml option 'methods' has no default, give it a value"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, content: str | None, message: str) -> None:
    file = tmp_path / "sweep.toml"
    if content is not None:
        file.write_text(content)
    with pytest.raises(BenchError, match=message):
        Sweep.from_toml(file)


LAYERS = """
methods = "ncp"
seeds = 3
jobs = 2

[quick]
datasets = "digits"
[paper]
datasets = ["cifar10", "cifar100"]

[[sweep]]
protocols = "slf@ncp"

[[sweep]]
methods = "amoc"
seeds = 2
datasets = "stl10"
"""


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        (
            {},
            (
                {"methods": "ncp", "protocols": "slf@ncp", "seeds": 3, "datasets": "digits"},
                {"methods": "amoc", "seeds": 2, "datasets": "digits"},
            ),
        ),
        (
            {"schedule": "short"},
            (
                {"methods": "ncp", "protocols": "slf@ncp", "seeds": 3, "schedule": "short"},
                {"methods": "amoc", "seeds": 2, "datasets": "stl10", "schedule": "short"},
            ),
        ),
        (
            {"schedule": "paper", "seeds": "1"},
            (
                {
                    "methods": "ncp",
                    "protocols": "slf@ncp",
                    "seeds": 1,
                    "datasets": "cifar10,cifar100",
                    "schedule": "paper",
                },
                {"methods": "amoc", "seeds": 1, "datasets": "cifar10,cifar100", "schedule": "paper"},
            ),
        ),
    ],
    ids=["quick", "short, without a table of its own", "paper, under flags"],
)
def test_a_file_holds_several_sweeps_and_what_holds_under_a_schedule_alone(
    flags: dict[str, Any], expected: tuple[dict[str, Any], ...], tmp_path: Path
) -> None:
    file = tmp_path / "sweeps.toml"
    file.write_text(LAYERS)
    assert Sweep.all_from_toml(file, **flags) == tuple(Sweep.of(**one, jobs=2) for one in expected)


def test_a_sweep_says_more_than_its_file_and_a_schedules_table_more_than_both(tmp_path: Path) -> None:
    file = tmp_path / "sweep.toml"
    layers = {"": 1, "[quick]": 3, "[[sweep]]": 2, "[sweep.quick]": 4}

    def heard(*names: str) -> int:
        file.write_text('methods = "ncp"\n' + "\n".join(f"{name}\nseeds = [{layers[name]}]" for name in names))
        return Sweep.from_toml(file).seeds[0]

    assert [heard(*list(layers)[:count]) for count in (1, 2, 3, 4)] == [1, 3, 3, 4]
    assert heard("", "[[sweep]]") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[quik]\nseeds = 3", "unknown many.toml table 'quik': did you mean 'quick'.*sweep"),
        ("[[sweep]]\n[sweep.qick]\nseeds = 3", r"unknown many.toml \[\[sweep\]\] 1 table 'qick': did you mean 'quick'"),
        ("[paper]\nsedes = 3", r"unknown many.toml \[paper\] option 'sedes': did you mean 'seeds'"),
        ("[[sweep]]\n[[sweep]]\nsedes = 3", r"unknown many.toml \[\[sweep\]\] 2 option 'sedes'"),
        (
            "[[sweep]]\n[sweep.short]\nepochs = 0",
            r"many.toml \[\[sweep\]\] 1 \[sweep.short\] option 'epochs' cannot be 0",
        ),
        ("[[sweep]]\njobs = 3", r"many.toml \[\[sweep\]\] 1 option 'jobs' is about the whole run.*above the first"),
        ('[short]\nschedule = "paper"', r"many.toml \[short\] holds under the schedule short alone.*'schedule'"),
        ("sweep = 3", r"many.toml: each sweep of a file is a table of its own; write \[\[sweep\]\]"),
        ("[[sweep]]\n[[sweep]]", "holds 2 sweeps, and one is wanted"),
    ],
)
def test_bad_tables_of_a_file_are_named_with_their_keys(tmp_path: Path, content: str, message: str) -> None:
    file = tmp_path / "many.toml"
    file.write_text('methods = "ncp"\n' + content)
    with pytest.raises(BenchError, match=message):
        Sweep.from_toml(file)


@pytest.mark.parametrize(
    ("text", "seconds"), [("2m", 120), ("1s", 1), ("0s", 0), ("90", 90), ("1.5h", 5400), (7, 7), (0.5, 0.5)]
)
def test_times_have_a_unit(text: Any, seconds: float) -> None:
    assert Sweep.of(methods="ncp", checkpoint_every=text).checkpoint_every == seconds


@pytest.mark.parametrize("text", ["soon", "-1s", "", "2 days", -3])
def test_other_times_are_refused(text: Any) -> None:
    with pytest.raises(BenchError, match="checkpoint"):
        Sweep.of(methods="ncp", checkpoint_every=text)

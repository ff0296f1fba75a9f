"""The README is true: its method runs, its commands parse, its test command is the one that CI runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import bench
from bench.cli.options import SWEEP_FLAGS
from bench.data.sources import parse_sources
from bench.grammar import parse_specs
from bench.protocols.recipes import PROTOCOLS, protocol_of
from bench.registry import Registry
from bench.sweep import Sweep
from tests.cli.runner import ROOT, whole_app

README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str, text: str = README) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)


def section(title: str) -> str:
    """The text under a heading."""
    return re.split(r"^## ", README.partition(f"## {title}\n")[2], flags=re.MULTILINE)[0]


def command_lines() -> Iterator[str]:
    """Every `bench ...` of the shell blocks, and those in running text that show how an option is used."""
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    lines += [text for text in re.findall(r"`([^`]+)`", prose) if text.startswith("bench ")]
    for line in lines:
        last = line.split("&&")[-1].partition(" > ")[0].strip().removeprefix(".venv/bin/")
        if last.startswith("bench "):
            yield last.partition("#")[0].strip()


COMMANDS = sorted(set(command_lines()))
METHOD = next(block for block in blocks("python") if "class Mine" in block)


def test_the_test_command_is_the_one_that_ci_runs() -> None:
    (command,) = (block.strip() for block in blocks("sh", section("Tests")))
    assert (ROOT / ".ci" / "run").read_text().splitlines()[-1] == command


def test_the_first_command_installs_the_lock_and_runs_the_main_job() -> None:
    (command,) = (block.strip() for block in blocks("sh", section("First run"))[:1])
    assert "\n" not in command
    for part in ("--require-hashes -r requirements-lock.txt", "bench run --methods ncp,amoc --seeds 5"):
        assert part in command


def test_the_workflow_installs_the_lock_and_runs_the_gate() -> None:
    (workflow,) = blocks("yaml")
    steps = re.findall(r"- run: (.*)", workflow)
    assert steps[0] in section("First run").replace(".venv/bin/", "")
    assert steps[1:] == [line for line in COMMANDS if line.startswith("bench regress --junit")]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_command_line_parses(line: str) -> None:
    group = typer.main.get_command(whole_app())
    with group.make_context("bench", words := shlex.split(line)[1:]) as context:
        name, command, rest = group.resolve_command(context, words)  # type: ignore[attr-defined]
        with command.make_context(name, rest, parent=context) as parsed:
            values = dict(parsed.params)
    if "seeds" in values and values.get("methods"):
        check_sweep(Sweep.of(**{key: values[key] for key in SWEEP_FLAGS if values[key] is not None}))


def check_sweep(sweep: Sweep) -> None:
    """Its names are names of something."""
    assert parse_sources(sweep.datasets)
    assert all(protocol_of(spec.name) for spec in parse_specs(sweep.protocol_names))
    for spec in parse_specs(sweep.methods):
        if spec.name != "./mine.py:Mine":
            config = Registry.discover().find(spec.name).load().Config
            assert set(spec.options) <= set(config.model_fields)


def test_there_are_command_lines_to_check() -> None:
    named = (
        "run plan why table list doctor perf status show rm gc evaluate export check new disputes noise regress audit "
        "compare claims leaderboard merge submit verify reproduce figure"
    )
    assert {line.split()[1] for line in COMMANDS} == set(named.split())


def test_the_sweep_file_is_one(tmp_path: Path) -> None:
    (text,) = (block for block in blocks("toml") if "methods = " in block)
    (tmp_path / "sweep.toml").write_text(text)
    assert Sweep.from_toml(tmp_path / "sweep.toml") == Sweep.of(methods="ncp[neighbour=[2,3]],amoc", seeds=3)


def test_every_protocol_and_method_is_named() -> None:
    assert all(f"`{name}`" in section("Protocols") for name in PROTOCOLS)
    assert all(f"| `{entry.name}` |" in README for entry in Registry.discover().entries)


def test_the_method_of_the_readme_runs_as_it_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(METHOD.splitlines()) <= 40
    (tmp_path / "mine.py").write_text(METHOD)
    monkeypatch.chdir(tmp_path)
    rows = bench.run("./mine.py:Mine[epochs=1]", seeds=1, limit="train=200,test=16", jobs=1)
    (row,) = rows.to_dict("records")
    assert row["status"] == "ok", row["error"]
    assert (row["method"], row["plugin"], row["test_images"]) == ("mine", "mine.py", 16)
    assert 0 <= row["aa"] <= row["sa"] <= 100


def test_its_settings_name_both_kinds_of_schedule(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(METHOD)
    method = Registry.discover().find(str(tmp_path / "mine.py")).load()
    assert (set(method.QUICK), set(method.PAPER)) == ({"digits"}, {"cifar10"})


def test_a_file_dropped_into_the_methods_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "dropped_methods"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "mine.py").write_text(METHOD)
    monkeypatch.syspath_prepend(tmp_path)
    entry = Registry.discover(package=package.name).find("mine")
    assert (entry.origin, entry.load().name) == ("dropped_methods/mine.py", "mine")

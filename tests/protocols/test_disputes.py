"""`bench disputes`: every dispute of the literature, what settles it, and that its command can be planned."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
import torch
import typer

from bench.cli.options import SWEEP_FLAGS
from bench.data.profiles import PROFILES
from bench.grammar import parse_specs
from bench.models.encoder import resnet_encoder
from bench.models.portable import HEAD, pack
from bench.models.resnet import Architecture
from bench.planning import plan_of
from bench.protocols.disputes import DISPUTES, Dispute, Settled
from bench.protocols.recipes import protocol_of
from bench.sweep import Sweep
from tests.cli.runner import invoke, whole_app

PROTOCOLS_OF = {
    "D1": {"slf@dynacl", "slf@robustssl", "slf@ncp", "slf-1"},
    "D2": {"slf@deacl-2023"},
    "D3": {"aff@deacl-2024", "aff@robustssl", "aff-1"},
    "D4": {"slf@deacl-2023", "slf@ncp", "slf@deacl-2024", "slf-1"},
    "D5": {"slf-1", "alf-1"},
    "D6": {"slf-1", "alf-1", "slf@ncp", "alf@ncp", "slf@deacl-2024", "alf@deacl-2024"},
    "D7": {"slf@air", "slf@dynacl", "slf-1"},
    "D8": {"slf@dynacl-pp", "slf-1"},
    "D10": {"slf-1", "alf-1"},
    "D11": {"slf-1", "alf-1"},
    "D12": {"slf-1", "alf-1"},
}
WITH_COMMAND = [one for one in DISPUTES.values() if one.command]
PARTLY = {"D7", "D10"}


def test_all_disputes_of_the_literature_are_there_in_their_order() -> None:
    assert list(DISPUTES) == [f"D{number}" for number in range(1, 13)]


def test_those_that_no_command_settles_say_so() -> None:
    expected = {"D9": Settled.NO, **dict.fromkeys(PARTLY, Settled.IN_PART)}
    assert {name: one.settled for name, one in DISPUTES.items()} == dict.fromkeys(DISPUTES, Settled.YES) | expected
    for name in ("D7", "D9", "D10"):
        code, text, _ = invoke("disputes", name)
        assert code == 0
        assert ("no command here settles it" in text) == (name == "D9")
        assert ("what stays open" in text) == (name in PARTLY)


def sweep_of(command: str) -> Sweep:
    """What the command line means, by the parser that reads it."""
    group = typer.main.get_command(whole_app())
    with group.make_context("bench", words := shlex.split(command)[1:]) as context:
        _, run, rest = group.resolve_command(context, words)  # type: ignore[attr-defined]
        with run.make_context("run", rest, parent=context) as parsed:
            values = dict(parsed.params)
    return Sweep.of(**{key: values[key] for key in SWEEP_FLAGS if values[key] is not None})


def on_digits(sweep: Sweep, folder: Path) -> Sweep:
    """The same sweep on digits, one seed, by settings that fit them; a released file is one that has just been made."""
    methods = sweep.methods.replace("resnet18-imagenet", "small")
    if "path=" in methods:
        methods = f"checkpoint[path={made_file(folder)}]"
    changes = {
        "protocols": sweep.protocol_names,
        "datasets": "digits",
        "schedule": "quick",
        "seeds": 1,
        "out": folder / "runs",
    }
    protocols = sweep.protocol_names  # Said, for the default depends on the schedule.
    return Sweep.of(**{**sweep.model_dump(exclude_unset=True), "methods": methods, "protocols": protocols, **changes})


def made_file(folder: Path) -> Path:
    encoder = resnet_encoder(Architecture.SMALL, PROFILES["digits"])
    file = folder / "encoder.safetensors"
    file.write_bytes(pack(encoder, {f"{HEAD}bias": torch.zeros(10)}, {}))
    return file


@pytest.mark.parametrize("dispute", WITH_COMMAND, ids=lambda one: one.id)
def test_its_command_is_one_and_can_be_planned(dispute: Dispute, tmp_path: Path) -> None:
    assert dispute.command
    sweep = sweep_of(dispute.command)
    assert str(sweep.schedule) == "paper"
    assert {spec.name for spec in parse_specs(sweep.protocol_names)} == PROTOCOLS_OF[dispute.id]
    plan = plan_of(on_digits(sweep, tmp_path))
    assert {cell.protocol for cell in plan.cells} == PROTOCOLS_OF[dispute.id]
    encoders = {cell.pretrain for cell in plan.cells}
    assert len(plan.cells) == len(encoders) * len(PROTOCOLS_OF[dispute.id]), "one pre-training for all protocols"


RATE, EPOCHS, MODE, ATTACKED = "rate_by_dataset", "epochs", "encoder_mode", "inner"


@pytest.mark.parametrize(
    ("one", "other", "method", "dataset", "differs"),
    [
        ("slf@dynacl", "slf@robustssl", "dynacl", "cifar100", {RATE}),
        ("slf@deacl-2023", "slf@ncp", "deacl", "cifar10", {RATE}),
        ("slf@ncp", "slf@deacl-2024", "deacl", "cifar10", {MODE}),
        ("aff@robustssl", "aff-1", "deacl", "cifar10", {"routes"}),
        ("slf@ncp", "alf@ncp", "deacl", "cifar10", {"objective"}),
        ("slf@air", "slf@dynacl", "air", "cifar10", {EPOCHS}),
        ("slf@ncp", "slf@ncp-bn", "ncp", "cifar10", {MODE}),
        ("aff-1", "lp-aft-1", "ncp", "cifar10", {"init", "init_from"}),
        ("aff-1", "aff-dual-1", "ncp", "cifar10", {"routes"}),
        ("aff@rocl", "aff@rocl-bn", "rocl", "cifar10", {MODE}),
    ],
)
def test_two_protocols_differ_in_what_the_command_is_to_show(
    one: str, other: str, method: str, dataset: str, differs: set[str]
) -> None:
    first, second = (vars(protocol_of(name).recipe.settled(method, dataset)) for name in (one, other))
    assert {name for name in first if first[name] != second[name]} == differs


def test_the_list_and_its_json() -> None:
    code, text, _ = invoke("disputes")
    assert code == 0
    assert all(f"{name} " in text for name in DISPUTES)
    code, text, _ = invoke("disputes", "--format", "json")
    told = {one["id"]: one for one in json.loads(text)}
    assert told.keys() == DISPUTES.keys()
    assert told["D4"]["command"] == DISPUTES["D4"].command
    assert told["D9"]["command"] is None


def test_one_in_full_has_its_command_in_one_line() -> None:
    code, text, _ = invoke("disputes", "d4")
    assert code == 0
    assert DISPUTES["D4"].command in text.splitlines()


def test_an_unknown_one_is_named() -> None:
    code, _, error = invoke("disputes", "D44")
    assert code == 2
    assert "unknown dispute 'D44': Available: D1, D10" in " ".join(error.split())

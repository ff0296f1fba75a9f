"""`evaluate` and `export`: what is named is what is judged, rows land in the store, nothing is overwritten."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from bench.cli import run as running
from bench.models.portable import card_of
from bench.store import Store
from bench.sweep import Sweep
from tests.cli.runner import invoke
from tests.conftest import add_cheap_protocols, finished_in
from tests.plugins import write_trained


class TestEvaluate:
    @pytest.fixture
    def asked(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Sweep]:
        """The sweeps that the command would carry out."""
        asked: list[Sweep] = []
        monkeypatch.setattr(running, "run", lambda sweeps, **_: asked.extend(sweeps) or 0)
        monkeypatch.chdir(tmp_path)
        return asked

    @pytest.mark.parametrize(
        ("command", "methods"),
        [
            ("model.pt --layout dynacl", "checkpoint[layout=dynacl,path=model.pt]"),
            ("a/b.safetensors", "checkpoint[path=a/b.safetensors]"),
            (
                "m.pt --layout acl --options architecture=resnet18-imagenet,route=clean",
                "checkpoint[architecture=resnet18-imagenet,layout=acl,path=m.pt,route=clean]",
            ),
            ("package.module:net", "imported[factory=package.module:net]"),
            ("./mine.py:net", "imported[factory=./mine.py:net]"),
            ("run[1],2.pt", 'checkpoint[path="run[1],2.pt"]'),
        ],
    )
    def test_what_is_named_becomes_a_method(self, asked: list[Sweep], command: str, methods: str) -> None:
        code, _, err = invoke("evaluate", *command.split())
        assert (code, err) == (0, "")
        (sweep,) = asked
        assert (sweep.methods, sweep.seeds, sweep.schedule) == (methods, (0,), "paper")

    def test_flags_are_those_of_a_sweep(self, asked: list[Sweep]) -> None:
        invoke("evaluate", "m.pt", "--datasets", "cifar100", "--protocols", "slf-1", "--seeds", "3", "--limit", "100")
        assert asked == [
            Sweep.of(
                methods="checkpoint[path=m.pt]",
                datasets="cifar100",
                protocols="slf-1",
                seeds=3,
                limit="100",
                schedule="paper",
            )
        ]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with a finished cell `trained`."""
    folder = tmp_path_factory.mktemp("trained")
    return finished_in(folder, methods=write_trained(folder)).store.root


@pytest.fixture
def out(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that store, in the working directory."""
    monkeypatch.chdir(tmp_path)
    add_cheap_protocols(monkeypatch)
    return Path(shutil.copytree(made, tmp_path / "runs"))


def test_a_cell_is_exported_and_judged_again_under_the_same_name_of_its_content(out: Path) -> None:
    code, text, err = invoke(
        "export", "trained", "--to", "safetensors", "--out", "x/a.safetensors", "--store", str(out)
    )
    assert (code, text.strip(), err) == (0, "x/a.safetensors", "")
    card = card_of(Path("x/a.safetensors").read_bytes())
    assert card is not None
    assert card.origin["label"] == "trained"
    where = ["--jobs", "1", "--device", "cpu", "--out", str(out)]
    for named in ("x/a.safetensors", "trained"):
        code, _, err = invoke(
            "evaluate", named, "--protocols", "cheap", "--limit", "train=40,test=20", "--no-table", *where
        )
        assert (code, err) == (0, "")
    rows = Store.existing(out).latest_rows().values()
    assert {row["sa"] for row in rows} == {next(iter(rows))["sa"]}
    assert sorted(row["method"] for row in rows) == ["checkpoint", "checkpoint", "trained"]


def test_an_encoder_that_is_there_meets_other_attacks(out: Path) -> None:
    where = ["--jobs", "1", "--device", "cpu", "--out", str(out), "--limit", "train=40,test=20", "--no-table"]
    attacks = ["--protocols", "cheap", "--attacks", "pgd20,fgsm", "--norm", "l2", "--eps", "0.3", "--steps", "5"]
    code, _, err = invoke("evaluate", "trained", *attacks, *where)
    assert (code, err) == (0, "")
    (row,) = (row for row in Store.existing(out).latest_rows().values() if row["norm"] == "L2")
    assert (row["eps"], row["ra_pgd20"]) == (0.3, None)
    assert json.loads(row["scores"]).keys() == {"clean", "pgd5", "fgsm"}


def test_a_robustbench_model_is_three_files(out: Path) -> None:
    code, text, _ = invoke("export", "trained", "--to", "robustbench", "--out", "zoo/Mine.py", "--store", str(out))
    assert (code, text.split()) == (0, ["zoo/Mine.py", "zoo/Mine.pt", "zoo/Mine.json"])
    assert all(Path(path).is_file() for path in text.split())


WRONG: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "unknown cell": ("export gone --to safetensors --out a.safetensors", ("no finished cell is called", "trained")),
    "unknown encoder": ("evaluate gone --out {out}", ("no finished cell is called 'gone'",)),
    "another suffix": ("export trained --to robustbench --out a.safetensors", ("should end with .py", "--out a.py")),
    "no module's name": ("export trained --to robustbench --out my-model.py", ("'my-model' is no name", "letters")),
    "already there": ("export trained --to safetensors --out there.safetensors", ("is not overwritten",)),
    "settings without a file": ("evaluate trained --layout acl --out {out}", ("layout say how to read",)),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_bad_input_is_named(case: str, out: Path) -> None:
    Path("there.safetensors").write_bytes(b"")
    command, parts = WRONG[case]
    store = ["--store", str(out)] if command.startswith("export") else []
    code, _, err = invoke(*command.format(out=out).split(), *store)
    assert code == 2
    for part in parts:
        assert part in err

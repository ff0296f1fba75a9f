"""`bench new` and `bench check`: a method from the template, its loss filled in, passes; until then it says so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.registry import Registry
from bench.template import HOLE
from tests.cli.runner import invoke

LOSS = """near = torch.nn.functional.normalize(z_adv, dim=1) @ torch.nn.functional.normalize(z, dim=1).T
        return torch.nn.functional.cross_entropy(near / self.config.temperature, torch.arange(len(z), device=z.device))
"""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(name: str = "my-method") -> Path:
    assert invoke("new", "method", name)[0] == 0
    return Path(f"{name.replace('-', '_')}.py")


def test_a_new_method_passes_once_its_loss_is_written() -> None:
    path = made()
    path.write_text(path.read_text().replace(HOLE, LOSS))
    code, out, err = invoke("check", f"./{path}", "--quick")
    assert (code, err) == (0, "")
    assert "my-method: 24 kept, 0 broken, 0 not applicable" in out


def test_until_then_the_check_says_what_is_missing() -> None:
    code, out, _ = invoke("check", f"{made()}:MyMethod", "--quick", "--format", "json")
    checks = {check["check"]: check for check in json.loads(out)["checks"]}
    broken = [name for name, check in checks.items() if check["verdict"] == "broken"]
    assert (code, broken) == (1, ["trains"])
    assert "NotImplementedError: write the loss" in checks["trains"]["reason"]
    assert checks["trains"]["remedy"]
    assert checks["shapes"]["verdict"] == "not applicable"


def test_the_table_says_why_it_matters_and_what_to_do() -> None:
    code, out, _ = invoke("check", f"./{made()}", "--quick")
    assert code == 1
    assert "why: there is nothing to judge" in out
    assert "remedy: correct the line that raised" in out


def test_an_installed_class_is_found_by_its_module() -> None:
    found = Registry.discover().find("methods.ncp:NCP")
    assert (found.name, found.text) == ("ncp", "ncp")


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("ncp", "'ncp' is there already, from methods/ncp.py"),
        ("3d", "a letter first"),
        ("none", "cannot be called 'none'"),
        ("Mine", "use lower-case letters"),
        ("a b", "use lower-case letters"),
    ],
)
def test_a_bad_name_is_refused(name: str, told: str, folder: Path) -> None:
    code, _, err = invoke("new", "method", name)
    assert code == 2
    assert told in err
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "told"),
    [("mine.py", "nothing is overwritten"), ("mine.txt", "ends with .py"), ("gone/mine.py", "a folder that is there")],
)
def test_a_file_that_cannot_be_written_is_refused(out: str, told: str) -> None:
    Path("mine.py").write_text("kept\n")
    code, _, err = invoke("new", "method", "another", "--out", out)
    assert code == 2
    assert told in err
    assert Path("mine.py").read_text() == "kept\n"


@pytest.mark.parametrize(
    ("method", "told"),
    [
        ("npc", "did you mean 'ncp'?"),
        ("no_such.module:Mine", "module 'no_such.module' is not there"),
        ("methods.ncp:Mine", "class of"),
        ("ncp[neigbour=3]", "did you mean 'neighbour'?"),
        ("./gone.py:Mine", "is not there"),
    ],
)
def test_a_method_that_is_not_there_is_bad_input(method: str, told: str) -> None:
    code, _, err = invoke("check", method)
    assert code == 2
    assert told in err

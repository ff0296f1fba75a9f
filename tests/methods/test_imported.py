"""An encoder from Python code is judged like any method; what it returns and how it is written is what it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.errors import BenchError
from bench.planning import plan_of
from bench.validation import validated
from methods.imported import ImportedConfig

NET = "import torch\nfrom torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(192, 4))\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def identity(source: str, file: str = "mine.py", text: str = "./mine.py:net") -> dict[str, Any]:
    Path(file).write_text(source)
    return validated(ImportedConfig, {"factory": text}, "imported").identity()


def test_it_is_identified_by_its_weights_and_its_source() -> None:
    one = identity(NET)
    assert identity(NET) == one
    assert identity(f"# A remark.\n{NET}") == one
    other_weights = identity(NET.replace("nn.Linear(192, 4)", "nn.Linear(192, 4, bias=False)"))
    assert other_weights["weights"] != one["weights"]
    other_code = identity(NET.replace("nn.Linear(192, 4))", "nn.Linear(192, 4), nn.ReLU())"))
    assert other_code["weights"] == one["weights"]
    assert other_code["source"] != one["source"]


def test_a_module_is_found_from_the_working_directory_and_its_helpers_count() -> None:
    Path("imported_helper.py").write_text("WIDTH = 4\n")
    source = f"from imported_helper import WIDTH\n{NET}"
    one = identity(source)
    Path("imported_helper.py").write_text("WIDTH = 5\n")
    assert identity(source)["source"] != one["source"]
    assert identity(NET, "imported_module.py", "imported_module:net")["weights"] == identity(NET)["weights"]


def test_its_row_is_like_any_other(make_sweep: Any, ran: Any) -> None:
    Path("mine.py").write_text(NET)
    (row,) = ran(make_sweep(methods="imported[factory=./mine.py:net]")).rows
    assert (row["status"], row["error"], row["external_data"]) == ("ok", None, True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (NET.replace("nn.Flatten(), nn.Linear(192, 4)", "nn.Conv2d(3, 4, 3)"), r"returns \[2, 4, 6, 6\] for 2 images"),
        (NET.replace("    return", "    torch.seed()\n    return"), "returned other weights than while the sweep"),
    ],
)
def test_what_shows_only_when_it_runs_is_a_failed_row(make_sweep: Any, ran: Any, source: str, message: str) -> None:
    Path("mine.py").write_text(source)
    (row,) = ran(make_sweep(methods="imported[factory=./mine.py:net]")).rows
    assert row["status"] == "failed"
    assert message.replace("\\", "") in row["error"]


@pytest.mark.parametrize(
    ("text", "source", "message"),
    [
        ("./gone.py:net", NET, "'./gone.py' does not import: FileNotFoundError"),
        ("no_such_module:net", NET, "'no_such_module' does not import: ModuleNotFoundError"),
        ("./mine.py:nt", NET, "has no function 'nt'"),
        ("./mine.py:net", NET.replace("()", "(x)", 1), "raised TypeError"),
        ("./mine.py:net", "def net(): return 3\n", "it returned a int, no torch.nn.Module"),
        ("mine", NET, "not of the form module:function"),
    ],
)
def test_what_gives_no_encoder_is_bad_input(make_sweep: Any, text: str, source: str, message: str) -> None:
    Path("mine.py").write_text(source)
    with pytest.raises(BenchError) as raised:
        plan_of(make_sweep(methods=f'imported[factory="{text}"]'))
    assert message in str(raised.value)

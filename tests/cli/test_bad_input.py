"""Bad input, each kind once, through the command line: a paragraph that names thing and remedy, exit code 2.

What a kind means in detail is tested beside the code that owns it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch
from PIL import Image
from pyarrow import parquet

from tests.cli.runner import invoke, whole_app

PLUGINS: Mapping[str, str] = {
    "unclosed.py": "class Mine(\n",
    "broken.py": "import no_such_module\nfrom bench.contract import Method\nclass Mine(Method):\n    name = 'mine'\n",
    "empty.py": "x = 1\n",
    "partial.py": (
        "from bench.config import MethodConfig\nfrom bench.contract import Method\nclass Mine(Method):\n"
        "    name = 'mine'\n    Config = MethodConfig\n    def encoder(self, profile): ...\n"
    ),
}


def pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for i in range(count):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with everything that can be wrong in it."""
    monkeypatch.chdir(tmp_path)
    for name, text in PLUGINS.items():
        Path(name).write_text(text)
    Path("nothing").mkdir()
    pictures(Path("single/cat"), 2)
    pictures(Path("spoilt/cat"), 2)
    pictures(Path("spoilt/dog"), 2)
    Path("spoilt/dog/bad.png").write_bytes(b"no image")
    Path("other").mkdir()
    for split in ("train", "test"):
        parquet.write_table(pa.table({"picture": [b""], "class": [0]}), f"other/{split}.parquet")
    Path("newer").mkdir()
    Path("newer/format.json").write_text(json.dumps({"schema_version": 99}))
    torch.save({"conv1.weight": torch.zeros(1)}, "tensor.pt")
    torch.save({"state_dict": {}, "args": argparse.Namespace()}, "code.pt")
    Path("strange.toml").write_text('methods = "ncp"\nsedes = 5\n')
    return tmp_path


CASES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "unknown method": ("run --methods npc", ("method 'npc'", "did you mean 'ncp'?")),
    "unknown data set": ("run --methods ncp --datasets digitz", ("data set 'digitz'", "did you mean 'digits'?")),
    "unknown protocol": ("run --methods ncp --protocols slf1", ("protocol 'slf1'", "did you mean 'slf-1'?")),
    "unknown option": ("run --methods ncp[neigbour=3]", ("ncp option 'neigbour'", "did you mean 'neighbour'?")),
    "unknown key of a file": ("run strange.toml", ("strange.toml option 'sedes'", "did you mean 'seeds'?")),
    "wrong type": ("run --methods ncp[neighbour=two]", ("ncp option 'neighbour' cannot be 'two'", "integer")),
    "out of range": ("run --methods ncp[eps=-1]", ("ncp option 'eps' cannot be -1", "greater than 0")),
    "not a choice": ("run --methods ncp[strategy=bth]", ("'strategy' cannot be 'bth'", "'away', 'toward' or 'both'")),
    "unreadable list": ("run --methods ncp[neighbour=[2,3]", ("cannot read", "never closed")),
    "more clusters than images": (
        "run --methods ncp[clusters=300] --limit train=200,test=20",
        ("300 clusters of 200 images", "use more images"),
    ),
    "a grid of clusters beyond the images": (
        "run --methods ncp --limit train=40,test=20",
        ("no silhouette for", "with 40 points", "ncp[clusters=10]"),
    ),
    "more pseudo-labels than images": (
        "run --methods dynacl-pp[clusters=300] --limit train=200,test=20",
        ("300 clusters of 200 images", "use more images"),
    ),
    "a bank smaller than a batch": (
        "run --methods moco[bank_size=64]",
        ("a bank of 64 keys cannot take a batch of 140", "enlarge bank_size"),
    ),
    "unknown attack": ("run --methods ncp --attacks pgd20,deepfol", ("attack 'deepfol'", "did you mean 'deepfool'?")),
    "unknown norm": ("run --methods ncp --norm l3", ("norm 'l3'", "l1, l2, linf")),
    "an eps beyond all images": ("run --methods ncp --eps 8", ("eps 8 is beyond 1", "8/255")),
    "a negative eps": ("run --methods ncp --eps -0.1", ("eps -0.1 is no radius", "8/255")),
    "an eps that is no number": ("run --methods ncp --eps 8/", ("eps '8/' is no number", "8/255")),
    "steps that are none": ("run --methods ncp --steps 0", ("steps '0'", "from 1 up")),
    "an attack on no cell": (
        "run --methods ncp --attacks transfer:amoc",
        ("no finished cell is called 'amoc'", "bench run"),
    ),
    "no corrupted images": ("run --methods ncp --attacks corruption", ("not for 'digits'", "leave the attack out")),
    "no seeds": ("run --methods ncp --seeds 0", ("0 seeds", "count from 1 up")),
    "negative count of seeds": ("run --methods ncp --seeds -3", ("-3 seeds", "count from 1 up")),
    "negative seed": ("run --methods ncp --seeds 1,-2", ("seed -2 is negative", "0 or more")),
    "no such folder": (
        "run --methods ncp --datasets folder:gone[like=digits]",
        ("'gone' does not exist", "path"),
    ),
    "empty folder": ("run --methods ncp --datasets folder:nothing[like=digits]", ("'nothing' is empty", "every class")),
    "one class": ("run --methods ncp --datasets folder:single[like=digits]", ("one class only, 'cat'", "at least two")),
    "broken image": ("run --methods ncp --datasets folder:spoilt[like=digits]", ("bad.png'", "replace or remove it")),
    "without like": ("run --methods ncp --datasets folder:single", ("[like=NAME]", "digits, cifar10, cifar100, stl10")),
    "other Parquet": (
        "run --methods ncp --datasets parquet:other[like=digits]",
        ("no column img or image", "picture, class", "Rename"),
    ),
    "too small a limit": ("run --methods ncp --limit 5", ("limit train=5", "at least 10")),
    "quick beyond digits": ("run --methods ncp --datasets cifar10 --data-dir gone", ("'quick'", "--schedule short")),
    "no paper settings": (
        "plan --methods amoc --datasets stl10 --schedule paper --data-dir gone",
        ("no settings for 'stl10'", "amoc[settings=cifar10]"),
    ),
    "plugin with a syntax error": ("run --methods ./unclosed.py:Mine", ("unclosed.py'", "line 1", "Correct it there")),
    "plugin that does not import": ("run --methods ./broken.py:Mine", ("no_such_module", "broken.py, line 1")),
    "plugin without a method": (
        "run --methods ./empty.py:Mine",
        ("'empty.py' holds no method", "derived from"),
    ),
    "plugin without pretrain": (
        "run --methods ./partial.py:Mine",
        ("'Mine' in partial.py", "lacks pretrain; define"),
    ),
    "plugin that is not there": ("run --methods ./gone.py:Mine", ("'gone.py' is not there", "./mine.py:Mine")),
    "out is a file": ("run --methods simclr --out empty.py", ("'empty.py'", "--out")),
    "newer store, only looked at": (
        "plan --methods simclr --out newer",
        ("'newer'", "schema version 99", "upgrade it"),
    ),
    "newer store": ("run --methods simclr --out newer", ("'newer'", "schema version 99", "upgrade it")),
    "no such device": ("run --methods simclr --device cuda:99", ("device 'cuda:99' is not there", "--device cpu")),
    "no such GPU": ("run --methods simclr --gpus 0,99", ("of --gpus is not there", "Leave --gpus out")),
    "GPUs that count down": ("run --methods simclr --gpus 3-1", ("'gpus' cannot be '3-1'", "write 1-3")),
    "GPUs on a CPU": ("run --methods simclr --gpus 0 --device cpu", ("device cpu and gpus", "leave one of them out")),
    "no device at all": ("run --methods simclr --device gpu", ("'device' cannot be 'gpu'", "cuda:0")),
    "no results yet": ("table --out gone", ("no results in 'gone'", "`bench run` writes them there")),
    "unknown format": ("table --format lat", ("format 'lat'", "did you mean 'latex'?")),
    "unknown layout of weights": (
        "run --methods checkpoint[path=tensor.pt,layout=acll]",
        ("checkpoint option 'layout' cannot be 'acll'", "'acl', 'dynacl'"),
    ),
    "weights without a layout": ("evaluate tensor.pt", ("does not say what is in it", "--layout NAME")),
    "weights of another network": (
        "evaluate tensor.pt --layout rocl",
        ("it lacks bn1.weight", "shapes conv1.weight (1,) for (64, 3, 3, 3)", "of ResNet-18 alone"),
    ),
    "weights that bring code": ("evaluate code.pt --layout acl", ("could run any code", "weights_only=False")),
    "weights that are not there": ("evaluate gone.pt --layout acl", ("gone.pt' cannot be read", "file that is there")),
    "no such function": ("evaluate ./empty.py:encoder", ("'./empty.py' has no function 'encoder'", "torch.nn.Module")),
    "no such cell": ("export gone --to safetensors --out a.safetensors", ("no finished cell is called 'gone'",)),
    "no such cell to submit": ("submit gone --out a.zip", ("no finished cell is called 'gone'",)),
    "a bundle that is no zip": ("submit gone --out a.tar", ("should end with .zip", "--out a.zip")),
    "torn bundle": ("verify tensor.pt", ("'tensor.pt' is no whole bundle", "have it sent again")),
    "no bundle": ("verify gone.zip", ("gone.zip", "is not there: name a file that")),
    "merging what is no store": ("merge nothing --out both", ("'nothing' is no store", "bench run --out")),
    "merging a newer store": ("merge newer --out both", ("'newer'", "schema version 99", "upgrade it")),
    "unknown layout": ("table --layout table2", ("layout 'table2'", "did you mean 'ncp-acl/table2'?")),
}


@pytest.mark.parametrize("case", CASES)
def test_bad_input_is_one_paragraph_and_exit_code_2(case: str) -> None:
    (command, *options), parts = CASES[case][0].split(), CASES[case][1]
    alone = ["--jobs", "1"] if command in ("run", "evaluate") else []  # No server of workers that nobody will want.
    code, out, err = invoke(command, *options, *alone, app=whole_app())
    assert code == 2, out + err
    assert (out, err.count("\n")) == ("", 1), "one paragraph, on stderr"
    assert err.startswith("error: ")
    assert "Traceback" not in err
    for part in parts:
        assert part in err


@pytest.mark.skipif("os.geteuid() == 0", reason="root may write everywhere")
def test_an_out_without_permission(folder: Path) -> None:
    folder.chmod(0o500)
    code, _, err = invoke("run", "--methods", "simclr", "--out", "runs")
    assert code == 2
    assert "cannot write results to 'runs'" in err

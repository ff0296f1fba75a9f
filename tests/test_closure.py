"""The source that a key depends on: what the code reaches moves the hash, and nothing else does."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from bench.closure import EVERYTHING, INERT, PROJECT_SOURCES, Sources, Target, closure, reached
from bench.executors import work
from bench.keys import PROJECT
from bench.plan import StageKind

FILES = {
    "lab/__init__.py": "VERSION = 1\n",
    "lab/train.py": """
from __future__ import annotations
from lab import tools
from lab.parts import used
from .numbers import RATE as rate

def train(x):
    '''Trains.'''
    from lab.late import lazy
    return used(x) + rate + lazy() + tools.sharpen(x)

def other():
    return 1
""",
    "lab/parts/__init__.py": "from lab.parts.inner import unused, used\n__all__ = ['unused', 'used']\n",
    "lab/parts/inner.py": "STEP = 1\ndef used(x): return x + STEP\ndef unused(x): return x\n",
    "lab/numbers.py": "RATE = 0.1\nTABLE = {'a': 1}\n",
    "lab/late.py": "def lazy(): return 2\ndef idle(): return 3\n",
    "lab/tools.py": "def sharpen(x): return x\nSETTINGS = {}\nSETTINGS['on'] = True\n",
    "lab/alone.py": "def nobody(): return 0\n",
}
TRAIN = ("lab.train", "train")


EVERYWHERE = {"lab.train", "lab.parts", "lab.parts.inner"}


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def hashes(folder: Path, *roots: Target, whole: bool = False) -> dict[str, str]:
    return closure(roots or [TRAIN], Sources((("lab", folder),), frozenset({"lab"} if whole else ())))


@pytest.mark.parametrize(
    ("file", "old", "new", "moved"),
    [
        ("lab/train.py", "used(x) + rate", "used(x) - rate", {"lab.train"}),
        ("lab/parts/inner.py", "STEP = 1", "STEP = 2", {"lab.parts.inner"}),
        ("lab/numbers.py", "RATE = 0.1", "RATE = 0.2", {"lab.numbers"}),
        ("lab/late.py", "return 2", "return 4", {"lab.late"}),
        ("lab/tools.py", "= True", "= False", {"lab.tools"}),
        ("lab/train.py", "'''Trains.'''", "'''Trains well.'''  # Really.", set()),
        ("lab/train.py", "return 1", "return 2", set()),
        ("lab/train.py", "def other", "\n\nimport os\n\ndef other", set()),
        ("lab/parts/inner.py", "def unused(x): return x", "def unused(x): return -x", set()),
        ("lab/train.py", "from lab.parts import used", "from lab.parts import unused as used", EVERYWHERE),
        ("lab/train.py", "from lab import tools", "import numpy as used2\nfrom lab import tools", set()),
        ("lab/train.py", "from lab import tools", "from torch import tools", {"lab.train", "lab.tools"}),
        ("lab/parts/__init__.py", "unused, used", "used, unused", set()),
        ("lab/numbers.py", "{'a': 1}", "{'a': 1, 'b': 2}", set()),
        ("lab/late.py", "return 3", "return 5", set()),
        ("lab/alone.py", "return 0", "return 1", set()),
        ("lab/__init__.py", "VERSION = 1", "VERSION = 2", set()),
    ],
)
def test_an_edit_moves_the_hash_of_its_module_if_the_root_reaches_it(
    lab: Path, file: str, old: str, new: str, moved: set[str]
) -> None:
    before = hashes(lab)
    path = lab / file
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    after = hashes(lab)
    assert {name for name in {*before, *after} if before.get(name) != after.get(name)} == moved


def test_a_module_that_counts_whole_is_moved_by_any_edit(lab: Path) -> None:
    before = hashes(lab, whole=True)["lab.late"]
    (lab / "lab/late.py").write_text(FILES["lab/late.py"].replace("return 3", "return 4"))
    assert hashes(lab, whole=True)["lab.late"] != before


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("if TYPE_CHECKING:\n    import lab.alone\nX = 1", "X = 1"),
        ("if typing.TYPE_CHECKING:\n    import lab.alone\nX = 1", "X = 1"),
        ("class M:\n    PAPER = {'a': 1}\n    summary = 'new'\n    x = 1", "class M:\n    QUICK = {}\n    x = 1"),
        ("class M:\n    DISPUTES = {'a': 'b'}\n    x = 1", "class M:\n    x = 1"),
        ("class C:\n    x: int = 1\n    'Where it comes from.'", "class C:\n    x: int = 1"),
    ],
)
def test_what_cannot_move_a_number_does_not_count(lab: Path, text: str, same: str) -> None:
    def whole(source: str) -> dict[str, str]:
        (lab / "lab/train.py").write_text(source)
        return hashes(lab, ("lab.train", EVERYTHING))

    assert whole(text) == whole(same)


SWAPPED = [
    ("from torch.optim import SGD as Optimiser", "from torch.optim import Adam as Optimiser"),
    ("from lab.late import lazy as a, idle as b", "from lab.late import lazy as b, idle as a"),
]


@pytest.mark.parametrize(
    ("text", "other"), [("X = 1", "X = 1.0"), ("X = ''", "X = None"), ("f(())", "f([])"), *SWAPPED]
)
def test_values_that_look_alike_are_told_apart(lab: Path, text: str, other: str) -> None:
    def whole(source: str) -> dict[str, str]:
        (lab / "lab/train.py").write_text(source)
        return hashes(lab, ("lab.train", EVERYTHING))

    assert whole(text) != whole(other)


def test_imports_in_a_circle_end(lab: Path) -> None:
    (lab / "lab/late.py").write_text("from lab.train import train\ndef lazy(): return train\n")
    assert set(hashes(lab)) == {"lab.train", "lab.late", "lab.parts", "lab.parts.inner", "lab.numbers", "lab.tools"}


class TestPluginFile:
    @pytest.fixture
    def plugin(self, tmp_path: Path) -> Callable[[str], Path]:
        def plugin(folder: str, helper: str = "STEP = 1") -> Path:
            place = tmp_path / folder
            place.mkdir(exist_ok=True)
            (place / "helper.py").write_text(helper)
            (place / "stranger.py").write_text("X = 1")
            (place / "mine.py").write_text("import helper\nfrom bench.randomness import Randomness\nX = 1\n")
            return place / "mine.py"

        return plugin

    def hashes(self, file: Path) -> dict[str, str]:
        return closure([], PROJECT_SOURCES.beside(file), file)

    def test_it_counts_with_its_helpers_wherever_it_lies(self, plugin: Callable[..., Path]) -> None:
        here, there = self.hashes(plugin("a")), self.hashes(plugin("b"))
        assert here == there
        assert set(here) == {"bench.randomness", "helper", "mine.py"}

    def test_an_edit_of_a_helper_counts(self, plugin: Callable[..., Path]) -> None:
        assert self.hashes(plugin("a"))["helper"] != self.hashes(plugin("b", "STEP = 2"))["helper"]


class TestProject:
    """The closures of the stages as they are."""

    @pytest.mark.parametrize("kind", StageKind)
    def test_nothing_of_planning_storing_or_showing_is_in_a_key(self, kind: StageKind) -> None:
        modules = set(closure([(f"bench.stages.{kind}", str(kind))]))
        apart = ("bench.cli", "bench.executors", "bench.store", "bench.plan", "bench.registry", "bench.errors")
        assert not [module for module in modules if module.startswith(apart)]

    def test_a_methods_parts_are_its_own(self) -> None:
        losses = {root: reached([root])["methods.parts.losses"] for root in METHODS if root[1] != "AMOC"}
        names = {root[1]: {name for one in found for name in one.binds} for root, found in losses.items()}
        assert names["SimCLR"] & names["NCP"] <= {"F", "Tensor", "torch"}
        assert "nt_xent" in names["SimCLR"]
        assert "negative_cosine" in names["NCP"]

    def test_every_function_that_a_stage_runs_is_in_its_closure(
        self, make_sweep: Any, ran: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        importlib.import_module("torch._dynamo")  # Optimisers import it, and an import is slow while it is watched.

        called: dict[str, set[tuple[str, int]]] = {kind: set() for kind in StageKind}
        for kind in StageKind:
            monkeypatch.setattr(work, str(kind), traced(getattr(work, str(kind)), called[kind]))
        methods = "simclr[epochs=1],amoc[epochs=1,bank_size=140]"
        done = ran(make_sweep(methods=methods, limit="train=150,test=20", protocols="cheap,cheap-alf"))
        assert done.summary.ok, done.rows
        for kind in StageKind:
            # The encoder's own code is in the key of the stage that made it, and so in the keys of those that use it.
            lines = spans([(f"bench.stages.{kind}", str(kind)), *METHODS])
            outside = {(file, line) for file, line in called[kind] if line not in lines.get(file, ())}
            assert called[kind]
            assert not outside


METHODS = (("methods.simclr", "SimCLR"), ("methods.ncp", "NCP"), ("methods.amoc", "AMOC"))
COUNTED = ("bench/", "methods/")
# Executors keep checkpoints through the store; a resumed training equals a straight one to the bit (test_resume).
EXEMPT = (
    "bench/executors/",
    "bench/store.py",
    "bench/provenance.py",
    *(f"{module.replace('.', '/')}.py" for module in INERT),
)


def spans(roots: list[Target]) -> dict[str, set[int]]:
    """File to the lines that count."""
    return {
        str(PROJECT_SOURCES.file(module)): {line for one in found for line in range(one.first, one.last + 1)}
        for module, found in reached(roots).items()
    }


def traced(function: Callable[..., Any], calls: set[tuple[str, int]]) -> Callable[..., Any]:
    """`function`, noting file and first line of everything of this project that it calls."""

    def note(frame: FrameType, event: str, _: Any) -> None:
        code = frame.f_code
        path = code.co_filename.removeprefix(f"{PROJECT}/")
        if event == "call" and code.co_name != "<module>" and path.startswith(COUNTED) and not path.startswith(EXEMPT):
            calls.add((code.co_filename, code.co_firstlineno))

    @contextmanager
    def noting() -> Iterator[None]:
        sys.setprofile(note)
        try:
            yield
        finally:
            sys.setprofile(None)

    return noting()(function)

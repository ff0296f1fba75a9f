"""Whether `bench regress` catches planted regressions and passes honest repeats, through the real command.

    python tests/studies/drift.py

A copy of the source tree makes a reference from two small cells and learns its bands. Then each of `PLANTS` is
written into a copy of its own, which must be told apart twice: where the reference was made, exactly, and in a context
that rounds otherwise, by the bands. At last the unchanged copy is run in the ten contexts of `HONEST`, none of which
the bands were learnt in; all must pass.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from xml.etree import ElementTree as xml

ROOT = Path(__file__).parent.parent.parent
PACKAGES = ("bench", "methods", "leaderboard", "results")
COMMAND = (
    "from bench.cli import main; from leaderboard.regression.command import regress; "
    "main.add('regress', regress); main.main()"
)
"""`bench`, whatever the installed one declares."""
SWEEP = """
methods = "acl,trades[epochs=8]"
seeds = 1
epochs = 2
limit = "train=400,test=48"
"""


@dataclass(frozen=True)
class Plant:
    """A regression that was written into a file."""

    name: str
    file: str
    before: str
    after: str

    def into(self, tree: Path) -> None:
        """Write it."""
        path = tree / self.file
        text = path.read_text(encoding="utf-8")
        if text.count(self.before) != 1:
            raise SystemExit(f"{self.file} holds {self.before!r} {text.count(self.before)} times: correct the plant")
        path.write_text(text.replace(self.before, self.after), encoding="utf-8")


PLANTS = (
    Plant("sign of a loss", "methods/acl.py", "update((clean + adversarial) / 2", "update(-(clean + adversarial) / 2"),
    Plant("BN route", "methods/parts/dual_stream.py", "active_route=ADVERSARIAL", "active_route=CLEAN"),
    Plant("attack step", "bench/attacks/pgd.py", "attack.step_size * gradient", "0.1 * attack.step_size * gradient"),
)


@dataclass(frozen=True)
class Context:
    """Where a rerun is computed: environment variables, and options of the command."""

    environment: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """In words."""
        said = [f"{name}={value}" for name, value in self.environment.items() if name != "OMP_WAIT_POLICY"]
        return " ".join([*said, *self.options]) or "as it is"


PATIENT = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads that wait do not spin, where there are more of them than cores."""
HERE, ELSEWHERE = Context(), Context({"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "COMPATIBLE"})
HONEST = (
    HERE,
    Context(options=("--jobs", "1")),
    ELSEWHERE,
    Context({"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"}),
    Context({"ONEDNN_MAX_CPU_ISA": "AVX"}),
    Context({"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    Context({"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Context({"MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    Context(PATIENT, ("--threads", "3")),
    Context({**PATIENT, "ATEN_CPU_CAPABILITY": "avx2"}, ("--threads", "4")),
)


def copied(folder: Path) -> Path:
    """A copy of the source tree."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


def regress(tree: Path, *arguments: str | Path, context: Context = HERE) -> int:
    """The exit code of `bench regress ARGUMENTS` with the code of `tree`."""
    environment = {**os.environ, **context.environment, "PYTHONPATH": str(tree)}
    command = [sys.executable, "-c", COMMAND, "regress", *map(str, arguments), *context.options]
    done = subprocess.run(command, cwd=tree, env=environment, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        raise SystemExit(done.stderr or done.stdout)
    return done.returncode


def drifted(report: Path) -> str:
    """The numbers that a report says drifted."""
    cases = xml.parse(report).getroot().iter("testcase")
    found = [f"{case.get('classname')} {case.get('name')}" for case in cases if case.find("failure") is not None]
    return (
        f"{len(found)} drifted: {', '.join(found[:4])}{', ...' if len(found) > 4 else ''}" if found else "none drifted"
    )


def main() -> int:
    """Make the reference, plant, repeat; 0 where all is as it should be."""
    wrong = 0
    with TemporaryDirectory(prefix="bench-drift-") as name:
        folder = Path(name)
        sound, reference, report = copied(folder / "sound"), folder / "reference.parquet", folder / "report.xml"
        reference.with_suffix(".toml").write_text(SWEEP, encoding="utf-8")
        regress(sound, "--write", reference, "--learn")
        for plant in PLANTS:
            tree = copied(folder / plant.name)
            plant.into(tree)
            for context in (HERE, ELSEWHERE):
                code = regress(tree, "--against", reference, "--junit", report, context=context)
                wrong += code != 1
                print(f"{plant.name:15} {context.name}: exit {code}, {drifted(report)}", flush=True)
        for context in HONEST:
            code = regress(sound, "--against", reference, "--junit", report, context=context)
            wrong += code != 0
            print(f"{'honest':15} {context.name}: exit {code}, {drifted(report)}", flush=True)
    print("as it should be" if not wrong else f"{wrong} of {2 * len(PLANTS) + len(HONEST)} are not as they should be")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())

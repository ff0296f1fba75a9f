"""`bench doctor`: whether this machine and this installation can run the benchmark."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from bench.cli.failures import ExitCode
from bench.cli.layout import borderless, disk_space

PACKAGES = (
    "torch",
    "torchvision",
    "numpy",
    "pandas",
    "pyarrow",
    "scikit-learn",
    "scipy",
    "pyautoattack",
    "robustbench",
)
FREE_GB = 5.0
"""Less free disk than this is worth a warning: a ResNet-18 encoder takes 45 MB."""


class Verdict(StrEnum):
    """How a check ended."""

    OK = "ok"
    WARN = "warn"
    BAD = "bad"


STYLES = {Verdict.OK: "green", Verdict.WARN: "yellow", Verdict.BAD: "bold red"}


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        subject: what was looked at.
        text: what was found; for a warning or worse, with the remedy.
    """

    subject: str
    text: str
    verdict: Verdict = Verdict.OK


def doctor(
    out: Annotated[Path, typer.Option(metavar="DIR", help="The store to look at.", show_default=False)] = Path("runs"),
) -> None:
    """Check versions, devices, plugins, data and disk; exit with 1 if something is broken."""
    from rich.console import Console
    from rich.markup import escape

    console, bad = Console(), False
    table = borderless("", "", "")
    for check in CHECKS:
        with console.status(f"looking at {check.__name__.strip('_')}"):
            for finding in check(out):
                bad |= finding.verdict is Verdict.BAD
                mark = f"[{STYLES[finding.verdict]}]{finding.verdict}[/]"
                table.add_row(mark, escape(finding.subject), escape(finding.text))
    console.print(table, highlight=False)
    raise typer.Exit(ExitCode.FAILED if bad else ExitCode.OK)


def _versions(_: Path) -> Iterator[Finding]:
    from bench import __version__
    from bench.provenance import commit

    yield Finding("acl-bench", f"{__version__}, commit {commit() or 'unknown'}")
    yield Finding("python", f"{platform.python_version()} on {platform.platform()}")
    for package in PACKAGES:
        try:
            yield Finding(package, importlib.metadata.version(package))
        except importlib.metadata.PackageNotFoundError:
            yield Finding(package, f"not installed: pip install {package}", Verdict.BAD)


def _devices(_: Path) -> Iterator[Finding]:
    import torch

    from bench.provenance import cpu_model, gpu_driver
    from bench.sweep import cores

    yield Finding(
        "cpu", f"{cpu_model()}, {cores()} cores; OMP_NUM_THREADS={os.environ.get('OMP_NUM_THREADS', 'unset')}"
    )
    for index in range(torch.cuda.device_count()):
        facts = torch.cuda.get_device_properties(index)
        memory = f"{facts.total_memory / 2**30:.0f} GiB"
        yield Finding(f"cuda:{index}", f"{facts.name}, {memory}, CUDA {torch.version.cuda}, driver {gpu_driver()}")
    if not torch.cuda.is_available():
        driver = gpu_driver()
        text = f"torch sees no GPU, but driver {driver} is there: see which CUDA torch was built for"
        yield Finding("cuda", text, Verdict.WARN) if driver else Finding("cuda", "no GPU; digits runs on the CPU")


def _store(out: Path) -> Iterator[Finding]:
    place = next(folder for folder in (out.absolute(), *out.absolute().parents) if folder.exists())
    if not (place.is_dir() and os.access(place, os.W_OK)):
        yield Finding("store", f"'{out}' cannot be written: name another folder with --out", Verdict.BAD)
    free = shutil.disk_usage(place).free / 1e9
    verdict = Verdict.OK if free >= FREE_GB else Verdict.WARN
    yield Finding("store", f"'{out}', {free:.1f} GB of disk are free{_taken(out)}", verdict)


def _taken(out: Path) -> str:
    """What the parts of a store take up."""
    from bench.store import Store

    parts = [f"{name} {disk_space(usage)}" for name, usage in Store(out).usage().items() if usage.files]
    return f"; taken: {', '.join(parts)} (bench gc frees what is not needed)" if parts else ""


def _methods(_: Path) -> Iterator[Finding]:
    from bench.errors import BenchError
    from bench.registry import Registry

    registry = Registry.discover()
    for entry in registry.entries:
        try:
            registry.find(entry.name).load()
        except BenchError as error:
            yield Finding(f"method {entry.name}", str(error), Verdict.BAD)
        else:
            yield Finding(f"method {entry.name}", entry.origin)
    if not registry.entries:
        yield Finding("methods", "none found: is the package `methods` installed?", Verdict.BAD)


def _commands(_: Path) -> Iterator[Finding]:
    for point in importlib.metadata.entry_points(group="bench.commands"):
        try:
            point.load()
        except Exception as error:
            yield Finding(f"command {point.name}", f"{point.value}: {type(error).__name__}: {error}", Verdict.BAD)
        else:
            yield Finding(f"command {point.name}", point.value)


def _robustbench(_: Path) -> Iterator[Finding]:
    """Score two images with robustbench, through the shim that its import needs."""
    import torch

    from bench.attacks.classifier import Classifier
    from bench.attacks.evaluate import Target
    from bench.attacks.reference import robustbench_clean_accuracy
    from bench.contract import Encoder
    from bench.errors import BenchError

    class Pixels(Encoder):
        routes, active_route = ("main",), "main"

        def encode(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1)

    target = Target(
        Classifier(Pixels(), torch.eye(3), torch.zeros(3)), torch.eye(3).view(3, 3, 1, 1), torch.arange(3), 0
    )
    try:
        right = robustbench_clean_accuracy(target, batch=3) == 1
    except BenchError as error:
        yield Finding("robustbench", f"{error} Only cross-checks need it.", Verdict.WARN)
        return
    text = "imports through its shim, and counts as we do" if right else "miscounts: please report its version"
    yield Finding("robustbench", text, Verdict.OK if right else Verdict.BAD)


def _data(_: Path) -> Iterator[Finding]:
    from bench.data.sources import FORMS, is_here, parse_source
    from bench.sweep import default_data_dir

    folder = default_data_dir()
    for form in FORMS:
        if "DIR" not in form and ":" not in form:
            here = is_here(parse_source(form), folder)
            yield Finding(f"data {form}", "is here" if here else f"not here; is downloaded to {folder} when needed")


CHECKS: tuple[Callable[[Path], Iterator[Finding]], ...] = (
    _versions,
    _devices,
    _store,
    _methods,
    _commands,
    _robustbench,
    _data,
)

"""The options of a sweep as command-line flags, shared by every command that takes one. Light: `--help` needs it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple, get_type_hints

import typer

if TYPE_CHECKING:
    from bench.sweep import Sweep


class Flag(NamedTuple):
    """A field of `Sweep` on the command line; without a metavar it is a switch.

    Texts are checked by `Sweep`, so that flags, TOML and Python say the same of the same mistake.
    """

    metavar: str | None
    help: str


SWEEP_FLAGS = {
    "methods": Flag(
        "LIST",
        "Required. Names (bench list methods) or files (./mine.py:Mine); options in brackets, a list among them is a "
        "grid: ncp[neighbour=[2,3]]",
    ),
    "datasets": Flag("LIST", "Data sets: digits (default), cifar10, parquet:DIR[like=cifar10], ..."),
    "protocols": Flag("LIST", "Protocols; by default slf-1 with quick, slf-1,alf-1 otherwise."),
    "attacks": Flag(
        "LIST", "Attacks instead of the protocols' own: bench list attacks; transfer:CELL for those on another cell."
    ),
    "norm": Flag("NAME", "Norm of the attacks' ball: linf, l2 or l1; several are rows of their own."),
    "eps": Flag("LIST", "Radius of that ball: 8/255, ...; a ladder 0,1/255,2/255 is a row for each."),
    "steps": Flag("N", "Steps of PGD; it then fills no column, but the row's scores by its name (pgd50)."),
    "seeds": Flag("N|LIST", "A count (5, the default, is 0 to 4) or a list (0,3,7)."),
    "head_seeds": Flag("N|LIST", "Of heads, every one on each encoder; by default the seed of the pre-training."),
    "attack_seeds": Flag("N|LIST", "Of attacks, every one on each head; by default the seed of the pre-training."),
    "schedule": Flag("NAME", "quick (default, digits on a CPU), short (20 epochs) or paper."),
    "epochs": Flag("N", "Pre-train for N epochs instead of the schedule's; milestones scale along."),
    "budget": Flag(
        "PASSES",
        "The same number of encoder passes per pre-training image for every method, upstreams included (forward 1, "
        "backward to the input 1, full backward 2): epochs are chosen to fit.",
    ),
    "limit": Flag("N|LIST", "Use fewer images: 2000 for training and for test alike, or train=2000,test=200."),
    "device": Flag("NAME", "auto (default), cpu, cuda or cuda:0."),
    "gpus": Flag("LIST", "Several GPUs, 0-3 or 0,2: stages of their own on each, small ones together where they fit."),
    "jobs": Flag("N", "Worker processes at most; by default one per core, on a single GPU one."),
    "threads": Flag("N", "CPU threads per worker, 1 by default; numbers depend on it."),
    "out": Flag("DIR", "Where results are kept, ./runs by default."),
    "data_dir": Flag("DIR", "Where downloaded data sets lie; by default $BENCH_DATA or the user's cache."),
    "checkpoint_every": Flag("TIME", "Keep a checkpoint of a stage every 2m (default), 30s, 1h, ..."),
    "precision": Flag("NAME", "Pre-train in fp32 (default), tf32 or bf16; one method alone: ncp[precision=bf16]."),
    "execution": Flag("NAME", "Pre-training steps: auto (default; graph on a GPU), eager, graph or compiled."),
    "deterministic": Flag(None, "Deterministic kernels on a GPU, too: slower, but the same bits every time."),
    "rerun": Flag(None, "Compute finished stages again and compare."),
    "tensorboard": Flag(None, "Write TensorBoard's event files to OUT/tensorboard."),
}

SweepFile = Annotated[
    Path | None,
    typer.Argument(
        metavar="SWEEP.toml",
        help="A TOML file whose keys are the long options, a [[sweep]] for each of several; flags override it.",
    ),
]


def takes_sweeps(command: Callable[..., int]) -> Callable[..., None]:
    """A typer command from `command(sweeps, **its own options) -> exit code`: the flags of a sweep, then its own.

    `sweeps` are those of the file, or the one that the flags alone say.
    """
    file = inspect.Parameter("file", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=SweepFile)
    return _taking(command, [file, *map(_parameter, SWEEP_FLAGS)], lambda given: _sweeps(given.pop("file"), given))


def takes_flags(*names: str) -> Callable[[Callable[..., int]], Callable[..., None]]:
    """Makes a typer command from `command(flags, **its own options) -> exit code`: some flags of a sweep, then its own.

    `flags` holds those that were given.
    """
    return lambda command: _taking(command, list(map(_parameter, names)), _given)


def _taking(
    command: Callable[..., int], shared: list[inspect.Parameter], handed: Callable[[dict[str, Any]], Any]
) -> Callable[..., None]:
    # `Sweep` stays unimported: it would bring pydantic along, which `--help` has no time for.
    hints = get_type_hints(command, localns={"Sweep": object}, include_extras=True)
    own = [one.replace(annotation=hints[name]) for name, one in inspect.signature(command).parameters.items()][1:]
    parameters = [*shared, *own]

    @wraps(command)
    def invoked(**values: Any) -> None:
        flags = {one.name: values.pop(one.name) for one in shared}
        raise typer.Exit(command(handed(flags), **values))

    invoked.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    invoked.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return invoked


def _parameter(name: str) -> inspect.Parameter:
    flag = SWEEP_FLAGS[name]
    kind: Any = str if flag.metavar else bool
    spelling = f"--{name.replace('_', '-')}"
    text = flag.help.replace("[", "\\[")  # An opening bracket is markup otherwise.
    option = typer.Option(spelling, metavar=flag.metavar, help=text, show_default=False)
    annotation = Annotated[kind | None, option]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _sweeps(file: Path | None, flags: dict[str, Any]) -> tuple[Sweep, ...]:
    from bench.sweep import Sweep

    return Sweep.all_from_toml(file, **_given(flags)) if file else (Sweep.of(**_given(flags)),)


def _given(flags: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in flags.items() if value is not None}

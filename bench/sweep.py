"""What a user asks for: the options of `bench run`, equal from flags, a TOML file and Python. Imports no torch."""

from __future__ import annotations

import os
import re
import tomllib
from collections import ChainMap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, NamedTuple, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from bench.errors import BenchError, unknown
from bench.execution import Execution, Precision
from bench.grammar import Spec, parse_spec, parse_specs
from bench.validation import validated


class Schedule(StrEnum):
    """How long pre-training lasts.

    Members:
        QUICK: minutes on a CPU; `digits` alone has settings for it.
        SHORT: `SHORT_EPOCHS` epochs for every pre-training stage, milestones scaled alike.
        PAPER: as the paper says.
    """

    QUICK = "quick"
    SHORT = "short"
    PAPER = "paper"


SHORT_EPOCHS = 20
UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
"""Seconds per unit of time."""


def _joined(value: object) -> object:
    """A list from TOML or Python as the comma list that the command line takes."""
    return ",".join(str(item) for item in value) if isinstance(value, list | tuple) else value


def _counted(value: object) -> object:
    """`5` is 0..4, `0,3,7` is those three; a list is itself."""
    if isinstance(value, str):
        value = _numbers(value)
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ValueError(f"{value} seeds leave nothing to run; give a count from 1 up, or a list such as 0,3,7")
        return tuple(range(value))
    return value


def _numbers(text: str) -> int | tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(",") if part.strip()) if "," in text else int(text)
    except ValueError:
        raise ValueError("seeds are a count such as 5, or a list such as 0,3,7") from None


def _distinct(seeds: tuple[int, ...]) -> tuple[int, ...]:
    if not seeds:
        raise ValueError("no seed leaves nothing to run; give a count such as 5, or a list such as 0,3,7")
    for seed in seeds:
        if seed < 0:
            raise ValueError(f"seed {seed} is negative; seeds are 0 or more")
        if seeds.count(seed) > 1:
            raise ValueError(f"seed {seed} is named twice; name each seed once")
    return seeds


def _schedule(value: object) -> object:
    if isinstance(value, str) and value not in set(Schedule):
        raise unknown("schedule", value, Schedule)
    return value


def _precision(value: object) -> object:
    if isinstance(value, str) and value not in set(Precision):
        raise unknown("precision", value, Precision)
    return value


def _execution(value: object) -> object:
    if isinstance(value, str) and value not in set(Execution):
        raise unknown("execution", value, Execution)
    return value


def _device(text: str) -> str:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", text):
        raise ValueError("devices are auto, cpu, cuda, or one GPU such as cuda:0")
    return text


def _ranges(value: object) -> object:
    """`0-3,5` is 0, 1, 2, 3 and 5; a number or a list is itself."""
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return tuple(gpu for part in value.split(",") for gpu in _range(part.strip())) if isinstance(value, str) else value


def _range(text: str) -> range:
    match = re.fullmatch(r"(\d+)(?:-(\d+))?", text)
    if match is None:
        raise ValueError("GPUs are a range such as 0-3, a list such as 0,2, or one number")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise ValueError(f"the range {text} counts down; write {last}-{first}")
    return range(first, last + 1)


def _distinct_gpus(gpus: tuple[int, ...]) -> tuple[int, ...]:
    if not gpus:
        raise ValueError("no GPU leaves nothing to run on; give a range such as 0-3, or leave it out")
    for gpu in gpus:
        if gpus.count(gpu) > 1:
            raise ValueError(f"GPU {gpu} is named twice; name each once")
    return gpus


def _number_text(value: object) -> object:
    """Numbers from TOML or Python, one or several, as the comma list that the command line takes."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _text(value: object) -> object:
    return str(value) if isinstance(value, int) else value


def default_data_dir() -> Path:
    """Where downloaded data sets lie: the environment variable `BENCH_DATA`, else the user's cache folder."""
    import platformdirs

    return Path(os.environ.get("BENCH_DATA") or platformdirs.user_cache_path("acl-bench"))


def cores() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _seconds(value: object) -> object:
    return seconds_of(value) if isinstance(value, str) else value


def seconds_of(text: str) -> float:
    """A time as people write it, in seconds: `2m` is 120.

    Raises:
        ValueError: if it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd]?)", text.strip())
    if match is None:
        raise ValueError("times are 30s, 2m, 1h or 7d")
    return float(match[1]) * UNITS[match[2]]


CommaList = Annotated[str, BeforeValidator(_joined), Field(min_length=1)]
Count = Annotated[int, Field(ge=1)]
Gpus = Annotated[tuple[Annotated[int, Field(ge=0)], ...], BeforeValidator(_ranges), AfterValidator(_distinct_gpus)]
Seconds = Annotated[float, BeforeValidator(_seconds), Field(ge=0, allow_inf_nan=False)]
Seeds = Annotated[tuple[int, ...], BeforeValidator(_counted), AfterValidator(_distinct)]


class Sweep(BaseModel):
    """The options of a run: which cells, where, and with how many workers."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    methods: CommaList
    """Methods, with options in brackets: `ncp[neighbour=[2,3]],amoc,./mine.py:Mine`."""
    datasets: CommaList = "digits"
    """Data sets: `digits`, `cifar10`, `parquet:DIR[like=cifar10]`, ..."""
    protocols: CommaList | None = None
    """Protocols; None is `slf-1` with `quick`, `slf-1,alf-1` otherwise."""
    attacks: CommaList | None = None
    """Attacks in the place of the protocols' own: names and sets of `bench list attacks`, `transfer:CELL`."""
    norm: CommaList | None = None
    """Norm of the attacks' ball instead of l_inf: `l2`, `l1`; several of them are rows of their own."""
    eps: Annotated[CommaList | None, BeforeValidator(_number_text)] = None
    """Radius of that ball instead of the data set's: `4/255`; a ladder `0,1/255,2/255` is a row for each."""
    steps: Annotated[CommaList | None, BeforeValidator(_number_text)] = None
    """Steps of PGD instead of the protocols' own; such a PGD fills no column of its own, but `scores`."""
    seeds: Seeds = (0, 1, 2, 3, 4)
    """A count (`5` is 0..4) or a list (`0,3,7`)."""
    head_seeds: Seeds | None = None
    """Seeds of heads, each of them on every encoder; None is the seed of the pre-training itself."""
    attack_seeds: Seeds | None = None
    """Seeds of attacks, each of them on every head; None is the seed of the pre-training itself."""
    schedule: Annotated[Schedule, BeforeValidator(_schedule)] = Schedule.QUICK
    """Length of pre-training."""
    epochs: Count | None = None
    """Pre-training epochs instead of the schedule's own; milestones scale along."""
    budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    """Encoder passes per pre-training image over a method's whole run, upstreams included: epochs are chosen to fit."""
    limit: Annotated[str, BeforeValidator(_text)] | None = None
    """Use fewer images: `200`, or `train=2000,test=200`."""
    device: Annotated[str, AfterValidator(_device)] = "auto"
    """`auto` is a GPU if there is one, else the CPU."""
    gpus: Gpus | None = None
    """Several GPUs, as `0-3` or `0,2`, each with stages of its own. No number depends on which one it was."""
    jobs: Count | None = None
    """Worker processes at most; None is what `jobs_on` says."""
    threads: Count = 1
    """CPU threads per worker. Numbers depend on it, so it is part of the keys."""
    out: Path = Path("runs")
    """The store."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where downloaded data sets lie."""
    checkpoint_every: Seconds = 120.0
    """From one checkpoint of a stage to the next: `30s`, `2m`, `1h`, or seconds. No number depends on it."""
    precision: Annotated[Precision | None, BeforeValidator(_precision)] = None
    """What pre-trainings compute in, where a method's options do not say: `fp32`, `tf32` or `bf16`."""
    execution: Annotated[Execution, BeforeValidator(_execution)] = Execution.AUTO
    """How pre-training steps are carried out: `auto`, `eager`, `graph` or `compiled`; they differ by rounding alone."""
    deterministic: bool = False
    """Deterministic kernels on a GPU, too: slower, but a resumed or repeated stage has the same bits, as on a CPU."""
    rerun: bool = False
    """Compute finished stages again and compare."""
    tensorboard: bool = False
    """Write TensorBoard's event files of pre-trainings to the store's folder `tensorboard`."""

    @property
    def protocol_names(self) -> str:
        """The protocols as a comma list, the default filled in, each with the attack options that it does not say."""
        names = self.protocols or ("slf-1" if self.schedule is Schedule.QUICK else "slf-1,alf-1")
        return ",".join(self._attacked(spec).text for spec in parse_specs(names)) if self._attack_options else names

    @property
    def _attack_options(self) -> list[str]:
        grids = {"norm": self.norm, "eps": self.eps, "steps": self.steps}
        names = f"({self.attacks})" if self.attacks and "," in self.attacks else self.attacks
        several = [f"attacks={names}"] if names else []
        return several + [f"{name}=[{values}]" for name, values in grids.items() if values]

    def _attacked(self, protocol: Spec) -> Spec:
        """The protocol under this sweep's attack options; what it says itself stays."""
        given = parse_spec(f"{protocol.name}[{','.join(self._attack_options)}]").options
        return replace(protocol, options={**given, **protocol.options})

    @model_validator(mode="after")
    def _one_kind_of_device(self) -> Self:
        if self.gpus and self.device not in ("auto", "cuda"):
            raise ValueError(f"device {self.device} and gpus name different devices; leave one of them out")
        return self

    @model_validator(mode="after")
    def _one_length(self) -> Self:
        if self.budget and self.epochs:
            raise ValueError(f"a budget of {self.budget:g} passes chooses the epochs; leave epochs {self.epochs} out")
        return self

    def jobs_on(self, device: str) -> int:
        """Worker processes at most, the default filled in.

        On a CPU they are as many as its cores carry, on a GPU one; on several GPUs as many as cores, and at least one
        for each: how many then share a device depends on its memory.
        """
        if self.jobs:
            return self.jobs
        if self.gpus:
            return max(len(self.gpus), cores())
        return 1 if device.startswith("cuda") else max(1, cores() // self.threads)

    def at_once(self, device: str) -> int:
        """Stages that get on at full speed at a time: workers that share a core or a GPU share its speed."""
        places = len(self.gpus or (device,)) if device.startswith("cuda") else max(1, cores() // self.threads)
        return min(self.jobs_on(device), places)

    @property
    def pretrain_epochs(self) -> int | None:
        """The epochs that every pre-training stage is rescaled to, or None for its own."""
        return self.epochs or (SHORT_EPOCHS if self.schedule is Schedule.SHORT else None)

    @classmethod
    def of(cls, **values: Any) -> Self:
        """A sweep from Python values.

        Raises:
            BenchError: for an unknown option, or a value of the wrong type or range.
        """
        return cls._checked(values, "sweep")

    @classmethod
    def from_toml(cls, path: Path, **flags: Any) -> Self:
        """The one sweep of a TOML file; see `all_from_toml`.

        Raises:
            BenchError: as `all_from_toml`; or if the file holds several sweeps.
        """
        sweep, *others = cls.all_from_toml(path, **flags)
        if others:
            raise BenchError(
                f"sweep file '{path}' holds {1 + len(others)} sweeps, and one is wanted here: give each a file of its "
                f"own, or use `bench run`, which takes all of them."
            )
        return sweep

    @classmethod
    def all_from_toml(cls, path: Path, **flags: Any) -> tuple[Self, ...]:
        """The sweeps of a TOML file whose keys are the long options.

        Each `[[sweep]]` is one, and has the keys above the first of them, too; a file without any is one. A table
        `[quick]`, `[short]` or `[paper]`, or `[sweep.quick]` of one sweep, holds under that schedule alone. What a
        sweep says goes before what the file says, a schedule's table before both, and `flags` before everything.

        Raises:
            BenchError: if the file is not there or is not TOML, or says what `of` would not take; the message names
                the file, the table and the key.
        """
        return tuple(cls._layered(tables, flags, owner) for owner, tables in _sweeps(path))

    @classmethod
    def _layered(cls, tables: Sequence[_Table], flags: Mapping[str, Any], owner: str) -> Self:
        for table in tables:
            cls._checked({"methods": ANYTHING, **table.values}, table.owner)
        asked = ChainMap(dict(flags), *(table.values for table in reversed(tables) if table.schedule is None))
        schedule = asked.get("schedule", Schedule.QUICK)
        values: dict[str, Any] = {}
        for table in tables:
            values |= table.values if table.schedule in (None, schedule) else {}
        return cls._checked(values | dict(flags), owner)

    @classmethod
    def _checked(cls, values: dict[str, Any], owner: str) -> Self:
        return validated(cls, _with_underscores(values), owner)


# Files.

ANYTHING = "*"
"""Stands for a required option where the others are checked by themselves."""
SWEEP_TABLES = "sweep"
WHOLE_RUN = frozenset(
    {
        "device",
        "gpus",
        "jobs",
        "threads",
        "out",
        "data_dir",
        "checkpoint_every",
        "execution",
        "deterministic",
        "rerun",
        "tensorboard",
    }
)
"""Options that say where and how a run is carried out: all sweeps of a file share them."""


class _Table(NamedTuple):
    """Some keys of a sweep file.

    Attributes:
        owner: file and table, for messages.
        schedule: the one under which they hold; None is any.
        values: option to value.
    """

    owner: str
    schedule: str | None
    values: Mapping[str, Any]


def _sweeps(path: Path) -> Iterator[tuple[str, list[_Table]]]:
    """Each sweep of a file: its name for messages, and its tables, each of which goes before those ahead of it."""
    content = _read(path)
    own = content.pop(SWEEP_TABLES, None)
    shared = list(_tables(path.name, content))
    if own is None:
        yield path.name, _in_order(shared, [])
        return
    if not isinstance(own, list) or not own or not all(isinstance(one, dict) for one in own):
        raise BenchError(f"{path.name}: each sweep of a file is a table of its own; write [[{SWEEP_TABLES}]] above it.")
    for number, content in enumerate(own, start=1):
        owner = f"{path.name} [[{SWEEP_TABLES}]] {number}"
        tables = list(_tables(owner, content, f"{SWEEP_TABLES}."))
        _check_shared(tables)
        yield owner, _in_order(shared, tables)


def _in_order(shared: Sequence[_Table], own: Sequence[_Table]) -> list[_Table]:
    """A sweep's own tables after the file's, those of a schedule after both."""
    return sorted([*shared, *own], key=lambda table: table.schedule is not None)


def _tables(owner: str, content: Mapping[str, Any], prefix: str = "") -> Iterator[_Table]:
    """The plain keys of a table, then the tables in it."""
    inner = {name: value for name, value in content.items() if isinstance(value, dict)}
    yield _Table(owner, None, _with_underscores({name: content[name] for name in content if name not in inner}))
    for name, values in inner.items():
        if name not in set(Schedule):
            raise unknown(f"{owner} table", name, [*Schedule, *([] if prefix else [SWEEP_TABLES])])
        if "schedule" in values:
            raise BenchError(
                f"{owner} [{prefix}{name}] holds under the schedule {name} alone, so it cannot say 'schedule': move "
                f"that key out of it, or leave it to --schedule."
            )
        yield _Table(f"{owner} [{prefix}{name}]", name, _with_underscores(values))


def _check_shared(tables: Iterable[_Table]) -> None:
    """See that nothing in a `[[sweep]]` is about the run as a whole."""
    for table in tables:
        for name in table.values:
            if name in WHOLE_RUN:
                raise BenchError(
                    f"{table.owner} option '{name}' is about the whole run, and all sweeps of a file are one: write it "
                    f"above the first [[{SWEEP_TABLES}]]."
                )


def _with_underscores(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name.replace("-", "_"): value for name, value in values.items()}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BenchError(f"sweep file '{path}' cannot be read ({error.strerror}): give a TOML file.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BenchError(f"sweep file '{path}' is not valid TOML: {error}. Correct it there.") from error

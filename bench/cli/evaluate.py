"""`bench evaluate`: judge an encoder that is there already."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.options import takes_flags

if TYPE_CHECKING:
    from bench.contract import Origin

SEEDS, SCHEDULE = "1", "paper"
"""Unless named: an encoder is one, and nothing here shortens what it was trained for."""

EXAMPLES = """
[bold]Examples[/]

[dim]what `bench export` wrote:[/]
  bench evaluate ncp.safetensors --protocols slf-1,alf-1 --datasets cifar10
[dim]a released file, by the names that its authors gave the weights:[/]
  bench evaluate model.pt --layout dynacl --datasets cifar10
  bench evaluate stl.pt --layout dynacl --options architecture=resnet18-imagenet --datasets stl10
[dim]a function that returns a torch.nn.Module from pixels in \\[0, 1] to features:[/]
  bench evaluate ./mine.py:encoder --datasets cifar10
[dim]a finished cell's encoder, by another protocol or on other data:[/]
  bench evaluate ncp/cifar10/slf-1/seed0 --datasets cifar100
"""

_CODE = re.compile(r"[\w.]+:\w+|.*\.py:\w+")
_WEIGHTS = frozenset({".safetensors", ".pt", ".pth", ".pkl", ".ckpt", ".tar", ".t7", ".bin"})


@takes_flags(
    "datasets", "protocols", "attacks", "norm", "eps", "steps", "seeds", "head_seeds", "attack_seeds", "schedule",
    "limit", "device", "gpus", "jobs",
    "threads", "out", "data_dir", "checkpoint_every", "rerun",
)  # fmt: skip
def evaluate(
    flags: Mapping[str, Any],
    *,
    encoder: Annotated[
        str, typer.Argument(metavar="ENCODER", help="FILE of weights, module:function, ./file.py:function, or a CELL.")
    ],
    layout: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="A file's layout, where it does not say it itself; a wrong one lists all."),
    ] = None,
    options: Annotated[
        str | None, typer.Option(metavar="KEY=VALUE,...", help="What a file's layout leaves open: route=clean, ...")
    ] = None,
    table: Annotated[bool, typer.Option("--table/--no-table", help="Print the table at the end.")] = True,
) -> int:
    """Fit heads on an encoder that is there already, attack, print the table; rows are kept like any others.

    Nothing is trained: --schedule (paper by default) says only beside which rows the new ones stand.
    """
    from bench.cli.run import run
    from bench.sweep import Sweep

    with _method(encoder, _settings(layout, options), Path(flags.get("out", "runs"))) as method:
        sweep = Sweep.of(**{"seeds": SEEDS, "schedule": SCHEDULE, **flags, "methods": method})
        return run((sweep,), table=table)


def _settings(layout: str | None, options: str | None) -> dict[str, Any]:
    from bench.grammar import parse_spec

    given = dict(parse_spec(f"options[{options}]").options) if options else {}
    return {**({"layout": layout} if layout else {}), **given}


@contextmanager
def _method(text: str, settings: Mapping[str, Any], out: Path) -> Iterator[str]:
    """The method that stands for an encoder, as `--methods` takes it."""
    from bench.contract import Origin
    from bench.errors import BenchError

    if Path(text).suffix in _WEIGHTS or Path(text).is_file():
        yield _standing_for(Origin.FILE, text, settings)
        return
    if settings:
        raise BenchError(
            f"{' and '.join(settings)} say how to read a file of weights, and '{text}' is none: leave them out."
        )
    if _CODE.fullmatch(text):
        yield _standing_for(Origin.CODE, text)
        return
    with _exported(text, out) as file:
        yield _standing_for(Origin.FILE, str(file))


def _standing_for(origin: Origin, place: str, settings: Mapping[str, Any] = MappingProxyType({})) -> str:
    from bench.grammar import Spec
    from bench.registry import Registry

    entry, setting = Registry.discover().reading(origin)
    return Spec(entry.name, {setting: place, **settings}).text


@contextmanager
def _exported(cell: str, out: Path) -> Iterator[Path]:
    """A finished cell's encoder as a file, while the block goes on."""
    from tempfile import TemporaryDirectory

    from bench.cells import find_row
    from bench.exports.cells import as_encoder_file, load_cell
    from bench.store import Store

    store = Store.existing(out)
    trained = load_cell(store, find_row(store, cell))
    with TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "encoder.safetensors"
        file.write_bytes(as_encoder_file(trained))
        yield file

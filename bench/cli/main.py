"""The command `bench`: its own sub-commands, and those that other packages declare as entry points `bench.commands`."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

import bench
from bench.cli.audit import EXAMPLES as AUDIT_EXAMPLES
from bench.cli.audit import audit
from bench.cli.check import EXAMPLES as CHECK_EXAMPLES
from bench.cli.check import check
from bench.cli.disputes import EXAMPLES as DISPUTES_EXAMPLES
from bench.cli.disputes import disputes
from bench.cli.doctor import doctor
from bench.cli.evaluate import EXAMPLES as EVALUATE_EXAMPLES
from bench.cli.evaluate import evaluate
from bench.cli.export import EXAMPLES as EXPORT_EXAMPLES
from bench.cli.export import export
from bench.cli.failures import explained
from bench.cli.gc import EXAMPLES as GC_EXAMPLES
from bench.cli.gc import gc
from bench.cli.listing import list_things
from bench.cli.merge import EXAMPLES as MERGE_EXAMPLES
from bench.cli.merge import merge
from bench.cli.new import EXAMPLES as NEW_EXAMPLES
from bench.cli.new import new
from bench.cli.options import takes_sweeps
from bench.cli.perf import perf
from bench.cli.plan import plan
from bench.cli.rm import EXAMPLES as RM_EXAMPLES
from bench.cli.rm import rm
from bench.cli.run import run
from bench.cli.show import EXAMPLES as SHOW_EXAMPLES
from bench.cli.show import show
from bench.cli.status import EXAMPLES as STATUS_EXAMPLES
from bench.cli.status import status
from bench.cli.submit import EXAMPLES as SUBMIT_EXAMPLES
from bench.cli.submit import submit
from bench.cli.verify import EXAMPLES as VERIFY_EXAMPLES
from bench.cli.verify import verify
from bench.cli.why import why
from bench.errors import BenchError

COMMANDS = "bench.commands"

HELP = """
A reproducibility benchmark for adversarial contrastive learning: pre-train, fit a head, attack, compare.

Results are kept in ./runs: what is finished is never computed again.
"""

EXAMPLES = """
[bold]Examples[/]

[dim]minutes on a CPU, ends in a table; print it again, for a paper:[/]
  bench run --methods ncp,amoc --seeds 5
  bench table --format latex
[dim]a grid, and a method of your own:[/]
  bench run --methods "ncp[neighbour=[2,3]],./mine.py:Mine"
[dim]real data on a GPU:[/]
  bench run --methods ncp --datasets cifar10 --schedule short
[dim]what would run, and for how long; all settings of a method:[/]
  bench plan --methods ncp,amoc --seeds 5
  bench list methods ncp
[dim]what is at work, from another shell; all about a cell; free disk space:[/]
  bench status --watch
  bench show ncp/digits/slf-1/seed0
  bench gc --dry-run
[dim]weights that are there already; a finished cell as a file:[/]
  bench evaluate model.pt --layout acl --datasets cifar10
  bench export ncp/digits/slf-1/seed0 --to safetensors --out ncp.safetensors
"""


class Guarded(TyperCommand):
    """A command whose failures are explained."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; see `bench.cli.failures.explained`."""
        with explained():
            return super().invoke(ctx)


app = typer.Typer(
    name="bench",
    help=HELP,
    epilog=EXAMPLES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"acl-bench {bench.__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None: ...


def add(name: str, function: Callable[..., Any], epilog: str | None = None) -> None:
    """Make `function` the sub-command `name`, with `epilog` under its options."""
    app.command(name, cls=Guarded, epilog=epilog)(function)


def _broken(name: str, origin: str, error: Exception) -> Callable[[], None]:
    """A command that stands for one that does not import, and says so when it is called."""

    def command() -> None:
        reason = f"{type(error).__name__}: {error}"
        raise BenchError(f"command '{name}' of {origin} does not import: {reason}. Repair or uninstall it.") from error

    command.__doc__ = f"Does not work: {origin} does not import."
    return command


def add_declared(group: str = COMMANDS) -> None:
    """Add the commands that installed packages declare; one that is broken disturbs no other.

    `EXAMPLES` of a command's module, if there are any, stand under its options.
    """
    for point in importlib.metadata.entry_points(group=group):
        try:
            function = point.load()
        except Exception as error:
            function = _broken(point.name, point.value, error)
        add(point.name, function, getattr(sys.modules.get(function.__module__), "EXAMPLES", None))


add("run", takes_sweeps(run))
add("plan", takes_sweeps(plan))
add("why", takes_sweeps(why))
add("evaluate", evaluate, EVALUATE_EXAMPLES)
add("export", export, EXPORT_EXAMPLES)
add("audit", audit, AUDIT_EXAMPLES)
add("list", list_things)
add("disputes", disputes, DISPUTES_EXAMPLES)
add("check", check, CHECK_EXAMPLES)
add("new", new, NEW_EXAMPLES)
add("perf", perf)
add("status", status, STATUS_EXAMPLES)
add("show", show, SHOW_EXAMPLES)
add("rm", rm, RM_EXAMPLES)
add("gc", gc, GC_EXAMPLES)
add("merge", merge, MERGE_EXAMPLES)
add("submit", submit, SUBMIT_EXAMPLES)
add("verify", verify, VERIFY_EXAMPLES)
add("doctor", doctor)
add_declared()


def main() -> None:
    """The console script."""
    app()

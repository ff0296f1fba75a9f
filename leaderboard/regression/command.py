"""`bench regress`: whether the code still gives the numbers of a reference. Light: `--help` imports it."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from bench.cli.failures import ExitCode
from bench.cli.options import takes_flags

if TYPE_CHECKING:
    from leaderboard.regression.compare import Finding
    from leaderboard.regression.measured import Measured
    from leaderboard.regression.reference import Reference

SHIPPED = Path(__file__).parents[2] / "results" / "reference" / "quick.parquet"
ENOUGH_WORKERS = 2
"""Workers are processes of their own, and only those see another environment: bands are learnt in no fewer."""


@takes_flags("device", "jobs", "threads", "data_dir")
def regress(
    flags: Mapping[str, Any],
    *,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The reference; by default the one that ships with this package."),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(metavar="FILE.parquet", help="Make a reference from the sweep in FILE.toml beside it."),
    ] = None,
    learn: Annotated[
        bool, typer.Option("--learn", help="Learn the reference's bands, for other contexts, from repeats.")
    ] = False,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the comparison as JUnit XML, too.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="Keep the runs here; by default nowhere.")] = None,
) -> int:
    """Run the cells of a reference again, hold the numbers against it; the exit code is 1 if any drifted.

    Computed where the reference was, numbers and bits must be the same; elsewhere numbers must lie within bands.
    """
    from leaderboard.regression.reference import Reference

    _check(against, write, junit, learn)
    with _folder(out) as folder:
        if write:
            _write(write, folder, flags, learn)
            return ExitCode.OK
        path = against or SHIPPED
        reference = Reference.load(path)
        if learn:
            _learn(reference, path, folder, flags)
            return ExitCode.OK
        return _compare(reference, path, folder / "rerun", flags, junit)


def _check(against: Path | None, write: Path | None, junit: Path | None, learn: bool) -> None:
    from bench.errors import BenchError

    if against and write:
        raise BenchError("--against compares with a reference and --write makes one: leave one of them out.")
    if junit and (write or learn):
        raise BenchError("--junit reports a comparison, and --write and --learn make none: leave it out.")


@contextmanager
def _folder(out: Path | None) -> Iterator[Path]:
    if out:
        yield out
        return
    with TemporaryDirectory(prefix="bench-regress-") as folder:
        yield Path(folder)


def _write(path: Path, folder: Path, flags: Mapping[str, Any], learn: bool) -> None:
    from bench.sweep import Sweep
    from leaderboard.regression.reference import Reference
    from leaderboard.regression.rerun import measure

    sweep = Sweep.from_toml(path.with_suffix(".toml"), **{**flags, "out": folder / "reference"})
    reference = Reference(measure((sweep,)))
    reference.save(path)
    print(f"{path}: {len(reference.cells)} cells")
    if learn:
        _learn(reference, path, folder, flags)


def _learn(reference: Reference, path: Path, folder: Path, flags: Mapping[str, Any]) -> None:
    from leaderboard.regression.rerun import learn

    jobs = max(ENOUGH_WORKERS, int(flags.get("jobs", ENOUGH_WORKERS)))
    found = learn(reference, folder / "repeats", **{**flags, "jobs": jobs})
    found.save(path)
    print(f"{path}: bands learnt from {len(found.repeats)} repeats: {'; '.join(found.repeats)}")


def _compare(reference: Reference, path: Path, folder: Path, flags: Mapping[str, Any], junit: Path | None) -> int:
    from leaderboard.regression.compare import WRONG, compare
    from leaderboard.regression.rerun import run_again

    began, clock = datetime.now(UTC), time.perf_counter()
    rerun = run_again(reference, folder, **flags)
    findings = compare(reference, rerun)
    sound = next((cell for cell in rerun if not cell.error), rerun[0])  # One that failed early knows no context.
    _print(findings, reference, sound, path)
    if junit:
        told = {name: str(value) for name, value in sound.context.items() if value is not None}
        facts = {"reference": str(path), **told}
        _write_junit(junit, findings, time.perf_counter() - clock, facts, began)
    return ExitCode.FAILED if any(finding.verdict in WRONG for finding in findings) else ExitCode.OK


def _print(findings: tuple[Finding, ...], reference: Reference, sound: Measured, path: Path) -> None:
    from rich.console import Console

    from leaderboard.regression.compare import other_context
    from leaderboard.regression.report import summary, table

    console = Console()
    if not console.is_terminal:
        console = Console(width=160)
    console.print(table(findings))
    moved = "; ".join(other_context(reference.cells[0], sound))
    where = f"in another context ({moved}), so within bands" if moved else "in the context of the reference, so exactly"
    console.print(f"\n{path}, compared {where}: {summary(findings)}", markup=False, highlight=False, soft_wrap=True)


def _write_junit(
    path: Path, findings: tuple[Finding, ...], seconds: float, facts: dict[str, str], began: datetime
) -> None:
    import platform

    from leaderboard.regression.report import junit

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(junit(findings, seconds, facts, platform.node() or "unknown", f"{began:%Y-%m-%dT%H:%M:%S}"))

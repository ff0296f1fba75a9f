"""The command line as a user meets it: fast help, flags that become a sweep, and failures that explain themselves."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

import bench
from bench.cli import main
from bench.cli.failures import explained
from bench.cli.options import SWEEP_FLAGS, takes_sweeps
from bench.errors import BenchError
from bench.sweep import Sweep
from tests.cli.runner import invoke


def test_help_imports_nothing_heavy_and_shows_every_command() -> None:
    code = (
        "import sys; sys.argv = ['bench', '--help']\n"
        "from bench.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'pydantic', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for command in ("run", "plan", "why", "list", "doctor", "bench run --methods ncp,amoc --seeds 5"):
        assert command in done.stdout


def test_the_version_is_shown() -> None:
    assert invoke("--version") == (0, f"acl-bench {bench.__version__}\n", "")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [(["rnu"], "Did you mean 'run'"), (["run", "--sedes", "5"], "--seeds"), (["list", "method"], "'methods'")],
)
def test_a_slip_is_answered_with_what_was_meant(arguments: list[str], message: str) -> None:
    code, _, err = invoke(*arguments)
    assert code == 2
    assert message in err


class TestSweepFlags:
    @pytest.fixture
    def sweep_of(self) -> Callable[..., Sweep]:
        """The sweep that a command line makes."""
        app, seen = typer.Typer(), []

        def command(sweeps: tuple[Sweep, ...], *, loud: bool = False) -> int:
            seen.extend(sweeps)
            return 0

        app.command(cls=main.Guarded)(takes_sweeps(command))

        def sweep_of(*arguments: str) -> Sweep:
            code, _, err = invoke(*arguments, app=app)
            assert code == 0, err
            return seen[-1]

        return sweep_of

    def test_every_option_of_a_sweep_is_a_flag(self) -> None:
        assert list(SWEEP_FLAGS) == list(Sweep.model_fields)

    def test_flags_become_a_sweep(self, sweep_of: Callable[..., Sweep]) -> None:
        given = sweep_of(
            "--methods", "ncp[neighbour=[2,3]],amoc", "--seeds", "0,3", "--epochs", "2", "--rerun", "--loud"
        )
        assert given == Sweep.of(methods="ncp[neighbour=[2,3]],amoc", seeds="0,3", epochs=2, rerun=True)

    def test_flags_override_the_file(self, sweep_of: Callable[..., Sweep], tmp_path: Path) -> None:
        file = tmp_path / "sweep.toml"
        file.write_text('methods = "ncp"\nseeds = 2\nout = "elsewhere"\n')
        assert sweep_of(str(file), "--seeds", "3") == Sweep.of(methods="ncp", seeds=3, out="elsewhere")

    def test_a_cell_of_two_sweeps_of_a_file_is_one(self, tmp_path: Path) -> None:
        file = tmp_path / "sweeps.toml"
        file.write_text('seeds = 1\n[[sweep]]\nmethods = "simclr"\n[[sweep]]\nmethods = ["simclr", "moco"]\n')
        code, out, err = invoke("plan", str(file), "--out", str(tmp_path / "runs"))
        assert code == 0, err
        assert "2 cells, 12 stages, 12 to compute" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ([], "error: sweep option 'methods' has no default"),
            (["--methods", "ncp", "--seeds", "0"], "error: sweep option 'seeds' cannot be '0': 0 seeds"),
            (["--methods", "ncp", "--schedule", "long"], "error: unknown schedule 'long'"),
            (["no.toml"], "error: sweep file 'no.toml' cannot be read"),
        ],
    )
    def test_a_bad_sweep_is_one_paragraph_and_exit_code_2(self, arguments: list[str], message: str) -> None:
        code, out, err = invoke("plan", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1)
        assert err.startswith(message)


class TestFailures:
    @staticmethod
    def fail(error: BaseException) -> tuple[int, str, str]:
        app = typer.Typer()

        def command() -> None:
            raise error

        app.command(cls=main.Guarded)(command)
        return invoke(app=app)

    @pytest.mark.parametrize(
        ("error", "code", "message"),
        [
            (BenchError("no such thing: choose another."), 2, "error: no such thing: choose another.\n"),
            (KeyboardInterrupt(), 130, "interrupted: finished stages are kept, and the same command goes on"),
            (
                OSError(errno.ENOSPC, "No space left on device", "/x"),
                2,
                "error: the disk is full ('/x'): free some space",
            ),
            (
                PermissionError(errno.EACCES, "Permission denied", "/y"),
                2,
                "error: Permission denied ('/y'): see whether",
            ),
            (ValueError("odd"), 1, "error: unforeseen ValueError: odd. Set BENCH_DEBUG=1 to see where it happened."),
        ],
    )
    def test_a_failure_is_a_paragraph_and_an_exit_code(self, error: BaseException, code: int, message: str) -> None:
        assert self.fail(error)[0] == code
        assert message in self.fail(error)[2]
        assert "Traceback" not in self.fail(error)[2]

    def test_debugging_shows_where(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("BENCH_DEBUG", "1")
        with pytest.raises(BenchError), explained():
            raise BenchError("here")


GOOD = """
EXAMPLES = "bench good --well"
def good() -> None:
    'Reports.'
    print('reported')
"""


class TestDeclaredCommands:
    @pytest.fixture
    def declared(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
        """The app with the commands of a package that declares a good one and a broken one."""
        (tmp_path / "reports.py").write_text(GOOD)
        info = tmp_path / "reports-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: reports\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[test.commands]\ngood = reports:good\nbad = reports_no_more:bad\n")
        monkeypatch.syspath_prepend(tmp_path)
        monkeypatch.setattr(main, "app", typer.Typer())
        main.add_declared("test.commands")
        return main.app

    def test_they_are_commands_like_any_other(self, declared: typer.Typer) -> None:
        assert invoke("good", app=declared) == (0, "reported\n", "")
        assert "bench good --well" in invoke("good", "--help", app=declared)[1]

    def test_a_broken_one_is_named_and_harms_no_other(self, declared: typer.Typer) -> None:
        assert "Does not work: reports_no_more:bad does not import" in invoke("--help", app=declared)[1]
        code, _, err = invoke("bad", app=declared)
        assert code == 2
        assert "command 'bad' of reports_no_more:bad does not import: ModuleNotFoundError" in err

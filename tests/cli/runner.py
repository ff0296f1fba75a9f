"""Running the command line in this process."""

from __future__ import annotations

import typer
from typer.testing import CliRunner

from bench.cli import main


def invoke(*arguments: str, app: typer.Typer = main.app) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `bench ARGUMENTS`, on a wide terminal without colours."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr

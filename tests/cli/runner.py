"""Running the command line in this process."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path

import typer
from typer.testing import CliRunner

from bench.cli import main

ROOT = Path(__file__).parent.parent.parent


def whole_app() -> typer.Typer:
    """`bench` with the commands that this project declares, whether it is installed or not."""
    app = typer.Typer()
    app.registered_commands = list(main.app.registered_commands)
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][main.COMMANDS]
    for name, place in declared.items():
        module, _, function = place.partition(":")
        app.command(name, cls=main.Guarded)(getattr(importlib.import_module(module), function))
    return app


def invoke(*arguments: str, app: typer.Typer = main.app) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `bench ARGUMENTS`, on a wide terminal without colours."""
    result = CliRunner().invoke(app, list(arguments), env={"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"})
    return result.exit_code, result.stdout, result.stderr

"""Arguments and options that several commands share: `Annotated[str, CELL]`."""

from __future__ import annotations

import typer

CELL = typer.Argument(metavar="CELL", help="METHOD/DATA/PROTOCOL/seedN, a label, or part of a key.")
STORE = typer.Option(metavar="DIR", help="The store to look at.")
DATA_DIR = typer.Option(metavar="DIR", help="Where downloaded data sets lie.")
DEVICE = typer.Option(metavar="NAME", help="auto, cpu, cuda or cuda:0.")

"""A reproducibility benchmark for adversarial contrastive learning: pre-train, fit a head, attack, compare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["__version__", "run"]
__version__ = "0.1.0"


def run(methods: str | list[str], **options: Any) -> pd.DataFrame:
    """Run a sweep and return its rows, one per cell, failed cells included.

    Args:
        methods: as on the command line: `"ncp[neighbour=[2,3]],amoc"`, or a list of such texts.
        options: the other fields of `bench.sweep.Sweep`: `datasets`, `protocols`, `seeds`, `schedule`, `out`, ...

    Raises:
        BenchError: for input that cannot be run.
    """
    from bench.executors import execute, warmed_up
    from bench.planning import plan_of
    from bench.store import Store, read_rows
    from bench.sweep import Sweep

    sweep = Sweep.of(methods=methods, **options)
    store = Store.open(sweep.out)
    with warmed_up(sweep) as server:
        plan = plan_of(sweep, download=True)
        execute(plan, store, sweep, lambda _: None, server)
    rows: pd.DataFrame = read_rows(store.root)
    return rows[rows["cell"].isin([cell.key for cell in plan.cells])].reset_index(drop=True)
